//! The generator: makes the chain of seeds, block by block, until it runs into
//! one of the cycles whose tables are ready.

use zeroize::Zeroize;

use super::cycle::{self, Cycle};
use super::recurrence::step;

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
