//! `tf watch`: a session in notification mode, reopened when it is lost, and
//! what is done with each file it reports.

mod duty;
mod memory;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::prelude::*;
use crate::client::{Access, ClientError, Kind, Stat, Verdict, Watched};
use duty::Duty;
use memory::Memory;

/// The longest pause between two attempts to reconnect.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A directory is scanned again after this many times the last scan's duration.
const RESCAN_FACTOR: u32 = 10;

/// Report files as they arrive, and do something with each
#[derive(Args)]
#[command(after_help = "\
Examples:
  tf watch inbox
  tf watch --get /var/spool/orders --delete orders
  tf watch --delete --exec 'tf get {} . && ./import' files:inbox")]
pub(crate) struct Watch {
    /// The remote directories, all on one server
    #[arg(required = true, value_name = "DIR", add = Names::Remote)]
    directories: Vec<RemoteArg>,
    /// Only files whose name begins with this
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = prefix)]
    prefix: String,
    /// Download each file to this local directory; if the name exists, a number
    /// is appended
    #[arg(long, value_name = "LOCAL")]
    get: Option<PathBuf>,
    /// Run this by sh for each file; {} stands for its path, with --get the
    /// local one
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Have the server delete each file after that has succeeded
    #[arg(long)]
    delete: bool,
    /// How often the server looks for files, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// How often to reconnect before giving up [default: no limit]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// End after this many files
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
}

fn prefix(text: &str) -> Result<String, String> {
    match text.contains(['/', ' ']) {
        true => Err("a prefix has no / and no space".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok().filter(|seconds| *seconds > 0.0);
    number
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "must be a number above 0".to_owned())
}

impl Watch {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let otherwise = "all directories must be on one server: run one tf watch for each";
        let server = context.common_server(&self.directories, otherwise)?;
        let mut list = Vec::new();
        for directory in &self.directories {
            let directory = context.resolve(directory)?.path;
            let prefix = self.prefix.clone();
            list.push(Watched { directory, prefix });
        }
        let output = context.output.clone();
        let access = context.access(&server)?.clone();
        let duty = Duty::new(self.get, self.exec, self.delete, output);
        let left = self.count.unwrap_or(u64::MAX);
        let memory = Memory::new(self.interval);
        let next_scans = vec![Instant::now(); list.len()];
        let interval = self.interval;
        let mut watcher = Watcher {
            access,
            list,
            interval,
            duty,
            memory,
            next_scans,
            left,
            met: false,
        };
        watcher.keep(self.retries)
    }
}

/// A watch over directories, across sessions.
struct Watcher {
    access: Access,
    list: Vec<Watched>,
    interval: Duration,
    duty: Duty,
    memory: Memory,
    /// When each directory may be scanned again.
    next_scans: Vec<Instant>,
    /// How many files are left.
    left: u64,
    /// Whether there was a session since the last attempt.
    met: bool,
}

impl Watcher {
    /// Watches until the requested number of files has arrived.
    fn keep(&mut self, retries: Option<u32>) -> Result<()> {
        let cancel = self.access.target.cancel.clone();
        let mut attempts = None;
        loop {
            let Err(failure) = self.session() else {
                return Ok(());
            };
            if cancel.is_cancelled() {
                return Err(ClientError::Interrupted.into());
            }
            if std::mem::take(&mut self.met) {
                attempts = Some(0);
            }
            // A failure of the first attempt ends it.
            let (Failure::Client(error), Some(attempt)) = (&failure, &mut attempts) else {
                return Err(failure);
            };
            if !error.is_loss() || retries.is_some_and(|most| *attempt >= most) {
                return Err(failure);
            }
            let pause = Duration::from_secs(1 << (*attempt).min(6)).min(LONGEST_PAUSE);
            *attempt += 1;
            self.duty
                .note(&format!("{error}: next attempt in {} s", pause.as_secs()));
            cancel.sleep(pause)?;
        }
    }

