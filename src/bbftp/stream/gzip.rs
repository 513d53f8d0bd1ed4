//! A range in chunks, each by itself a stream of zlib, or stored where that is
//! no longer: flag and length of what follows, as 32-bit numbers.

use std::fs::File;
use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc::{Receiver as Output, SyncSender as Input, sync_channel};
use std::thread::{Builder, Scope, available_parallelism};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::connection::Connection;
use super::plain::{Receiver, read};
use super::transfer::{Common, STACK};
use super::{Result, StreamError};
use crate::sys::number::at_most;

const STORED: u32 = 0;
const DEFLATED: u32 = 1;

/// Bytes of a chunk's header.
const HEADER: usize = 8;

/// The most bytes of a file that go into a chunk of ours.
const BLOCK: usize = 256_000;

/// Bytes of a chunk that are inflated at once, and room for what they give.
const INPUT: usize = 64 * 1024;
const OUTPUT: usize = 256 * 1024;

/// The most threads that compress for one stream.
const MAX_WORKERS: usize = 4;

/// Sends a range. Other threads compress, each every so many-th block, so that
/// this one has the next chunk whenever the connection takes it.
pub(super) fn send(
    common: &Common,
    connection: &mut Connection<'_>,
    range: Range<u64>,
    most: usize,
) -> Result<()> {
    let block = most.min(BLOCK).min(common.piece());
    let cores = available_parallelism().map_or(1, NonZero::get);
    let workers = (cores / common.streams).clamp(1, MAX_WORKERS);
    std::thread::scope(|scope| {
        let outputs: std::io::Result<Vec<_>> = (0..workers)
            .map(|worker| {
                let first = range.start + (worker * block) as u64;
                let blocks = (first..range.end).step_by(workers * block);
                let ranges = blocks.map(move |at| at..range.end.min(at + block as u64));
                start(scope, &common.job.file, ranges)
            })
            .collect();
        let outputs = outputs.map_err(StreamError::File)?;
        let blocks = (range.end - range.start).div_ceil(block as u64);
        let mut left = range.end - range.start;
        for (_, output) in (0..blocks).zip(outputs.iter().cycle()) {
            let chunk = output.recv().map_err(|_| StreamError::Aborted)??;
            connection.write(&chunk)?;
            let len = at_most(left, block);
            left -= len as u64;
            common.moved(len);
        }
        Ok(())
    })
}

/// Starts a thread that makes chunks of these ranges, and ends with the other
/// end of the channel.
fn start<'s>(
    scope: &'s Scope<'s, '_>,
    file: &'s File,
    ranges: impl Iterator<Item = Range<u64>> + Send + 's,
) -> std::io::Result<Output<Result<Vec<u8>>>> {
    let (input, output) = sync_channel(1);
    Builder::new()
        .stack_size(STACK)
        .spawn_scoped(scope, move || compress(file, ranges, &input))?;
    Ok(output)
}

fn compress(file: &File, ranges: impl Iterator<Item = Range<u64>>, to: &Input<Result<Vec<u8>>>) {
    let mut zlib = Compress::new(Compression::default(), true);
    let mut block = Vec::new();
    for range in ranges {
        block.resize(at_most(range.end - range.start, usize::MAX), 0);
        let chunk = read(file, &mut block, range.start).map(|()| chunk(&mut zlib, &block));
        if to.send(chunk).is_err() {
            return;
        }
    }
}

/// The chunk of a block, with its header.
fn chunk(zlib: &mut Compress, block: &[u8]) -> Vec<u8> {
    let mut chunk = vec![0; HEADER + block.len()];
    zlib.reset();
    let done = zlib.compress(block, &mut chunk[HEADER..], FlushCompress::Finish);
    let flag = match done {
        Ok(Status::StreamEnd) => {
            chunk.truncate(HEADER + at_most(zlib.total_out(), block.len()));
            DEFLATED
        }
        _ => {
            chunk[HEADER..].copy_from_slice(block);
            STORED
        }
    };
    let len = u32::try_from(chunk.len() - HEADER).unwrap_or(u32::MAX);
    chunk[..4].copy_from_slice(&flag.to_be_bytes());
    chunk[4..HEADER].copy_from_slice(&len.to_be_bytes());
    chunk
}

/// Receives a range in chunks of at most `most` bytes, inflated or not.
pub(super) fn receive(
    common: &Common,
    connection: &mut Connection<'_>,
    range: Range<u64>,
    most: usize,
) -> Result<()> {
    let mut receiver = Receiver::new(common, range);
    let mut inflate = Inflate::new();
    while receiver.missing() > 0 {
        let mut header = [0; HEADER];
        connection.read_exact(&mut header)?;
        let [a, b, c, d, len @ ..] = header;
        let len = u32::from_be_bytes(len) as usize;
        let room = at_most(receiver.missing(), most);
        if len == 0 || len > most {
            return Err(StreamError::Chunk("a length out of range"));
        }
        match u32::from_be_bytes([a, b, c, d]) {
            STORED if len <= room => receiver.receive_some(connection, len as u64)?,
            STORED => return Err(StreamError::Chunk("longer than its range")),
            DEFLATED => inflate.receive(connection, len, room, &mut receiver)?,
            _ => return Err(StreamError::Chunk("an unknown flag")),
        }
    }
    Ok(())
}

/// Inflates chunks as their bytes arrive.
struct Inflate {
    zlib: Decompress,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Inflate {
    fn new() -> Inflate {
        Inflate {
            zlib: Decompress::new(true),
            input: vec![0; INPUT],
            output: vec![0; OUTPUT],
        }
    }

    /// Receives a chunk of `len` bytes that has at most `most` inflated.
    fn receive(
        &mut self,
        connection: &mut Connection<'_>,
        len: usize,
        most: usize,
        to: &mut Receiver<'_>,
    ) -> Result<()> {
        self.zlib.reset(true);
        let mut left = len;
        let mut ended = false;
        while left > 0 {
            let room = left.min(INPUT);
            let n = connection.read(&mut self.input[..room])?;
            left -= n;
            ended = self.inflate(n, most, to)?;
            if ended && left > 0 {
                return Err(StreamError::Chunk("bytes behind its end"));
            }
        }
        if !ended || self.zlib.total_out() == 0 {
            return Err(StreamError::Chunk("without its end"));
        }
        Ok(())
    }

    /// Inflates the first so many bytes of the input; whether they end the
    /// chunk.
    fn inflate(&mut self, n: usize, most: usize, to: &mut Receiver<'_>) -> Result<bool> {
        let mut input = &self.input[..n];
        loop {
            let before = (self.zlib.total_in(), self.zlib.total_out());
            // One byte more than there may be shows that there are too many.
            let room = (most + 1).saturating_sub(at_most(before.1, most + 1));
            let output = &mut self.output[..room.min(OUTPUT)];
            let status = self
                .zlib
                .decompress(input, output, FlushDecompress::None)
                .map_err(|_| StreamError::Chunk("not zlib"))?;
            let used = at_most(self.zlib.total_in() - before.0, input.len());
            let given = at_most(self.zlib.total_out() - before.1, output.len());
            if self.zlib.total_out() > most as u64 {
                return Err(StreamError::Chunk("longer than its range"));
            }
            to.write(&output[..given])?;
            input = &input[used..];
            match status {
                Status::StreamEnd if input.is_empty() => return Ok(true),
                Status::StreamEnd => return Err(StreamError::Chunk("bytes behind its end")),
                _ if input.is_empty() && given < output.len() => return Ok(false),
                _ if used == 0 && given == 0 => return Err(StreamError::Chunk("not zlib")),
                _ => {}
            }
        }
    }
}
