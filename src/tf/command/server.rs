//! ECHO, PROCKEY, FREESP and TLB (document, same names), TFD_TARGET and TFD_WHY:
//! about the server and the session; they touch no file.

use crate::config::Dialect;
use crate::store::RootPath;
use crate::tf::env::Env;
use crate::tf::status::{Reply, Status};

/// ECHO: the text, in the document's dialect with the word in front.
pub(crate) fn echo(env: &Env, text: Vec<u8>) -> Reply {
    Reply::Text(match env.settings.dialect {
        Dialect::Deployed => text,
        Dialect::Document => [b"ECHO ", text.as_slice()].concat(),
    })
}

/// PROCKEY: the key by which UDP probes find this session.
pub(crate) fn prockey(key: &str) -> Reply {
    Reply::OkWith(format!("/{key}").into_bytes())
}

/// FREESP: the bytes this session may still write, on the root's file system
/// and within its quota. 1 when the system can't say.
pub(crate) fn freesp(env: &Env) -> Result<Reply, Status> {
    let stat = rustix::fs::fstatvfs(env.root.handle()).map_err(|_| Status::AccessDenied)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let free = env.quota.left().map_or(free, |left| left.min(free));
    Ok(Reply::OkWith(free.to_string().into_bytes()))
}

/// TFD_TARGET: what the next upload is a part of.
pub(crate) fn target(env: &mut Env, path: RootPath) -> Reply {
    env.target = Some(path);
    Reply::Ok
}

/// TFD_WHY: what there was no room for, if the last request failed for that.
pub(crate) fn why(env: &Env) -> Reply {
    match env.shortage.get() {
        Some(shortage) => Reply::OkWith(shortage.to_string().into_bytes()),
        None => Reply::Ok,
    }
}

/// TLB: the server of the pool that the client is to use. 52 without one.
pub(crate) fn tlb(env: &Env) -> Result<Reply, Status> {
    let tuple = env.pool.as_ref().and_then(|pool| pool.tuple());
    tuple.map(Reply::OkWith).ok_or(Status::Balance)
}
