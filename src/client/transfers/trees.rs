//! `put` and `get`: from what the user named to files and directories, and
//! those moved.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::download::Download;
use super::download_many::receive_small;

use super::local::Target;
use super::queue::{Item, Queue};
use super::requests::{
    bad_name, beneath, can_change_mode, change_mode, directory, done, join, last, part_name,
    request, sendable, stat_of,
};
use super::run::{Id, Line, Run};
use super::scan::{Found, Tree, is_excluded, is_secure, is_unlisted, scan_local, scan_remote};
use super::upload::Upload;
use super::upload_many::send_small;
use super::{Summary, Transfers};
use crate::client::commands::Stat;
use crate::client::error::{ClientError, Result};
use crate::client::listing::Kind;
use crate::client::observe::Note;
use crate::tf::status::Status;

impl Transfers<'_> {
    /// Sends files, and with [`super::Options::recursive`] trees, to a remote
    /// path: into it when it is a directory, ends in `/`, is empty or is to
    /// take several, else under that name. Permission bits are kept; times
    /// the protocol can't set.
    ///
    /// # Errors
    /// Why the run could not go to its end. What fails for one entry is in
    /// the summary, and the others are moved.
    pub fn put(&self, sources: &[PathBuf], remote: &str) -> Result<Summary> {
        self.run(|run, lines| {
            sendable(remote.as_bytes())?;
            let into = sources.len() != 1
                || remote.is_empty()
                || remote.ends_with('/')
                || is_remote_directory(&mut lines[0], remote)?;
            let mut up = Up::default();
            let mut names = Names::default();
            for source in sources {
                let name = source.file_name().map(OsStrExt::as_bytes);
                if into && leaves_out(run, source) {
                    continue;
                }
                let target = match name.filter(|_| into) {
                    Some(name) => join(remote.as_bytes(), name),
                    None => remote.trim_end_matches('/').as_bytes().to_vec(),
                };
                let added = names
                    .take(&target)
                    .and_then(|()| up.add(run, source, target));
                match added {
                    Err(e @ ClientError::Interrupted) => return Err(e),
                    Err(e) => run.failed_entry(source.as_os_str().as_bytes(), e),
                    Ok(()) => {}
                }
            }
            up.look_at_existing(run, &mut lines[0])?;
            up.go(run, lines)
        })
    }

    /// Receives files, and with [`super::Options::recursive`] trees, into a
    /// local directory, or under a local name when there is one source and no
    /// such directory. Times of files are kept; modes the protocol does not
    /// report.
    ///
    /// # Errors
    /// As [`Transfers::put`].
    pub fn get(&self, sources: &[String], local: &Path) -> Result<Summary> {
        self.run(|run, lines| {
            let ends_in_slash = local.as_os_str().as_bytes().ends_with(b"/");
            let into = sources.len() != 1 || ends_in_slash || local.is_dir();
            let asked = |source: &String| request("FSTAT", stat_path(source));
            let stats = lines[0].ask_each(sources, asked, stat_of)?;
            let mut down = Down::default();
            let mut names = Names::default();
            for (source, stat) in sources.iter().zip(stats) {
                let added = stat.and_then(|stat| {
                    let name = match last(source.as_bytes()) {
                        b"" => None,
                        name if into => Some(beneath(name)?),
                        _ => None,
                    };
                    let place = Place { named: local, name };
                    names.take(place.path().as_os_str().as_bytes())?;
                    down.add(run, &mut lines[0], source, &stat, &place)
                });
                match added {
                    Err(e) if e.ends_a_run() => return Err(e),
                    Err(e) => run.failed_entry(source.as_bytes(), e),
                    Ok(()) => {}
                }
            }
            down.look_at_existing(run)?;
            down.go(run, lines)
        })
    }
}

