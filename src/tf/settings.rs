//! What a session needs to know of the configuration.

use std::time::Duration;

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

/// When an upload is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the system has the bytes; the system writes them when it likes.
    #[default]
    System,
    /// When the bytes and the name are on disk.
    File,
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

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dialect: Dialect::default(),
            durability: Durability::default(),
            buffer_limit: 8 * 1024 * 1024,
            idle_limit: None,
            notify_floor: Duration::from_millis(1),
            kernel_tls: true,
            file_mode: 0o644,
            directory_mode: 0o755,
        }
    }
}
