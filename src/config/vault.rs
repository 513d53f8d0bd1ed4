//! `[vault]`: what concerns the vault.

use std::net::IpAddr;
use std::path::PathBuf;

use super::listener::Protocol;
use super::values::Values;
use crate::text::parse_size;

/// What concerns the vault.
#[derive(Clone, Debug)]
pub struct Vault {
    /// Where keys, accounts and entries are.
    pub data: PathBuf,
    /// The system user that keeps accounts and entries.
    pub user: String,
    /// What clients may speak.
    pub dialects: Vec<VaultDialect>,
    /// Whether anybody may make an account.
    pub is_open: bool,
    /// Whether a device that an account has not had before needs a code.
    pub confirms_devices: bool,
    /// Whether codes for that are mailed, and not only for the rest.
    pub mails_devices: bool,
    /// How codes are mailed, if they are.
    pub mail: Option<Mail>,
    /// The longest packet, in bytes.
    pub max_packet: usize,
    /// How long each step of the exchange of keys may take, in seconds.
    pub exchange_timeout: u32,
    /// The most cookies of an address that no account has.
    pub cookies_per_address: u32,
    /// The most bytes of an account's entries.
    pub max_account: u64,
    /// How many old versions of an entry are kept, however old.
    pub keep_versions: u32,
    /// For how many days all of them are kept, and deletions.
    pub keep_days: u32,
}

/// How codes are mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The mail server, by name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What protects the way to it.
    pub security: MailSecurity,
    /// Who logs in there, if somebody does.
    pub user: Option<String>,
    /// The file with the password for that.
    pub password_file: Option<PathBuf>,
    /// Who vouches for it, if not those that the system trusts.
    pub authorities: Option<PathBuf>,
    /// The sender.
    pub from: String,
}

/// What protects the way to a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS after STARTTLS, without which nothing is sent.
    StartTls,
    /// That it does not leave the machine.
    None,
}

/// What a client speaks: its packets and the words of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultDialect {
    /// Of October 2018, without a MAC.
    G1,
    /// Of November 2018, with one.
    G2,
    /// Of 2019, with authorized devices.
    G3,
}

impl VaultDialect {
    /// What it is worth, for who switches it on.
    pub fn worth(self) -> &'static str {
        match self {
            VaultDialect::G1 => {
                "nothing protects its packets from being changed on their way, and the server \
                 can't notice"
            }
            VaultDialect::G2 => {
                "packets can't be changed or repeated, but nothing protects from a server \
                 that an attacker puts in between"
            }
            VaultDialect::G3 => "as G2; its client for Windows notices another certificate",
        }
    }
}

/// Reports keys that are missing or contradict each other.
pub(super) fn check(values: &mut Values<'_>) {
    values.need(
        "vault",
        "data",
        "name a directory, such as \"/var/lib/tfd/vault\"",
    );
    values.need(
        "vault",
        "user",
        "name a system user of its own (useradd --system tfd-vault)",
    );
    let mut others = Protocol::ALL.iter().filter(|of| !of.has_own_accounts());
    let has_others = others.any(|of| of.is_listed(values));
    if has_others && !values.is("server", "mode", "multi-user") {
        let text = ": its clients log in, and those of other protocols here don't: set \
                    mode = \"multi-user\" in [server], or serve the vault by a tfd of its own";
        values.problem("vault", "listen", text);
    }
    if values.is("server", "jail", "true") {
        let text = ": its clients can't enter a jail: remove jail from [server]";
        values.problem("vault", "listen", text);
    }
    check_mail(values);
    if !values.has_elements("vault", "dialects") {
        let text = ": list at least one, such as [\"G2\", \"G3\"]";
        values.problem("vault", "dialects", text);
    }
}

