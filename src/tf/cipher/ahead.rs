//! A chain made ahead of its use by a thread of its own: a bounded queue of
//! blocks. The thread ends where the chain meets a cycle or needs the key, and
//! when blocks are hardly taken any more; it leaves the generator where the
//! chain goes on, and no memory.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::generator::{Block, Generator};
use crate::sys::thread::{cores, spawn_beside};

/// Bytes of a block, each with two of memory.
pub(super) const BLOCK: usize = 64 * 1024;

/// Bytes of a piece of a block, few enough for the nearest cache.
const PIECE: usize = 4 * 1024;

/// The most blocks made and not taken.
const QUEUE: usize = 8;

/// A full queue is filled again when it is half empty, and a chain that waits
/// goes on when it is half full: waking the other side costs time.
const HALF: usize = QUEUE / 2;

/// How long a queue may stay more than half full before the thread ends.
pub(super) const REST_AFTER: Duration = Duration::from_millis(100);

/// Bytes of the thread's stack.
const STACK: usize = 128 * 1024;

/// A chain that is being made ahead. Dropped, it lets the thread end.
pub(super) struct Ahead(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There are blocks, or the thread has ended.
    made: Condvar,
    /// Blocks were taken, or nobody wants any.
    taken: Condvar,
}

#[derive(Default)]
struct Queue {
    made: VecDeque<Block>,
    /// Used up, for their memory.
    spent: Vec<Block>,
    /// What the thread has left when it ended.
    generator: Option<Generator>,
    taker_waits: bool,
    unwanted: bool,
}

impl Ahead {
    /// Starts the thread, which goes on where this generator is; nothing where
    /// it would have no core to itself, or the system makes none.
    pub(super) fn start(generator: &Generator) -> Option<Ahead> {
        if cores() > 1 {
            Ahead::start_anyhow(generator.clone())
        } else {
            None
        }
    }

    fn start_anyhow(generator: Generator) -> Option<Ahead> {
        let shared = Arc::new(Shared::default());
        let maker = Arc::clone(&shared);
        spawn_beside("keystream", STACK, move || maker.run(generator)).ok()?;
        Some(Ahead(shared))
    }

    /// Puts the next block in place of the last.
    ///
    /// # Errors
    /// The generator, when the thread has ended and all its blocks are taken.
    pub(super) fn next(&self, block: &mut Block) -> Result<(), Generator> {
        let mut queue = self.0.lock();
        loop {
            if let Some(next) = queue.made.pop_front() {
                let spent = std::mem::replace(block, next);
                queue.spent.push(spent);
                if queue.made.len() == HALF {
                    self.0.taken.notify_one();
                }
                return Ok(());
            }
            if let Some(generator) = queue.generator.take() {
                return Err(generator);
            }
            queue.taker_waits = true;
            queue = self
                .0
                .made
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.lock().unwanted = true;
        self.0.taken.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does.
    fn run(&self, mut generator: Generator) {
        let mut piece = Block::default();
        let mut queue = self.lock();
        while !queue.unwanted {
            if queue.made.len() >= QUEUE {
                let is_full = |queue: &mut Queue| queue.made.len() > HALF && !queue.unwanted;
                let waited = self.taken.wait_timeout_while(queue, REST_AFTER, is_full);
                let (locked, limit) = waited.unwrap_or_else(PoisonError::into_inner);
                queue = locked;
                if limit.timed_out() {
                    queue.unmake(&mut generator);
                    break;
                }
                continue;
            }
            let mut block = queue.spent.pop().unwrap_or_default();
            drop(queue);
            make_block(&mut generator, &mut piece, &mut block);
            queue = self.lock();
            if block.len() == 0 {
                break;
            }
            queue.made.push_back(block);
            if queue.taker_waits && queue.made.len() >= HALF {
                queue.taker_waits = false;
                self.made.notify_one();
            }
        }
        queue.spent = Vec::new();
        queue.generator = Some(generator);
        self.made.notify_one();
    }
}

/// Makes a block in pieces. The memory of a block was last in the cache of
/// another core; written byte by byte it would hold the chain up.
fn make_block(generator: &mut Generator, piece: &mut Block, block: &mut Block) {
    block.clear_for(BLOCK);
    while block.len() < BLOCK {
        generator.make(piece, PIECE);
        if piece.len() == 0 {
            break;
        }
        block.append(piece);
    }
}

impl Queue {
    /// Gives back what nobody has taken.
    fn unmake(&mut self, generator: &mut Generator) {
        let made = std::mem::take(&mut self.made);
        if let Some(first) = made.front() {
            generator.go_back(first, made.iter().map(Block::len).sum());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 0x0123_4567_89ab_cdef;

    fn computed(len: usize) -> Vec<u8> {
        let mut block = Block::default();
        Generator::new(SEED).make(&mut block, len);
        block.top.clone()
    }

    #[test]
    fn a_queue_is_bounded_and_given_back_when_nobody_takes_from_it() {
        let mut ahead = Ahead::start_anyhow(Generator::new(SEED)).expect("thread");
        let mut taken = Vec::new();
        let mut block = Block::default();
        for _ in 0..3 * QUEUE {
            // It ends early where this thread is kept waiting.
            while let Err(generator) = ahead.next(&mut block) {
                ahead = Ahead::start_anyhow(generator).expect("thread");
            }
            assert!(ahead.0.lock().made.len() <= QUEUE);
            taken.extend_from_slice(&block.top);
        }
        let deadline = std::time::Instant::now() + 100 * REST_AFTER;
        while ahead.0.lock().generator.is_none() {
            assert!(std::time::Instant::now() < deadline, "the thread goes on");
            std::thread::sleep(REST_AFTER / 10);
        }
        {
            let queue = ahead.0.lock();
            assert!(queue.made.is_empty() && queue.spent.is_empty());
        }
        let mut generator = ahead.next(&mut block).expect_err("the thread has ended");
        generator.make(&mut block, 1000);
        taken.extend_from_slice(&block.top);
        assert!(taken == computed(taken.len()));
    }

    #[test]
    fn a_thread_ends_when_nobody_wants_its_blocks() {
        let ahead = Ahead::start_anyhow(Generator::new(SEED)).expect("thread");
        let shared = Arc::clone(&ahead.0);
        drop(ahead);
        let deadline = std::time::Instant::now() + 100 * REST_AFTER;
        while shared.lock().generator.is_none() {
            assert!(std::time::Instant::now() < deadline, "the thread goes on");
            std::thread::yield_now();
        }
    }
}
