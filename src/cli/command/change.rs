//! `tf mkdir`, `tf rmdir`, `tf rm`, `tf touch`, `tf chmod` and `tf chown`: a request
//! for each path. `tf cp` and `tf mv`: sources, and a target that is a new path or a
//! directory.

use super::prelude::*;
use crate::cli::place::{Remote, last_name};
use crate::client::{ClientError, Connection, Kind, Room, mode_request, owner_request};
use crate::tf::status::Status;

/// Make directories
#[derive(Args)]
#[command(after_help = "Example:\n  tf mkdir -p reports/2026/may")]
pub(crate) struct Mkdir {
    /// Make missing parents, too; existing directories are no error
    #[arg(short, long)]
    parents: bool,
    /// The remote directories
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Mkdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_name(context, &self.paths, |connection, path| {
            let made = match self.parents {
                true => connection.make_directories(path),
                false => connection.make_directory(path),
            };
            Ok(made?)
        })
    }
}

/// Remove empty directories
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf rmdir reports/2019\n\nTo remove them with their content: tf rm -r"
)]
pub(crate) struct Rmdir {
    /// Remote directories or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Rmdir {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_path(context, &self.paths, |connection, path| {
            if is_root(path) {
                return Err(Failure::usage("the server's root can't be removed"));
            }
            // The server's own command removes the content, too.
            if !connection.list(path)?.is_empty() {
                let request = format!("rmdir {path}");
                let status = Status::DirectoryRemains;
                return Err(ClientError::Refused { request, status }.into());
            }
            Ok(connection.remove_directory(path)?)
        })
    }
}

/// Delete files
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf rm reports/may.pdf\n  tf rm -r reports/2019\n  tf rm -f 'tmp/*.part'"
)]
pub(crate) struct Rm {
    /// Remove directories and their content, too
    #[arg(short, long)]
    recursive: bool,
    /// Ignore missing files
    #[arg(short, long)]
    force: bool,
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Rm {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_path(context, &self.paths, |connection, path| {
            if is_root(path) {
                let text =
                    "that would empty the server's root: name its entries, for example by '*'";
                return Err(Failure::usage(text));
            }
            match connection.delete(path) {
                Err(e) if self.recursive && e.status() == Some(Status::IsDirectory) => {
                    Ok(connection.remove_directory(path)?)
                }
                Err(e) if self.force && e.status() == Some(Status::FileMissing) => Ok(()),
                other => Ok(other?),
            }
        })
    }
}

/// Make empty files, or set the times of existing ones to now
#[derive(Args)]
#[command(after_help = "Example:\n  tf touch reports/done")]
pub(crate) struct Touch {
    /// Make no files
    #[arg(short = 'c', long)]
    no_create: bool,
    /// The remote paths
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Touch {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_name(context, &self.paths, |connection, path| {
            if self.no_create {
                return match connection.update_times(path) {
                    Err(e) if e.status() == Some(Status::FileMissing) => Ok(()),
                    other => Ok(other?),
                };
            }
            match connection.touch(path) {
                Err(e) if e.status() == Some(Status::FileExists) => {
                    Ok(connection.update_times(path)?)
                }
                other => Ok(other?),
            }
        })
    }
}

/// Copy on the server
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf cp may.pdf archive/\n  tf cp -r site site.old\n  tf cp -f new.conf live.conf"
)]
pub(crate) struct Cp {
    /// Copy directories and their content, too
    #[arg(short, long)]
    recursive: bool,
    /// Replace an existing file
    #[arg(short, long)]
    force: bool,
    /// The paths or patterns to copy, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Cp {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_target(
            context,
            &self.paths,
            |connection, from, to| match connection.copy(from, to) {
                Err(e) if e.status() == Some(Status::DirectoryCopy) && self.recursive => {
                    Ok(connection.copy_directory(from, to)?)
                }
                Err(e) if e.status() == Some(Status::DirectoryCopy) => {
                    Err(Failure::Usage(format!("{from} is a directory: use -r")))
                }
                Err(e) if e.status() == Some(Status::FileExists) && self.force => {
                    replace(connection, from, to)
                }
                other => Ok(other?),
            },
        )
    }
}

/// Replaces a file, never a directory.
fn replace(connection: &mut Connection, from: &str, to: &str) -> Result<()> {
    if connection.stat(to)?.kind == Kind::Directory {
        return Err(Failure::Usage(format!("{to} is a directory")));
    }
    Ok(connection.copy_over(from, to)?)
}

/// Rename, or move into a directory
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf mv may.pdf june.pdf\n  tf mv -n 'incoming/*.pdf' files:reports/"
)]
pub(crate) struct Mv {
    /// Do not replace an existing file
    #[arg(short, long)]
    no_clobber: bool,
    /// The old paths or patterns, and the new path or a directory
    #[arg(required = true, num_args = 2.., add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Mv {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for_each_target(context, &self.paths, |connection, from, to| {
            if is_root(from) {
                return Err(Failure::usage("the server's root can't be moved"));
            }
            if self.no_clobber && connection.stat(to).is_ok() {
                let request = format!("mv {from} {to}");
                let status = Status::FileExists;
                return Err(ClientError::Refused { request, status }.into());
            }
            Ok(connection.rename(from, to)?)
        })
    }
}

