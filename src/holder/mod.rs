//! The holder, which the protocol calls a keeper: a machine that stores sealed files of
//! other people for a hub. It can neither read them nor take them for others.

mod address;
mod caller;
mod carrier;
mod checksum;
mod gate;
pub(crate) mod helpers;
mod line;
mod part;
pub(crate) mod place;
pub(crate) mod server;
mod session;
pub(crate) mod stock;
pub(crate) mod store;
