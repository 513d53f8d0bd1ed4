//! What the papers say is held by tests: each promise of SECURITY.md and tfd(8) is
//! a row of docs/promises.md, and each test that is named there or in
//! docs/weaknesses.md exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tfd::hub::wire::{Code, Command};

const WEAKNESSES: &str = include_str!("../../docs/weaknesses.md");
const PROMISES: &str = include_str!("../../docs/promises.md");
const FLEET: &str = include_str!("../../docs/fleet.md");
const SHARED_STATE: &str = include_str!("../../docs/shared-state.md");
const COMPARED: &str = include_str!("../../docs/compared.md");
const SECURITY: &str = include_str!("../../SECURITY.md");
const MANUAL: &str = include_str!("../../man/tfd.8");

/// The rows of all tables, as their cells, without the headings.
fn rows(paper: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = paper.lines().collect();
    let is_row = |at: &usize| {
        let next = lines.get(at + 1).unwrap_or(&"");
        lines[*at].starts_with("| ") && !next.starts_with("|---")
    };
    let cells = |at: usize| {
        let inside = lines[at].trim_matches('|');
        inside.split(" | ").map(str::trim).collect()
    };
    (0..lines.len()).filter(is_row).map(cells).collect()
}

/// What stands between two of these marks, at every second place.
fn between(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

/// All there is to read in a file, or in the files of a folder.
fn read(path: &Path) -> String {
    if !path.is_dir() {
        return fs::read_to_string(path).unwrap_or_default();
    }
    let entries = fs::read_dir(path).expect("directory");
    entries
        .map(|entry| read(&entry.expect("entry").path()))
        .collect()
}

/// Whether there is a test, a file or a folder of tests of this name. The name of a
/// test may be cut.
fn exists(name: &str) -> bool {
    let (place, test) = name.split_once("::").unwrap_or((name, ""));
    let place = if place.contains('/') {
        PathBuf::from(place)
    } else {
        Path::new("tests/weaknesses").join(format!("{place}.rs"))
    };
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(place));
    !text.is_empty() && text.contains(&format!("fn {test}"))
}

/// Each test that a cell names is there: in backticks a function, a file or a
/// folder, in quotes an attempt of tests/sandbox.
fn expect_tests(cell: &str, row: &[&str]) {
    let attempts = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox"));
    for name in between(cell, '`') {
        assert!(exists(name), "no test {name}: {row:?}");
    }
    for name in between(cell, '"') {
        let quoted = format!("\"{name}\"");
        assert!(attempts.contains(&quoted), "no attempt {name}: {row:?}");
    }
    let is_without = cell == "-";
    assert!(cell.contains('`') || is_without, "no test: {row:?}");
}

#[test]
fn each_test_that_is_named_beside_a_weakness_or_a_promise_exists() {
    for paper in [WEAKNESSES, PROMISES] {
        let rows = rows(paper);
        assert!(rows.len() > 20, "{rows:?}");
        for row in rows {
            expect_tests(row.last().expect("cells"), &row);
        }
    }
}

#[test]
fn what_tf_is_said_to_do_beside_others_has_a_test() {
    let tests = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let rows = rows(COMPARED);
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows.iter().filter(|row| row.len() > 2) {
        let (cell, named) = (row[1], row.last().expect("cells"));
        for test in between(named, '`') {
            assert!(
                tests.contains(&format!("fn {test}()")),
                "no test {test}: {row:?}"
            );
        }
        assert!(cell == "-" || named.contains('`'), "no test: {row:?}");
    }
}

/// The paragraphs of a paper, without headings, tables and what is to be typed.
fn paragraphs(paper: &str) -> Vec<&str> {
    let prose = paper.split("```").step_by(2);
    let pieces = prose.flat_map(|piece| piece.split("\n\n")).map(str::trim);
    pieces
        .filter(|piece| !piece.is_empty() && !piece.starts_with(['#', '|']))
        .collect()
}

/// Asserts that a text names tests, and that each of them exists.
fn names_tests(text: &str, tests: &str) {
    assert!(text.contains('`'), "no test: {text}");
    for test in between(text, '`').filter(|name| !name.contains('/')) {
        assert!(tests.contains(&format!("fn {test}()")), "no test {test}");
    }
}

