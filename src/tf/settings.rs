//! What a session needs to know of the configuration.

use std::time::Duration;

use crate::config::Durability;

/// Which of two readings a session follows where the document and the
/// deployed servers differ (tf-protocol(7), DIALECTS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// As the public C server and its clients do.
    #[default]
    Deployed,
    /// As the document says.
    Document,
}

/// The part of the configuration that sessions follow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which reading of the protocol.
    pub dialect: Dialect,
    /// When an upload is acknowledged.
    pub durability: Durability,
    /// The largest buffer PUT and GET agree on, in bytes.
    pub buffer_limit: u64,
    /// How long a peer may stand still once it is in; `None` for ever.
    pub idle_limit: Option<Duration>,
    /// The shortest interval of STARTNTFY.
    pub notify_floor: Duration,
    /// Whether the kernel may make the records of TLS.
    pub kernel_tls: bool,
    /// Mode of new files, before the umask.
    pub file_mode: u32,
    /// Mode of new directories, before the umask.
    pub directory_mode: u32,
}
