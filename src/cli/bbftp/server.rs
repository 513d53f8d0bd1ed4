//! Which server, and how to reach it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use super::arguments::{Arguments, Ssh, Tls};
use super::failure::{Failure, Result, reason, shown_path};
use crate::cli::servers::Servers;
use crate::cli::settings::Settings as Entry;
use crate::client::{Tls as TlsClient, Trust};
use crate::text::shown;

/// The control port, and the one inside TLS.
const PORT: u16 = 5021;
const TLS_PORT: u16 = 5022;

/// The number of what is wrong with keys.
const KEYS: u8 = 56;

/// A server.
pub(super) struct Server {
    /// Its name.
    pub(super) host: String,
    /// Its control port.
    pub(super) port: u16,
    /// How TLS is spoken with it, if it is.
    pub(super) tls: Option<TlsClient>,
}

impl Server {
    /// The server of a name, which may be that of an entry of `tf trust`.
    pub(super) fn find(host: &str, port: Option<u16>, arguments: &Arguments) -> Result<Server> {
        let is_tls = arguments.tls.on && arguments.ssh.is_none();
        let port = port.unwrap_or(if is_tls { TLS_PORT } else { PORT });
        if !is_tls {
            check_host(host)?;
            return Ok(Server {
                host: host.to_owned(),
                port,
                tls: None,
            });
        }
        let file = std::env::var_os("TF_CONFIG");
        let servers = Servers::read(file.as_deref().map(Path::new));
        let servers = servers.map_err(|text| Failure::end(KEYS, text))?;
        let entry = entry(&servers, host, port);
        let host = match entry {
            Some((name, entry)) if name == host => entry.addresses().next(),
            _ => None,
        }
        .map_or_else(|| host.to_owned(), |address| host_of(&address).to_owned());
        let tls = tls(&arguments.tls, entry.map(|(_, entry)| entry))?;
        check_host(&host)?;
        Ok(Server {
            host,
            port,
            tls: Some(tls),
        })
    }
}

/// The entry of a server: the one with this address or name, or with another
/// port of the same host, which has the same key.
fn entry<'a>(servers: &'a Servers, host: &str, port: u16) -> Option<(&'a String, &'a Entry)> {
    let all = || servers.entries.iter();
    let has = |entry: &Entry, is_meant: &dyn Fn(&str) -> bool| {
        entry.addresses().any(|address| is_meant(&address))
    };
    let address = format!("{host}:{port}");
    all()
        .find(|(_, entry)| has(entry, &|own| own == address))
        .or_else(|| all().find(|(name, _)| *name == host))
        .or_else(|| all().find(|(_, entry)| has(entry, &|own| host_of(own) == host)))
}

/// The host of `host:port`.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// TLS as the options say, or the entry, or with the authorities of the system.
fn tls(options: &Tls, entry: Option<&Entry>) -> Result<TlsClient> {
    let content = |file: &Path| {
        fs::read(file).map_err(|e| {
            let text = format!("TLS : {} : {}", shown_path(file), reason(&e));
            Failure::end(KEYS, text)
        })
    };
    let is_given = options.pin.is_some() || options.authorities.is_some();
    let (pin, authorities) = match entry.filter(|_| !is_given) {
        Some(entry) => (&entry.tls_pin, &entry.tls_ca),
        None => (&options.pin, &options.authorities),
    };
    let trust = match (pin, authorities) {
        (Some(pin), _) => Trust::Pin(pin.clone()),
        (None, Some(file)) => Trust::Authorities(content(file)?),
        (None, None) => Trust::System,
    };
    TlsClient::new(&trust, None).map_err(|text| Failure::end(KEYS, format!("TLS : {text}")))
}

/// Makes sure that a host has an address.
fn check_host(host: &str) -> Result<()> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let name = shown(host.as_bytes());
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || !host.chars().all(is_part) {
        let text = format!("Invalid hostname ({name})");
        return Err(Failure::end(15, text));
    }
    if host.chars().all(|c| c.is_ascii_digit() || c == '.') {
        let text = format!("Invalid IP address ({name})");
        return Err(Failure::end(16, text));
    }
    match (host, 0)
        .to_socket_addrs()
        .is_ok_and(|mut all| all.next().is_some())
    {
        true => Ok(()),
        false => Err(Failure::end(17, format!("Hostname not found ({name})"))),
    }
}

