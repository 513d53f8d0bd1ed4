//! The process that makes the keystream tables (see `tf::cipher::cycle`) when
//! the first session asks for them, then ends. It is the only one that can
//! write to their memory.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{EventfdFlags, eventfd};

use crate::ipc::Helper;
use crate::sandbox::Sandbox;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sys::memory::for_reading;
use crate::tf::cipher::cycle::{self, CYCLES};
use crate::users::Identity;

/// What sessions need to read the tables and to ask for them.
#[derive(Debug)]
pub struct Tables {
    readers: Vec<OwnedFd>,
    word: OwnedFd,
    /// The process that makes them, until it has ended.
    maker: Cell<Option<Pid>>,
    limit: u64,
}

impl Tables {
    /// Starts the process. It makes as many tables as fit into `limit` bytes.
    ///
    /// # Errors
    /// The system's. Sessions compute everything then.
    pub fn start(limit: u64, identity: Option<&Identity>, sandbox: &Sandbox) -> io::Result<Tables> {
        let mut handles = Vec::new();
        let mut left = limit;
        for (_, len) in CYCLES {
            let Some(rest) = left.checked_sub(cycle::table_bytes(len)) else {
                break;
            };
            left = rest;
            handles.push(cycle::memory_for_table()?);
        }
        let readers = handles.iter().map(for_reading).collect::<io::Result<_>>()?;
        let word = eventfd(0, EventfdFlags::CLOEXEC)?;
        let confinement = Confinement::new(identity, sandbox).map_err(io::Error::other)?;
        let helper = <Helper>::spawn("tables", |child| {
            let _ = rustix::process::nice(10);
            let kept: Vec<_> = handles.iter().chain([&word]).map(AsFd::as_fd).collect();
            let confined = confinement.with(Duty::Alone(None));
            child.enter(c"tfd-tables", &confined, &kept)?;
            make_when_asked(&handles, &word)
        });
        Ok(Tables {
            readers,
            word,
            maker: Cell::new(Some(helper.map_err(io::Error::other)?.pid)),
            limit,
        })
    }

    /// Takes note that a process has ended.
    pub fn reaped(&self, pid: Pid) {
        self.maker
            .set(self.maker.get().filter(|maker| *maker != pid));
    }

    /// The most bytes that they were to have.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The descriptors that a process needs to read the tables.
    pub fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.readers.iter().chain([&self.word]).map(AsFd::as_fd)
    }

    /// In a process that keeps [`Tables::handles`]: reads them from now on.
    pub fn read(&self) -> io::Result<()> {
        let readers = self
            .readers
            .iter()
            .map(OwnedFd::try_clone)
            .collect::<io::Result<_>>()?;
        cycle::read_tables(readers, self.word.try_clone()?);
        Ok(())
    }
}

impl Drop for Tables {
    /// Ends the process that makes them, if it still runs.
    fn drop(&mut self) {
        if let Some(maker) = self.maker.get() {
            let _ = kill(maker, Signal::SIGKILL);
        }
    }
}

fn make_when_asked(handles: &[OwnedFd], word: &OwnedFd) -> io::Result<()> {
    rustix::io::read(word, &mut [0; 8])?;
    let begin = std::time::Instant::now();
    let copies = handles
        .iter()
        .map(OwnedFd::try_clone)
        .collect::<io::Result<_>>()?;
    cycle::make(copies)?;
    let ms = begin.elapsed().as_millis();
    log::info!(count = handles.len(), ms; "keystream tables made");
    Ok(())
}
