//! SHA256 (document, "SHA256"): the digest of a whole file, read by the
//! server, so that a client can compare without a download.

use crate::store::RootPath;
use crate::store::read::{FileReader, ReadError};
use crate::text::hex;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// `0x` and 64 hexadecimal digits.
///
/// # Errors
/// 1 for a path that leads outside, else 45.
pub(crate) fn run(env: &Env, path: &RootPath) -> Result<Reply, Status> {
    let file = FileReader::open(&env.root, path).map_err(|e| match e {
        ReadError::System(rustix::io::Errno::XDEV) => Status::AccessDenied,
        _ => Status::Sha256,
    })?;
    let digest = match env.digests.of(file.handle()) {
        Some(digest) => digest,
        None => file.sha256().map_err(|_| Status::Sha256)?,
    };
    let digits = hex(&digest);
    Ok(Reply::OkWith(format!("0x{digits}").into_bytes()))
}