/// The command that starts a server by ssh and speaks with it.
pub(super) fn ssh_command(ssh: &Ssh, user: Option<&str>, host: &str) -> Result<Vec<OsString>> {
    let local = ssh.local.clone().unwrap_or_else(|| "ssh -q".into());
    let local = local.as_encoded_bytes();
    let words = local.split(u8::is_ascii_whitespace);
    let words = words.filter(|word| !word.is_empty());
    let mut command: Vec<OsString> = words.map(os).collect();
    if command.is_empty() {
        return Err(Failure::end(43, "No ssh command specified"));
    }
    command.extend(["-x", "-a", "-oFallBackToRsh no"].map(OsString::from));
    if ssh.batch {
        command.extend(["-oBatchMode yes", "-oStrictHostKeyChecking no"].map(OsString::from));
    }
    if let Some(identity) = &ssh.identity {
        command.extend(["-i".into(), identity.clone().into_os_string()]);
    }
    if let Some(user) = user {
        command.extend(["-l".into(), user.into()]);
    }
    command.push(host.into());
    command.push(remote_command(ssh.remote.as_deref()));
    Ok(command)
}

/// What ssh runs there: the public server needs to be told of its part.
fn remote_command(given: Option<&OsStr>) -> OsString {
    let Some(given) = given else {
        return "bbftpd -s".into();
    };
    let has = |text: &[u8]| {
        let bytes = given.as_encoded_bytes();
        bytes.windows(text.len()).any(|part| part == text)
    };
    let mut command = given.to_owned();
    if !has(b" -s") && !has(b" --stdin") {
        command.push(" -s");
    }
    command
}

fn os(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_gets_what_the_public_client_gives_it() {
        let whole = Ssh {
            batch: true,
            remote: Some("/opt/bbftpd".into()),
            local: Some("ssh -q  -p 2222".into()),
            identity: Some("key".into()),
        };
        let expected = [
            "ssh",
            "-q",
            "-p",
            "2222",
            "-x",
            "-a",
            "-oFallBackToRsh no",
            "-oBatchMode yes",
            "-oStrictHostKeyChecking no",
            "-i",
            "key",
            "-l",
            "ann",
            "host",
            "/opt/bbftpd -s",
        ];
        assert_eq!(
            ssh_command(&whole, Some("ann"), "host").expect("command"),
            expected
        );
        let usual = [
            "ssh",
            "-q",
            "-x",
            "-a",
            "-oFallBackToRsh no",
            "host",
            "bbftpd -s",
        ];
        let command = ssh_command(&Ssh::default(), None, "host");
        assert_eq!(command.expect("command"), usual);
        for kept in ["tfd bbftp --stdin", "bbftpd -l DEBUG -s"] {
            assert_eq!(remote_command(Some(OsStr::new(kept))), kept);
        }
    }

    #[test]
    fn a_host_that_is_none_has_its_number() {
        for (host, code) in [
            ("a b", 15),
            ("", 15),
            ("1.2.3", 16),
            ("no-such.invalid", 17),
        ] {
            let failure = check_host(host).expect_err(host);
            assert_eq!(failure.code, code, "{host}");
        }
        assert_eq!(check_host("::1"), Ok(()));
    }

    #[test]
    fn a_server_is_known_by_address_name_and_host() {
        let text = "[server.files]\naddress = \"files.example.org:10346\"\ntls_pin = \"SHA256:a\"\n\
                    [server.bulk]\naddress = \"files.example.org:5022\"\ntls_pin = \"SHA256:b\"\n";
        let servers = Servers::parse(text, "config.toml".into()).expect("servers");
        let pin = |host, port| {
            let found = entry(&servers, host, port);
            found.and_then(|(_, entry)| entry.tls_pin.clone())
        };
        assert_eq!(pin("files.example.org", 5022).as_deref(), Some("SHA256:b"));
        assert_eq!(pin("files", 5022).as_deref(), Some("SHA256:a"));
        assert!(pin("files.example.org", 6022).is_some());
        assert_eq!(pin("other", 5022), None);
    }
}
