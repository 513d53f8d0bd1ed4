//! The chain of seeds: made block by block, and read from a table once it has
//! run into one of the cycles in which every chain ends.

use zeroize::Zeroize;

use super::cycle::{self, Cycle};
use super::recurrence::step;

/// Seeds made in one go, two bytes of memory each: few at first, so that a
/// handshake pays for what it uses, then more with each block.
const FIRST_BLOCK: usize = 128;
const LARGEST_BLOCK: usize = 8192;

/// Steps between two looks for a cycle.
const LOOK_EVERY: usize = 4 * 1024 * 1024;

/// The seed recurrence and the part of its output that is ready for use.
#[derive(Clone)]
pub(super) struct Chain {
    /// The seed behind the last byte made. Of no meaning on a cycle.
    seed: u64,
    /// `seed >> 56` before each step.
    top: Vec<u8>,
    /// The low byte of the seed after each step.
    low: Vec<u8>,
    /// The cycle the chain is on, which stands in for `top` and `low`.
    cycle: Option<Cycle>,
    /// How far `top` and `low` are used.
    used: usize,
    /// Length of the last block made.
    block: usize,
    /// Steps made in all.
    made: usize,
    /// Where the next look for a cycle is due, in steps made.
    look_at: usize,
    /// Where the chain is known to meet a cycle: in steps made; the cycle; the
    /// place in it.
    meeting: Option<(usize, Cycle, usize)>,
}

impl Chain {
    /// The chain that starts with this seed.
    pub(super) fn new(seed: u64) -> Chain {
        Chain {
            seed,
            top: Vec::new(),
            low: Vec::new(),
            cycle: None,
            used: 0,
            block: FIRST_BLOCK / 2,
            made: 0,
            look_at: LOOK_EVERY,
            meeting: None,
        }
    }

    /// The chain with this seed behind bytes made before.
    pub(super) fn resume(seed: u64, top: &[u8], low: &[u8]) -> Chain {
        Chain { top: top.to_vec(), low: low.to_vec(), made: top.len(), ..Chain::new(seed) }
    }

    /// How many bytes are ready.
    pub(super) fn ready(&self) -> usize {
        self.cycle.map_or(self.top.len(), |cycle| cycle.len()) - self.used
    }

    /// The next `len` top bytes and low bytes; no more than are ready.
    pub(super) fn next(&self, len: usize) -> (&[u8], &[u8]) {
        let range = self.used..self.used + len;
        match &self.cycle {
            Some(cycle) => (&cycle.top()[range.clone()], &cycle.low()[range]),
            None => (&self.top[range.clone()], &self.low[range]),
        }
    }

    /// Marks `len` bytes as used.
    pub(super) fn advance(&mut self, len: usize) {
        self.used += len;
    }

    /// The seed behind the last byte made. Only where nothing is ready, and
    /// never on a cycle: no cycle has a step that needs it.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Goes on from another seed.
    pub(super) fn restart(&mut self, seed: u64) {
        self.seed = seed;
        self.meeting = None;
    }

    /// Makes bytes ready. It ends early, perhaps with none, where the seed
    /// would become 0: that step needs the key.
    pub(super) fn refill(&mut self) {
        self.used = 0;
        if self.cycle.is_some() {
            return;
        }
        if self.made >= self.look_at && self.meeting.is_none() {
            self.look_at = self.made + LOOK_EVERY;
            self.meeting = cycle::meet(self.seed, self.made)
                .map(|meeting| (self.made + meeting.steps, meeting.cycle, meeting.place));
        }
        match self.meeting {
            Some((at, cycle, place)) if at == self.made => {
                self.cycle = Some(cycle);
                self.used = place;
                self.wipe();
            }
            Some((at, _, _)) => self.compute((at - self.made).min(LARGEST_BLOCK)),
            None => {
                self.block = (self.block * 2).min(LARGEST_BLOCK);
                self.compute(self.block);
            }
        }
    }

    fn compute(&mut self, len: usize) {
        self.top.resize(len, 0);
        self.low.resize(len, 0);
        let mut seed = self.seed;
        let mut made = len;
        for (i, (top, low)) in self.top.iter_mut().zip(&mut self.low).enumerate() {
            let next = step(seed);
            if next == 0 {
                made = i;
                break;
            }
            *top = (seed >> 56) as u8;
            *low = next as u8;
            seed = next;
        }
        self.seed = seed;
        self.top.truncate(made);
        self.low.truncate(made);
        self.made += made;
    }

    /// Overwrites what was computed.
    pub(super) fn wipe(&mut self) {
        self.seed.zeroize();
        self.top.zeroize();
        self.low.zeroize();
    }
}