/// Whether a directory that the user named is left out, as listings would hide
/// it, and reports that.
fn leaves_out(run: &Run<'_>, source: &Path) -> bool {
    let name = source.file_name().map_or(&b""[..], OsStrExt::as_bytes);
    let options = &run.options;
    let leaves =
        is_secure(name) && options.recursive && !options.filter.include_secure && source.is_dir();
    if leaves {
        run.note(source.as_os_str().as_bytes(), Note::Secure);
    }
    leaves
}

/// The names that the sources of a run take.
#[derive(Default)]
struct Names(HashSet<Vec<u8>>);

impl Names {
    /// Takes one.
    ///
    /// # Errors
    /// `BadName` for one that is taken: the last source would replace the
    /// others.
    fn take(&mut self, name: &[u8]) -> Result<()> {
        let why = "another source has this name, too: move them one after the other";
        match self.0.insert(name.to_vec()) {
            true => Ok(()),
            false => Err(bad_name(name, why)),
        }
    }
}

/// Where a source goes: to a path that the user named, or to a name in it.
struct Place<'p> {
    named: &'p Path,
    name: Option<&'p [u8]>,
}

impl Place<'_> {
    fn path(&self) -> PathBuf {
        let name = self.name.map(std::ffi::OsStr::from_bytes);
        name.map_or_else(|| self.named.to_owned(), |name| self.named.join(name))
    }

    /// The directory for a tree, made if there is none. Links that the user
    /// named are followed, and no other.
    ///
    /// # Errors
    /// The system's.
    fn make(&self) -> Result<Target> {
        if let Some(name) = self.name {
            return Target::open(self.named)?.beneath(name);
        }
        match fs::create_dir(self.named) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(ClientError::local(self.named, e))
            }
            _ => Target::open(self.named),
        }
    }
}

/// What to ask FSTAT for: it takes no empty path.
fn stat_path(path: &str) -> &[u8] {
    if path.is_empty() {
        b"/"
    } else {
        path.as_bytes()
    }
}

/// Whether a remote path leads to a directory.
///
/// # Errors
/// The server's refusal but that there is none, or the connection is lost.
pub(super) fn is_remote_directory(line: &mut Line<'_>, path: &str) -> Result<bool> {
    match line.steadily(|connection, _| connection.stat_there(stat_path(path)))? {
        Ok(stat) => Ok(stat.kind == Kind::Directory),
        Err(e) if e.status() == Some(Status::FileMissing) => Ok(false),
        Err(e) => Err(line.explain(e)),
    }
}

/// What is to be sent.
#[derive(Default)]
pub(super) struct Up {
    /// Remote directories and their permission bits, a directory before those
    /// in it.
    pub(super) directories: Vec<(Vec<u8>, u32)>,
    pub(super) files: Vec<Upload>,
    /// The first file of each source, and the remote directory it goes to.
    pub(super) tops: Vec<(usize, Vec<u8>)>,
}

impl Up {
    fn add(&mut self, run: &Run<'_>, source: &Path, remote: Vec<u8>) -> Result<()> {
        let metadata = fs::metadata(source).map_err(|e| ClientError::local(source, e))?;
        if !metadata.is_dir() {
            let name = source.file_name().map_or(&b""[..], OsStrExt::as_bytes);
            if is_excluded(&run.options.filter, name, false) {
                run.skipped();
                return Ok(());
            }
            self.tops
                .push((self.files.len(), directory(&remote).to_vec()));
            // A link that the user named is followed.
            return self.add_file(
                run,
                run.id(remote),
                source.to_owned(),
                None,
                &Found::local(&metadata),
            );
        }
        if !run.options.recursive {
            return Err(ClientError::local(
                source,
                std::io::ErrorKind::IsADirectory.into(),
            ));
        }
        let top = run.top(source)?;
        let tree = scan_local(run, source, true)?;
        self.tops.push((self.files.len(), remote.clone()));
        if !remote.is_empty() {
            self.directories
                .push((remote.clone(), Found::local(&metadata).mode));
        }
        for (relative, found) in tree.entries {
            let there = join(&remote, &relative);
            if found.is_directory {
                self.directories.push((there, found.mode));
                continue;
            }
            let here = source.join(std::ffi::OsStr::from_bytes(&relative));
            let id = run.id(there.clone());
            let beneath = top.clone().map(|top| (top, relative));
            if let Err(e) = self.add_file(run, id, here, beneath, &found) {
                run.failed_entry(&there, e);
            }
        }
        Ok(())
    }

