//! `[hub]`: what concerns the backup hub.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::listener::{LISTEN_KEY, Protocol};
use super::values::Values;
use crate::text::parse_size;

/// The longest name of a hub, in bytes.
const MAX_NAME: usize = 255;

/// What concerns the backup hub.
#[derive(Clone, Debug)]
pub struct Hub {
    /// Its name, which signatures have.
    pub name: String,
    /// Where its database is.
    pub data: PathBuf,
    /// The system user that keeps the database.
    pub user: String,
    /// Bytes that each user may use without a share.
    pub free: u64,
    /// How many hundredths of its share a user may use beyond that.
    pub ratio: u64,
    /// How many files of a run may be on their way at once.
    pub window: u64,
    /// How long a keeper may take to answer before another is asked.
    pub patience: Duration,
    /// After how long owners are warned of a keeper that is away.
    pub warn_after: Duration,
    /// After how long the copies of one that is away are made elsewhere.
    pub gone_after: Duration,
    /// How many bytes a second keepers send each other.
    pub heal_rate: u64,
    /// How long one round of audits takes.
    pub audit_cycle: Duration,
    /// How often it is looked whether keepers are reached; zero for never.
    pub probe_cycle: Duration,
    /// How many bytes a second a user may send and get by the relay.
    pub relay_rate: u64,
    /// How many lines the relay has at most.
    pub relay_lines: usize,
    /// Whether keepers name all that they have, for a database that is new.
    pub is_rebuilt: bool,
}

/// Whether a text can be the name of a hub.
pub(super) fn check_name(text: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    match (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_plain) {
        true => Ok(()),
        false => Err("use letters, digits, dots, hyphens and underscores".to_owned()),
    }
}

/// Reports keys that are missing or contradict each other.
pub(super) fn check(values: &mut Values<'_>) {
    values.need(
        "hub",
        "name",
        "name the hub once and for all, such as \"hub.example.org\"",
    );
    values.need(
        "hub",
        "data",
        "name a directory, such as \"/var/lib/tfd/hub\"",
    );
    values.need(
        "hub",
        "user",
        "name a system user of its own (useradd --system tfd-hub)",
    );
    let mut others = Protocol::ALL.iter().filter(|of| !of.has_own_accounts());
    let has_others = others.any(|of| of.is_listed(values));
    if has_others && !values.is("server", "mode", "multi-user") {
        let text = ": its clients log in, and those of other protocols here don't: set \
                    mode = \"multi-user\" in [server], or serve the hub by a tfd of its own";
        values.problem("hub", "tls_listen", text);
    }
    if !values.is("hub", "accept_base", "true") {
        for address in values.list::<SocketAddr>("hub", LISTEN_KEY) {
            if !address.ip().is_loopback() {
                let text = format!(
                    ": {address}: version 1.0 has no TLS, and other machines reach this \
                     address: list a loopback address, such as 127.0.0.1:7170, or set \
                     accept_base = true"
                );
                values.problem("hub", LISTEN_KEY, &text);
            }
        }
    }
    if values.is("server", "jail", "true") {
        let text = ": its clients can't enter a jail: remove jail from [server]";
        values.problem("hub", "tls_listen", text);
    }
}

/// From checked values.
pub(super) fn build(values: &Values<'_>) -> Option<Hub> {
    Some(Hub {
        name: values.text("hub", "name")?.to_owned(),
        data: values.path("hub", "data")?,
        user: values.text("hub", "user")?.to_owned(),
        free: parse_size(values.text("hub", "free")?)?,
        ratio: values.parsed("hub", "ratio")?,
        window: values.parsed("hub", "window")?,
        patience: values.seconds("hub", "keeper_timeout")?,
        warn_after: values.seconds("hub", "warn_after")?,
        gone_after: values.seconds("hub", "gone_after")?,
        heal_rate: parse_size(values.text("hub", "heal_rate")?)?,
        audit_cycle: values.seconds("hub", "audit_cycle")?,
        probe_cycle: values.seconds("hub", "probe_cycle")?,
        relay_rate: parse_size(values.text("hub", "relay_rate")?)?.max(1),
        relay_lines: values.parsed("hub", "relay_lines")?,
        is_rebuilt: values.is("hub", "rebuild", "true"),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn a_hub_without_tls_is_for_this_machine_unless_the_operator_says_otherwise() {
        let parse = |lines: &str| {
            let text = format!(
                "[hub]\nname = \"hub.example.org\"\ndata = \"/var/lib/tfd/hub\"\nuser = \"games\"\n{lines}"
            );
            Config::parse(Path::new("/etc/tfd/tfd.toml"), &text)
        };
        for lines in [
            "listen = [\"127.0.0.1:7170\", \"[::1]:7170\", \"127.9.8.7:1\"]",
            "listen = [\"0.0.0.0:7170\"]\naccept_base = true",
        ] {
            let config = parse(lines).expect(lines);
            let mut listeners = config.listeners().into_iter();
            assert!(listeners.all(|it| it.full_key() == "hub.listen" && !it.tls));
        }
        for address in [
            "0.0.0.0:7170",
            "[::]:7170",
            "192.0.2.1:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            for more in ["", "\naccept_base = false"] {
                let lines = format!("listen = [\"127.0.0.1:7170\", \"{address}\"]{more}");
                let problems = parse(&lines).expect_err(&lines);
                let text = problems[0].to_string();
                assert_eq!(problems.len(), 1, "{problems:?}");
                assert!(text.contains("hub.listen"), "{text}");
                assert!(
                    text.contains(address) && text.contains("accept_base = true"),
                    "{text}"
                );
            }
        }
        // The relay's addresses have their own key, and none counts twice.
        let both = "listen = [\"127.0.0.1:7170\"]\nrelay_listen = [\"0.0.0.0:7172\"]";
        let config = parse(both).expect("both");
        let keys = config.listeners().into_iter().map(|it| it.full_key());
        let keys: Vec<String> = keys.collect();
        assert_eq!(keys, ["hub.listen", "hub.relay_listen"]);
        let doubled = both.replace("0.0.0.0:7172", "127.0.0.1:7170");
        assert!(parse(&doubled).is_err());
    }
}
