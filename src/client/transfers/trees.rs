//! `put` and `get`: from what the user named to files and directories, and
//! those moved.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::download::Download;
use super::download_many::receive_small;

use super::keep::directories::{Here, There, narrow_there, set_here, set_there};
use super::keep::links::{DownLink, Of, UpLink, make_here, make_there};
use super::local::Target;
use super::queue::{Item, Queue};
use super::requests::{
    bad_name, beneath, directory, done, join, last, part_name, request, sendable, stat_of,
};
use super::run::{Id, Line, Run};
use super::scan::{Found, Tree, is_excluded, is_secure, scan_local, scan_remote};
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
    /// take several, else under that name. [`super::Options::keep`] says what is
    /// kept.
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
            let features = lines[0].steadily(|connection, _| connection.features())?;
            let mut up = Up {
                can_link: features.link,
                ..Up::default()
            };
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
    /// such directory. [`super::Options::keep`] says what is kept.
    ///
    /// # Errors
    /// As [`Transfers::put`].
    pub fn get(&self, sources: &[String], local: &Path) -> Result<Summary> {
        self.run(|run, lines| {
            let ends_in_slash = local.as_os_str().as_bytes().ends_with(b"/");
            let into = sources.len() != 1 || ends_in_slash || local.is_dir();
            let paths: Vec<_> = sources.iter().map(|source| stat_path(source)).collect();
            let xattrs = run.options.keep.xattrs;
            let found = lines[0].steadily(|connection, _| connection.find_each(&paths, xattrs))?;
            let mut down = Down::default();
            let mut names = Names::default();
            for (source, found) in sources.iter().zip(found) {
                let added = found.and_then(|found| {
                    let name = match last(source.as_bytes()) {
                        b"" => None,
                        name if into => Some(beneath(name)?),
                        _ => None,
                    };
                    let place = Place { named: local, name };
                    names.take(place.path().as_os_str().as_bytes())?;
                    down.add(run, &mut lines[0], source, found, &place)
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

    /// The directory for a tree, made if there is none, and whether it was. Links that
    /// the user named are followed, and no other.
    ///
    /// # Errors
    /// The system's.
    fn make(&self, narrow: bool) -> Result<(Target, bool)> {
        if let Some(name) = self.name {
            return Target::open(self.named)?.beneath(name, narrow);
        }
        let mode = if narrow { 0o700 } else { 0o777 };
        let made = match DirBuilder::new().mode(mode).create(self.named) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
            made => made
                .map(|()| true)
                .map_err(|e| ClientError::local(self.named, e))?,
        };
        Ok((Target::open(self.named)?, made))
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
    /// Whether the server makes links.
    pub(super) can_link: bool,
    /// Remote directories and what they are to have, a directory before those in it.
    pub(super) directories: Vec<There>,
    pub(super) files: Vec<Upload>,
    /// The first file of each source, and the remote directory it goes to.
    pub(super) tops: Vec<(usize, Vec<u8>)>,
    pub(super) links: Vec<UpLink>,
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
            let kind = std::io::ErrorKind::IsADirectory;
            let error = std::io::Error::new(kind, "is a directory: see -r");
            return Err(ClientError::local(source, error));
        }
        let top = run.top(source)?;
        let tree = scan_local(run, source, true)?;
        self.tops.push((self.files.len(), remote.clone()));
        if !remote.is_empty() {
            let top = Found::local(&metadata);
            self.directories
                .push((remote.clone(), run.options.keep.of(&top)));
        }
        let others = self.other_names(run, &tree);
        for (relative, found) in &tree.entries {
            let there = join(&remote, relative);
            if found.is_directory {
                self.directories.push((there, run.options.keep.of(found)));
                continue;
            }
            let first = others.get(relative.as_slice());
            let first = first.map(|first| join(&remote, first));
            if self.add_link(run, run.id(there.clone()), found, first) {
                continue;
            }
            let (relative, found) = (relative.clone(), found.clone());
            let here = source.join(std::ffi::OsStr::from_bytes(&relative));
            let id = run.id(there.clone());
            let beneath = top.clone().map(|top| (top, relative));
            if let Err(e) = self.add_file(run, id, here, beneath, &found) {
                run.failed_entry(&there, e);
            }
        }
        Ok(())
    }

    /// Files of a tree that are other names of files before them, if that is kept.
    pub(super) fn other_names<'t>(
        &self,
        run: &Run<'_>,
        tree: &'t Tree,
    ) -> HashMap<&'t [u8], &'t [u8]> {
        match self.can_link && run.options.keep.hard_links {
            true => tree.other_names(),
            false => HashMap::new(),
        }
    }

    /// Adds a symbolic link, or one more name of the file whose `first` name this is;
    /// `false` for a file that is to be sent.
    pub(super) fn add_link(
        &mut self,
        run: &Run<'_>,
        id: Id,
        found: &Found,
        first: Option<Vec<u8>>,
    ) -> bool {
        let of = match (&found.link, first) {
            (Some(_), _) if !self.can_link => {
                run.note(&id.name, Note::Link);
                return true;
            }
            (Some(target), _) => Of::Target(target.clone()),
            (None, Some(first)) => Of::Name(first),
            (None, None) => return false,
        };
        let wanted = run.options.keep.of(found);
        self.links.push(UpLink { id, of, wanted });
        true
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
        self.files.push(Upload {
            id,
            local,
            beneath,
            found: found.clone(),
            backup: None,
        });
        Ok(())
    }

    /// Makes the directories and sends the files.
    pub(super) fn go(mut self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        report_plan(run, &self.files, self.links.len());
        if !self.files.is_empty() {
            run.find_rights(&mut lines[0], directory(&self.files[0].id.name))?;
        }
        self.leave_out_locked(run, &mut lines[0])?;
        self.make_directories(run, &mut lines[0])?;
        let features = lines[0].steadily(|connection, _| connection.features())?;
        let go_alone = |item: &Upload| !run.direct() && item.is_exposed(run, features);
        Queue::new(self.files, send_small, go_alone).run(run, lines)?;
        make_there(run, &mut lines[0], &self.links)?;
        set_there(run, &mut lines[0], &self.directories)
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

    fn make_directories(&self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        let directories = &self.directories;
        let replies = line.ask_each(directories, |(path, _)| request("MKDIR", path), done)?;
        let (mut made, mut there) = (Vec::new(), Vec::new());
        for (directory, reply) in directories.iter().zip(replies) {
            match reply {
                Ok(()) => made.push(directory),
                Err(e) if e.status() == Some(Status::DirectoryExists) => {
                    there.push(directory.0.as_slice());
                }
                Err(e) => run.failed_entry(&directory.0, e),
            }
        }
        check_directories(run, line, &there)?;
        for (path, _) in &made {
            if run.is_unlisted(last(path), true) {
                run.note(path, Note::Unlisted);
            }
        }
        narrow_there(run, line, &made)
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

/// What is to be received.
#[derive(Default)]
pub(super) struct Down {
    /// Directories that have been made, and what they are to have.
    pub(super) directories: Vec<Here>,
    pub(super) files: Vec<Download>,
    pub(super) links: Vec<DownLink>,
}

impl Down {
    fn add(
        &mut self,
        run: &Run<'_>,
        line: &mut Line<'_>,
        source: &str,
        (kind, found): (Kind, Found),
        place: &Place<'_>,
    ) -> Result<()> {
        match kind {
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
                let wanted = run.options.keep.of(&found);
                let (target, made) = place.make(wanted.mode.is_some())?;
                let target = Arc::new(target);
                // A directory that was there is not ours to change.
                if made && found.mode.is_some() {
                    self.directories
                        .push((Arc::clone(&target), Vec::new(), wanted));
                }
                self.add_tree(run, source, &target, tree);
                Ok(())
            }
            Kind::File => {
                let local = &place.path();
                let name = local.file_name().map(|name| name.as_bytes().to_vec());
                let name = name.ok_or_else(|| {
                    ClientError::local(local, std::io::ErrorKind::IsADirectory.into())
                })?;
                let target = Target::open(local.parent().unwrap_or(Path::new("")))?;
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
        let others = other_names(run, &tree);
        for (relative, found) in &tree.entries {
            let there = join(top.as_bytes(), relative);
            if found.is_directory {
                if let Err(e) = self.make_directory(run, target, relative, found) {
                    run.failed_entry(&there, e);
                }
                continue;
            }
            let first = others.get(relative.as_slice()).copied();
            self.add_file_or_link(run, run.id(there), target, relative, found, first);
        }
    }

    /// Makes a directory, which gets its mode at the end; whether there was none.
    pub(super) fn make_directory(
        &mut self,
        run: &Run<'_>,
        target: &Arc<Target>,
        relative: &[u8],
        found: &Found,
    ) -> Result<bool> {
        let wanted = run.options.keep.of(found);
        let made = target.make_directory(relative, wanted.mode.is_some())?;
        // Without the extension nothing is known of it.
        if found.mode.is_some() {
            self.directories
                .push((Arc::clone(target), relative.to_vec(), wanted));
        }
        Ok(made)
    }

    /// Adds a file, a symbolic link, or one more name of the file whose `first` name
    /// this is; `relative` is its path in the target.
    pub(super) fn add_file_or_link(
        &mut self,
        run: &Run<'_>,
        id: Id,
        target: &Arc<Target>,
        relative: &[u8],
        found: &Found,
        first: Option<&[u8]>,
    ) {
        let of = match (&found.link, first) {
            (Some(leads_to), _) => Of::Target(leads_to.clone()),
            (None, Some(first)) => Of::Name(first.to_vec()),
            (None, None) => return self.add_file(run, id, target, relative.to_vec(), found),
        };
        let wanted = run.options.keep.of(found);
        let place = (Arc::clone(target), relative.to_vec(), wanted);
        self.links.push(DownLink { id, place, of });
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
        self.files.push(Download {
            id,
            target: Arc::clone(target),
            relative,
            found: found.clone(),
            backup: None,
        });
    }

    /// Receives the files.
    pub(super) fn go(self, run: &Run<'_>, lines: &mut [Line<'_>]) -> Result<()> {
        report_plan(run, &self.files, self.links.len());
        Queue::new(self.files, receive_small, |_| false).run(run, lines)?;
        make_here(run, &self.links);
        set_here(run, &self.directories);
        Ok(())
    }
}

/// As [`Up::other_names`], of a tree that is received.
pub(super) fn other_names<'t>(run: &Run<'_>, tree: &'t Tree) -> HashMap<&'t [u8], &'t [u8]> {
    match run.options.keep.hard_links {
        true => tree.other_names(),
        false => HashMap::new(),
    }
}

fn report_plan<T: Item>(run: &Run<'_>, items: &[T], links: usize) {
    // A server may report any size.
    let bytes = items.iter().map(Item::size).fold(0, u64::saturating_add);
    run.planned((items.len() + links) as u64, bytes);
}
