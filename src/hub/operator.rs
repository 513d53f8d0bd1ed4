//! What the operator of a hub does with its users. Runs as the hub's system user, in
//! its directory as root directory, next to a broker or without.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::wait::{WaitStatus, waitpid};
use rustix::thread::CapabilitySet;

use super::book::{Book, Settings, Trouble};
use super::broker::process::FILE;
use super::helpers::{identity, rules};
use super::place::Place;
use super::proofs::{enrolment_key, new_code};
use super::wire::User;
use crate::config::Config;
use crate::sandbox::confinement::change_root;
use crate::sys::process::fork;

/// How long a code can be used, in seconds.
const CODE: i64 = 7 * 86_400;

/// What is asked.
#[derive(Debug)]
pub enum Question {
    /// Lets a user in, by a code that this prints.
    Add {
        /// The name.
        user: User,
        /// What holds for it.
        settings: Settings,
    },
    /// All users.
    List,
}

/// Answers to standard output, or says on standard error why not; whether it did.
///
/// # Errors
/// One line.
pub fn ask(config: &Config, question: &Question) -> Result<bool, String> {
    let Some(hub) = &config.hub else {
        return Err(format!("{}: has no [hub]", config.path.display()));
    };
    let (identity, rules) = (identity(config, hub)?, rules(hub)?);
    let place = Place::at(&hub.data);
    place.make(&identity)?;
    let store = place.open_store()?;
    let child = fork(|| {
        let entered = change_root(store.as_fd())
            .map_err(std::io::Error::from)
            .and_then(|()| identity.take_keeping(CapabilitySet::empty()));
        let text = entered.map_err(|e| e.to_string()).and_then(|()| {
            let now = jiff::Timestamp::now().as_second();
            let book = Book::open(&Path::new("/").join(FILE), rules.clone(), now);
            let book = book.map_err(|e| format!("{FILE}: {e}"))?;
            answer(&book, question, now)
        });
        let written = text.and_then(|text| {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            written.map_err(|e| format!("standard output: {e}"))
        });
        written.map_or_else(
            |e| {
                eprintln!("tfd: {e}");
                1
            },
            |()| 0,
        )
    });
    let ended = child.and_then(|pid| Ok(waitpid(pid, None)?));
    ended
        .map(|status| matches!(status, WaitStatus::Exited(_, 0)))
        .map_err(|e| e.to_string())
}

fn answer(book: &Book, question: &Question, now: i64) -> Result<String, String> {
    match question {
        Question::Add { user, settings } => {
            let code = new_code().map_err(|e| e.to_string())?;
            let key = enrolment_key(&code, book.hub(), user);
            let key = key.map_err(|e| e.to_string())?.ok_or("no code")?;
            let added = book.whole(|book| {
                let account = book.enter(user, settings, now)?;
                book.enrol(account.id, &key, now + CODE)
            });
            match added {
                Ok(()) => Ok(format!("{code}\n")),
                Err(Trouble::Refused(_)) => Err(format!(
                    "{}: has logged in and needs no code",
                    user.as_str()
                )),
                Err(Trouble::Sql(e)) => Err(format!("{FILE}: {e}")),
            }
        }
        Question::List => {
            let users = book.users().map_err(|e| e.to_string())?;
            let mut text = String::from("USER\tKEY\tKEEPS\tUSED\n");
            for user in users {
                let space = book.space(user.id).map_err(|e| e.to_string())?;
                let has_key = if user.key.is_some() { "yes" } else { "no" };
                let name = user.name.as_str();
                let line = format!("{name}\t{has_key}\t{}\t{}\n", space.share, space.used);
                text.push_str(&line);
            }
            Ok(text)
        }
    }
}
