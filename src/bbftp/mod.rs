//! BBFTP, versions 1 to 3: a control connection with binary messages, and the
//! bytes of files on parallel data connections.

/// The protocol's name in status and metrics.
pub const NAME: &str = "bbftp";

pub mod stream;
pub mod wire;
