//! The tests of the protocol once more, over another way to the server.

use std::process::Command;

/// Runs all tests but those of these modules, with this variable set.
#[track_caller]
pub(crate) fn run_again(variable: &str, without: &[&str]) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(without.iter().flat_map(|module| ["--skip", module]))
        .env(variable, "1")
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let passed = said
        .lines()
        .find_map(|line| line.strip_prefix("test result: ok. "));
    let passed = passed
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or(0);
    assert!(passed >= 80, "{said}");
}
