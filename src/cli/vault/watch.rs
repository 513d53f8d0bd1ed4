//! `watch`: syncs a file at each change on either side.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use rustix::fs::inotify;

use super::Store;
use super::ask::Asker;
use super::link::{account, enter, report, sync};
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::complain;
use crate::client::vault::sync::Summary;
use crate::client::vault::sync::account::Account;
use crate::client::vault::{VaultError, VaultFile};

/// The longest time between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a program may take to write a file in place, in tenths of a second.
const WRITING: u32 = 50;

/// Sync a file at each change on either side, until it is broken off
#[derive(Args)]
pub(super) struct Watch {
    #[command(flatten)]
    store: Store,
}

impl Watch {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let asker = Asker::new(context);
        let mut file = self.store.open(&asker)?;
        let account = account(&file)?;
        let failed = |e: rustix::io::Errno| Failure::local(file.path())(e.into());
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let events = inotify::init(flags).map_err(failed)?;
        let directory = file.path().parent().unwrap_or(Path::new("/"));
        let what = inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&events, directory, what).map_err(failed)?;
        let mut pause = Duration::from_secs(1);
        loop {
            let done = self.follow(context, &asker, &account, &mut file, &events, &mut pause);
            match done {
                Err(Failure::Client(e))
                    if e.is_loss() && !context.directory.cancel.is_cancelled() =>
                {
                    complain!("tf: {e}: trying again in {} s", pause.as_secs());
                    file.release()?;
                    context.directory.cancel.sleep(pause)?;
                    pause = LONGEST_PAUSE.min(pause * 2);
                    reread(context, &mut file)?;
                }
                other => return other,
            }
        }
    }

    /// Syncs until the connection is lost.
    fn follow(
        &self,
        context: &Context,
        asker: &Asker,
        account: &Account,
        file: &mut VaultFile,
        events: &impl AsFd,
        pause: &mut Duration,
    ) -> Result<()> {
        let (mut session, mut welcome) = enter(context, account, asker)?;
        *pause = Duration::from_secs(1);
        session.listen()?;
        let mut summary = sync(file, account, &mut session, &mut welcome, None)?;
        loop {
            if summary != Summary::default() {
                report(context, &summary)?;
            }
            summary = Summary::default();
            file.release()?;
            let has_news = session.wait(events.as_fd(), None)?;
            drain(events);
            // Programs save in several steps.
            if !has_news {
                context.directory.cancel.sleep(Duration::from_millis(50))?;
            }
            let is_other = reread(context, file)?;
            if has_news || is_other {
                summary = sync(file, account, &mut session, &mut welcome, Some(has_news))?;
            }
        }
    }
}

/// Reads all events, which only say that it is time to look.
fn drain(events: &impl AsFd) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events, &mut buffer);
    while reader.next().is_ok() {}
}

/// Reads a file again: whether it is another one. What a program is still writing in
/// place can't be read.
fn reread(context: &Context, file: &mut VaultFile) -> Result<bool> {
    for _ in 0..WRITING {
        match file.reread() {
            Err(VaultError::Unreadable { .. } | VaultError::Local { .. }) => {
                context.directory.cancel.sleep(Duration::from_millis(100))?;
            }
            other => return Ok(other?),
        }
    }
    Ok(file.reread()?)
}
