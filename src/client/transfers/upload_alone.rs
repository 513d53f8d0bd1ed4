//! A file that goes to the server alone: large, or one that did not come
//! through with the others. Its part is resumed where its bytes are those of
//! the file, and made anew where not.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::beside::beside;
use super::line::Line;
use super::pump::{Source, digest_of_start, read_ahead};
use super::requests::{data_of, digest_of, request, two_paths};
use super::run::Run;
use super::upload::Upload;
use crate::client::commands::Stat;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::listing::Kind;
use crate::client::observe::{Event, Note};
use crate::tf::status::Status;

/// How long a part may rest before it is looked at again.
const SETTLING: Duration = Duration::from_millis(100);

/// How often it is looked at, as long as it grows.
const MOST_LOOKS: u32 = 100;

/// Sends one file.
///
/// # Errors
/// Why it can't be sent; what was sent stays to be resumed when the
/// connection was lost for good.
pub(super) fn send_alone(run: &Run<'_>, item: &Upload, line: &mut Line<'_>) -> Result<()> {
    if run.direct() {
        return send_under_its_name(run, item, line);
    }
    let part = item.part(run);
    // What was there before may have spoiled it, or the file changed: the second
    // time it is all new.
    let sent = send_once(run, item, &part, line).or_else(|e| match e {
        ClientError::Mismatch { .. } | ClientError::Changed { .. } => {
            send_once(run, item, &part, line)
        }
        e => Err(e),
    });
    sent.map_err(|e| {
        drop_part(run, item, line, &e);
        told_of(e, item)
    })
}

/// Deletes the part of a file that can't be read on: there is nothing to be
/// resumed.
pub(super) fn drop_part(run: &Run<'_>, item: &Upload, line: &mut Line<'_>, error: &ClientError) {
    if let ClientError::Changed { .. } | ClientError::Local { .. } = error {
        let asked = request("DEL", &item.part(run));
        // The other failure is the one to tell.
        let _ = line.steadily(|connection, _| connection.request(&asked));
    }
}

/// An error about a part, told of the file it is of.
pub(super) fn told_of(error: ClientError, item: &Upload) -> ClientError {
    let path = String::from_utf8_lossy(&item.id.name).into_owned();
    match error {
        ClientError::Refused { request, status } if request.starts_with("PUT ") => {
            ClientError::Refused {
                request: format!("PUT {path}"),
                status,
            }
        }
        ClientError::Cancelled { .. } => ClientError::Cancelled { path },
        error => error,
    }
}

fn send_once(run: &Run<'_>, item: &Upload, part: &[u8], line: &mut Line<'_>) -> Result<()> {
    let mut stored = 0;
    line.steadily(|connection, moved| {
        let (file, version) = item.open()?;
        let source = Source {
            file: &file,
            path: &item.local,
        };
        let length = length_of(source)?;
        let begin = begin_at(run, connection, part, source, length)?;
        if begin.offset > stored {
            moved.fetch_add(begin.offset - stored, std::sync::atomic::Ordering::Relaxed);
            stored = begin.offset;
        }
        let (number, name) = (item.id.number, item.id.name.as_slice());
        run.tell(&Event::Begun {
            file: number,
            name,
            size: length,
            from: begin.offset,
        });
        let (digest, there) = if begin.exists && begin.offset == length {
            (begin.digest, None)
        } else {
            beside(run, part, length, |start| {
                let offset = begin.offset;
                send_rest(run, connection, part, source, length, begin, &|position| {
                    run.tell(&Event::At {
                        file: number,
                        position,
                    });
                    start.when_due(offset, position, length);
                })
            })?
        };
        item.is_still(&version)?;
        finish(run, connection, item, part, digest.finalize().into(), there)?;
        moved.fetch_add(length - stored + 1, std::sync::atomic::Ordering::Relaxed);
        item.arrived(run, length);
        Ok(())
    })
}

/// Sends a file where parts can take no place: in acknowledged messages, so
/// that the server says exactly what is wrong. It can't be resumed.
fn send_under_its_name(run: &Run<'_>, item: &Upload, line: &mut Line<'_>) -> Result<()> {
    line.steadily(|connection, _| {
        let (file, _) = item.open()?;
        let source = Source {
            file: &file,
            path: &item.local,
        };
        let length = length_of(source)?;
        let (number, name) = (item.id.number, item.id.name.as_slice());
        run.tell(&Event::Begun {
            file: number,
            name,
            size: length,
            from: 0,
        });
        let mut position = 0;
        let mut digest = Sha256::new();
        connection.send_file(&item.id.name, false, &mut |buffer| {
            run.go_on()?;
            let len = (length - position).min(buffer.len() as u64) as usize;
            source.read(&mut buffer[..len], position)?;
            digest.update(&buffer[..len]);
            position += len as u64;
            run.tell(&Event::At {
                file: number,
                position,
            });
            Ok(len)
        })?;
        let digest: [u8; 32] = digest.finalize().into();
        if run.options.verify && digest_there(connection, &item.id.name)? != digest {
            return Err(ClientError::BadName {
                name: item.id.name.clone(),
                why: "SHA-256 differs, and this account may not remove it",
            });
        }
        run.note(name, Note::ModeNotKept);
        item.arrived(run, length);
        Ok(())
    })
}

/// A file's length.
///
/// # Errors
/// The system's.
pub(super) fn length_of(source: Source<'_>) -> Result<u64> {
    let metadata = source.file.metadata();
    metadata
        .map(|metadata| metadata.len())
        .map_err(|e| ClientError::local(source.path, e))
}

