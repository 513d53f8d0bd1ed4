//! `[holder]`: what concerns the keeper of others' backups.

use std::path::PathBuf;

use super::listener::Protocol;
use super::values::Values;
use crate::text::parse_size;

/// What concerns the keeper.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Where the hub is, if not where the key file says: `HOST:PORT`.
    pub hub: Option<String>,
    /// The key file.
    pub key: PathBuf,
    /// Where the store is.
    pub store: PathBuf,
    /// Bytes that are kept for others at most.
    pub share: u64,
    /// Bytes of the disk that stay free.
    pub spare: u64,
    /// The port that the hub names to peers, if not the first that is listened at.
    pub port: Option<u16>,
    /// A label that copies avoid to have twice.
    pub site: Option<String>,
    /// How many days a file stays in the trash that its owner has not signed away.
    pub trash_days: i64,
    /// The system user that keeps the store, where root starts tfd.
    pub user: Option<String>,
}

/// Whether a text is the address of a hub.
pub(super) fn check_hub(text: &str) -> Result<(), String> {
    let parts = text.rsplit_once(':');
    let is_address = parts.is_some_and(|(host, port)| {
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-[]:".contains(c);
        let is_port = port.parse().is_ok_and(|port: u16| port > 0);
        !host.is_empty() && host.chars().all(is_host) && is_port
    });
    match is_address {
        true => Ok(()),
        false => Err("use HOST:PORT, such as \"hub.example.org:7170\"".to_owned()),
    }
}

/// Whether a text is a share; with none a keeper leaves.
pub(super) fn check_share(text: &str) -> Result<(), String> {
    match parse_size(text).is_some_and(|bytes| bytes <= 1 << 62) {
        true => Ok(()),
        false => Err("use bytes, as \"500G\" or \"2T\", or \"0\" to leave".to_owned()),
    }
}

/// Reports keys that are missing or contradict each other.
pub(super) fn check(values: &mut Values<'_>) {
    let key = "name the key file, which tf hub holder-key writes";
    values.need("holder", "key", key);
    let store = "name a directory, such as \"/srv/tfd-kept\"";
    values.need("holder", "store", store);
    if nix::unistd::geteuid().is_root() {
        let user = "name a system user of its own (useradd --system tfd-holder)";
        values.need("holder", "user", user);
    }
    let mut others = Protocol::ALL.iter().filter(|of| !of.has_own_accounts());
    let has_others = others.any(|of| of.is_listed(values));
    if has_others && !values.is("server", "mode", "multi-user") {
        let text = ": its clients log in, and those of other protocols here don't: set \
                    mode = \"multi-user\" in [server], or keep files by a tfd of its own";
        values.problem("holder", "listen", text);
    }
    if values.is("server", "jail", "true") {
        let text = ": its clients can't enter a jail: remove jail from [server]";
        values.problem("holder", "listen", text);
    }
}

/// From checked values.
pub(super) fn build(values: &Values<'_>) -> Option<Holder> {
    Some(Holder {
        hub: values.text("holder", "hub").map(str::to_owned),
        key: values.path("holder", "key")?,
        store: values.path("holder", "store")?,
        share: parse_size(values.text("holder", "share")?)?,
        spare: parse_size(values.text("holder", "keep_free")?)?,
        port: values.parsed("holder", "public_port"),
        site: values.text("holder", "site").map(str::to_owned),
        trash_days: values.parsed("holder", "trash_days")?,
        user: values.text("holder", "user").map(str::to_owned),
    })
}
