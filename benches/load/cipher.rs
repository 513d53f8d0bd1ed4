//! The cipher on its own, on one core.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::time::Instant;

use tfd::tf::cipher::{ChainAlone, Cipher, cycle};

use crate::keys::{long_way, on_cycle, step};
use crate::plain_cipher::PlainCipher;
use crate::server::local;
use crate::{Figure, MIB};

/// Pieces of [`PIECE`] bytes: 256 MiB, within which no chain used here meets
/// a cycle by itself.
const ROUNDS: usize = 512;
const PIECE: usize = 512 * 1024;

/// MiB per second: the document's loop, one byte after another; ours; our
/// generator alone; the bare recurrence of the seed; ours on a cycle.
pub(crate) fn rates() -> Figure {
    let key = long_way();
    let mut plain = PlainCipher::new(&key);
    let plain = rate(&mut |data| plain.encrypt(data));
    let mut ours = Cipher::new(&key);
    let ours = rate(&mut |data| ours.encrypt(data));
    let mut generator = ChainAlone::new(&key);
    let generator = rate(&mut |data| assert_eq!(generator.make(data.len()), data.len()));
    let mut seed = u64::from_le_bytes(std::array::from_fn(|i| key[i]));
    let bare = rate(&mut |data| {
        for _ in 0..data.len() {
            seed = step(seed);
        }
        black_box(seed);
    });
    let on_cycle = on_cycle_rate().map_err(local("table"))?;
    Ok(format!(
        "{plain:.0} {ours:.0} {generator:.0} {bare:.0} {on_cycle:.0}"
    ))
}

/// Ours, read from a table, which is made here and now.
fn on_cycle_rate() -> io::Result<f64> {
    let table = cycle::memory_for_table()?;
    cycle::make(vec![table.try_clone()?])?;
    cycle::read_tables(vec![table], File::open("/dev/null")?.into());
    let mut cipher = Cipher::new(&on_cycle());
    // The chain looks for a cycle every 4 Mi steps.
    let mut start = vec![0; 16 * PIECE];
    cipher.encrypt(&mut start);
    Ok(rate(&mut |data| cipher.encrypt(data)))
}

fn rate(work: &mut dyn FnMut(&mut [u8])) -> f64 {
    let mut data = vec![0; PIECE];
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        work(black_box(&mut data));
    }
    (ROUNDS * PIECE) as f64 / MIB / begin.elapsed().as_secs_f64()
}
