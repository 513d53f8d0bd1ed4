//! The users file: accounts that were read, written again, read the same, and
//! every problem is told on one line.

use tfd::users::account::{self, MAX_NAME, NO_PASSWORD};
use tfd::users::hash::Scheme;

/// Takes one input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match account::parse(text) {
        Ok(accounts) => {
            for account in &accounts {
                assert!(!account.name.is_empty() && account.name.len() <= MAX_NAME);
                let is_without = account.locked || *account.hash == *NO_PASSWORD;
                assert!(is_without || Scheme::of(&account.hash).is_some());
            }
            let written: String = accounts
                .iter()
                .map(|account| format!("{account}\n"))
                .collect();
            assert_eq!(account::parse(&written), Ok(accounts));
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for (line, problem) in problems {
                assert!((1..=text.lines().count()).contains(&line));
                assert!(
                    !problem.is_empty() && !problem.contains('\n'),
                    "{problem:?}"
                );
            }
        }
    }
}