    /// Adds one file; `beneath` as in [`Upload`].
    ///
    /// # Errors
    /// `BadName` for a remote path that RENAM can't name.
    pub(super) fn add_file(
        &mut self,
        run: &Run<'_>,
        id: Id,
        local: PathBuf,
        beneath: Option<(Arc<Target>, Vec<u8>)>,
        found: &Found,
    ) -> Result<()> {
        sendable(&id.name)?;
        if run.options.filter.excludes_size(found.size) {
            run.skipped();
            return Ok(());
        }
        let (size, mode) = (found.size, found.mode);
        self.files.push(Upload {
            id,
            local,
            beneath,
            size,
            mode,
            backup: None,
        });
        Ok(())
    }

    /// Makes the directories and sends the files.
    pub(super) fn go(mut self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        report_plan(run, &self.files);
        if !self.files.is_empty() {
            run.find_rights(&mut lines[0], directory(&self.files[0].id.name))?;
        }
        self.leave_out_locked(run, &mut lines[0])?;
        let made = self.make_directories(run, &mut lines[0])?;
        Queue::new(self.files, send_small).run(run, lines)?;
        set_modes(run, &mut lines[0], &made)
    }

    /// Files in directories that someone has locked fail before their bytes are
    /// sent, if the session honours locks.
    fn leave_out_locked(&mut self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        if run.access.lock.is_none() {
            return Ok(());
        }
        let all = self.files.iter().map(|file| directory(&file.id.name));
        let directories: BTreeSet<Vec<u8>> = all.map(<[u8]>::to_vec).collect();
        let directories: Vec<_> = directories.into_iter().collect();
        let asked = |path: &Vec<u8>| request("FSTAT", &join(path, &part_name(&[b"nothing"], b"")));
        let stats = line.ask_each(&directories, asked, stat_of)?;
        let is_locked = |stat: &Result<Stat>| {
            let error = stat.as_ref().err();
            error.and_then(ClientError::status) == Some(Status::DirectoryLocked)
        };
        let locked = directories
            .iter()
            .zip(&stats)
            .filter(|(_, stat)| is_locked(stat));
        let locked: BTreeSet<_> = locked.map(|(path, _)| path.as_slice()).collect();
        let files = std::mem::take(&mut self.files).into_iter();
        for file in files {
            if !locked.contains(directory(&file.id.name)) {
                self.files.push(file);
                continue;
            }
            let request = format!("PUT {}", String::from_utf8_lossy(&file.id.name));
            let status = Status::DirectoryLocked;
            run.failed(&file.id, ClientError::Refused { request, status });
        }
        Ok(())
    }

