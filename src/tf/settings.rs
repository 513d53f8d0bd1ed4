//! What a session needs to know of the configuration.

use std::time::Duration;

use crate::config::{Dialect, Durability, Mode, Server, Tf};

/// The part of the configuration that sessions follow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which reading of the protocol.
    pub dialect: Dialect,
    /// When an upload is acknowledged.
    pub durability: Durability,
    /// Whether the words of tfd's extension are answered.
    pub extension: bool,
    /// The largest buffer PUT and GET agree on, in bytes.
    pub buffer_limit: u64,
    /// The largest file of INTREAD and INTWRITE, in bytes.
    pub integrity_limit: u64,
    /// How long a peer may stand still once it is in; `None` for ever.
    pub idle_limit: Option<Duration>,
    /// The shortest interval of STARTNTFY.
    pub notify_floor: Duration,
    /// Whether the kernel may make the records of TLS.
    pub kernel_tls: bool,
    /// Mode of new files, before the umask.
    pub file_mode: u32,
    /// The bits of modes that clients may set. Where all are one system user, a
    /// program with that user's rights is for nobody to make.
    pub mode_bits: u32,
    /// Mode of new directories, before the umask.
    pub directory_mode: u32,
}

impl Settings {
    /// Those of a configuration.
    pub fn of(server: &Server, tf: &Tf) -> Settings {
        let mode_bits = match server.mode {
            Mode::SingleUser => 0o1777,
            Mode::MultiUser => 0o7777,
        };
        Settings {
            dialect: tf.dialect,
            durability: server.durability,
            extension: tf.extension,
            buffer_limit: tf.buffer_limit,
            integrity_limit: tf.integrity_limit,
            idle_limit: server.idle_limit,
            notify_floor: tf.notify_floor,
            kernel_tls: server.kernel_tls,
            file_mode: server.file_mode & mode_bits,
            mode_bits,
            directory_mode: server.directory_mode & mode_bits,
        }
    }
}
