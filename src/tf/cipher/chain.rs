//! The chain of seeds: made block by block as it is used, and read from a table
//! once it has run into one of the cycles in which every chain ends.

use super::cycle::Cycle;
use super::generator::{Block, Generator};
use super::recurrence::step;

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