    /// Returns those that were not there before.
    fn make_directories(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<Vec<(Vec<u8>, u32)>> {
        let directories = &self.directories;
        let replies = line.ask_each(directories, |(path, _)| request("MKDIR", path), done)?;
        let (mut made, mut there) = (Vec::new(), Vec::new());
        for (directory, reply) in directories.iter().zip(replies) {
            match reply {
                Ok(()) => made.push(directory.clone()),
                Err(e) if e.status() == Some(Status::DirectoryExists) => {
                    there.push(directory.0.as_slice());
                }
                Err(e) => run.failed_entry(&directory.0, e),
            }
        }
        check_directories(run, line, &there)?;
        for (path, _) in &made {
            if is_unlisted(last(path), true) {
                run.note(path, Note::Unlisted);
            }
        }
        Ok(made)
    }
}

/// Reports files that are there in place of directories.
fn check_directories(run: &Run<'_>, line: &mut Line<'_>, there: &[&[u8]]) -> Result<()> {
    let stats = line.ask_each(there, |path| request("FSTAT", path), stat_of)?;
    for (path, stat) in there.iter().zip(stats) {
        if stat.is_ok_and(|stat| stat.kind != Kind::Directory) {
            let why = "a file of this name is there, and no directory can be made";
            run.failed_entry(path, bad_name(path, why));
        }
    }
    Ok(())
}

/// Gives new directories their modes, once their entries are there.
fn set_modes(run: &Run<'_>, line: &mut Line<'_>, made: &[(Vec<u8>, u32)]) -> Result<()> {
    if run.direct() {
        return Ok(());
    }
    let (can, can_not): (Vec<_>, Vec<_>) = made
        .iter()
        .rev()
        .partition(|(path, _)| can_change_mode(path));
    for (path, _) in can_not.iter().rev() {
        run.note(path, Note::ModeNotKept);
    }
    let replies = line.ask_each(&can, |(path, mode)| change_mode(path, *mode), done)?;
    for ((path, _), reply) in can.iter().zip(replies) {
        if reply.is_err() {
            run.note(path, Note::ModeRefused);
        }
    }
    Ok(())
}

/// What is to be received.
#[derive(Default)]
pub(super) struct Down {
    pub(super) files: Vec<Download>,
}

impl Down {
    fn add(
        &mut self,
        run: &Run<'_>,
        line: &mut Line<'_>,
        source: &str,
        stat: &Stat,
        place: &Place<'_>,
    ) -> Result<()> {
        match stat.kind {
            Kind::Directory if !run.options.recursive => {
                let request = format!("get {source}");
                Err(ClientError::Refused {
                    request,
                    status: Status::IsDirectory,
                })
            }
            Kind::Directory => {
                let mut tree =
                    line.steadily(|connection, _| scan_remote(run, connection, source))?;
                tree.report_unlisted(run);
                self.add_tree(run, source, &Arc::new(place.make()?), tree);
                Ok(())
            }
            Kind::File => {
                let local = &place.path();
                let name = local.file_name().map(|name| name.as_bytes().to_vec());
                let name = name.ok_or_else(|| {
                    ClientError::local(local, std::io::ErrorKind::IsADirectory.into())
                })?;
                let target = Target::open(local.parent().unwrap_or(Path::new("")))?;
                let found = Found::remote(stat);
                if is_excluded(&run.options.filter, last(source.as_bytes()), false) {
                    run.skipped();
                    return Ok(());
                }
                self.add_file(run, run.id(source.into()), &Arc::new(target), name, &found);
                Ok(())
            }
            Kind::Other => {
                run.note(source.as_bytes(), Note::Special);
                Ok(())
            }
        }
    }

    /// Adds a tree, and makes its directories.
    fn add_tree(&mut self, run: &Run<'_>, top: &str, target: &Arc<Target>, tree: Tree) {
        for (relative, found) in tree.entries {
            if found.is_directory {
                if let Err(e) = target.make_directory(&relative) {
                    run.failed_entry(&join(top.as_bytes(), &relative), e);
                }
                continue;
            }
            let id = run.id(join(top.as_bytes(), &relative));
            self.add_file(run, id, target, relative, &found);
        }
    }

    /// Adds one file; `relative` is its path in the target.
    pub(super) fn add_file(
        &mut self,
        run: &Run<'_>,
        id: Id,
        target: &Arc<Target>,
        relative: Vec<u8>,
        found: &Found,
    ) {
        if run.options.filter.excludes_size(found.size) {
            return run.skipped();
        }
        let (size, modified) = (found.size, found.modified);
        let target = Arc::clone(target);
        self.files.push(Download {
            id,
            target,
            relative,
            size,
            modified,
            backup: None,
        });
    }

    /// Receives the files.
    pub(super) fn go(self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        report_plan(run, &self.files);
        Queue::new(self.files, receive_small).run(run, lines)
    }
}

fn report_plan<T: Item>(run: &Run<'_>, items: &[T]) {
    // A server may report any size.
    let bytes = items.iter().map(Item::size).fold(0, u64::saturating_add);
    run.planned(items.len() as u64, bytes);
}