/// Does the same for each source and its new path, see [`for_each`]. The last
/// path is the target.
fn for_each_target(
    context: &mut Context,
    paths: &[RemoteArg],
    mut act: impl FnMut(&mut Connection, &str, &str) -> Result<()>,
) -> Result<()> {
    let Some((target, sources)) = paths.split_last() else {
        return Ok(());
    };
    let otherwise = "all paths must be on one server: between servers use get and put";
    context.common_server(paths, otherwise)?;
    let target = context.resolve(target)?;
    let mut names = Vec::new();
    for source in sources {
        names.append(&mut expand(context, source)?);
    }
    let connection = context.connection(&target.server)?;
    let target = target.path;
    let is_directory = match connection.stat(&target) {
        Err(e) if e.status().is_none() => return Err(e.into()),
        stat => stat.is_ok_and(|stat| stat.kind == Kind::Directory),
    };
    if !is_directory && (names.len() > 1 || target.ends_with('/')) {
        return Err(Failure::usage(format!("{target} is not a directory")));
    }
    for_each(&names, |Remote { path, .. }| match is_directory {
        true => act(connection, path, &beneath(&target, last_name(path))),
        false => act(connection, path, &target),
    })
}

/// Set modes
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf chmod 600 secret.txt\n  tf chmod -R 644 --directories 755 site\n\n\
                  Modes are octal. The protocol does not report modes, so a mode can only be set as a whole."
)]
pub(crate) struct Chmod {
    /// Include the content of directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The mode of directories, with -R
    #[arg(long, value_name = "MODE", requires = "recursive")]
    directories: Option<String>,
    /// The mode, octal
    mode: String,
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Chmod {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for mode in [Some(&self.mode), self.directories.as_ref()]
            .into_iter()
            .flatten()
        {
            if !matches!(u32::from_str_radix(mode, 8), Ok(0..=0o7777)) {
                return Err(Failure::Usage(format!(
                    "{mode}: a mode is octal, 0 to 7777"
                )));
            }
        }
        for_each_path(context, &self.paths, |connection, path| {
            if !self.recursive {
                return Ok(connection.change_mode(path, &self.mode)?);
            }
            with_all_in_it(connection, path, |path, kind| {
                let mode = match &self.directories {
                    Some(mode) if kind == Kind::Directory => mode,
                    _ => &self.mode,
                };
                mode_request(path, mode)
            })
        })
    }
}

/// Set owner and group
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf chown ann:staff report.pdf\n  tf chown -R ann:staff reports"
)]
pub(crate) struct Chown {
    /// Include the content of directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// User and group of the server, by name or number
    #[arg(value_name = "USER:GROUP")]
    owner: String,
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Chown {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let both = self
            .owner
            .split_once(':')
            .filter(|(user, group)| !user.is_empty() && !group.is_empty());
        let Some((user, group)) = both else {
            let text = format!("{}: write USER:GROUP, the protocol sets both", self.owner);
            return Err(Failure::Usage(text));
        };
        for_each_path(context, &self.paths, |connection, path| {
            if !self.recursive {
                return Ok(connection.change_owner(path, user, group)?);
            }
            with_all_in_it(connection, path, |path, _| owner_request(path, user, group))
        })
    }
}

/// Sends a request for a path and, where that is a directory, for all in it:
/// the content of a directory first, because it may be out of reach afterwards. Links and
/// special files stay as they are.
pub(super) fn with_all_in_it(
    connection: &mut Connection,
    path: &str,
    request: impl Fn(&str, Kind) -> crate::client::Result<String>,
) -> Result<()> {
    let (mut all, mut untold) = (Vec::new(), Vec::new());
    let mut room = Room::of(path);
    let listed = connection.list_as_it_comes(path, true, &mut |entry| {
        room.take(&entry)?;
        untold.extend(entry.untold());
        let name = String::from_utf8_lossy(&entry.path);
        if entry.kind != Kind::Other {
            all.push((beneath(path, &name), entry.kind));
        }
        Ok(())
    });
    let kind = match listed {
        Ok(()) => Kind::Directory,
        Err(e) if e.status() == Some(Status::DirectoryMissing) => Kind::File,
        Err(e) => return Err(e.into()),
    };
    all.reverse();
    all.push((path.to_owned(), kind));
    // A path that no request can hold is reported like a refusal.
    let mut requests = Vec::with_capacity(all.len());
    let said = for_each(&all, |(path, kind)| {
        requests.push(request(path, *kind)?);
        Ok(())
    });
    let replies = connection.command_all(requests, |_, _| Ok(()))?;
    for_each(replies, |reply| Ok(reply?))
        .and(said)
        .and(report_all(untold))
}
