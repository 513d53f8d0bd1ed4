//! ADDNTFY (document, "ADDNTFY"): one more entry in the list of what
//! STARTNTFY will watch.

use rustix::io::Errno;

use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// The most entries of one session.
const MOST: usize = 4096;

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// How the names begin that the client asks for.
    pub token: Vec<u8>,
    /// The directory.
    pub path: RootPath,
}

/// Adds a directory to the list.
///
/// # Errors
/// 1 or 5.
pub(crate) fn add(env: &mut Env, token: Vec<u8>, path: RootPath) -> Result<Reply, Status> {
    env.root.open_dir(&path).map_err(|e| match e {
        Errno::ACCESS | Errno::PERM | Errno::XDEV => Status::AccessDenied,
        _ => Status::NotifyAdd,
    })?;
    if env.watches.len() >= MOST {
        return Err(Status::NotifyAdd);
    }
    env.watches.push(Listed { token, path });
    Ok(Reply::Ok)
}
