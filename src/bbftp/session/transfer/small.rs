//! Small files, each in one message.

use super::retrieve::{describe, open};
use super::store::{appear, begin_in_directory};
use super::{Reply, Session};
use crate::bbftp::request::Named;
use crate::bbftp::wire::extension::{MAX_SMALL_FILE, SmallFile};
use crate::bbftp::wire::{Code, Options, Result, Transfer};

/// SMALL_STORE
///
/// # Errors
/// None: the whole message is there.
pub fn small_store(
    (_, env): Session<'_>,
    file: &Named,
    transfer: &Transfer,
    content: &[u8],
) -> Result<Reply> {
    let empty = Transfer {
        size: 0,
        ..transfer.clone()
    };
    let mut upload = match begin_in_directory(env, file, &empty, None) {
        Ok(upload) => upload,
        Err(reply) => return Ok(reply),
    };
    if let Err(e) = upload.write(content) {
        return Ok(env.failed("Error writing file", &file.text, e));
    }
    env.moved += content.len() as u64;
    Ok(appear(env, file, upload, transfer))
}

/// SMALL_RETR
///
/// # Errors
/// None: the answer is one message.
pub fn small_retrieve((_, env): Session<'_>, file: &Named, _: Options) -> Result<Reply> {
    let reader = match open(env, file) {
        Ok(reader) => reader,
        Err(reply) => return Ok(reply),
    };
    let asked = Transfer {
        buffer: 1,
        streams: 1,
        ..Transfer::default()
    };
    let transfer = match describe(&reader, &asked) {
        Ok(transfer) => transfer,
        Err(reply) => return Ok(reply),
    };
    let len = match usize::try_from(transfer.size) {
        Ok(len) if len <= MAX_SMALL_FILE => len,
        _ => {
            let text = [b"File ", &file.text[..], b" is too large for one message"];
            return Ok(Reply::no(text.concat()));
        }
    };
    let mut content = vec![0; len];
    let read = reader.read_at(&mut content, 0);
    match read {
        Ok(read) if read == len => {}
        Ok(_) => return Ok(Reply::Bad(b"The file has just become shorter".to_vec())),
        Err(e) => return Ok(Reply::failed("Error reading file", &file.text, e)),
    }
    env.moved += transfer.size;
    let content = &content[..];
    let payload = SmallFile { transfer, content }.encode();
    Ok(Reply::Message(Code::SmallFile, payload))
}
