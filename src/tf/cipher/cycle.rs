//! The cycles of the seed recurrence. Every chain tried so far has run, after
//! some 2 to 588 million steps, into one of three cycles, and from there on
//! repeats it: then its bytes are read from a table instead of being computed.
//! A table is made once, in the background, into memory that is sealed
//! against any change before the first reader maps it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Once, OnceLock};

use rustix::fs::{MemfdFlags, Mode, SealFlags};

use crate::sys::memory::{advise_huge_pages, map_sealed};

/// A seed on each cycle and the steps that lead back to it, the cycle that
/// most chains reach first. (Of 200 random seeds 162 reached the first, 32 the
/// second, 6 the third.)
pub const CYCLES: [(u64, usize); 3] = [
    (0x1c59, 73_354_274),
    (0x000d_ed0f_3d62, 120_558_072),
    (0x0044_56f9_cb48, 41_513_702),
];

/// A chain this long asks for the tables.
const WANTED_AFTER: usize = 32 * 1024 * 1024;

/// Steps walked ahead in search of a remembered seed.
const WALK: usize = 4 << MARK_BITS;

/// One seed in 2^14 is remembered with its place.
const MARK_BITS: u32 = 14;

/// Bytes of a remembered seed: the seed and its place, little-endian.
const MARK_LEN: usize = 16;

/// Bytes made before they are written.
const PIECE: usize = 1024 * 1024;

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

/// Whether a seed is one of those remembered.
fn is_marked(seed: u64) -> bool {
    (seed >> 20) & ((1 << MARK_BITS) - 1) == 0
}

/// The table of one cycle: all top bytes, all low bytes, and the remembered
/// seeds in order.
#[derive(Clone, Copy, Debug)]
pub struct Cycle {
    table: &'static [u8],
    len: usize,
}

impl Cycle {
    fn new(table: &'static [u8], len: usize) -> Option<Cycle> {
        (table.len() > 2 * len).then_some(Cycle { table, len })
    }

    /// Steps that lead round it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// `seed >> 56` before each step.
    pub(super) fn top(&self) -> &'static [u8] {
        &self.table[..self.len]
    }

    /// The low byte of the seed after each step.
    pub(super) fn low(&self) -> &'static [u8] {
        &self.table[self.len..2 * self.len]
    }

    fn marks(&self) -> &'static [[u8; MARK_LEN]] {
        self.table[2 * self.len..].as_chunks().0
    }

    /// The place of a remembered seed.
    fn place(&self, seed: u64) -> Option<usize> {
        let marks = self.marks();
        let found = marks
            .binary_search_by_key(&seed, |mark| number(mark, 0))
            .ok()?;
        usize::try_from(number(&marks[found], 8))
            .ok()
            .filter(|place| *place < self.len)
    }

    /// The last remembered seed before a place, and the steps from there.
    pub(super) fn mark_before(&self, place: usize) -> (u64, usize) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "marks stand at places of this cycle"
        )]
        let steps = |mark| (place + self.len - number(mark, 8) as usize) % self.len;
        let nearest = self
            .marks()
            .iter()
            .map(|mark| (steps(mark), number(mark, 0)))
            .min();
        nearest.map_or((0, 0), |(steps, seed)| (seed, steps))
    }
}

/// A number of a remembered seed: at 0 the seed, at 8 the place.
fn number(mark: &[u8; MARK_LEN], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| mark[at + i]))
}

/// Where a chain meets a cycle.
pub(super) struct Meeting {
    /// Steps until then.
    pub(super) steps: usize,
    /// The cycle.
    pub(super) cycle: Cycle,
    /// The place in it.
    pub(super) place: usize,
}

/// How the tables are made.
enum Maker {
    /// By a process that waits for a byte on this descriptor.
    Process(OwnedFd),
    /// By a thread of this process, which makes the first one.
    Thread,
}

/// The tables as this process reads them.
struct Tables {
    handles: Vec<OwnedFd>,
    mapped: [OnceLock<Cycle>; CYCLES.len()],
    maker: Maker,
    asked: Once,
}

static TABLES: OnceLock<Tables> = OnceLock::new();

impl Tables {
    fn new(handles: Vec<OwnedFd>, maker: Maker) -> Tables {
        Tables {
            handles,
            mapped: [const { OnceLock::new() }; CYCLES.len()],
            maker,
            asked: Once::new(),
        }
    }

