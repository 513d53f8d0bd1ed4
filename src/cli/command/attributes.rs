//! `tf chmod` and `tf chown`.

use super::prelude::*;
use crate::client::{Connection, Kind, Room, mode_request, owner_request};
use crate::tf::status::Status;

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
