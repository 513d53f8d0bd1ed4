//! Asks on a terminal before a local file is replaced.

use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::cli::output::complain;
use crate::text::shown;

/// What is asked, or was answered for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    Each,
    #[default]
    All,
    None,
}

/// Who asks.
#[derive(Default)]
pub(super) struct Ask(Mutex<State>);

impl Ask {
    /// One who asks if there is a terminal to do so.
    pub(super) fn on_terminal() -> Ask {
        let can = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Ask(Mutex::new(if can { State::Each } else { State::All }))
    }

    /// Whether a file may be replaced.
    pub(super) fn may_replace(&self, path: &Path) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *state == State::Each {
            let name = shown(path.as_os_str().as_encoded_bytes());
            complain!("tf: replace {name}? [y]es, [n]o, [a]ll, n[o]ne:");
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            match line.trim() {
                _ if !matches!(read, Ok(1..)) => *state = State::None,
                "y" | "yes" => return true,
                "n" | "no" | "" => return false,
                "a" | "all" => *state = State::All,
                "o" | "none" => *state = State::None,
                _ => {}
            }
        }
        *state == State::All
    }
}
