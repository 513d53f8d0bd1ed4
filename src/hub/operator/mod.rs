//! What the operator of a hub does with its users and its book. Runs as the hub's system
//! user, in its directory as root directory, next to a broker or without.

mod answers;
mod copies;

use std::fs::File;
use std::path::Path;

use super::book::{Book, Rules, Settings};
use super::broker::process::FILE;
use super::helpers::{identity, rules};
use super::place::Place;
use super::wire::User;
use crate::config::Config;
use crate::sandbox::operator::answer_as;

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
    /// Removes a user that has nothing here.
    Remove {
        /// The name.
        user: User,
    },
    /// Lets a user delete for so many seconds that else may not.
    OpenWindow {
        /// The name.
        user: User,
        /// How long.
        seconds: i64,
    },
    /// All users.
    List {
        /// Whether as JSON.
        as_json: bool,
    },
    /// The hub in numbers.
    Status {
        /// Whether as JSON.
        as_json: bool,
    },
    /// All keepers.
    Holders {
        /// Whether as JSON.
        as_json: bool,
    },
    /// The files of a user, and where they are.
    Files {
        /// The name.
        user: User,
        /// Whether as JSON.
        as_json: bool,
    },
    /// Has files healed at once: those that wait, or those of a keeper.
    Heal {
        /// The keeper.
        holder: Option<User>,
    },
    /// Writes a copy of the database.
    Dump {
        /// An empty file.
        file: File,
    },
    /// Takes a copy of the database, where there is none.
    Restore {
        /// The copy.
        file: File,
    },
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
    answer_as(&identity, &store, || answer(&rules, question))
}

fn answer(rules: &Rules, question: &Question) -> Result<String, String> {
    let now = jiff::Timestamp::now().as_second();
    if let Question::Restore { file } = question {
        return copies::restore(rules, file, now);
    }
    let book = Book::open(&Path::new("/").join(FILE), rules.clone(), now);
    let book = book.map_err(|e| format!("{FILE}: {e}"))?;
    match question {
        Question::Dump { file } => copies::dump(&book, file),
        question => answers::answer(&book, question, now),
    }
}