/// Reports keys of mail that are missing or of no use.
fn check_mail(values: &mut Values<'_>) {
    if !values.is_set("vault", "smtp") {
        if values.is("vault", "new_device", "mail") {
            values.need("vault", "smtp", "new_device = \"mail\" needs a mail server");
        }
        for name in ["mail_from", "smtp_password_file", "smtp_ca"] {
            if values.is_set("vault", name) {
                values.problem("vault", name, " is of no use without smtp");
            }
        }
        return;
    }
    values.need("vault", "mail_from", "name the sender of mails");
    let server = values.text("vault", "smtp").map(server);
    let Some(Ok(server)) = server else { return };
    let has_password = values.is_set("vault", "smtp_password_file");
    match server.user {
        Some(user) if !has_password => {
            let text = format!("put the password of {user} into a file that root alone reads");
            values.need("vault", "smtp_password_file", &text);
        }
        None if has_password => {
            let text = " is of no use: smtp names no user, as in smtps://user@host";
            values.problem("vault", "smtp_password_file", text);
        }
        _ => {}
    }
    if server.security == MailSecurity::None && values.is_set("vault", "smtp_ca") {
        let text = " is of no use: mails don't leave this machine";
        values.problem("vault", "smtp_ca", text);
    }
}

/// Whether a text names a mail server.
pub(super) fn check_smtp(text: &str) -> Result<(), String> {
    server(text).map(drop)
}

/// Whether a text names a sender.
pub(super) fn check_sender(text: &str) -> Result<(), String> {
    let parsed = text.parse::<lettre::message::Mailbox>();
    let wanted = "use an address, \"vault@example.org\" or \"Vault <vault@example.org>\"";
    parsed.map(drop).map_err(|_| wanted.to_owned())
}

/// The mail server that a text names, without the rest.
fn server(text: &str) -> Result<Mail, String> {
    let wanted = || "use \"smtps://user@host\", \"smtp://user@host:port\" or the like".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(wanted)?;
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Err("leave the password out: it is in smtp_password_file".to_owned());
        }
        Some((user, place)) if !user.is_empty() => (Some(user.replace("%40", "@")), place),
        Some(_) => return Err(wanted()),
        None => (None, rest),
    };
    let (host, port) = match place.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_host = |c: u8| c.is_ascii_alphanumeric() || b".-_:".contains(&c);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(wanted());
    }
    let address = host.parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let (security, usual) = match scheme {
        "smtps" => (MailSecurity::Tls, 465),
        "smtp" if is_here => (MailSecurity::None, 25),
        "smtp" => (MailSecurity::StartTls, 587),
        _ => return Err(wanted()),
    };
    let port = port.map_or(Ok(usual), |port| port.parse().map_err(|_| wanted()))?;
    Ok(Mail {
        host: host.to_owned(),
        port: Some(port).filter(|port| *port > 0).ok_or_else(wanted)?,
        security,
        user,
        password_file: None,
        authorities: None,
        from: String::new(),
    })
}

/// Whether a text names a dialect.
pub(super) fn check_dialect(text: &str) -> Result<(), String> {
    match dialect(text) {
        Some(_) => Ok(()),
        None => Err("use \"G1\", \"G2\" or \"G3\"".to_owned()),
    }
}

fn dialect(text: &str) -> Option<VaultDialect> {
    match text {
        "G1" => Some(VaultDialect::G1),
        "G2" => Some(VaultDialect::G2),
        "G3" => Some(VaultDialect::G3),
        _ => None,
    }
}

fn mail(values: &Values<'_>) -> Option<Mail> {
    let server = server(values.text("vault", "smtp")?).ok()?;
    Some(Mail {
        password_file: values.path("vault", "smtp_password_file"),
        authorities: values.path("vault", "smtp_ca"),
        from: values.text("vault", "mail_from")?.to_owned(),
        ..server
    })
}

/// The section, from checked values.
pub(super) fn build(values: &Values<'_>) -> Option<Vault> {
    let dialects = values.list::<String>("vault", "dialects");
    Some(Vault {
        data: values.path("vault", "data")?,
        user: values.text("vault", "user")?.to_owned(),
        dialects: dialects.iter().filter_map(|text| dialect(text)).collect(),
        is_open: values.is("vault", "registration", "open"),
        confirms_devices: !values.is("vault", "new_device", "allow"),
        mails_devices: values.is("vault", "new_device", "mail"),
        mail: mail(values),
        max_packet: values.parsed("vault", "max_packet")?,
        exchange_timeout: values.parsed("vault", "exchange_timeout")?,
        cookies_per_address: values.parsed("vault", "cookies_per_address")?,
        max_account: parse_size(values.text("vault", "max_account")?)?,
        keep_versions: values.parsed("vault", "keep_versions")?,
        keep_days: values.parsed("vault", "keep_days")?,
    })
}
