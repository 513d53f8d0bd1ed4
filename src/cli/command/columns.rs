//! How listings look: the line of an entry with all that is known of it, and short
//! names side by side on a terminal.

use std::io::IsTerminal;

use crate::cli::output::{letter, local_time};
use crate::client::{Details, Entry, Owners, Stat};
use crate::text::{human_size, shown};

/// The blanks between two columns.
const GAP: usize = 2;

/// The columns of `ls -l`.
#[derive(Default)]
pub(super) struct Long {
    human: bool,
    pub(super) owners: Owners,
    user: usize,
    group: usize,
    size: usize,
}

impl Long {
    /// Without any entry yet.
    pub(super) fn new(human: bool, owners: Owners) -> Long {
        Long {
            human,
            owners,
            ..Long::default()
        }
    }

    /// Makes the columns wide enough for an entry.
    pub(super) fn fit(&mut self, stat: Option<&Stat>, details: Option<&Details>) {
        self.size = self.size.max(self.size_of(stat).len());
        if let Some(details) = details {
            self.user = self.user.max(self.owners.user(details.uid).len());
            self.group = self.group.max(self.owners.group(details.gid).len());
        }
    }

    fn size_of(&self, stat: Option<&Stat>) -> String {
        match stat {
            None => "-".to_owned(),
            Some(stat) if self.human => human_size(stat.size),
            Some(stat) => stat.size.to_string(),
        }
    }

    /// The line of an entry, up to its name.
    pub(super) fn line(
        &self,
        entry: &Entry,
        stat: Option<&Stat>,
        details: Option<&Details>,
    ) -> String {
        let time = stat.map_or_else(|| "-".to_owned(), |stat| local_time(stat.modified));
        let (size, width) = (self.size_of(stat), self.size);
        let Some(details) = details else {
            let kind = letter(stat.map_or(entry.kind, |stat| stat.kind));
            return format!("{kind} {size:>width$} {time:<23}");
        };
        let (user, group) = (
            self.owners.user(details.uid),
            self.owners.group(details.gid),
        );
        let (user, group) = (shown(user.as_bytes()), shown(group.as_bytes()));
        format!(
            "{} {user:<u$} {group:<g$} {size:>width$} {time:<23}",
            mode_text(details),
            u = self.user,
            g = self.group,
        )
    }
}

/// Kind and permission bits, as `ls -l` has them.
pub(super) fn mode_text(details: &Details) -> String {
    let kind = match details.letter {
        b'F' => '-',
        b'U' => '?',
        letter => char::from(letter.to_ascii_lowercase()),
    };
    let mut text = String::from(kind);
    for (shift, special, mark) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = details.mode >> shift;
        text.push(if bits & 4 > 0 { 'r' } else { '-' });
        text.push(if bits & 2 > 0 { 'w' } else { '-' });
        text.push(match (bits & 1 > 0, details.mode & special > 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => mark,
            (false, true) => mark.to_ascii_uppercase(),
        });
    }
    text
}

/// The width of the terminal that standard output is, if it is one.
pub(super) fn terminal_width() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let named = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(&out).map(|size| size.ws_col.into());
    named.or_else(|| asked().ok()).filter(|width| *width > 0)
}

/// Lines with as many names side by side as fit, sorted downwards.
pub(super) fn in_columns(names: &[String], width: usize) -> Vec<String> {
    let widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
    let fitting = (1..=names.len()).find_map(|rows| {
        let columns: Vec<usize> = widths
            .chunks(rows)
            .map(|column| column.iter().max().map_or(0, |widest| widest + GAP))
            .collect();
        let total = columns.iter().sum::<usize>().saturating_sub(GAP);
        (total <= width || rows == names.len()).then_some((rows, columns))
    });
    let Some((rows, columns)) = fitting else {
        return Vec::new();
    };
    let line = |row: usize| {
        let mut line = String::new();
        for (column, wide) in columns.iter().enumerate() {
            let at = column * rows + row;
            let Some(name) = names.get(at) else { continue };
            line.push_str(name);
            if names.len() > at + rows {
                line.extend(std::iter::repeat_n(' ', wide - widths[at]));
            }
        }
        line
    };
    (0..rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_side_by_side_as_far_as_they_fit() {
        let names: Vec<String> = ["a", "bb", "ccc", "d", "e"].map(str::to_owned).into();
        assert_eq!(in_columns(&names, 80), ["a  bb  ccc  d  e"]);
        assert_eq!(in_columns(&names, 9), ["a    d", "bb   e", "ccc"]);
        assert_eq!(in_columns(&names, 1), ["a", "bb", "ccc", "d", "e"]);
        assert!(in_columns(&[], 80).is_empty());
    }
}
