//! Small pieces of work for `scripts/bench` to count the instructions of, under
//! callgrind. Only [`measured`] is counted. Prints in how many units the work
//! comes.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::process::ExitCode;

use tfd::store::RootPath;
use tfd::tf::cipher::{ChainAlone, Cipher, cycle};
use tfd::tf::env::POLICY;
use tfd::tf::request::Request;

#[path = "../tests/common/plain_cipher.rs"]
mod plain_cipher;
use plain_cipher::PlainCipher;

/// A key whose chain meets no cycle in the little that is done with it.
const KEY: &[u8; 32] = b"the first 256 MiB of a stream...";

/// Bytes of the work that comes in bytes.
const BYTES: usize = 4 * 1024 * 1024;

/// Repetitions of the work that does not.
const TIMES: usize = 1000;

type Work = Box<dyn FnMut()>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let Some((mut work, units)) = words.first().and_then(|name| prepare(name)) else {
        eprintln!(
            "usage: counts recurrence | generator | loop | cipher | cycle | message | \
             request | path"
        );
        return ExitCode::from(2);
    };
    work();
    measured(&mut work);
    println!("{units}");
    ExitCode::SUCCESS
}

#[inline(never)]
fn measured(work: &mut Work) {
    work();
}

/// The work of this name and the units it comes in: bytes, or times done.
fn prepare(name: &str) -> Option<(Work, usize)> {
    let mut cipher = Cipher::new(KEY);
    let mut plain = PlainCipher::new(KEY);
    let mut data = vec![0; BYTES];
    Some(match name {
        "recurrence" => (Box::new(recurrence), BYTES),
        "generator" => {
            let mut generator = ChainAlone::new(KEY);
            (
                Box::new(move || assert_eq!(generator.make(BYTES), BYTES)),
                BYTES,
            )
        }
        "loop" => (Box::new(move || plain.encrypt(black_box(&mut data))), BYTES),
        "cipher" => (
            Box::new(move || cipher.encrypt(black_box(&mut data))),
            BYTES,
        ),
        "cycle" => {
            let mut cipher = on_cycle(&mut data).ok()?;
            (
                Box::new(move || cipher.encrypt(black_box(&mut data))),
                BYTES,
            )
        }
        "message" => repeated(move || {
            let (header, body) = data[..4 + 32].split_at_mut(4);
            cipher.encrypt(black_box(header));
            cipher.encrypt(black_box(body));
        }),
        "request" => repeated(|| {
            let body: &[u8] = b"FSTAT reports/2026/may.pdf";
            black_box(Request::parse(black_box(body))).ok();
        }),
        "path" => repeated(|| {
            let path = b"reports/2026/may.pdf".as_slice();
            black_box(RootPath::parse(black_box(path), &POLICY)).ok();
        }),
        _ => return None,
    })
}

fn repeated(mut once: impl FnMut() + 'static) -> (Work, usize) {
    (Box::new(move || (0..TIMES).for_each(|_| once())), TIMES)
}

/// The bare chain of seeds.
fn recurrence() {
    let mut seed: u64 = black_box(0x3736_3534_3332_3130);
    for _ in 0..BYTES {
        seed = seed
            .wrapping_mul((seed >> 8) & 0xffff_ffff)
            .wrapping_add((seed >> 40) & 0xffff);
    }
    black_box(seed);
}

/// A cipher that reads a table, which is made here and now.
fn on_cycle(data: &mut [u8]) -> io::Result<Cipher> {
    let table = cycle::memory_for_table()?;
    cycle::make(vec![table.try_clone()?])?;
    cycle::read_tables(vec![table], File::open("/dev/null")?.into());
    let mut key = KEY.to_vec();
    key[..8].copy_from_slice(&cycle::CYCLES[0].0.to_le_bytes());
    let mut cipher = Cipher::new(&key);
    // The chain looks for a cycle every 4 Mi steps.
    (0..2).for_each(|_| cipher.encrypt(data));
    Ok(cipher)
}
