//! `tf lock` and `tf unlock`: lock files (document, "LOCK"). A directory is
//! closed to clients that honour the name of a file in it, and to no others.

use std::process::Command;
use std::time::{Duration, Instant};

use super::prelude::*;
use crate::cli::place::{Remote, ServerName};
use crate::client::ClientError;
use crate::tf::status::Status;

/// The pause between two attempts to take a lock.
const PAUSE: Duration = Duration::from_millis(200);

/// Lock a directory, until unlocked or while a program runs
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf lock reports && tf put *.pdf reports/; tf unlock reports\n  \
                  tf lock --wait 60 reports -- rsync-reports.sh\n\n\
                  A lock keeps out clients that honour its name: tf --honour-lock LOCK, or\n\
                  lock = \"LOCK\" in a server's entry. It does not keep out others."
)]
pub(crate) struct Lock {
    #[command(flatten)]
    named: Named,
    /// How long to wait for a lock that someone else holds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// The remote directory
    #[arg(add = Names::Remote)]
    directory: RemoteArg,
    /// A program with its arguments; the lock is removed when it has ended
    #[arg(last = true)]
    program: Vec<String>,
}

/// Unlock directories
#[derive(Args)]
#[command(after_help = "Example:\n  tf unlock reports")]
pub(crate) struct Unlock {
    #[command(flatten)]
    named: Named,
    /// The remote directories
    #[arg(required = true, add = Names::Remote)]
    directories: Vec<RemoteArg>,
}

#[derive(Args)]
struct Named {
    /// The name of the lock file: no '.' and no '/'
    #[arg(long, default_value = "LOCK")]
    name: String,
}

impl Named {
    fn check(&self) -> Result<()> {
        if self.name.is_empty() || self.name.contains(['.', '/']) {
            let name = &self.name;
            return Err(Failure::usage(format!(
                "\"{name}\": a lock name has no '.' and no '/'"
            )));
        }
        Ok(())
    }
}

impl Lock {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        self.named.check()?;
        let Remote { server, path } = context.resolve(&self.directory)?;
        let path = beneath(&path, &self.named.name);
        self.take(context, &server, &path)?;
        let Some((program, arguments)) = self.program.split_first() else {
            return Ok(());
        };
        let ended = Command::new(program).args(arguments).status();
        take_off(context, &server, &path)?;
        match ended.map_err(Failure::local(program))?.code() {
            Some(0) => Ok(()),
            Some(code) => Err(Failure::Ended(u8::try_from(code).unwrap_or(u8::MAX))),
            None => Err(Failure::Ended(u8::MAX)),
        }
    }

    fn take(&self, context: &mut Context, server: &ServerName, path: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(self.wait);
        let connection = context.connection(server)?;
        loop {
            match connection.make_new_file(path) {
                Err(e) if is_held(&e) && Instant::now() < end => std::thread::sleep(PAUSE),
                Err(e) if is_held(&e) => {
                    let since = connection
                        .stat(path)
                        .map(|stat| crate::cli::output::local_time(stat.modified));
                    let since =
                        since.map_or_else(|_| String::new(), |time| format!(" since {time}"));
                    complain!("tf: {path}: someone holds this lock{since}: wait, or see tf unlock");
                    return Err(Failure::Reported(Exit::Refused));
                }
                other => return Ok(other?),
            }
        }
    }
}

/// Removes the lock file, over a new session if the old one is lost.
fn take_off(context: &mut Context, server: &ServerName, path: &str) -> Result<()> {
    match context.connection(server)?.delete(path) {
        Err(ClientError::Lost(_)) => {
            let mut again = context.access(server)?.open()?;
            Ok(again.delete(path)?)
        }
        other => Ok(other?),
    }
}

fn is_held(error: &ClientError) -> bool {
    matches!(
        error.status(),
        Some(Status::FileExists | Status::DirectoryLocked)
    )
}

impl Unlock {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        self.named.check()?;
        for_each_name(context, &self.directories, |connection, path| {
            Ok(connection.delete(&beneath(path, &self.named.name))?)
        })
    }
}
