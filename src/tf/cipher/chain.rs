//! The chain of seeds: made block by block as it is used, and read from a table
//! once it has run into one of the cycles in which every chain ends.

use zeroize::Zeroize;

#[cfg(feature = "testing")]
use super::cycle::first_seed;
use super::cycle::{self, Cycle, step};

/// Bytes made in one go: few at first, so that a handshake pays for what it
/// uses, then more with each block.
const FIRST_BLOCK: usize = 128;
const LARGEST_BLOCK: usize = 8192;

/// The chain and the part of it that is ready for use.
pub(super) struct Chain {
    source: Source,
    /// What is ready, but on a cycle.
    block: Block,
    /// How far the block, or the cycle, is used.
    used: usize,
    /// Length of the last block that was made as it was used.
    len: usize,
}

/// Where the next bytes come from.
enum Source {
    Generator(Generator),
    /// The table of the cycle, which stands in for the block.
    Cycle(Cycle),
}

impl Chain {
    /// The chain that starts with this seed.
    pub(super) fn new(seed: u64) -> Chain {
        Chain {
            source: Source::Generator(Generator::new(seed)),
            block: Block::empty(seed),
            used: 0,
            len: FIRST_BLOCK / 2,
        }
    }

    /// How many bytes are ready.
    pub(super) fn ready(&self) -> usize {
        match &self.source {
            Source::Cycle(cycle) => cycle.len() - self.used,
            Source::Generator(_) => self.block.len() - self.used,
        }
    }

    /// The next `len` top bytes and low bytes; no more than are ready.
    pub(super) fn next(&self, len: usize) -> (&[u8], &[u8]) {
        let range = self.used..self.used + len;
        match &self.source {
            Source::Cycle(cycle) => (&cycle.top()[range.clone()], &cycle.low()[range]),
            Source::Generator(_) => (&self.block.top[range.clone()], &self.block.low[range]),
        }
    }

    /// Marks `len` bytes as used.
    pub(super) fn advance(&mut self, len: usize) {
        self.used += len;
    }

    /// The seed behind the last byte used.
    pub(super) fn seed(&self) -> u64 {
        let (from, steps) = match &self.source {
            Source::Cycle(cycle) => cycle.mark_before(self.used),
            Source::Generator(_) => (self.block.before, self.used),
        };
        (0..steps).fold(from, |seed, _| step(seed))
    }

    /// Goes on from another seed, where nothing is ready.
    pub(super) fn restart(&mut self, seed: u64) {
        if let Source::Generator(generator) = &mut self.source {
            generator.restart(seed);
            self.block.before = seed;
        }
    }

    /// Makes bytes ready where none are: none again where the seed would
    /// become 0. That step needs the key.
    pub(super) fn refill(&mut self) {
        self.used = 0;
        let Source::Generator(generator) = &mut self.source else {
            return;
        };
        self.len = (self.len * 2).min(LARGEST_BLOCK);
        if let Some((cycle, place)) = generator.make(&mut self.block, self.len) {
            self.source = Source::Cycle(cycle);
            self.used = place;
            self.block = Block::default();
        }
    }
}

impl Clone for Chain {
    fn clone(&self) -> Chain {
        match &self.source {
            Source::Cycle(cycle) => Chain {
                source: Source::Cycle(*cycle),
                used: self.used,
                ..Chain::new(0)
            },
            Source::Generator(_) => Chain::new(self.seed()),
        }
    }
}

/// The chain of a key without its use: what the generator alone is measured with.
#[cfg(feature = "testing")]
pub struct ChainAlone(Chain);

#[cfg(feature = "testing")]
impl ChainAlone {
    /// The chain at its start. `key` has 8 bytes or more.
    pub fn new(key: &[u8]) -> ChainAlone {
        ChainAlone(Chain::new(first_seed(key)))
    }

    /// Makes the next `len` top and low bytes ready for use and drops them.
    /// Returns how many were made: fewer where the seed would become 0.
    pub fn make(&mut self, len: usize) -> usize {
        let mut made = 0;
        while made < len {
            if self.0.ready() == 0 {
                self.0.refill();
            }
            let ready = self.0.ready().min(len - made);
            if ready == 0 {
                break;
            }
            self.0.advance(ready);
            made += ready;
        }
        made
    }
}

/// Steps between two checks for a cycle.
const LOOK_EVERY: usize = 4 * 1024 * 1024;

/// Consecutive bytes of a chain.
#[derive(Clone, Default)]
pub(super) struct Block {
    /// The seed before the first of them.
    pub(super) before: u64,
    /// `seed >> 56` before each step.
    pub(super) top: Vec<u8>,
    /// The low byte of the seed after each step.
    pub(super) low: Vec<u8>,
}

impl Block {
    /// No bytes, with the chain at this seed.
    pub(super) fn empty(before: u64) -> Block {
        Block {
            before,
            top: Vec::new(),
            low: Vec::new(),
        }
    }

    /// How many bytes it holds.
    pub(super) fn len(&self) -> usize {
        self.top.len()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.before.zeroize();
        self.top.zeroize();
        self.low.zeroize();
    }
}

/// The seed after the last byte made, and what is known of the chain so far.
#[derive(Clone)]
pub(super) struct Generator {
    seed: u64,
    /// Steps made in all.
    made: usize,
    /// When the next check for a cycle is due, in steps made.
    look_at: usize,
    /// Where the chain will meet a cycle: in steps made; the cycle; the place in
    /// it.
    meeting: Option<(usize, Cycle, usize)>,
}

impl Generator {
    /// The generator that continues from this seed.
    pub(super) fn new(seed: u64) -> Generator {
        Generator {
            seed,
            made: 0,
            look_at: LOOK_EVERY,
            meeting: None,
        }
    }

    /// Continues from another seed.
    pub(super) fn restart(&mut self, seed: u64) {
        self.seed = seed;
        self.meeting = None;
    }

    /// Makes the next bytes, `len` at most. The block is shorter, perhaps
    /// empty, where the seed would become 0: that step needs the key. Where
    /// the chain is on a cycle it is empty, too, and the cycle comes back with
    /// the place in it.
    pub(super) fn make(&mut self, block: &mut Block, len: usize) -> Option<(Cycle, usize)> {
        if self.made >= self.look_at && self.meeting.is_none() {
            self.look_at = self.made + LOOK_EVERY;
            self.meeting = cycle::meet(self.seed, self.made)
                .map(|meeting| (self.made + meeting.steps, meeting.cycle, meeting.place));
        }
        let len = match self.meeting {
            Some((at, _, _)) => len.min(at - self.made),
            None => len,
        };
        self.fill(block, len);
        self.meeting
            .filter(|(at, ..)| len == 0 && *at == self.made)
            .map(|(_, cycle, at)| (cycle, at))
    }

    fn fill(&mut self, block: &mut Block, len: usize) {
        block.before = self.seed;
        block.top.resize(len, 0);
        block.low.resize(len, 0);
        let mut seed = self.seed;
        let mut made = len;
        for (i, (top, low)) in block.top.iter_mut().zip(&mut block.low).enumerate() {
            let next = step(seed);
            if next == 0 {
                made = i;
                break;
            }
            *top = (seed >> 56) as u8;
            *low = (next & 0xff) as u8;
            seed = next;
        }
        self.seed = seed;
        block.top.truncate(made);
        block.low.truncate(made);
        self.made += made;
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}
