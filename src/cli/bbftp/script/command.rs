//! One command, from its text.

use super::words::words;
use crate::cli::bbftp::failure::{Failure, Result, UNKNOWN_COMMAND};
use crate::cli::bbftp::settings::{Number, SWITCHES, Switch};
use crate::text::shown;

/// What a command does.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::bbftp) enum Command {
    /// A comment, or an empty line.
    Nothing,
    /// Changes the directory here.
    LocalDirectory(Vec<u8>),
    /// A question or an order to the server.
    Request(Request, Vec<u8>),
    /// Lists a directory.
    List(Vec<u8>),
    /// One file.
    One(Direction, Pair),
    /// The files that match a pattern, and the directory they go to.
    Many(Direction, Pair),
    /// Sets a number; its word and its text follow, as they are repeated.
    Set(Number, i32, String),
    /// Sets an option.
    Switch(Switch, bool, String),
}

/// What the server is asked with one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::bbftp) enum Request {
    ChangeDirectory,
    MakeDirectory,
    Remove,
    Stat,
    Space,
}

/// Where a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::bbftp) enum Direction {
    Put,
    Get,
}

/// A file and what becomes of it: names as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::bbftp) struct Pair {
    pub(in crate::cli::bbftp) from: Vec<u8>,
    pub(in crate::cli::bbftp) to: Vec<u8>,
}

impl Request {
    /// Its command.
    pub(in crate::cli::bbftp) fn word(self) -> &'static str {
        match self {
            Request::ChangeDirectory => "cd",
            Request::MakeDirectory => "mkdir",
            Request::Remove => "rm",
            Request::Stat => "stat",
            Request::Space => "df",
        }
    }
}

impl Direction {
    /// Its command.
    pub(in crate::cli::bbftp) fn word(self) -> &'static str {
        match self {
            Direction::Put => "put",
            Direction::Get => "get",
        }
    }

    /// What its speed line says.
    pub(in crate::cli::bbftp) fn done(self) -> &'static str {
        match self {
            Direction::Put => "send",
            Direction::Get => "got",
        }
    }
}

impl Command {
    /// The command of a text.
    pub(in crate::cli::bbftp) fn of(text: &[u8]) -> Result<Command> {
        let trimmed = text.trim_ascii_start();
        if matches!(trimmed.first(), None | Some(b'!' | b'#')) {
            return Ok(Command::Nothing);
        }
        let words = words(trimmed);
        let (word, arguments) = words.split_first().unwrap_or((const { &Vec::new() }, &[]));
        let incorrect = || Failure::incorrect(shown(trimmed));
        match (most_arguments(word), arguments) {
            (None, _) => Err(Failure::last(
                UNKNOWN_COMMAND,
                format!("Unkown command : {}", shown(word)),
            )),
            (Some(most), [first, rest @ ..]) if rest.len() < most && !first.is_empty() => {
                with_arguments(word, first, rest.first())
            }
            _ => Err(incorrect()),
        }
    }
}

/// How many arguments a command may have; each needs one.
fn most_arguments(word: &[u8]) -> Option<usize> {
    match word {
        b"put" | b"get" | b"mput" | b"mget" => Some(2),
        b"cd" | b"lcd" | b"dir" | b"mkdir" | b"rm" | b"stat" | b"df" | b"setoption" => Some(1),
        _ => Number::of(word).map(|_| 1),
    }
}

fn with_arguments(word: &[u8], first: &[u8], second: Option<&Vec<u8>>) -> Result<Command> {
    let path = first.to_vec();
    let request = |request| Ok(Command::Request(request, path.clone()));
    let one = |direction| Ok(Command::One(direction, one_file(direction, first, second)));
    let many = |direction| {
        let to = second.cloned().unwrap_or_else(|| b"./".to_vec());
        let from = path.clone();
        Ok(Command::Many(direction, Pair { from, to }))
    };
    match word {
        b"cd" => request(Request::ChangeDirectory),
        b"mkdir" => request(Request::MakeDirectory),
        b"rm" => request(Request::Remove),
        b"stat" => request(Request::Stat),
        b"df" => request(Request::Space),
        b"lcd" => Ok(Command::LocalDirectory(path)),
        b"dir" => Ok(Command::List(path)),
        b"put" => one(Direction::Put),
        b"get" => one(Direction::Get),
        b"mput" => many(Direction::Put),
        b"mget" => many(Direction::Get),
        b"setoption" => switch(first),
        _ => number(word, first),
    }
}