#[test]
fn each_statement_on_fleets_names_a_test_that_exists() {
    let tests = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let (stated, _) = FLEET.split_once("\n## Not tested").expect("the section");
    let rows = rows(stated);
    let paragraphs = paragraphs(stated);
    assert!(rows.len() > 12 && paragraphs.len() > 8, "{paragraphs:?}");
    for row in rows {
        names_tests(row.last().expect("cells"), &tests);
    }
    for paragraph in paragraphs {
        // What stands on the other page has its tests there.
        if !paragraph.contains("(shared-state.md)") {
            let (_, named) = paragraph.rsplit_once('[').unwrap_or_default();
            names_tests(named, &tests);
        }
    }
}

#[test]
fn what_servers_share_names_tests_that_exist() {
    let tests = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    let rows = rows(SHARED_STATE);
    assert!(rows.len() > 25);
    for row in rows {
        names_tests(row.last().expect("cells"), &tests);
    }
}

#[test]
fn the_twenty_attacks_on_tfd_itself_are_listed() {
    let own = WEAKNESSES
        .split("\n## ")
        .find(|part| part.starts_with("Attacks on 0.1.0"));
    let rows = rows(own.expect("the section"));
    let numbers: BTreeSet<usize> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
    assert_eq!(numbers, (1..=20).collect());
    assert!(rows.iter().all(|row| row.len() == 4 && row[3] != "-"));
}

/// The text between two others, without those.
fn part<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, text) = text.split_once(begin).expect("the begin");
    text.split_once(end).expect("the end").0
}

/// The items of a list as plain lines.
fn items(list: &str, mark: &str) -> BTreeSet<String> {
    let list = format!("\n{list}");
    let item = |item: &str| item.split_whitespace().collect::<Vec<_>>().join(" ");
    let mark = format!("\n{mark}");
    list.split(&mark).skip(1).map(item).collect()
}

/// A list of a manual page as text with an `.It` before each item.
fn plain(list: &str) -> String {
    let line = |line: &str| match line.split_once(' ') {
        Some((word, rest)) if word.starts_with('.') && word != ".It" => rest.to_owned(),
        _ => line.replace(".Nm", "tfd"),
    };
    let lines: Vec<String> = list.replace(".Nm .", "tfd.").lines().map(line).collect();
    let text = lines.join("\n").replace("Xr chroot 2", "chroot(2)");
    text.replace(" ,", ",").replace(" ;", ";")
}

#[test]
fn the_hubs_page_has_each_command_and_each_reply() {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("man/tfd-hub.7"));
    for command in Command::ALL {
        let row = format!("\n.It {} Ta ", command.word());
        assert!(page.contains(&row), "{}", command.word());
    }
    for code in Code::ALL {
        let (number, text) = (code.number(), code.text());
        let row = [text, &format!("\\&{text}")].map(|text| format!("\n.It {number} Ta {text}"));
        assert!(row.iter().any(|row| page.contains(row)), "{number} {text}");
    }
}

#[test]
fn each_promise_is_in_the_list_of_those_with_tests_word_for_word() {
    let promised = part(SECURITY, "## What tfd promises\n", "\n## ");
    let mut promises = items(promised, "- ");
    let lists = part(MANUAL, "promises:\n", ".Sh SEE ALSO");
    for list in lists.split(".Bl ").skip(1) {
        let (_, list) = list.split_once('\n').expect("a list");
        let list = list.split(".El").next().expect("a list");
        promises.extend(items(&plain(list), ".It"));
    }
    let listed = rows(PROMISES);
    let listed: BTreeSet<String> = listed.iter().map(|row| row[0].to_owned()).collect();
    let missing: Vec<_> = promises.difference(&listed).collect();
    assert!(missing.is_empty(), "not in docs/promises.md: {missing:#?}");
    let unsaid: Vec<_> = listed.difference(&promises).collect();
    assert!(unsaid.is_empty(), "promised nowhere: {unsaid:#?}");
}
