//! The chain of seeds: made block by block as it is used, or ahead by a
//! thread where it is used fast and a core is free, and read from a table once
//! it has run into one of the cycles in which every chain ends.

use std::time::{Duration, Instant};

use super::ahead::Ahead;
use super::cycle::Cycle;
use super::generator::{Block, Generator};
use super::recurrence::step;

/// Bytes made in one go: few at first, so that a handshake pays for what it
/// uses, then more with each block.
const FIRST_BLOCK: usize = 128;
const LARGEST_BLOCK: usize = 8192;

/// A chain is used fast when so many bytes take no longer than that.
const STRETCH: usize = 4 * 1024 * 1024;
const FAST: Duration = Duration::from_millis(100);

/// Bytes made without a thread after one that had no core to itself.
const PAUSE: usize = 32 * STRETCH;

/// The chain and the part of it that is ready for use.
pub(super) struct Chain {
    source: Source,
    /// What is ready, but on a cycle.
    block: Block,
    /// How far the block, or the cycle, is used.
    used: usize,
    /// Length of the last block that was made as it was used.
    len: usize,
    /// Where the next stretch ends, in steps made, and when this one began.
    stretch: (usize, Option<Instant>),
}

/// Where the next bytes come from.
enum Source {
    Generator(Generator),
    Ahead(Ahead),
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
            stretch: (STRETCH, None),
        }
    }

    /// How many bytes are ready.
    pub(super) fn ready(&self) -> usize {
        match &self.source {
            Source::Cycle(cycle) => cycle.len() - self.used,
            _ => self.block.len() - self.used,
        }
    }

    /// The next `len` top bytes and low bytes; no more than are ready.
    pub(super) fn next(&self, len: usize) -> (&[u8], &[u8]) {
        let range = self.used..self.used + len;
        match &self.source {
            Source::Cycle(cycle) => (&cycle.top()[range.clone()], &cycle.low()[range]),
            _ => (&self.block.top[range.clone()], &self.block.low[range]),
        }
    }

    /// Whether a thread makes it.
    #[cfg(test)]
    pub(super) fn is_made_ahead(&self) -> bool {
        matches!(self.source, Source::Ahead(_))
    }

    /// Marks `len` bytes as used.
    pub(super) fn advance(&mut self, len: usize) {
        self.used += len;
    }

    /// The seed behind the last byte used.
    pub(super) fn seed(&self) -> u64 {
        let (from, steps) = match &self.source {
            Source::Cycle(cycle) => cycle.mark_before(self.used),
            _ => (self.block.before, self.used),
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
        if let Source::Ahead(ahead) = &self.source {
            match ahead.next(&mut self.block) {
                Ok(()) => return,
                Err(ended) => {
                    let pause = if ended.lacked_core { PAUSE } else { STRETCH };
                    self.stretch = (ended.generator.made() + pause, None);
                    self.block = Block::default();
                    self.source = Source::Generator(ended.generator);
                }
            }
        }
        let Source::Generator(generator) = &mut self.source else { return };
        self.len = (self.len * 2).min(LARGEST_BLOCK);
        if let Some((cycle, place)) = generator.make(&mut self.block, self.len) {
            self.source = Source::Cycle(cycle);
            self.used = place;
            self.block = Block::default();
        } else if self.is_used_fast() {
            self.make_ahead();
        }
    }

    /// Whether a stretch has ended now that did not take long.
    fn is_used_fast(&mut self) -> bool {
        let Source::Generator(generator) = &self.source else { return false };
        let (end, begun) = self.stretch;
        if generator.made() < end {
            return false;
        }
        self.stretch = (generator.made() + STRETCH, Some(Instant::now()));
        begun.is_some_and(|begun| begun.elapsed() < FAST)
    }

    /// Lets a thread make what comes behind the bytes that are ready.
    pub(super) fn make_ahead(&mut self) {
        if let Source::Generator(generator) = &self.source
            && let Some(ahead) = Ahead::start(generator)
        {
            self.source = Source::Ahead(ahead);
        }
    }
}

/// A copy makes its bytes itself.
impl Clone for Chain {
    fn clone(&self) -> Chain {
        match &self.source {
            Source::Cycle(cycle) => {
                Chain { source: Source::Cycle(*cycle), used: self.used, ..Chain::new(0) }
            }
            _ => Chain::new(self.seed()),
        }
    }
}