    /// One session: `Ok` when all files have arrived, never before.
    fn session(&mut self) -> Result<()> {
        let mut watch = self.access.open()?.watch(&self.list, self.interval)?;
        if self.memory.was_met() {
            self.duty.note("reconnected");
        }
        self.met = true;
        self.memory.meet();
        self.duty.forget_session();
        while self.left > 0 {
            let arrival = watch.wait()?;
            if self.duty.deletes() {
                let answer = self.handle(arrival.index, &arrival.name)?;
                watch.answer(answer)?;
            } else {
                // It only means that there is some file.
                watch.answer(Verdict::Keep)?;
                self.scan(arrival.index)?;
            }
        }
        Ok(())
    }

    /// Does what is to be done with a file that the server reported.
    fn handle(&mut self, index: usize, name: &[u8]) -> Result<Verdict> {
        let directory = self.list[index].directory.clone();
        if !self.wants(name) || !self.memory.may_try(index, name) {
            return Ok(Verdict::Keep);
        }
        let stamp = self.duty.stamp(&self.access, &directory, name)?;
        if !self.memory.was_done(index, name, stamp) {
            if !self.duty.perform(&self.access, &directory, name)? {
                self.memory.failed(index, name);
                return Ok(Verdict::Keep);
            }
            self.left -= 1;
        }
        if self.memory.done(index, name, stamp) {
            let path = shown(&[directory.as_bytes(), b"/", name].concat());
            self.duty.note(&format!(
                "{path} is reported again and again: may this account delete it, or does it change?"
            ));
        }
        Ok(Verdict::Delete)
    }

    /// Scans a directory whose files stay, for new and changed ones.
    fn scan(&mut self, index: usize) -> Result<()> {
        let begin = Instant::now();
        if self.next_scans[index] > begin {
            return Ok(());
        }
        let directory = self.list[index].directory.clone();
        let files = self.files(&directory)?;
        self.next_scans[index] = Instant::now() + begin.elapsed() * RESCAN_FACTOR;
        self.memory
            .keep_only(index, |name| files.iter().any(|(known, _)| known == name));
        for (name, stamp) in files {
            let news = !self.memory.knows(index, &name, stamp);
            if self.left == 0 || !news || !self.memory.may_try(index, &name) {
                continue;
            }
            if self.duty.perform(&self.access, &directory, &name)? {
                self.memory.saw(index, &name, stamp);
                self.left -= 1;
            } else {
                self.memory.failed(index, &name);
            }
        }
        Ok(())
    }

    /// The files of a directory that matter, with what shows a change.
    fn files(&mut self, directory: &str) -> Result<Vec<(Vec<u8>, Option<Stat>)>> {
        let helper = self.duty.helper(&self.access)?;
        let entries = match helper.list(directory) {
            // It is gone for now.
            Err(ClientError::Refused { .. } | ClientError::Odd { .. }) => return Ok(Vec::new()),
            entries => entries?,
        };
        let names: Vec<Vec<u8>> = entries
            .into_iter()
            .filter(|entry| entry.kind == Kind::File && self.wants(&entry.path))
            .map(|entry| entry.path)
            .collect();
        let path = |name: &Vec<u8>| beneath(directory, &String::from_utf8_lossy(name));
        let paths: Vec<String> = names.iter().map(path).collect();
        let stats = self.duty.helper(&self.access)?.stat_all(&paths)?;
        Ok(names
            .into_iter()
            .zip(stats.into_iter().map(Result::ok))
            .collect())
    }

    /// Hidden names are those of unfinished files, and a path is not a name.
    fn wants(&self, name: &[u8]) -> bool {
        let prefix = self.list[0].prefix.as_bytes();
        if name.iter().any(|byte| matches!(byte, b'/' | 0)) || matches!(name, b"." | b"..") {
            return false;
        }
        name.starts_with(prefix) && (prefix.starts_with(b".") || !name.starts_with(b"."))
    }
}