    /// The tables that are ready.
    fn ready(&self) -> impl Iterator<Item = Cycle> {
        for ((handle, mapped), (_, len)) in self.handles.iter().zip(&self.mapped).zip(CYCLES) {
            if mapped.get().is_none()
                && let Ok(table) = map_sealed(handle.as_fd())
                && let Some(cycle) = Cycle::new(table, len)
            {
                let _ = mapped.set(cycle);
            }
        }
        self.mapped
            .iter()
            .filter_map(|mapped| mapped.get().copied())
    }

    /// Requests them. Without them everything works as before, only slower.
    fn ask(&self) {
        self.asked.call_once(|| match &self.maker {
            Maker::Process(word) => {
                let _ = rustix::io::write(word, &1_u64.to_ne_bytes());
            }
            Maker::Thread => {
                let name = "keystream".to_owned();
                let _ = std::thread::Builder::new().name(name).spawn(make_in_memory);
            }
        });
    }
}

/// Lets the chains of this process read tables that another process makes on
/// request. The first call decides; `handles` are in the order of
/// [`CYCLES`].
pub fn read_tables(handles: Vec<OwnedFd>, word: OwnedFd) {
    let _ = TABLES.set(Tables::new(handles, Maker::Process(word)));
}

/// The descriptors by which this process reads the tables, to keep open when
/// closing all others.
pub fn handles<'a>() -> impl Iterator<Item = BorrowedFd<'a>> {
    TABLES.get().into_iter().flat_map(|tables| {
        let word = match &tables.maker {
            Maker::Process(word) => Some(word),
            Maker::Thread => None,
        };
        tables.handles.iter().chain(word).map(AsFd::as_fd)
    })
}

/// Lets the chains of this process read a table of the first cycle, which a
/// thread makes when it is first needed.
pub fn make_table_on_need() {
    let _ = TABLES.set(Tables::new(Vec::new(), Maker::Thread));
}

/// Makes the table of the first cycle in this process's own memory.
fn make_in_memory() {
    let (seed, len) = CYCLES[0];
    let table = Vec::leak(table_in_memory(seed, len));
    if let (Some(tables), Some(cycle)) = (TABLES.get(), Cycle::new(table, len)) {
        let _ = tables.mapped[0].set(cycle);
    }
}

fn table_in_memory(seed: u64, len: usize) -> Vec<u8> {
    let mut table = Vec::with_capacity(usize::try_from(table_bytes(len)).unwrap_or(0) + PIECE);
    advise_huge_pages(&mut table);
    table.resize(2 * len, 0);
    let (top, low) = table.split_at_mut(len);
    let mut walk = Walk::new(seed);
    for (top, low) in top.chunks_mut(PIECE).zip(low.chunks_mut(PIECE)) {
        walk.fill(top, low);
    }
    table.extend(walk.into_marks());
    table
}

/// Looks ahead for a place where a chain is on a cycle. `made` is the chain's
/// length so far.
pub(super) fn meet(seed: u64, made: usize) -> Option<Meeting> {
    let tables = TABLES.get()?;
    let mut ready = tables.ready().peekable();
    if ready.peek().is_none() {
        if made >= WANTED_AFTER {
            tables.ask();
        }
        return None;
    }
    let ready: Vec<Cycle> = ready.collect();
    let mut seed = seed;
    for steps in 0..WALK {
        if is_marked(seed) {
            let found = ready
                .iter()
                .find_map(|cycle| Some((*cycle, cycle.place(seed)?)));
            return found.map(|(cycle, place)| Meeting {
                steps,
                cycle,
                place,
            });
        }
        seed = step(seed);
    }
    None
}

/// Empty memory for a table.
pub fn memory_for_table() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let handle = rustix::fs::memfd_create("tfd-keystream", flags)?;
    rustix::fs::fchmod(&handle, Mode::RUSR)?;
    Ok(handle)
}

/// Bytes of memory that a table takes.
pub fn table_bytes(len: usize) -> u64 {
    (2 * len + (len >> MARK_BITS) * MARK_LEN) as u64
}

/// Makes the tables, each in its memory and sealed when it is whole.
///
/// # Errors
/// The system's, mostly because of memory. An unfinished table stays unsealed,
/// and nobody reads it.
pub fn make(handles: Vec<OwnedFd>) -> io::Result<()> {
    for (handle, (seed, len)) in handles.into_iter().zip(CYCLES) {
        let file = File::from(handle);
        write_table(&file, seed, len)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
    }
    Ok(())
}

