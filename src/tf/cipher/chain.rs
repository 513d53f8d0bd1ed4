//! The chain of seeds: made block by block as it is used, or ahead by a
//! thread where that is faster, and read from a table once it has run into one
//! of the cycles in which every chain ends.

use super::ahead::Ahead;
use super::cycle::Cycle;
use super::generator::{Block, Generator};
use super::recurrence::step;
use super::trial::{Trial, Verdict};

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
    /// Bytes used up, in all.
    taken: usize,
    trial: Trial,
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
            taken: 0,
            trial: Trial::new(),
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
        self.judge();
        self.used = 0;
        if let Source::Ahead(ahead) = &self.source {
            match ahead.next(&mut self.block) {
                Ok(()) => return,
                Err(generator) => {
                    self.block = Block::default();
                    self.source = Source::Generator(generator);
                }
            }
        }
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

    /// Starts a thread for a chain that is used fast, or lets it end.
    fn judge(&mut self) {
        self.taken += self.block.len();
        match self.trial.used(self.block.len(), self.is_made_ahead()) {
            Verdict::GoOn => {}
            Verdict::Start => self.make_ahead(),
            Verdict::Stop => self.make_here(),
        }
    }

    /// Lets the thread end, and goes on without it behind the last byte used.
    pub(super) fn make_here(&mut self) {
        if self.is_made_ahead() {
            let seed = self.seed();
            self.source = Source::Generator(Generator::resume(seed, self.taken));
            self.block = Block::empty(seed);
            self.used = 0;
        }
    }

    /// Lets a thread make what comes behind the bytes made.
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
            Source::Cycle(cycle) => Chain {
                source: Source::Cycle(*cycle),
                used: self.used,
                ..Chain::new(0)
            },
            _ => Chain::new(self.seed()),
        }
    }
}
