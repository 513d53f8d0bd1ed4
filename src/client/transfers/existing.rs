//! Files that exist at the target: which of them are replaced, and what
//! becomes of the old ones.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::local::Target;
use super::mirror::Work;
use super::requests::{bad_name, directory, join, levels, part_name, request, stat_of, two_paths};
use super::run::{Line, Run};
use super::scan::filter::{Backup, Existing};
use super::scan::{Found, Plan, Tree};
use super::trees::{Down, Up};
use crate::client::connect::Connection;
use crate::client::error::Result;
use crate::client::extension::Attributes;
use crate::tf::status::Status;

impl Existing {
    /// Whether an existing file stays, by the times of the source and of it in
    /// seconds.
    pub(super) fn keeps(&self, source: i64, existing: i64) -> bool {
        self.skip || self.update && existing > source
    }

    /// Where the old file of this path is kept; `top` is the directory that
    /// everything goes to.
    pub(super) fn backup_of(&self, top: &[u8], path: &[u8]) -> Option<Vec<u8>> {
        match self.backup.as_ref()? {
            Backup::Suffix(suffix) => Some([path, suffix.as_bytes()].concat()),
            Backup::Directory(name) => {
                let beneath = path.strip_prefix(top).unwrap_or(path);
                let beneath = beneath.strip_prefix(b"/").unwrap_or(beneath);
                Some(join(&join(top, name.as_bytes()), beneath))
            }
        }
    }

    /// Whether this path, from the top, is that of an old file.
    pub(super) fn is_backup(&self, path: &[u8]) -> bool {
        match &self.backup {
            Some(Backup::Suffix(suffix)) => path.ends_with(suffix.as_bytes()),
            Some(Backup::Directory(name)) => levels(path).any(|level| level == name.as_bytes()),
            None => false,
        }
    }
}

impl Up {
    /// Leaves out what stays at the server, and says where old files go.
    ///
    /// # Errors
    /// The connection is lost.
    pub(super) fn look_at_existing(&mut self, run: &Run<'_>, line: &mut Line<'_>) -> Result<()> {
        let existing = &run.options.existing;
        if !existing.skip && !existing.update && existing.backup.is_none() {
            return Ok(());
        }
        let asked = |file: &super::upload::Upload| request("FSTAT", &file.id.name);
        let stats = line.ask_each(&self.files, asked, stat_of)?;
        let files = std::mem::take(&mut self.files).into_iter().enumerate();
        for ((number, mut file), stat) in files.zip(stats) {
            let modified = || fs::metadata(&file.local).map_or(i64::MAX, |it| it.mtime());
            match stat {
                Ok(stat) if existing.keeps(modified(), stat.modified) => run.skipped(),
                Ok(_) => {
                    let top = self.tops.iter().rfind(|(first, _)| *first <= number);
                    let top = top.map_or(&b""[..], |(_, top)| top);
                    file.backup = existing.backup_of(top, &file.id.name);
                    self.make_way(file.backup.as_deref());
                    self.files.push(file);
                }
                // What is wrong with the place is reported when it is sent.
                Err(_) => self.files.push(file),
            }
        }
        Ok(())
    }

    /// Has the directories made that an old file is kept in.
    pub(super) fn make_way(&mut self, backup: Option<&[u8]>) {
        let parent = directory(backup.unwrap_or_default());
        let parent = parent.strip_suffix(b"/").unwrap_or(parent);
        for level in levels(parent).filter(|level| !level.is_empty()) {
            if !self.directories.iter().any(|(path, _)| path == level) {
                self.directories
                    .push((level.to_vec(), Attributes::default()));
            }
        }
    }
}

impl Down {
    /// Leaves out what stays here, and says where old files go.
    ///
    /// # Errors
    /// `Interrupted`.
    pub(super) fn look_at_existing(&mut self, run: &Run<'_>) -> Result<()> {
        let existing = &run.options.existing;
        for mut file in std::mem::take(&mut self.files) {
            let path = file.target.path_of(&file.relative);
            let Ok(here) = fs::symlink_metadata(&path) else {
                self.files.push(file);
                continue;
            };
            run.go_on()?;
            if existing.keeps(file.found.modified.seconds, here.mtime()) || !run.may_replace(&path)
            {
                run.skipped();
                continue;
            }
            if here.is_file() {
                file.backup = existing.backup_of(b"", &file.relative);
            }
            self.files.push(file);
        }
        Ok(())
    }
}

