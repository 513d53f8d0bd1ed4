//! Restores a snapshot, or a part of one: what can't be had is named, all else is
//! restored. It writes through [`Target`] alone.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use rustic_core::repofile::{BlobType, Node, NodeType};
use rustic_core::{DataId, IndexedFullStatus};
use rustix::fs::FileType;

use super::keeper::{Kind, Name};
use super::keepers::Keepers;
use super::library::sentence;
use super::source::{LeftOut, Meter};
use super::target::{Attributes, Part, Target};
use crate::text::reason;

/// Files that are written at once.
const WRITERS: usize = 4;

/// Files that wait for it.
const WAITING: usize = 64;

/// What is looked at for being a hole.
const BLOCK: usize = 64 * 1024;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The library, ready to read.
pub(super) type Library = rustic_core::Repository<IndexedFullStatus>;

/// What was restored.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Restored {
    pub(crate) entries: u64,
    /// Files that were there already.
    pub(crate) unchanged: u64,
    pub(crate) bytes: u64,
    /// What could not be restored.
    pub(crate) lost: Vec<LeftOut>,
}

/// A restore.
pub(super) struct Restoring<'a> {
    pub(super) chunks: Chunks<'a>,
    pub(super) target: &'a Target,
    pub(super) meter: &'a Meter,
    pub(super) unchanged: AtomicU64,
}

/// What waits until all files are written.
#[derive(Default)]
struct Later {
    /// Directories get what they are to have when nothing more is made in them.
    directories: Vec<(PathBuf, Attributes)>,
    /// The first name of each file that has several, and then the others.
    names: HashMap<(u64, u64), PathBuf>,
    links: Vec<(PathBuf, PathBuf)>,
}

type Job = (PathBuf, Node);

impl Restoring<'_> {
    /// Restores what a node stands for: the entries of a directory, or one file.
    pub(super) fn run(&self, top: Node) -> Restored {
        let mut later = Later::default();
        let (jobs, waiting) = sync_channel(WAITING);
        let waiting = Mutex::new(waiting);
        thread::scope(|writing| {
            for _ in 0..WRITERS {
                writing.spawn(|| self.write_files(&waiting));
            }
            self.walk(top, &jobs, &mut later);
            drop(jobs);
        });
        for (first, other) in &later.links {
            if let Err(e) = self.target.link(first, other) {
                self.lose(other, &reason(&e));
            }
        }
        for (path, wanted) in later.directories.iter().rev() {
            if let Err(e) = self.target.finish_directory(path, wanted) {
                self.lose(path, &reason(&e));
            }
        }
        Restored {
            entries: self.meter.entries.load(Ordering::Relaxed),
            unchanged: self.unchanged.load(Ordering::Relaxed),
            bytes: self.meter.bytes.load(Ordering::Relaxed),
            lost: self.meter.take_left_out(),
        }
    }

    fn lose(&self, path: &Path, why: &str) {
        self.meter.leave_out(path, why);
    }

    /// Makes everything but files, which the writers get.
    fn walk(&self, top: Node, jobs: &SyncSender<Job>, later: &mut Later) {
        let mut open = vec![(PathBuf::new(), self.entries(Path::new(""), top).into_iter())];
        while let Some((path, entries)) = open.last_mut() {
            let Some(node) = entries.next() else {
                open.pop();
                continue;
            };
            let Some(path) = beneath(path, &node.name()) else {
                self.lose(path, "holds a name that leads out of it");
                continue;
            };
            self.meter.entries.fetch_add(1, Ordering::Relaxed);
            if node.is_dir() {
                match self.target.make_directory(&path) {
                    Ok(()) => {
                        later.directories.push((path.clone(), attributes(&node)));
                        let entries = self.entries(&path, node);
                        open.push((path, entries.into_iter()));
                    }
                    Err(e) => self.lose(&path, &reason(&e)),
                }
            } else if !later.is_other_name(&path, &node) {
                self.make(path, node, jobs);
            }
        }
    }

    /// The entries of a directory; a file is its only one.
    fn entries(&self, path: &Path, node: Node) -> Vec<Node> {
        let Some(id) = node.subtree else {
            return match node.is_dir() {
                true => Vec::new(),
                false => vec![node],
            };
        };
        match self.chunks.library.get_tree(&id) {
            Ok(tree) => tree.nodes,
            Err(e) => {
                self.lose(path, &format!("its entries are lost: {}", sentence(&e)));
                Vec::new()
            }
        }
    }

    fn make(&self, path: PathBuf, node: Node, jobs: &SyncSender<Job>) {
        let made = match &node.node_type {
            NodeType::File => {
                // The writers take jobs until there are no more.
                let _ = jobs.send((path, node));
                return;
            }
            NodeType::Symlink { .. } => self.target.make_link(&path, node.node_type.to_link()),
            NodeType::Fifo => self.target.make_node(&path, FileType::Fifo, 0),
            NodeType::Socket => self.target.make_node(&path, FileType::Socket, 0),
            NodeType::Dev { device } => {
                self.target.make_node(&path, FileType::BlockDevice, *device)
            }
            NodeType::Chardev { device } => {
                self.target
                    .make_node(&path, FileType::CharacterDevice, *device)
            }
            NodeType::Dir => Ok(()),
        };
        let made = made.and_then(|()| self.target.finish_other(&path, &attributes(&node)));
        if let Err(e) = made {
            self.lose(&path, &reason(&e));
        }
    }

    fn write_files(&self, waiting: &Mutex<Receiver<Job>>) {
        loop {
            let job = {
                let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.recv()
            };
            let Ok((path, node)) = job else {
                return;
            };
            if self.is_there(&path, &node) {
                self.unchanged.fetch_add(1, Ordering::Relaxed);
                self.meter.expect_less(node.meta.size);
            } else if let Err(why) = self.write_file(&path, &node) {
                self.lose(&path, &why);
            }
        }
    }

    /// Whether an earlier restore has written it.
    fn is_there(&self, path: &Path, node: &Node) -> bool {
        let wanted = modified(node);
        self.target.stat(path).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode).is_file()
                && u64::try_from(stat.st_size) == Ok(node.meta.size)
                && wanted.is_some_and(|wanted| {
                    (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).ok())
                        == (wanted.0, Some(wanted.1))
                })
        })
    }

    fn write_file(&self, path: &Path, node: &Node) -> Result<(), String> {
        let part = self.target.begin(path).map_err(|e| reason(&e))?;
        let written = self.write_chunks(&part, node);
        match written {
            Ok(()) => part.publish(&attributes(node)).map_err(|e| reason(&e)),
            Err(why) => {
                part.discard();
                Err(why)
            }
        }
    }

    fn write_chunks(&self, part: &Part, node: &Node) -> Result<(), String> {
        let mut offset = 0;
        for id in node.content.iter().flatten() {
            let chunk = self.chunks.get(id)?;
            write_but_holes(part, &chunk, offset).map_err(|e| reason(&e))?;
            offset += chunk.len() as u64;
            self.meter
                .bytes
                .fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        part.file.set_len(offset).map_err(|e| reason(&e))
    }
}

