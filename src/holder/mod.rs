//! The holder, which the protocol calls a keeper: a machine that stores sealed files of
//! other people for a hub. It can neither read them nor take them for others.

mod address;
mod carrier;
mod checksum;
mod gate;
mod helpers;
mod line;
mod part;
mod place;
pub(crate) mod server;
mod session;
mod stock;
mod store;
