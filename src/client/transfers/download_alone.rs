//! A file that comes from the server alone: large, or one that did not come
//! through with the others. Its part is resumed as long as the server's file
//! has the same size and time; the digest of the whole decides.

use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha256};

use super::beside::beside;
use super::download::Download;
use super::line::Line;
use super::local::Part;
use super::names::part_name;
use super::pump::{Source, digest_of_start, write_behind};
use super::run::Run;
use super::upload_alone::digest_there;
use crate::client::commands::Stat;
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::listing::Kind;
use crate::client::observe::Event;

/// So many versions of a file that are begun count as progress.
const MOST_VERSIONS: u32 = 8;

/// Receives one file.
///
/// # Errors
/// Why it can't be received; what has come stays to be resumed when the
/// connection was lost for good, or the user asked to stop.
pub(super) fn receive_alone(run: &Run<'_>, item: &Download, line: &mut Line<'_>) -> Result<()> {
    // It may have changed meanwhile, or the part was another's: once more.
    receive_once(run, item, line).or_else(|e| match e {
        ClientError::Mismatch { .. } | ClientError::Changed { .. } => receive_once(run, item, line),
        e => Err(e),
    })
}

fn receive_once(run: &Run<'_>, item: &Download, line: &mut Line<'_>) -> Result<()> {
    let (mut version, mut versions) = (None, 0);
    line.steadily(|connection, moved| {
        let stat = stat_file(connection, &item.id.name)?;
        if version.replace((stat.size, stat.modified)) != Some((stat.size, stat.modified)) {
            versions += 1;
        }
        let part = open_part(item, &stat)?;
        let received = receive_into(run, connection, item, &part, &stat, &mut |bytes| {
            // A file that is another one at each try comes to no end.
            if versions <= MOST_VERSIONS {
                moved.fetch_add(bytes, Ordering::Relaxed);
            }
        });
        match received {
            Ok(()) => arrived(run, item, part, &stat),
            Err(e) => {
                if !e.ends_a_run() || part.file.metadata().is_ok_and(|m| m.len() == 0) {
                    part.remove();
                }
                Err(e)
            }
        }
    })
}

/// Puts a part that is whole and checked on disk and into its place.
///
/// # Errors
/// The system's.
pub(super) fn arrived(run: &Run<'_>, item: &Download, part: Part, stat: &Stat) -> Result<()> {
    part.set_modified(stat.modified)?;
    part.sync()?;
    part.publish()?;
    run.done(&item.id, stat.size);
    Ok(())
}

/// What the server says of a file.
///
/// # Errors
/// The server's refusal, that it is no file, or the connection is lost.
pub(super) fn stat_file(connection: &mut Connection, remote: &[u8]) -> Result<Stat> {
    let stat = connection.stat_there(remote)??;
    if stat.kind == Kind::File {
        return Ok(stat);
    }
    Err(ClientError::BadName {
        name: remote.to_vec(),
        why: "no regular file",
    })
}

/// The part of this version of the file; those of others are removed.
pub(super) fn open_part(item: &Download, stat: &Stat) -> Result<Part> {
    let version = format!("{} {}", stat.size, stat.modified);
    let name = part_name(&item.way(), version.as_bytes());
    item.target
        .remove_parts_but(&item.relative, &part_name(&item.way(), b""), &name)?;
    item.target.resumed_part(&item.relative, &name)
}

fn receive_into(
    run: &Run<'_>,
    connection: &mut Connection,
    item: &Download,
    part: &Part,
    stat: &Stat,
    moved: &mut dyn FnMut(u64),
) -> Result<()> {
    let file = &part.file;
    let told = |e| part.error(e);
    let changed = || ClientError::Changed {
        path: String::from_utf8_lossy(&item.id.name).into(),
    };
    let mut offset = file.metadata().map_err(told)?.len();
    if offset > stat.size {
        file.set_len(0).map_err(told)?;
        offset = 0;
    }
    let (number, name) = (item.id.number, item.id.name.as_slice());
    run.tell(&Event::Begun {
        file: number,
        name,
        size: stat.size,
        from: offset,
    });
    let source = Source {
        file,
        path: &part.path,
    };
    let (digest, there) = beside(run, &item.id.name, stat.size, |start| {
        start.now();
        let begun = digest_of_start(run, source, offset)?;
        if offset == stat.size {
            return Ok(begun);
        }
        let mut position = offset;
        let mut at = offset;
        let write = |data: &[u8]| {
            file.write_all_at(data, at).map_err(told)?;
            at += data.len() as u64;
            Ok(())
        };
        let digest = write_behind(begun, write, |take| {
            connection.get_frames(&item.id.name, offset, run.frame(), &mut |data| {
                run.go_on()?;
                position += data.len() as u64;
                if position > stat.size {
                    return Err(changed());
                }
                moved(data.len() as u64);
                run.tell(&Event::At {
                    file: number,
                    position,
                });
                take(data)
            })
        })?;
        if position < stat.size {
            return Err(changed());
        }
        Ok(digest)
    })?;
    check(run, connection, &item.id.name, digest, there)
}

/// Compares what has come with what the server has; a digest that it has told
/// already counts if it is the same.
///
/// # Errors
/// `Mismatch`, the server's refusal, or the connection is lost.
pub(super) fn check(
    run: &Run<'_>,
    connection: &mut Connection,
    remote: &[u8],
    digest: Sha256,
    there: Option<[u8; 32]>,
) -> Result<()> {
    let here: [u8; 32] = digest.finalize().into();
    let verified = !run.options.verify || there == Some(here);
    if verified || digest_there(connection, remote)? == here {
        return Ok(());
    }
    Err(ClientError::Mismatch {
        path: String::from_utf8_lossy(remote).into(),
    })
}