impl Work<'_> {
    /// Takes out of the plan what the options leave as it is.
    pub(super) fn restrict(&self, plan: &mut Plan<'_>, source: &Tree, target: &Tree) {
        let options = &self.run.options;
        plan.files.retain(|(path, _)| {
            let Some(found) = source.entries.get(*path) else {
                return true;
            };
            let there = target.entries.get(*path).filter(|it| !it.is_directory);
            let keeps = |there: &Found| {
                options
                    .existing
                    .keeps(found.modified.seconds, there.modified.seconds)
            };
            let is_left = options.filter.excludes_size(found.size) || there.is_some_and(keeps);
            if is_left {
                self.run.skipped();
            }
            !is_left
        });
        // Old files stay, and the directories around them.
        let all = plan.delete.iter().map(|(path, _)| *path);
        let kept: HashSet<&[u8]> = all
            .filter(|path| options.existing.is_backup(path))
            .flat_map(levels)
            .collect();
        plan.delete.retain(|(path, _)| !kept.contains(path));
    }

    pub(super) fn backup_there(&self, relative: &[u8]) -> Option<Vec<u8>> {
        let (top, path) = (self.remote.as_bytes(), self.remote_path(relative));
        self.run.options.existing.backup_of(top, &path)
    }

    /// Keeps files on the server under other names before they are deleted.
    pub(super) fn keep_there(&self, line: &mut Line<'_>, files: &[&(&[u8], bool)]) -> Result<()> {
        let mut made = HashSet::new();
        for (path, _) in files {
            let Some(backup) = self.backup_there(path) else {
                return Ok(());
            };
            let parent = directory(&backup);
            let parent = parent.strip_suffix(b"/").unwrap_or(parent);
            for level in levels(parent).filter(|level| !level.is_empty()) {
                if made.insert(level.to_vec()) {
                    let asked = request("MKDIR", level);
                    // That it exists is fine, and all else shows at the copy.
                    line.steadily(|connection, _| connection.request(&asked))?;
                }
            }
            let from = self.remote_path(path);
            line.steadily(|connection, _| keep_old(connection, &from, &backup))?;
        }
        Ok(())
    }
}

/// Copies a remote file next to its new name and lets it take that: readers of
/// either see a whole file. One that is missing needs no copy.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub(super) fn keep_old(connection: &mut Connection, path: &[u8], backup: &[u8]) -> Result<()> {
    if path.windows(3).any(|window| window == b" | ") {
        return Err(bad_name(
            path,
            "COPY takes no path with \" | \": no backup can be kept",
        ));
    }
    let part = join(directory(backup), &part_name(&[path, backup], b""));
    match connection.ask(&two_paths("COPY", path, &part)) {
        Err(e) if e.status() == Some(Status::SourceFileMissing) => {
            // Or the directory for the copy is.
            return match connection.stat_there(path)? {
                Err(gone) if gone.status() == Some(Status::FileMissing) => Ok(()),
                _ => Err(e),
            };
        }
        // An earlier try left it.
        Err(e) if e.status() == Some(Status::FileExists) => {
            connection.ask(&request("DEL", &part))?;
            connection.ask(&two_paths("COPY", path, &part))?;
        }
        other => drop(other?),
    }
    connection.ask(&two_paths("RENAM", &part, backup)).map(drop)
}

impl Target {
    /// As the function for a remote file: a link where that is possible, else
    /// the file itself goes.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn keep_old(&self, relative: &[u8], backup: &[u8]) -> Result<()> {
        let parent = directory(backup);
        self.make_directory(parent.strip_suffix(b"/").unwrap_or(parent), false)?;
        self.keep_under(relative, backup)
    }
}

impl Run<'_> {
    /// A file was left as it is, because the user asked for that.
    pub(super) fn skipped(&self) {
        self.sum(|summary| summary.skipped += 1);
    }
}
