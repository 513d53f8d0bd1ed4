//! Transfers: what moves bytes of files. Each function sends what belongs to the
//! transfer, and returns its last answer. After one that has failed while the client
//! may still send its start, `Env::may_come_late` is set.

mod carry;
mod data;
mod retrieve;
mod small;
mod start;
mod store;

use super::env::{Env, Version};
use super::reply::Reply;
use crate::bbftp::stream::Coding;
use crate::bbftp::wire::{Control, MAX_STREAMS, Options, Transfer};

pub use retrieve::{old_retrieve, retrieve, retrieve_from};
pub use small::{small_retrieve, small_store};
pub use store::{old_store, store, store_from};

/// The connection, and what a transfer works on.
type Session<'a> = (&'a mut Control, &'a mut Env);

/// What can be refused with an answer, after which the session goes on.
type Refusable<T> = Result<T, Reply>;

/// The longest chunk of version 1.
const OLD_CHUNK: usize = 256_000;

/// The most KiB of a stream's buffer.
const MAX_BUFFER: u32 = 16 * 1024;

/// What answers keep of the options asked for.
const ANSWERED: u32 = 0x1f;

/// How the bytes of version 1 are on the network.
fn old_coding(gzip: bool) -> Coding {
    match gzip {
        true => Coding::Gzip(OLD_CHUNK),
        false => Coding::Plain,
    }
}

/// How those of a transfer as answered are.
fn coding(offer: &Transfer) -> Coding {
    match offer.options.has(Options::GZIP) {
        true => Coding::Gzip(offer.buffer as usize * 1024),
        false => Coding::Plain,
    }
}

/// What is asked for, within what is granted.
fn granted(asked: &Transfer) -> Transfer {
    Transfer {
        options: Options::from_bits(asked.options.bits() & ANSWERED),
        buffer: asked.buffer.min(MAX_BUFFER),
        streams: asked.streams.clamp(1, MAX_STREAMS),
        ..asked.clone()
    }
}
