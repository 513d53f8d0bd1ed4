//! What a session needs to know of the configuration.

use std::time::Duration;

use crate::config::{Bbftp, Durability, Server, SourcePort};

/// How long a client of a user may stand still.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// The part of the configuration that sessions follow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The versions that are spoken, in order and without a gap.
    pub versions: Vec<u32>,
    /// Which port data connections to clients come from.
    pub active_source_port: SourcePort,
    /// When an upload is acknowledged.
    pub durability: Durability,
    /// How long a peer may stand still once it is in; `None` for ever.
    pub idle_limit: Option<Duration>,
    /// Mode of new files, before the umask.
    pub file_mode: u32,
    /// Mode of new directories, before the umask.
    pub directory_mode: u32,
}

impl Settings {
    /// Those of a configuration.
    pub fn of(server: &Server, bbftp: &Bbftp) -> Settings {
        Settings {
            versions: bbftp.versions.clone(),
            active_source_port: bbftp.active_source_port,
            durability: server.durability,
            idle_limit: server.idle_limit,
            file_mode: server.file_mode,
            directory_mode: server.directory_mode,
        }
    }

    /// Those of a user who serves itself: the umask alone decides on modes.
    pub fn of_a_user() -> Settings {
        Settings {
            versions: vec![1, 2, 3],
            active_source_port: SourcePort::Any,
            durability: Durability::System,
            idle_limit: Some(IDLE_LIMIT),
            file_mode: 0o666,
            directory_mode: 0o777,
        }
    }
}
