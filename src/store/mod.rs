//! Files beneath a root: paths, the root itself, and what commands do with
//! it. Nothing here knows of sockets or protocols.
pub mod lock;
pub mod path;
pub mod root;

pub use lock::Lock;
pub use path::RootPath;
pub use root::{Entry, Root};
