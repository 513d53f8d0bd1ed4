//! What is fuzzed, a module each.

/// Takes one input, and panics where it finds a fault.
pub type Target = fn(&[u8]);

macro_rules! targets {
    ($($name:ident)*) => {
        $(mod $name;)*

        /// Each with its name.
        pub const TARGETS: &[(&str, Target)] = &[$((stringify!($name), $name::run)),*];
    };
}

targets! {
    balance
    bbftp_client
    bbftp_data
    bbftp_messages
    bbftp_session
    client
    config
    datagrams
    handshake
    hashes
    hub_dialogue
    hub_gate
    hub_lines
    hub_messages
    import
    kdbx
    keeper
    messages
    paths
    records
    request
    session
    throttle
    transfer
    users
    vault_import
    vault_messages
    vault_packets
    wire
}