/// A name that ends in a slash is a directory, and none stands for the one that
/// commands work in: the file keeps its own name there.
fn one_file(direction: Direction, from: &[u8], to: Option<&Vec<u8>>) -> Pair {
    let to = match (to, direction) {
        (Some(to), _) => to.as_slice(),
        (None, Direction::Put) => b"",
        (None, Direction::Get) => b"./",
    };
    let name = match to.is_empty() || to.ends_with(b"/") {
        true => base_name(from),
        false => b"",
    };
    Pair {
        from: from.to_vec(),
        to: [to, name].concat(),
    }
}

/// What is behind the last slash.
pub(in crate::cli::bbftp) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

fn number(word: &[u8], text: &[u8]) -> Result<Command> {
    let (shown_word, shown_text) = (shown(word), shown(text));
    let number = Number::of(word).ok_or_else(|| Failure::incorrect(&shown_word))?;
    match number.read(text) {
        Some(value) => {
            let repeated = match number {
                Number::RemoteUmask => format!("{value:o}"),
                Number::Class => value.to_string(),
                _ => shown_text,
            };
            let repeated = format!("{shown_word} {repeated}");
            Ok(Command::Set(number, value, repeated))
        }
        None => {
            let base = if number.is_octal() {
                "octal"
            } else {
                "decimal"
            };
            Err(Failure::incorrect(format!(
                "{shown_word} {shown_text} (value must be positive {base})"
            )))
        }
    }
}

fn switch(text: &[u8]) -> Result<Command> {
    let repeated = format!("setoption {}", shown(text));
    let (on, name) = match text.strip_prefix(b"no") {
        Some(name) => (false, name),
        None => (true, text),
    };
    let found = SWITCHES.iter().find(|(known, _)| known.as_bytes() == name);
    match found {
        Some((_, Switch::LocalRfio)) if on => Err(Failure::incorrect(format!(
            "{repeated} (RFIO not supported)"
        ))),
        Some((_, switch)) => Ok(Command::Switch(*switch, on, repeated)),
        None => Err(Failure::incorrect(repeated)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::bbftp::Options;

    fn of(text: &str) -> Result<Command> {
        Command::of(text.as_bytes())
    }

    #[test]
    fn a_missing_name_is_that_of_the_other_side() {
        for (text, from, to) in [
            ("put d/f", "d/f", "f"),
            ("put d/f x/", "d/f", "x/f"),
            ("put d/f x", "d/f", "x"),
            ("get d/f", "d/f", "./f"),
            ("get d/f x/", "d/f", "x/f"),
            ("get d/f x", "d/f", "x"),
        ] {
            let Ok(Command::One(_, pair)) = of(text) else {
                panic!("{text}");
            };
            assert_eq!(pair.from, from.as_bytes(), "{text}");
            assert_eq!(pair.to, to.as_bytes(), "{text}");
        }
        let (from, to) = (b"d/*".to_vec(), b"./".to_vec());
        let many = Command::Many(Direction::Get, Pair { from, to });
        assert_eq!(of("mget d/*"), Ok(many));
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_number() {
        for (text, code, error) in [
            ("bogus 1", 25, "Unkown command : bogus"),
            (" put ", 26, "Incorrect command : put "),
            ("put a b c", 26, "Incorrect command : put a b c"),
            ("put '' b", 26, "Incorrect command : put '' b"),
            ("setoption foo", 26, "Incorrect command : setoption foo"),
            (
                "setoption localrfio",
                26,
                "Incorrect command : setoption localrfio (RFIO not supported)",
            ),
            (
                "setnbstream x",
                26,
                "Incorrect command : setnbstream x (value must be positive decimal)",
            ),
            (
                "setlocalumask 9",
                26,
                "Incorrect command : setlocalumask 9 (value must be positive octal)",
            ),
        ] {
            assert_eq!(of(text), Err(Failure::last(code, error)), "{text}");
        }
        for text in ["", "  ", "! x", " # x", "#x"] {
            assert_eq!(of(text), Ok(Command::Nothing));
        }
    }

    #[test]
    fn options_are_on_or_off() {
        let bits = Switch::Bits(Options::MODE);
        let repeated = "setoption nokeepmode".to_owned();
        let off = Command::Switch(bits, false, repeated);
        assert_eq!(of("setoption nokeepmode"), Ok(off));
        let on = Command::Switch(Switch::Resume, true, "setoption resume".to_owned());
        assert_eq!(of(" setoption  resume "), Ok(on));
        let set = Command::Set(Number::RemoteUmask, 0o77, "setremoteumask 77".to_owned());
        assert_eq!(of("setremoteumask 077"), Ok(set));
    }
}
