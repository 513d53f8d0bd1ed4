//! SHA256 (document, "SHA256"): the digest of a whole file, read by the
//! server, so that a client can compare without a download.

use sha2::{Digest, Sha256};

use crate::store::RootPath;
use crate::store::read::{FileReader, ReadError};
use crate::store::wanted;
use crate::text::hex;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// The most bytes read at once, and the fewest.
const BUFFER: usize = 256 * 1024;
const LEAST: usize = 8 * 1024;

/// `0x` and 64 hexadecimal digits.
///
/// # Errors
/// 1 for a path that leads outside, else 45.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    let file = FileReader::open(&env.root, path).map_err(|e| match e {
        ReadError::System(rustix::io::Errno::XDEV) => Status::AccessDenied,
        _ => Status::Sha256,
    })?;
    file.read_in_order();
    let mut digest = Sha256::new();
    // One byte more than the file has shows the end by one read.
    let expected = usize::try_from(file.length).unwrap_or(BUFFER);
    let mut buffer = vec![0; expected.saturating_add(1).clamp(LEAST, BUFFER)];
    let mut offset = 0;
    let mut look_at = wanted::WORK;
    loop {
        if offset >= look_at {
            wanted::check().map_err(|_| Status::Sha256)?;
            look_at += wanted::WORK;
        }
        let len = file
            .read_at(&mut buffer, offset)
            .map_err(|_| Status::Sha256)?;
        digest.update(&buffer[..len]);
        offset += len as u64;
        if len < buffer.len() {
            break;
        }
    }
    let digits = hex(&digest.finalize());
    Ok(Reply::OkWith(format!("0x{digits}").into_bytes()))
}
