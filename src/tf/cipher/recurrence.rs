//! The recurrence of the seeds.

/// One step of the recurrence, before the reload that follows a 0.
pub(super) fn step(seed: u64) -> u64 {
    seed.wrapping_mul((seed >> 8) & 0xffff_ffff)
        .wrapping_add((seed >> 40) & 0xffff)
}

/// The first eight bytes of a key, little-endian.
pub(super) fn first_seed(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let n = key.len().min(8);
    bytes[..n].copy_from_slice(&key[..n]);
    u64::from_le_bytes(bytes)
}
