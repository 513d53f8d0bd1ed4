//! What an import has done, for people and in JSON.

use std::fmt::Write;

use serde::Serialize;

/// The most reasons that are kept; others are counted.
const MOST: usize = 10_000;

/// What has become of a database.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Those that were taken over.
    pub users: Vec<Taken>,
    /// Those that were here before: nothing of theirs was changed.
    pub already: Vec<String>,
    /// What was not taken over.
    pub left_out: Vec<LeftOut>,
    /// What of that is not listed.
    pub more_left_out: usize,
}

/// A user that was taken over.
#[derive(Debug, Serialize)]
pub struct Taken {
    /// The name.
    pub user: String,
    /// How many devices may log in without a code.
    pub devices: usize,
    /// How many entries there are.
    pub entries: usize,
    /// How many ids of deleted entries.
    pub deleted: usize,
}

/// Something that was not taken over.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// What.
    what: &'static str,
    /// Its row in its table.
    row: i64,
    /// Whose it is, if somebody's that was taken over.
    user: Option<String>,
    /// Why.
    why: String,
}

impl Report {
    /// Leaves something out.
    pub fn leave_out(
        &mut self,
        what: &'static str,
        row: i64,
        user: Option<&str>,
        why: impl Into<String>,
    ) {
        if self.left_out.len() == MOST {
            self.more_left_out += 1;
            return;
        }
        self.left_out.push(LeftOut {
            what,
            row,
            user: user.map(str::to_owned),
            why: why.into(),
        });
    }

    /// For people.
    pub fn text(&self) -> String {
        let sum = |of: fn(&Taken) -> usize| self.users.iter().map(of).sum::<usize>();
        let mut text = format!(
            "imported: users {}, devices {}, entries {}, ids of deleted entries {}\n",
            self.users.len(),
            sum(|user| user.devices),
            sum(|user| user.entries),
            sum(|user| user.deleted)
        );
        for user in &self.already {
            let _ = writeln!(text, "not changed: {user} has an account here already");
        }
        for LeftOut {
            what,
            row,
            user,
            why,
        } in &self.left_out
        {
            let of = user
                .as_ref()
                .map_or(String::new(), |user| format!(" of {user}"));
            let _ = writeln!(text, "left out: {what} in row {row}{of}: {why}");
        }
        if self.more_left_out > 0 {
            let _ = writeln!(text, "left out: {} more", self.more_left_out);
        }
        text
    }
}