/// How much of a part is there, and its digest.
pub(super) struct Begin {
    pub(super) exists: bool,
    pub(super) offset: u64,
    pub(super) digest: Sha256,
}

/// Finds what the server has of a file. A part with other bytes is deleted.
///
/// # Errors
/// A local failure, or the connection is lost.
pub(super) fn begin_at(
    run: &Run<'_>,
    connection: &mut Connection,
    part: &[u8],
    source: Source<'_>,
    length: u64,
) -> Result<Begin> {
    let (mut exists, mut last, mut looks) = (false, None, 0);
    // What is wrong with the place, PUT will tell.
    while let Ok(Stat {
        kind: Kind::File,
        size,
        ..
    }) = connection.stat_there(part)?
    {
        exists = true;
        // It grows while the server takes what an earlier connection left.
        if last.is_some_and(|last| size <= last) || size > length || looks == MOST_LOOKS {
            break;
        }
        last = Some(size);
        looks += 1;
        let (digest, there) =
            digests_at_once(connection, part, || digest_of_start(run, source, size))?;
        let here: [u8; 32] = digest.clone().finalize().into();
        if size > 0 && there.is_ok_and(|there| there == here) {
            return Ok(Begin {
                exists: true,
                offset: size,
                digest,
            });
        }
        std::thread::sleep(SETTLING);
    }
    if exists {
        match connection.ask(&request("DEL", part)) {
            // Another tf that sends the same file was faster.
            Err(ClientError::Refused {
                status: Status::FileMissing,
                ..
            }) => {}
            other => drop(other?),
        }
    }
    Ok(Begin {
        exists: false,
        offset: 0,
        digest: Sha256::new(),
    })
}

fn send_rest(
    run: &Run<'_>,
    connection: &mut Connection,
    part: &[u8],
    source: Source<'_>,
    length: u64,
    begin: Begin,
    at: &dyn Fn(u64),
) -> Result<Sha256> {
    let Begin { offset, digest, .. } = begin;
    let size = connection.begin_put(part, offset, run.frame())?;
    let mut position = offset;
    let digest = read_ahead(source, offset..length, size, Some(digest), |frames| {
        connection.put_frames(part, &mut |spent| {
            run.go_on()?;
            position += spent.len().saturating_sub(crate::client::transfer::HEADER) as u64;
            at(position);
            frames(spent)
        })
    })?;
    Ok(digest.unwrap_or_default())
}

/// Compares the digest of a part that is all there, and puts it in its place.
/// One that the server has told already counts if it is the same.
///
/// # Errors
/// `Mismatch`, and the part is gone; the server's refusal, or the connection
/// is lost.
pub(super) fn finish(
    run: &Run<'_>,
    connection: &mut Connection,
    item: &Upload,
    part: &[u8],
    digest: [u8; 32],
    there: Option<[u8; 32]>,
) -> Result<()> {
    let verified = !run.options.verify || there == Some(digest);
    if !verified {
        match digest_there(connection, part) {
            Ok(there) if there == digest => {}
            Err(e) if e.status().is_none() => return Err(e),
            Err(_) if is_in_place(connection, item, digest)? => return Ok(()),
            _ => {
                // The other failure is the one to tell.
                let _ = connection.ask(&request("DEL", part));
                let path = String::from_utf8_lossy(&item.id.name).into();
                return Err(ClientError::Mismatch { path });
            }
        }
    }
    let mode_kept = match item.mode_request(run, part) {
        Some(request) => data_of(&request, &connection.request(&request)?).is_ok(),
        None => true,
    };
    let renamed = connection.ask(&two_paths("RENAM", part, &item.id.name));
    if matches!(
        renamed,
        Err(ClientError::Refused {
            status: Status::Rename,
            ..
        })
    ) {
        let _ = connection.ask(&request("DEL", part));
        if is_in_place(connection, item, digest)? {
            return Ok(());
        }
    }
    if renamed.is_ok() && !mode_kept {
        run.note(&item.id.name, Note::ModeRefused);
    }
    renamed.map(drop)
}

/// Whether another `tf` has put the same file in its place meanwhile, by way
/// of the same part.
///
/// # Errors
/// The connection is lost.
fn is_in_place(connection: &mut Connection, item: &Upload, digest: [u8; 32]) -> Result<bool> {
    match digest_there(connection, &item.id.name) {
        Err(e) if e.status().is_none() => Err(e),
        there => Ok(there.is_ok_and(|there| there == digest)),
    }
}

/// A digest made here, and one that the server makes of a file meanwhile.
///
/// # Errors
/// Why there is none here, or the connection is lost.
pub(super) fn digests_at_once(
    connection: &mut Connection,
    path: &[u8],
    make: impl FnOnce() -> Result<Sha256>,
) -> Result<(Sha256, Result<[u8; 32]>)> {
    let asked = request("SHA256", path);
    connection.wire().write_message(&asked)?;
    let here = make();
    let mut reply = Vec::new();
    connection.wire().read_message(&mut reply)?;
    Ok((here?, digest_of(&asked, &reply)))
}

/// The digest of a remote file, made by the server.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub(super) fn digest_there(connection: &mut Connection, path: &[u8]) -> Result<[u8; 32]> {
    let asked = request("SHA256", path);
    let reply = connection.request(&asked)?;
    digest_of(&asked, &reply)
}
