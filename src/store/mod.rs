//! Files beneath a root: paths, the root itself, and operations on them.
//! Nothing here knows about sockets or protocols.

pub mod behind;
pub mod copy;
pub mod directory;
pub mod inherit;
pub mod part;
pub mod path;
pub mod quota;
pub mod read;
pub mod root;
pub mod sweep;
pub mod tree;
pub mod upload;
pub mod usage;
pub mod wanted;

pub use path::{Policy, RootPath};
pub use quota::Quota;
pub use root::{Entry, Root};
