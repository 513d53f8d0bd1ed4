//! Conversions between integers whose loss has a meaning, by name. Nothing here
//! touches the system.

/// The smaller of a length and the room for it.
pub fn at_most(len: u64, room: usize) -> usize {
    usize::try_from(len).map_or(room, |len| len.min(room))
}

/// A size as the system reports it, which is never below 0.
pub fn size(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

/// 16 bytes as two numbers, the first bytes in the first.
pub fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let bits = u128::from_be_bytes(bytes);
    [bits >> 64, bits & (u128::MAX >> 64)].map(|half| u64::try_from(half).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_as_named() {
        assert_eq!(
            (at_most(5, 7), at_most(7, 5), at_most(u64::MAX, 5)),
            (5, 5, 5)
        );
        assert_eq!((size(7), size(-1)), (7, 0));
        let mut bytes = [0; 16];
        (bytes[7], bytes[15]) = (1, 2);
        assert_eq!(halves(bytes), [1, 2]);
        assert_eq!(halves([255; 16]), [u64::MAX; 2]);
    }
}
