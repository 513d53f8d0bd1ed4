//! A server whose numbers, listings, replies and transfers have no end: `tf`
//! ends, with little memory, and says why.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::desk::{Desk, Run};
use crate::liar::{self, Answer};

/// A desk that talks to a liar.
fn desk(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Desk {
    let mut desk = Desk::new();
    desk.address = liar::start(answer);
    desk
}

/// Counts the requests that begin so.
fn counted(
    word: &'static str,
    answer: impl Fn(&str, u64) -> Answer + Send + Sync + 'static,
) -> (Desk, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let desk = desk(move |request| {
        let counts = u64::from(request.starts_with(word));
        answer(request, counter.fetch_add(counts, Ordering::Relaxed))
    });
    (desk, count)
}

/// Runs `tf` with at most so many MiB of memory.
fn with_memory(desk: &Desk, mib: u64, arguments: &[&str]) -> Run {
    let plain = desk.command(arguments);
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--data={}", mib * 1024 * 1024))
        .arg(plain.get_program());
    limited.args(plain.get_args()).current_dir(desk.path(""));
    limited.envs(
        plain
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    limited.output().expect("prlimit").into()
}

#[test]
fn numbers_that_no_file_has_do_no_harm() {
    const HUGE: &str = "OK F 18446744073709551615 -9223372036854775808 9223372036854775807";
    let desk = desk(
        |request| match request.split(' ').next().unwrap_or_default() {
            "FSTAT" if request == "FSTAT t" => "OK D 0 0 0".into(),
            "FSTAT" => HUGE.into(),
            "LSR" => Answer::Listing("F: a\nF: b\n"),
            "GET" => Answer::Get(vec![b"few bytes".to_vec()]),
            _ => "UNKNOWN".into(),
        },
    );
    // Of several ranges, and in one.
    let run = with_memory(&desk, 500, &["get", "-r", "-j", "4", "t", "into"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("2 of 2 entries failed"), "{}", run.err);
    let run = with_memory(&desk, 500, &["get", "-r", "t", "into"]);
    assert_eq!(run.code, Some(6), "{}", run.err);
    let run = desk.tf(&["ls", "-lh", "t"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    let there = crate::desk::tree(&desk.path("into"));
    assert!(
        there.iter().all(|(_, content)| content.is_none()),
        "{there:?}"
    );
}

#[test]
fn a_clock_that_no_server_has_does_no_harm() {
    for date in [
        "OK -9223372036854775808",
        "OK 9223372036854775807",
        "OK",
        "OK x",
    ] {
        let desk = desk(
            move |request| match request.split(' ').next().unwrap_or_default() {
                "FSTAT" => "OK F 1 0 -9223372036854775808".into(),
                "LSR" => Answer::Listing("F: a\n"),
                "DATE" => date.into(),
                _ => "UNKNOWN".into(),
            },
        );
        desk.write("here/a", "x");
        for arguments in [["here", ":t"], [":t", "here"]] {
            let run = desk.tf(&["mirror", "--dry-run", arguments[0], arguments[1]]);
            assert_eq!(run.code, Some(0), "{date}: {}", run.err);
        }
    }
}

#[test]
fn a_line_without_end_is_not_kept() {
    let desk = desk(
        |request| match request.split(' ').next().unwrap_or_default() {
            "FSTAT" => "OK D 0 0 0".into(),
            "LS" | "LSR" => Answer::Parts(100, vec![b'F'; 500_000]),
            _ => "UNKNOWN".into(),
        },
    );
    for arguments in [
        &["ls", "t"][..],
        &["ls", "-U", "t"],
        &["find", "t"],
        &["get", "-r", "t", "into"],
    ] {
        let run = desk.tf(arguments);
        assert_eq!(run.code, Some(7), "{arguments:?}: {}", run.err.len());
        assert!(
            run.err.contains("listing has no end"),
            "{arguments:?}: {}",
            run.err
        );
    }
}

#[test]
fn a_listing_without_end_is_given_up() {
    let lines: String = (0..30_000).map(|number| format!("F: {number}\n")).collect();
    let desk = desk(
        move |request| match request.split(' ').next().unwrap_or_default() {
            "FSTAT" => "OK D 0 0 0".into(),
            "LS" | "LSR" => Answer::Parts(usize::MAX, lines.clone().into()),
            _ => "UNKNOWN".into(),
        },
    );
    for arguments in [&["ls", "t"][..], &["get", "-r", "t", "into"]] {
        let run = with_memory(&desk, 700, arguments);
        assert_eq!(run.code, Some(7), "{arguments:?}: {}", run.err);
        assert!(
            run.err.contains("more than some million entries"),
            "{arguments:?}: {}",
            run.err
        );
        assert!(run.out.is_empty());
    }
    // What need not be sorted comes at once.
    let mut streaming = desk.command(&["ls", "-U", "t"]);
    let mut streaming = streaming
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("tf");
    let mut first = [0; 4];
    let mut out = streaming.stdout.take().expect("output");
    std::io::Read::read_exact(&mut out, &mut first).expect("lines");
    drop(out);
    assert_eq!(&first, b"0\n1\n");
    let _ = streaming.wait();
}

#[test]
fn long_replies_are_neither_kept_nor_shown_in_whole() {
    let names: String = (0..1000).map(|number| format!("F: {number}\n")).collect();
    let names: &'static str = names.leak();
    let desk = desk(
        move |request| match request.split(' ').next().unwrap_or_default() {
            "FSTAT" if request == "FSTAT t" => "OK D 0 0 0".into(),
            "FSTAT" => Answer::Message(vec![0x1b; 500_000]),
            "LSR" => Answer::Listing(names),
            "MKDIR" => Answer::Message([&b"FAILED \x1b]0;"[..], &[0xff; 400_000]].concat()),
            _ => "UNKNOWN".into(),
        },
    );
    let run = with_memory(&desk, 250, &["get", "-r", "t", "into"]);
    assert_eq!(run.code, Some(1), "{}", run.err.len());
    assert!(
        run.err.contains("1000 of 1000 entries failed"),
        "{}",
        run.err.len()
    );
    assert!(run.err.len() < 2_000_000, "{}", run.err.len());
    let run = desk.tf(&["mkdir", "d"]);
    assert_eq!(run.code, Some(1), "{}", run.err.len());
    assert!(
        run.err.len() < 2000 && run.err.contains("FAILED \\x1b"),
        "{}",
        run.err.len()
    );
    assert!(!run.err.contains('\u{1b}'));
}

#[test]
fn a_transfer_whose_end_never_comes_is_given_up() {
    let desk = desk(
        |request| match request.split(' ').next().unwrap_or_default() {
            "FSTAT" => "OK F 5000000 0 0".into(),
            "GET" => Answer::GetCodes(100_000),
            "SHA256" => "OK 0x0".into(),
            _ => "UNKNOWN".into(),
        },
    );
    let run = desk.tf(&["get", "--retries", "1", "f", "f"]);
    assert_eq!(run.code, Some(5), "{}", run.err);
    assert!(run.err.contains("nobody agreed on"), "{}", run.err);
}

#[test]
fn a_part_that_changes_at_each_look_is_sent_anew() {
    let (desk, looks) = counted("FSTAT .tf-", |request, count| {
        match request.split(' ').next().unwrap_or_default() {
            "FSTAT" if request.contains(".tf-") && count < 40 => {
                Answer::Message(format!("OK F {} 0 0", 1 + count % 2).into())
            }
            "FSTAT" | "DEL" => "FAILED 9 : File does not exist.".into(),
            "SHA256" => Answer::Message(format!("OK 0x{}", "0".repeat(64)).into()),
            _ => "UNKNOWN".into(),
        }
    });
    desk.write("f", vec![7; 5_000_000]);
    let run = desk.tf(&["put", "f", "f"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(looks.load(Ordering::Relaxed) < 10, "{looks:?}");
}

#[test]
fn a_file_that_is_another_one_at_each_try_is_given_up() {
    let (desk, gets) = counted("GET ", |request, count| {
        match request.split(' ').next().unwrap_or_default() {
            "FSTAT" => Answer::Message(format!("OK F 5000000 0 {count}").into()),
            "GET" if count < 40 => Answer::GetCut(vec![7; 1000]),
            _ => "UNKNOWN".into(),
        }
    });
    let run = desk.tf(&["get", "--retries", "2", "f", "f"]);
    assert_eq!(run.code, Some(5), "{}", run.err);
    assert!(gets.load(Ordering::Relaxed) < 20, "{gets:?}");
}
