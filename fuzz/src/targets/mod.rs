//! What is fuzzed, a module each.

mod balance;
mod bbftp_client;
mod bbftp_data;
mod bbftp_messages;
mod bbftp_session;
mod client;
mod config;
mod datagrams;
mod handshake;
mod hashes;
mod hub_dialogue;
mod hub_gate;
mod hub_lines;
mod hub_messages;
mod import;
mod kdbx;
mod keeper;
mod messages;
mod paths;
mod records;
mod request;
mod session;
mod store_replies;
mod throttle;
mod transfer;
mod users;
mod vault_import;
mod vault_messages;
mod vault_packets;
mod wire;

/// Takes one input, and panics where it finds a fault.
pub type Target = fn(&[u8]);

macro_rules! targets {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name::run)),*] };
}

/// Each with its name.
pub const TARGETS: &[(&str, Target)] = targets![
    balance,
    bbftp_client,
    bbftp_data,
    bbftp_messages,
    bbftp_session,
    client,
    config,
    datagrams,
    handshake,
    hashes,
    hub_dialogue,
    hub_gate,
    hub_lines,
    hub_messages,
    import,
    kdbx,
    keeper,
    messages,
    paths,
    records,
    request,
    session,
    store_replies,
    throttle,
    transfer,
    users,
    vault_import,
    vault_messages,
    vault_packets,
    wire,
];
