//! The packets of the vault: whatever bytes a client sends, in clear or encrypted,
//! they are cut into packets and read as requests in every dialect, and as keys.

/// Takes one input.
pub fn run(data: &[u8]) {
    let packets = data.iter().filter(|byte| **byte == 4).count();
    let requests = tfd::vault::read_anything(data);
    assert!(requests <= 3 * packets);
}
