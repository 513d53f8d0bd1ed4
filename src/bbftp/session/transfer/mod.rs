//! Transfers: what moves bytes of files. Each function sends what belongs to the
//! transfer, and returns its last answer. After one that has failed while the client
//! may still send its start, `Env::may_come_late` is set.

use super::env::{Env, Version};
use super::reply::Reply;
use crate::bbftp::request::Named;
use crate::bbftp::wire::extension::Missing;
use crate::bbftp::wire::{Control, OldTransfer, Options, Result, Transfer};

/// The connection, and what a transfer works on.
type Session<'a> = (&'a mut Control, &'a mut Env);

fn none() -> Result<Reply> {
    Ok(Reply::no("Transfers are not served yet"))
}

/// STORE, and with `gzip` STORE_C.
pub fn old_store(_: Session<'_>, _: &Named, _: &OldTransfer, _gzip: bool) -> Result<Reply> {
    none()
}

/// RETR, and with `gzip` RETR_C.
pub fn old_retrieve(_: Session<'_>, _: &Named, _: &OldTransfer, _gzip: bool) -> Result<Reply> {
    none()
}

/// STORE_V2, in version 2 or 3.
pub fn store(_: Session<'_>, _: &Named, _: &Transfer, _: Version) -> Result<Reply> {
    none()
}

/// RETR_V2, in version 2 or 3.
pub fn retrieve(_: Session<'_>, _: &Named, _: &Transfer, _: Version) -> Result<Reply> {
    none()
}

/// SMALL_STORE
pub fn small_store(_: Session<'_>, _: &Named, _: &Transfer, _content: &[u8]) -> Result<Reply> {
    none()
}

/// SMALL_RETR
pub fn small_retrieve(_: Session<'_>, _: &Named, _: Options) -> Result<Reply> {
    none()
}

/// STORE_FROM
pub fn store_from(_: Session<'_>, _: &Named, _: &Transfer) -> Result<Reply> {
    none()
}

/// RETR_FROM
pub fn retrieve_from(
    _: Session<'_>,
    _: &Named,
    _: &Transfer,
    _missing: &[Missing],
) -> Result<Reply> {
    none()
}
