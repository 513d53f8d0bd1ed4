//! A server that lies, and one that somebody planted links for: nothing is
//! written but in the directory that was named, and nothing that is not what
//! the server has.

use std::fs;
use std::os::unix::fs::symlink;

use openssl::sha::sha256;

use crate::desk::{Desk, tree};
use crate::liar::{self, Answer};

fn digest(content: &[u8]) -> String {
    let digits: String = sha256(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("OK 0x{digits}")
}

/// A desk that talks to a liar.
fn desk(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Desk {
    let mut desk = Desk::new();
    desk.address = liar::start(answer);
    desk
}

/// The requests of a `get` of a tree, as an honest server answers them.
fn honest(request: &str, listing: &'static str, content: &'static [u8]) -> Answer {
    match request.split(' ').next().unwrap_or_default() {
        "FSTAT" if request == "FSTAT t" => "OK D 0 0 0".into(),
        "FSTAT" => Answer::Message(format!("OK F {} 0 1600000000", content.len()).into()),
        "LSR" => Answer::Listing(listing),
        "SDOWN" => Answer::Frames(vec![content.to_vec()]),
        "GET" => Answer::Get(vec![content.to_vec()]),
        "SHA256" => Answer::Message(digest(content).into()),
        _ => "UNKNOWN".into(),
    }
}

#[test]
fn no_name_of_a_server_leads_out_of_the_directory() {
    const LISTING: &str = "F: fine\nF: ../evil\nF: /tmp/tfd-evil\nF: a/../../evil\nF: ..\n\
                           D: ../evil-directory/\nF: a//b\nF: ./../evil\nD: sub/\nF: sub/fine\n\
                           F: \u{1b}[2Jname\nF: fine\n";
    let desk = desk(|request| honest(request, LISTING, b"bytes"));
    let run = desk.tf(&["get", "-r", "t", "down/into"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    fs::create_dir(desk.path("down")).expect("directory");
    let run = desk.tf(&["get", "-r", "t", "down/into"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert_eq!(
        run.err.matches("outside the directory").count(),
        7,
        "{}",
        run.err
    );
    assert!(!run.err.contains('\u{1b}'), "{}", run.err);
    let names: Vec<String> = tree(&desk.path(""))
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "down",
        "down/into",
        "down/into/\u{1b}[2Jname",
        "down/into/fine",
        "down/into/sub",
        "down/into/sub/fine",
        "public.pem",
    ];
    assert_eq!(names, expected);
    // Nor does the name of what was asked for.
    for path in ["t/..", "../..", "/.."] {
        let run = desk.tf(&["get", path, "down"]);
        assert_eq!(run.code, Some(7), "{path}: {}", run.err);
    }
    assert!(!std::path::Path::new("/tmp/tfd-evil").exists());
}

#[test]
fn no_planted_link_is_written_through() {
    let desk = Desk::new();
    for name in ["t/plain", "t/d/file", "t/e/file"] {
        desk.server.write(name, "new");
    }
    let precious = desk.write("precious/file", "old");
    fs::create_dir_all(desk.path("into/t")).expect("directories");
    symlink("../../precious", desk.path("into/t/d")).expect("link");
    symlink(&precious, desk.path("into/t/plain")).expect("link");
    let run = desk.tf(&["get", "-r", "t", "into"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(
        run.err.contains("a symbolic link is in the way"),
        "{}",
        run.err
    );
    assert_eq!(desk.read("precious/file"), b"old");
    assert_eq!(
        fs::read_dir(desk.path("precious")).expect("names").count(),
        1
    );
    // A link in the last place gives way to the file.
    assert!(
        desk.path("into/t/plain")
            .symlink_metadata()
            .expect("stat")
            .is_file()
    );
    assert_eq!(desk.read("into/t/plain"), b"new");
    assert_eq!(desk.read("into/t/e/file"), b"new");
}

#[test]
fn what_is_not_what_the_server_has_does_not_take_its_place() {
    let desk = desk(|request| match honest(request, "F: a\n", b"what came") {
        Answer::Message(_) if request.starts_with("SHA256") => {
            Answer::Message(digest(b"what was sent").into())
        }
        other => other,
    });
    desk.write("into/a", "old");
    let run = desk.tf(&["get", "-r", "t", "into"]);
    assert_eq!(run.code, Some(6), "{}", run.err);
    desk.write("into/t/a", "old");
    let run = desk.tf(&["get", "-r", "t", "into"]);
    assert_eq!(run.code, Some(6), "{}", run.err);
    assert!(run.err.contains("SHA-256 differs"), "{}", run.err);
    assert_eq!(
        tree(&desk.path("into/t")),
        [("a".to_owned(), Some(b"old".to_vec()))]
    );
    // Unless nobody asks.
    desk.fine(&["get", "-r", "--no-verify", "t", "into"]);
    assert_eq!(desk.read("into/t/a"), b"what came");
}

#[test]
fn a_file_without_end_fills_neither_memory_nor_disk() {
    let desk = desk(
        |request| match request.split(' ').next().unwrap_or_default() {
            "SDOWN" => Answer::Frames(vec![vec![7; 500_000]; 60]),
            "GET" => Answer::Get(vec![vec![7; 200_000]; 200]),
            _ => honest(request, "F: a\n", b"short"),
        },
    );
    let run = desk.tf(&["get", "-r", "--retries", "1", "t", "into"]);
    assert_eq!(run.code, Some(6), "{}", run.err);
    assert!(
        run.err.contains("changed during the transfer"),
        "{}",
        run.err
    );
    assert_eq!(tree(&desk.path("into")), []);
}
