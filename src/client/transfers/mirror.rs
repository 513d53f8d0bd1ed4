//! One directory made like another, either way. What is to be done is known
//! before anything is: [`Plan`]. A run that ends half-way leaves old or new
//! files only, and the next one does the rest.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::keep::adjust::{Adjustment, adjustments};
use super::keep::directories::{set_here, set_there};
use super::keep::times::Comparison;
use super::local::Target;
use super::pump::{Source, extend_digest};
use super::requests::{bad_name, data_of, digest_of, done, join, levels, request};
use super::run::{Id, Line, Run};
use super::scan::{Found, Plan, Tree, add_unlisted, plan, scan_local, scan_remote};
use super::trees::{Down, Up, other_names};
use super::{Summary, Transfers};
use crate::client::connect::Connection;
use crate::client::error::{ClientError, Result};
use crate::client::extension::Attributes;
use crate::client::observe::{Event, Note, Operation};
use crate::tf::status::Status;

/// Which side is made like the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The server's.
    Up,
    /// This machine's.
    Down,
}

/// How a mirror compares and what it may delete.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    /// Compare SHA-256 digests, not times.
    pub checksum: bool,
    /// Delete what is not in the source.
    pub delete: bool,
    /// Delete nothing when it would be more entries than this.
    pub max_delete: Option<u64>,
    /// Only report what would be done.
    pub dry_run: bool,
}

impl Transfers<'_> {
    /// Makes the remote directory like the local one, or the other way round.
    /// Files of the same size are the same when their digests are, or, without
    /// [`Mirror::checksum`], when their times are equal, at the resolution that both
    /// sides have. If the copy does not keep times (a server without the extension, or
    /// [`Options::keep`](super::Options::keep)), one that is not older is the same, too,
    /// by the server's clock.
    ///
    /// # Errors
    /// As [`Transfers::put`]; `TooManyDeletions`. Nothing is deleted when
    /// either side could not be read in whole, or a file failed.
    pub fn mirror(
        &self,
        local: &Path,
        remote: &str,
        direction: Direction,
        how: &Mirror,
    ) -> Result<Summary> {
        self.run(|run, lines| {
            // Without a local directory there are no files in it to be opened.
            let top = run.top(local).ok().flatten();
            let is_source = direction == Direction::Up;
            let here =
                scan_local(run, local, is_source).or_else(|e| missing_local(e, direction))?;
            let mut there = lines[0]
                .steadily(|connection, _| scan_remote(run, connection, remote))
                .or_else(|e| missing_remote(e, direction))?;
            lines[0].steadily(|connection, _| {
                add_unlisted(run, connection, remote, &here, &mut there)
            })?;
            // What was not read must not look as if it were not there.
            let asked = how.delete;
            let how = &Mirror {
                delete: how.delete && here.whole && there.whole,
                ..how.clone()
            };
            let work = Work {
                run,
                local,
                top,
                remote,
                how,
            };
            let line = &mut lines[0];
            let compare = work.comparison(line, &here, &there, direction)?;
            let mut same = work.same_files(line, &here, &there, &compare)?;
            let trees = match direction {
                Direction::Up => (&here, &there),
                Direction::Down => (&there, &here),
            };
            let can_link = match direction {
                Direction::Up => line.steadily(|connection, _| connection.features())?.link,
                Direction::Down => true,
            };
            if run.options.keep.hard_links && can_link {
                leave_separate(trees, &mut same);
            }
            let is_same = |path: &[u8]| same.contains(path);
            let mut plan = plan(trees.0, trees.1, is_same);
            work.restrict(&mut plan, trees.0, trees.1);
            let adjust = adjustments(&run.options.keep, trees, &same, &plan, &compare);
            run.sum(|summary| summary.unchanged = plan.unchanged);
            work.check_deletions(&plan)?;
            work.report_held(&plan);
            if how.dry_run {
                work.report_all(&plan, &adjust);
            } else {
                match direction {
                    Direction::Up => work.up(lines, &plan, &here, &adjust)?,
                    Direction::Down => work.down(lines, &plan, &there, &adjust)?,
                }
            }
            let failed = !plan.delete.is_empty() && run.has_failed();
            if asked && (failed || !how.delete) {
                run.note(remote.as_bytes(), Note::NothingDeleted);
            }
            Ok(())
        })
    }
}