fn write_table(file: &File, first: u64, len: usize) -> io::Result<()> {
    let mut walk = Walk::new(first);
    let (mut top, mut low) = (vec![0; PIECE], vec![0; PIECE]);
    while walk.done < len {
        let (at, piece) = (walk.done, PIECE.min(len - walk.done));
        walk.fill(&mut top[..piece], &mut low[..piece]);
        file.write_all_at(&top[..piece], at as u64)?;
        file.write_all_at(&low[..piece], (len + at) as u64)?;
    }
    file.write_all_at(&walk.into_marks(), 2 * len as u64)
}

/// A walk round a cycle.
struct Walk {
    seed: u64,
    done: usize,
    marks: Vec<(u64, u64)>,
}

impl Walk {
    fn new(seed: u64) -> Walk {
        Walk {
            seed,
            done: 0,
            marks: Vec::new(),
        }
    }

    /// Fills the next top and low bytes; both have one length.
    fn fill(&mut self, top: &mut [u8], low: &mut [u8]) {
        let mut seed = self.seed;
        for (i, (top, low)) in top.iter_mut().zip(low).enumerate() {
            if is_marked(seed) {
                self.marks.push((seed, (self.done + i) as u64));
            }
            *top = (seed >> 56) as u8;
            seed = step(seed);
            *low = (seed & 0xff) as u8;
        }
        self.done += top.len();
        self.seed = seed;
    }

    /// The remembered seeds, in order, as they stand in a table.
    fn into_marks(mut self) -> Vec<u8> {
        self.marks.sort_unstable();
        let bytes = |(seed, place): (u64, u64)| [seed.to_le_bytes(), place.to_le_bytes()].concat();
        self.marks.into_iter().flat_map(bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::{Decode, Encode};
    use crate::tf::cipher::Cipher;
    use crate::tf::cipher::plain::PlainCipher;

    #[test]
    fn each_cycle_leads_back_to_its_seed_and_never_to_zero() {
        for (first, len) in CYCLES {
            let mut seed = first;
            for _ in 0..len {
                seed = step(seed);
                assert_ne!(seed, 0);
            }
            assert_eq!(seed, first);
        }
    }

    #[test]
    fn a_table_is_the_same_in_a_file_and_in_memory() {
        let (seed, len) = CYCLES[2];
        let file = tempfile::tempfile().expect("file");
        write_table(&file, seed, len).expect("table");
        let table = table_in_memory(seed, len);
        assert_eq!(file.metadata().expect("stat").len(), table.len() as u64);
        let mut piece = vec![0; PIECE];
        for (n, expected) in table.chunks(PIECE).enumerate() {
            let piece = &mut piece[..expected.len()];
            file.read_exact_at(piece, (n * PIECE) as u64).expect("read");
            assert!(piece == expected, "piece {n}");
        }
    }

    #[test]
    fn a_table_for_which_memory_runs_out_is_never_read() {
        let handle = memory_for_table().expect("memfd");
        rustix::fs::ftruncate(&handle, 64 << 20).expect("size");
        rustix::fs::fcntl_add_seals(&handle, SealFlags::GROW).expect("seal");
        assert!(make(vec![handle.try_clone().expect("handle")]).is_err());
        assert!(map_sealed(handle.as_fd()).is_err());
    }

    #[test]
    fn a_chain_goes_over_to_the_table_without_a_seam() {
        let handle = memory_for_table().expect("memfd");
        let (word, _other_end) = rustix::pipe::pipe().expect("pipe");
        make(vec![handle.try_clone().expect("handle")]).expect("table");
        read_tables(vec![handle], word);
        // This chain is on the first cycle after some 5 million steps.
        let mut key = 0x0f1a_50d5_9c0a_a21a_u64.to_le_bytes().to_vec();
        key.extend(1..=13);
        let (mut fast, mut plain) = (Cipher::new(&key), PlainCipher::new(&key));
        let mut text = vec![0; 1_000_003];
        let lap = CYCLES[0].1;
        for round in 0..(6_000_000 + 2 * lap) / text.len() {
            let mut enciphered = text.clone();
            fast.encrypt(&mut enciphered);
            plain.encrypt(&mut text);
            assert!(enciphered == text, "round {round}");
        }
        assert!(fast.reads_a_table());

        // A copy that is made on the cycle, and what a new process makes of it.
        let resumed = Cipher::from_bytes(&fast.to_bytes()).expect("state");
        let mut expected = vec![0; 100_000];
        plain.encrypt(&mut expected);
        for mut copy in [fast.clone(), resumed] {
            let mut text = vec![0; 100_000];
            copy.encrypt(&mut text);
            assert!(text == expected);
        }
    }
}
