//! Where files are cut into chunks: as by the crate that src/backup/cdc stands in for, so
//! that what earlier releases have saved is found again.

use proptest::prelude::*;
use rustic_cdc::{Polynom, Rabin64, RollingHash64};

/// A polynomial that cannot be divided, of degree 53.
const MODULUS: u64 = 0x003d_a335_8b4d_c173;

/// Bytes that are the same in each run: xorshift.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Where chunks of at least 4 KiB, and 64 KiB more on average, end.
fn cuts(data: &[u8]) -> Vec<(usize, u64)> {
    let mut rabin = Rabin64::new_with_polynom(6, &MODULUS);
    let mut cuts = Vec::new();
    let mut end = 4096;
    while end < data.len() {
        let window = &data[end - 64..end];
        assert_eq!(
            rabin.reset_and_prefill_window(&mut window.iter().copied()),
            63
        );
        while end < data.len() && rabin.hash & 0xffff != 0 {
            rabin.slide(data[end]);
            end += 1;
        }
        cuts.push((end, rabin.hash));
        end += 4096;
    }
    cuts
}

#[test]
fn chunks_end_where_rustic_cdc_ends_them() {
    // Of rustic_cdc 0.3.1.
    let expected = [
        (220_842, 8_229_562_152_910_848),
        (365_440, 2_245_461_357_690_880),
        (469_506, 7_973_615_760_900_096),
        (481_023, 8_110_165_401_468_928),
        (498_281, 5_872_301_219_971_072),
        (528_974, 757_623_901_257_728),
        (999_724, 1_023_457_130_774_528),
        (1_048_576, 8_904_360_751_965_805),
    ];
    assert_eq!(cuts(&bytes(1 << 20)), expected);
}

#[test]
fn a_window_that_is_not_full_counts_as_zeros_before_it() {
    let mut rabin = Rabin64::new_with_polynom(6, &MODULUS);
    assert_eq!(
        rabin.reset_and_prefill_window(&mut [1, 2, 3].into_iter()),
        3
    );
    assert_eq!(rabin.hash, 0x01_0203);
}

proptest! {
    #[test]
    fn a_fingerprint_is_what_the_division_of_the_window_leaves(
        data in proptest::collection::vec(any::<u8>(), 64..300),
        bits in any::<u64>(),
        degree in 8_u32..=56,
    ) {
        let modulus = (bits & ((1 << degree) - 1)) | (1 << degree);
        let mut rabin = Rabin64::new_with_polynom(6, &modulus);
        for byte in &data {
            rabin.slide(*byte);
        }
        let window = &data[data.len() - 64..];
        let left = window.iter().fold(0_u64, |rest, byte| {
            (0..8).rev().fold(rest, |rest, bit| {
                ((rest << 1) | u64::from(byte >> bit & 1)).modulo(&modulus)
            })
        });
        prop_assert_eq!(rabin.hash, left);
    }
}