/// Takes further names of files out of what is the same if they are files of their
/// own in the target.
fn leave_separate((source, target): (&Tree, &Tree), same: &mut HashSet<&[u8]>) {
    let shared = |path: &[u8]| target.entries.get(path).and_then(|found| found.shared);
    for (path, first) in source.other_names() {
        if shared(path).is_none() || shared(path) != shared(first) {
            same.remove(path);
        }
    }
}

/// A target that does not exist yet is empty.
fn missing_local(error: ClientError, direction: Direction) -> Result<Tree> {
    match &error {
        ClientError::Local { source, .. }
            if direction == Direction::Down && source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(Tree::empty())
        }
        _ => Err(error),
    }
}

fn missing_remote(error: ClientError, direction: Direction) -> Result<Tree> {
    match error.status() {
        Some(Status::DirectoryMissing | Status::FileMissing) if direction == Direction::Up => {
            Ok(Tree::empty())
        }
        _ => Err(error),
    }
}

pub(super) struct Work<'w> {
    pub(super) run: &'w Run<'w>,
    local: &'w Path,
    /// As [`Run::top`].
    top: Option<Arc<Target>>,
    pub(super) remote: &'w str,
    how: &'w Mirror,
}

impl Work<'_> {
    pub(super) fn remote_path(&self, relative: &[u8]) -> Vec<u8> {
        join(self.remote.as_bytes(), relative)
    }

    fn local_path(&self, relative: &[u8]) -> std::path::PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.local.join(std::ffi::OsStr::from_bytes(relative))
    }

    /// The files that need not be moved.
    fn same_files<'t>(
        &self,
        line: &mut Line<'_>,
        here: &'t Tree,
        there: &Tree,
        compare: &Comparison,
    ) -> Result<HashSet<&'t [u8]>> {
        let pairs = here.entries.iter().filter_map(|(path, here)| {
            let there = there.entries.get(path)?;
            let comparable = here.is_file() && there.is_file() && here.size == there.size
                || here.link.is_some() && here.link == there.link;
            comparable.then_some((path.as_slice(), here, there))
        });
        if self.how.checksum {
            let (links, files): (Vec<_>, Vec<_>) =
                pairs.partition(|(_, here, _)| here.link.is_some());
            let files = files.into_iter().map(|(path, here, _)| (path, here));
            let mut same = self.same_digests(line, files.collect())?;
            same.extend(links.into_iter().map(|(path, ..)| path));
            return Ok(same);
        }
        Ok(pairs
            .filter(|(_, here, there)| here.link.is_some() || compare.is_same(here, there))
            .map(|(path, ..)| path)
            .collect())
    }

    /// How times are compared.
    fn comparison(
        &self,
        line: &mut Line<'_>,
        here: &Tree,
        there: &Tree,
        direction: Direction,
    ) -> Result<Comparison> {
        let keeps = self.run.options.keep.attributes;
        let own_times = match direction {
            Direction::Up if keeps && there.is_detailed => None,
            Direction::Down if keeps => None,
            direction => {
                let ahead = line.steadily(|connection, _| clock_ahead(connection))?;
                Some((direction, ahead))
            }
        };
        Ok(Comparison::of(here, there, own_times))
    }

    fn same_digests<'t>(
        &self,
        line: &mut Line<'_>,
        pairs: Vec<(&'t [u8], &Found)>,
    ) -> Result<HashSet<&'t [u8]>> {
        let asked = |(path, _): &(&[u8], _)| request("SHA256", &self.remote_path(path));
        let digests = line.ask_each(&pairs, asked, digest_of)?;
        let mut same = HashSet::new();
        for ((path, found), there) in pairs.into_iter().zip(digests) {
            let local = self.local_path(path);
            let here = match &self.top {
                Some(top) => top.open_to_read(path),
                None => std::fs::File::open(&local).map_err(|e| ClientError::local(&local, e)),
            };
            let here = here.and_then(|file| {
                let source = Source {
                    file: &file,
                    path: &local,
                };
                extend_digest(
                    self.run,
                    source,
                    sha2::Sha256::default(),
                    0..found.size,
                    |_| {},
                )
            });
            match here {
                Err(ClientError::Interrupted) => return Err(ClientError::Interrupted),
                Ok(here) => {
                    let here: [u8; 32] = sha2::Digest::finalize(here).into();
                    if there.is_ok_and(|there| there == here) {
                        same.insert(path);
                    }
                }
                // What can't be read is moved, and fails there.
                Err(_) => {}
            }
        }
        Ok(same)
    }

    fn check_deletions(&self, plan: &Plan<'_>) -> Result<()> {
        let found = (plan.delete.len() + plan.in_the_way.len()) as u64;
        match self.how.max_delete {
            Some(allowed) if self.how.delete && found > allowed => {
                Err(ClientError::TooManyDeletions { found, allowed })
            }
            _ => Ok(()),
        }
    }

    fn notify(&self, operation: Operation, name: &[u8]) {
        self.run.notify(&Event::Mirror { operation, name });
    }

    fn report_all(&self, plan: &Plan<'_>, adjust: &[Adjustment<'_>]) {
        let before = plan.in_the_way.iter().filter(|_| self.how.delete);
        for (path, _) in before.chain(plan.delete.iter().filter(|_| self.may_delete())) {
            self.notify(Operation::Delete, path);
        }
        self.directories(plan)
            .for_each(|path| self.notify(Operation::Add, path));
        self.files(plan)
            .for_each(|(path, operation)| self.notify(operation, path));
        let adjusted = adjust.iter().filter(|entry| entry.is_reported);
        adjusted.for_each(|entry| self.notify(Operation::Attributes, entry.path));
        plan.blocked
            .iter()
            .filter(|_| !self.how.delete)
            .for_each(|path| self.refuse(path));
    }

    /// What is in the way of the plan, whatever may be deleted.
    fn report_held(&self, plan: &Plan<'_>) {
        if self.how.delete {
            plan.held
                .iter()
                .for_each(|path| self.run.note(path, Note::Held));
        }
        for path in &plan.stuck {
            let why = "a directory of this name is there, and holds what is left out";
            self.run.failed_entry(path, bad_name(path, why));
        }
    }

    fn refuse(&self, path: &[u8]) {
        let why = "a directory and a file of this name: --delete would remove the one in the way";
        self.run.failed_entry(path, bad_name(path, why));
    }

    /// The identity of a file, and what is done with it.
    fn id(&self, relative: &[u8], operation: Operation) -> Id {
        Id {
            operation: Some((operation, relative.to_vec())),
            ..self.run.id(self.remote_path(relative))
        }
    }

    /// What is done before files are moved: what is in their way goes.
    fn clear(
        &self,
        plan: &Plan<'_>,
        delete: impl FnOnce(&[(&[u8], bool)]) -> Result<()>,
    ) -> Result<()> {
        if self.how.delete {
            return delete(&plan.in_the_way);
        }
        plan.blocked.iter().for_each(|path| self.refuse(path));
        Ok(())
    }

    /// Files of the plan, without those that something is in the way of.
    fn files<'p>(&self, plan: &'p Plan<'_>) -> impl Iterator<Item = (&'p [u8], Operation)> {
        let delete = self.how.delete;
        let files = plan
            .files
            .iter()
            .map(|(path, operation)| (*path, *operation));
        files.filter(move |(path, _)| delete || !plan.is_blocked(path))
    }

    fn directories<'p>(&self, plan: &'p Plan<'_>) -> impl Iterator<Item = &'p [u8]> {
        let delete = self.how.delete;
        plan.directories
            .iter()
            .copied()
            .filter(move |path| delete || !plan.is_blocked(path))
    }

    fn may_delete(&self) -> bool {
        self.how.delete && !self.run.has_failed()
    }

    fn up(
        &self,
        lines: &mut [Line<'_>],
        plan: &Plan<'_>,
        here: &Tree,
        adjust: &[Adjustment<'_>],
    ) -> Result<()> {
        self.clear(plan, |entries| self.delete_there(&mut lines[0], entries))?;
        let features = lines[0].steadily(|connection, _| connection.features())?;
        let mut up = Up {
            can_link: features.link,
            ..Up::default()
        };
        let others = up.other_names(self.run, here);
        let top = self.remote.trim_end_matches('/').as_bytes();
        // Each directory on the way to the top.
        for level in levels(top).filter(|level| !level.is_empty()) {
            up.directories.push((level.to_vec(), Attributes::default()));
        }
        for relative in self.directories(plan) {
            let found = here.entries.get(relative);
            let wanted =
                found.map_or_else(Attributes::default, |found| self.run.options.keep.of(found));
            up.directories.push((self.remote_path(relative), wanted));
            self.notify(Operation::Add, relative);
        }
        for (relative, operation) in self.files(plan) {
            let Some(found) = here.entries.get(relative) else {
                continue;
            };
            let id = self.id(relative, operation);
            let first = others.get(relative).map(|first| self.remote_path(first));
            if up.add_link(self.run, id.clone(), found, first) {
                continue;
            }
            let beneath = self.top.clone().map(|top| (top, relative.to_vec()));
            let local = self.local_path(relative);
            if let Err(e) = up.add_file(self.run, id, local, beneath, found) {
                self.run.failed_entry(&self.remote_path(relative), e);
                continue;
            }
            if operation == Operation::Change
                && let Some(file) = up.files.last_mut()
            {
                file.backup = self.backup_there(relative);
                let backup = file.backup.clone();
                up.make_way(backup.as_deref());
            }
        }
        up.go(self.run, lines)?;
        if self.may_delete() {
            self.delete_there(&mut lines[0], &plan.delete)?;
        }
        self.adjust_there(&mut lines[0], adjust)
    }

    fn adjust_there(&self, line: &mut Line<'_>, adjust: &[Adjustment<'_>]) -> Result<()> {
        let entries = adjust.iter();
        let entries = entries.map(|entry| (self.remote_path(entry.path), entry.wanted.clone()));
        set_there(self.run, line, &entries.collect::<Vec<_>>())?;
        self.report_adjusted(adjust);
        Ok(())
    }

    fn report_adjusted(&self, adjust: &[Adjustment<'_>]) {
        for entry in adjust.iter().filter(|entry| entry.is_reported) {
            self.notify(Operation::Attributes, entry.path);
        }
    }

    /// Deletes on the server: files, then empty directories, so that nothing is
    /// deleted that was not listed.
    fn delete_there(&self, line: &mut Line<'_>, entries: &[(&[u8], bool)]) -> Result<()> {
        let (directories, files): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, is)| *is);
        self.keep_there(line, &files.iter().collect::<Vec<_>>())?;
        let asked = |(path, _): &(&[u8], _)| request("DEL", &self.remote_path(path));
        let replies = line.ask_each(&files, asked, done)?;
        for ((path, _), reply) in files.iter().zip(replies) {
            self.deleted(path, reply);
        }
        for (path, _) in directories {
            let removed =
                line.steadily(|connection, _| remove_if_empty(connection, &self.remote_path(path)));
            match removed {
                Err(e) if e.ends_a_run() => return Err(e),
                other => self.deleted(path, other),
            }
        }
        Ok(())
    }

    fn deleted(&self, path: &[u8], done: Result<()>) {
        match done {
            // Another client was faster, or a lost connection hid the reply.
            Err(e) if e.status() != Some(Status::FileMissing) => self.run.failed_entry(path, e),
            _ => {
                self.run.sum(|summary| summary.deleted += 1);
                self.notify(Operation::Delete, path);
            }
        }
    }

    fn down(
        &self,
        lines: &mut [Line<'_>],
        plan: &Plan<'_>,
        there: &Tree,
        adjust: &[Adjustment<'_>],
    ) -> Result<()> {
        std::fs::create_dir_all(self.local).map_err(|e| ClientError::local(self.local, e))?;
        let target = Arc::new(Target::open(self.local)?);
        self.clear(plan, |entries| {
            self.delete_here(&target, entries);
            Ok(())
        })?;
        let mut down = Down::default();
        for relative in self.directories(plan) {
            let Some(found) = there.entries.get(relative) else {
                continue;
            };
            match down.make_directory(self.run, &target, relative, found) {
                Ok(_) => self.notify(Operation::Add, relative),
                Err(e) => self.run.failed_entry(relative, e),
            }
        }
        let others = other_names(self.run, there);
        for (relative, operation) in self.files(plan) {
            let Some(found) = there.entries.get(relative) else {
                continue;
            };
            let id = self.id(relative, operation);
            let first = others.get(relative).copied();
            let is_file = found.link.is_none() && first.is_none();
            down.add_file_or_link(self.run, id, &target, relative, found, first);
            if operation == Operation::Change
                && is_file
                && let Some(file) = down.files.last_mut()
            {
                file.backup = self.run.options.existing.backup_of(b"", relative);
            }
        }
        down.go(self.run, lines)?;
        if self.may_delete() {
            self.delete_here(&target, &plan.delete);
        }
        let entries = adjust.iter();
        let entries = entries.map(|entry| {
            let target = Arc::clone(&target);
            (target, entry.path.to_vec(), entry.wanted.clone())
        });
        set_here(self.run, &entries.collect::<Vec<_>>());
        self.report_adjusted(adjust);
        Ok(())
    }

    fn delete_here(&self, target: &Target, entries: &[(&[u8], bool)]) {
        for (path, is_directory) in entries {
            let backup = self.run.options.existing.backup_of(b"", path);
            let kept = match backup.filter(|_| !is_directory) {
                Some(backup) => target.keep_old(path, &backup),
                None => Ok(()),
            };
            let deleted = kept.and_then(|()| target.delete(path, *is_directory));
            self.deleted(path, deleted);
        }
    }
}

/// How many seconds the server's clock is ahead of ours.
///
/// # Errors
/// When the connection is lost.
fn clock_ahead(connection: &mut Connection) -> Result<i64> {
    let reply = connection.request(b"DATE")?;
    let there = data_of(b"DATE", &reply)
        .ok()
        .and_then(|data| std::str::from_utf8(data).ok());
    let here = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let there: Option<i64> = there.and_then(|text| text.parse().ok());
    Ok(there.map_or(0, |there| there.saturating_sub(here)))
}

/// Removes an empty directory.
fn remove_if_empty(connection: &mut Connection, path: &[u8]) -> Result<()> {
    let asked = request("LS", path);
    connection.wire().write_message(&asked)?;
    let mut empty = true;
    let shown = String::from_utf8_lossy(&asked).into_owned();
    let listed = connection.take_stream(&shown, &mut |data| {
        empty &= data.is_empty();
        Ok(())
    });
    match listed {
        Err(e) if e.status() == Some(Status::DirectoryMissing) => return Ok(()),
        other => other?,
    }
    if !empty {
        let why = "not empty: its entries are excluded, or new";
        return Err(bad_name(path, why));
    }
    connection.ask(&request("RMDIR", path)).map(drop)
}
