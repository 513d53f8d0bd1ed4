//! Holes in files: only what is stored is sent, and zeros that come are not written.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

/// A hole shorter than this is sent: a request costs more.
const WORTH_IT: u64 = 1024 * 1024;

/// Zeros are looked for in pieces of this size, as file systems store them.
const BLOCK: usize = 4096;

/// The ranges of a file that hold data, and its last byte: the file gets its size
/// by that.
pub(in crate::client::transfers) fn data_in(
    file: &File,
    range: Range<u64>,
) -> io::Result<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let begin = match seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => range.end - 1,
            begin => begin?.min(range.end - 1),
        };
        let end = match seek(file, SeekFrom::Hole(begin)) {
            Err(Errno::NXIO) => range.end,
            end => end?.clamp(begin + 1, range.end),
        };
        match found.last_mut() {
            Some(last) if begin < last.end + WORTH_IT => last.end = end,
            _ => found.push(begin..end),
        }
        at = end;
    }
    Ok(found)
}

/// Writes data at an offset, but for blocks of zeros. The file has its size only
/// when that is set at the end.
pub(in crate::client::transfers) fn write_sparse(
    file: &File,
    data: &[u8],
    offset: u64,
) -> io::Result<()> {
    let mut at = offset;
    let mut rest = data;
    while !rest.is_empty() {
        // Up to the end of a block of the file.
        let len = BLOCK - usize::try_from(at % BLOCK as u64).unwrap_or(0);
        let (block, behind) = rest.split_at(len.min(rest.len()));
        if block.iter().any(|byte| *byte != 0) {
            file.write_all_at(block, at)?;
        }
        at += block.len() as u64;
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_written_sparse_is_read_again_by_its_data() {
        let file = tempfile::tempfile().expect("file");
        let mut data = vec![0; 5 << 20];
        for at in [0, 1, 3 << 20, (3 << 20) + 9000] {
            data[at] = 7;
        }
        write_sparse(&file, &data[..100], 0).expect("write");
        write_sparse(&file, &data[100..], 100).expect("write");
        file.set_len(data.len() as u64).expect("size");
        assert!(file.metadata().expect("stat").blocks() * 512 < 1 << 20);
        let mut copy = vec![0; data.len()];
        file.read_exact_at(&mut copy, 0).expect("read");
        assert!(copy == data);
        let ranges = data_in(&file, 0..data.len() as u64).expect("ranges");
        assert!(ranges.iter().all(|range| range.end - range.start < 1 << 20));
        let holds = |at: u64| ranges.iter().any(|range| range.contains(&at));
        assert!(holds(0) && holds(3 << 20) && holds((3 << 20) + 9000));
        assert!(holds(data.len() as u64 - 1) && !holds(2 << 20));
        assert!(data_in(&file, 7..7).expect("ranges").is_empty());
    }
}