/// What gives the parts of files.
pub(super) struct Chunks<'a> {
    pub(super) library: &'a Library,
    pub(super) keepers: &'a Keepers,
}

impl Chunks<'_> {
    /// A chunk of a file. If it does not open, each copy of its pack is looked at.
    pub(super) fn get(&self, id: &DataId) -> Result<Bytes, String> {
        let read = || {
            self.library
                .get_blob_cached(&(*id).into(), BlobType::Data)
                .map_err(|e| format!("no copy of a part of it opens: {}", sentence(&e)))
        };
        read().or_else(|why| {
            let pack = self.library.get_index_entry(id).map_err(|_| why.clone())?;
            let name = Name {
                kind: Kind::Data,
                digits: pack.pack.to_hex().to_string(),
            };
            match self.keepers.mend(&name) {
                true => read(),
                false => Err(why),
            }
        })
    }
}

impl Later {
    /// Whether a file has been met by another name; this one is linked later.
    fn is_other_name(&mut self, path: &Path, node: &Node) -> bool {
        if node.meta.links < 2 {
            return false;
        }
        let file = (node.meta.device_id, node.meta.inode);
        match self.names.get(&file) {
            Some(first) => {
                self.links.push((first.clone(), path.to_owned()));
                true
            }
            None => {
                self.names.insert(file, path.to_owned());
                false
            }
        }
    }
}

/// The path of an entry, if its name is one.
fn beneath(directory: &Path, name: &OsStr) -> Option<PathBuf> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Some(directory.join(name)),
        _ => None,
    }
}

fn write_but_holes(part: &Part, chunk: &[u8], mut offset: u64) -> io::Result<()> {
    for block in chunk.chunks(BLOCK) {
        if block != &ZEROS[..block.len()] {
            part.file.write_all_at(block, offset)?;
        }
        offset += block.len() as u64;
    }
    Ok(())
}

/// What the node says of an entry, with the permission bits as the kernel has them:
/// the format has those above 0777 where Go has them.
fn attributes(node: &Node) -> Attributes {
    let meta = &node.meta;
    let mode = meta.mode.map(|mode| {
        let bit = |at: u32, value: u32| if mode & 1 << at == 0 { 0 } else { value };
        mode & 0o777 | bit(23, 0o4000) | bit(22, 0o2000) | bit(20, 0o1000)
    });
    let xattrs = meta.extended_attributes.iter();
    let xattrs = xattrs.map(|it| {
        (
            OsString::from(&it.name),
            it.value.clone().unwrap_or_default(),
        )
    });
    Attributes {
        mode,
        owner: meta.uid.zip(meta.gid),
        modified: modified(node),
        xattrs: xattrs.collect(),
    }
}

pub(super) fn modified(node: &Node) -> Option<(i64, i64)> {
    const SECOND: i128 = 1_000_000_000;
    let time = node.meta.mtime?.as_nanosecond();
    let seconds = i64::try_from(time.div_euclid(SECOND)).ok()?;
    Some((seconds, i64::try_from(time.rem_euclid(SECOND)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_directory() {
        let directory = Path::new("a");
        assert_eq!(beneath(directory, "b".as_ref()), Some("a/b".into()));
        for name in ["", ".", "..", "/", "b/c", "../b", "b/", "/b", "./b"] {
            assert_eq!(beneath(directory, name.as_ref()), None, "{name}");
        }
    }
}
