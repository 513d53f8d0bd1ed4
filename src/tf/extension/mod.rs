//! tfd's own commands (tf-protocol(7), EXTENSIONS): what a copy of a tree needs
//! and the protocol has no word for. Their words begin with `TFD_`; a client that
//! does not know them never sends one, and another server answers `UNKNOWN`.

pub(super) mod attributes;
pub(super) mod digests;
pub(super) mod features;
pub(super) mod fetch;
pub(super) mod link;
pub(super) mod list;
pub(super) mod set;
pub(super) mod store;
