//! `[vault]`: what concerns the vault.

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
    /// The longest packet, in bytes.
    pub max_packet: usize,
    /// The most bytes of an account's entries.
    pub max_account: u64,
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
    let has_others = Protocol::others(Protocol::Vault).any(|of| of.is_listed(values));
    if has_others && !values.is("server", "mode", "multi-user") {
        let text = ": its clients log in, and those of other protocols here don't: set \
                    mode = \"multi-user\" in [server], or serve the vault by a tfd of its own";
        values.problem("vault", "listen", text);
    }
    if values.is("server", "jail", "true") {
        let text = ": its clients can't enter a jail: remove jail from [server]";
        values.problem("vault", "listen", text);
    }
    if !values.has_elements("vault", "dialects") {
        let text = ": list at least one, such as [\"G2\", \"G3\"]";
        values.problem("vault", "dialects", text);
    }
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

/// The section, from checked values.
pub(super) fn build(values: &Values<'_>) -> Option<Vault> {
    let dialects = values.list::<String>("vault", "dialects");
    Some(Vault {
        data: values.path("vault", "data")?,
        user: values.text("vault", "user")?.to_owned(),
        dialects: dialects.iter().filter_map(|text| dialect(text)).collect(),
        is_open: values.is("vault", "registration", "open"),
        confirms_devices: values.is("vault", "new_device", "operator"),
        max_packet: values.parsed("vault", "max_packet")?,
        max_account: parse_size(values.text("vault", "max_account")?)?,
    })
}
