//! What is left out of transfers, what existing files become, and who is asked.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::common::Server;
use crate::common::tf::Person;
use crate::desk::{Desk, tree};

/// The names of the files beneath a directory.
fn files(top: &Path) -> Vec<String> {
    let all = tree(top).into_iter();
    all.filter(|(_, content)| content.is_some())
        .map(|(name, _)| name)
        .collect()
}

fn set_age(path: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let file = File::options().write(true).open(path).expect("open");
    file.set_modified(then).expect("time");
}

#[test]
fn rules_decide_in_their_order_for_put_get_and_mirror() {
    let desk = Desk::new();
    for name in [
        "a.txt",
        "a.tmp",
        "keep.tmp",
        "cache/x",
        "d/a.txt",
        "d/b.tmp",
        "d/e/c.txt",
    ] {
        desk.write(&format!("t/{name}"), name);
    }
    desk.write("rules", "# remarks\n\n+ keep.tmp\n- *.tmp\ncache/\n");
    let all = files(&desk.path("t"));
    let kept = ["a.txt", "d/a.txt", "d/e/c.txt", "keep.tmp"];
    let rows: &[(&[&str], &[&str])] = &[
        (&["--exclude-from", "rules"], &kept),
        (
            &[
                "--include",
                "keep.tmp",
                "--exclude",
                "*.tmp",
                "--exclude",
                "cache/",
            ],
            &kept,
        ),
        (
            &[
                "--exclude",
                "*.tmp",
                "--include",
                "keep.tmp",
                "--exclude",
                "/cache",
            ],
            &["a.txt", "d/a.txt", "d/e/c.txt"],
        ),
        (&["--include", "*.txt"], &["a.txt", "d/a.txt", "d/e/c.txt"]),
        (
            &["--exclude", "/d/**", "--exclude", "[c]ache"],
            &["a.tmp", "a.txt", "keep.tmp"],
        ),
        (&["--max-size", "5"], &["a.tmp", "a.txt"]),
        (&["--min-size", "8"], &["d/e/c.txt", "keep.tmp"]),
    ];
    desk.fine(&["put", "-r", "t", "all"]);
    for (number, (options, expected)) in rows.iter().enumerate() {
        let with = |words: &[&str]| desk.fine(&[words, options].concat());
        let (put, mirrored) = (format!("put{number}"), format!("up{number}"));
        with(&["put", "-r", "t", &put]);
        assert_eq!(files(&desk.server.path(&put)), *expected, "put {options:?}");
        with(&["mirror", "t", &format!(":{mirrored}")]);
        assert_eq!(
            files(&desk.server.path(&mirrored)),
            *expected,
            "up {options:?}"
        );
        let (got, down) = (format!("get{number}"), format!("down{number}"));
        with(&["get", "-r", "all", &got]);
        assert_eq!(files(&desk.path(&got)), *expected, "get {options:?}");
        with(&["mirror", ":all", &down]);
        assert_eq!(files(&desk.path(&down)), *expected, "down {options:?}");
        assert_eq!(files(&desk.server.path("all")).len(), all.len());
    }
    // What is excluded is neither deleted nor in the way.
    desk.fine(&["mirror", "--delete", "--exclude", "*.tmp", "t", ":all"]);
    assert!(desk.server.exists("all/a.tmp"));
    desk.server.mkdir("some");
    desk.fine(&["put", "--exclude", "*.tmp", "t/a.txt", "t/a.tmp", "some/"]);
    assert_eq!(desk.server.names("some"), ["a.txt"]);
    for odd in [
        &["--exclude", "[a"][..],
        &["--exclude-from", "none"],
        &["--min-size", "x"],
    ] {
        let run = desk.tf(&[&["put", "-r", "t", "all"], odd].concat());
        assert_eq!(run.code, Some(2), "{odd:?}: {}", run.err);
    }
}

#[test]
fn existing_files_stay_or_are_kept_under_another_name() {
    let desk = Desk::new();
    desk.server.write("t/a", "old");
    desk.server.write("t/b", "old");
    set_age(&desk.server.path("t/a"), 1000);
    desk.write("t/a", "new");
    desk.write("t/b", "new");
    desk.write("t/c", "new");
    set_age(&desk.path("t/b"), 1000);
    let texts = |top: &Path| {
        let all = tree(top).into_iter();
        let texts =
            all.filter_map(|(name, content)| Some((name, String::from_utf8(content?).ok()?)));
        texts
            .map(|(name, text)| format!("{name}={text}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let there = || texts(&desk.server.path("t"));
    desk.fine(&["put", "-r", "--skip-existing", "t", "."]);
    assert_eq!(there(), "a=old b=old c=new");
    desk.fine(&["put", "-n", "t/a", "t/"]);
    assert_eq!(there(), "a=old b=old c=new");
    desk.fine(&["put", "-r", "--update", "t", "."]);
    assert_eq!(there(), "a=new b=old c=new");
    desk.write("t/a", "newer");
    desk.fine(&["put", "-r", "--backup", "t", "."]);
    assert_eq!(there(), "a=newer a~=new b=new b~=old c=new c~=new");
    desk.fine(&["put", "-r", "--backup=old/", "t/a", "t/"]);
    assert!(there().contains("old/a=newer"), "{}", there());
    // A mirror keeps what it deletes, too, and leaves what it has kept.
    desk.fine(&["mirror", "--delete", "--backup=.kept", "t", ":m"]);
    desk.write("t/a", "again");
    fs::remove_file(desk.path("t/b")).expect("remove");
    desk.fine(&[
        "mirror",
        "--checksum",
        "--delete",
        "--backup=.kept",
        "t",
        ":m",
    ]);
    assert_eq!(
        texts(&desk.server.path("m")),
        "a=again a.kept=newer b.kept=new c=new"
    );
    desk.fine(&[
        "mirror",
        "--checksum",
        "--delete",
        "--backup=.kept",
        "t",
        ":m",
    ]);
    assert_eq!(
        texts(&desk.server.path("m")),
        "a=again a.kept=newer b.kept=new c=new"
    );

    // The same downwards.
    let here = || texts(&desk.path("g/m"));
    desk.write("g/m/a", "mine");
    desk.write("g/m/c", "mine");
    set_age(&desk.path("g/m/c"), 1000);
    set_age(&desk.server.path("m/a"), 500);
    let get = |option: &str| desk.fine(&["get", "-r", option, "--exclude", "*.kept", "m", "g/"]);
    get("-n");
    assert_eq!(here(), "a=mine c=mine");
    get("--update");
    assert_eq!(here(), "a=mine c=new");
    get("--backup=old/");
    assert_eq!(here(), "a=again c=new old/a=mine old/c=new");
    desk.fine(&[
        "mirror",
        "--delete",
        "--backup=old/",
        "--exclude",
        "*.kept",
        ":m",
        "g/m",
    ]);
    assert_eq!(here(), "a=again c=new old/a=mine old/c=new");
}

#[test]
fn secure_directories_are_left_out_with_a_word_and_never_deleted() {
    let desk = Desk::new();
    desk.write("t/a", "1");
    desk.write("t/d/x.sd/f", "2");
    let run = desk.tf(&["put", "-q", "-r", "t", "."]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(
        run.err.contains("d/x.sd: left out") && run.err.contains("--include-secure"),
        "{}",
        run.err
    );
    assert_eq!(files(&desk.server.path("t")), ["a"]);
    let run = desk.tf(&["mirror", "--delete", "t", ":m"]);
    assert_eq!(
        (run.code, files(&desk.server.path("m"))),
        (Some(1), vec!["a".to_owned()])
    );
    let run = desk.tf(&["put", "-r", "t/d/x.sd", "top/"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    let run = desk.tf(&["put", "--json", "-r", "t", "."]);
    assert!(run.out.contains("\"secure\":1"), "{}", run.out);
    // What a mirror downwards does not see it does not delete.
    desk.fine(&["mirror", "--delete", ":m", "t"]);
    assert_eq!(desk.read("t/d/x.sd/f"), b"2");

    let run = desk.fine(&["put", "-r", "--include-secure", "t", "."]);
    assert!(
        run.err.contains("t/d/x.sd: sent, but not listed"),
        "{}",
        run.err
    );
    assert_eq!(desk.server.read("t/d/x.sd/f"), b"2");
    desk.fine(&["mirror", "--include-secure", "t", ":n"]);
    assert_eq!(desk.server.read("n/d/x.sd/f"), b"2");
}

#[test]
fn an_upload_into_a_locked_directory_is_refused_before_its_bytes_are_sent() {
    let desk = Desk::new();
    desk.server.write("d/LOCK", "");
    desk.write("small", "x");
    desk.write("big", vec![7; 6_000_000]);
    let run = desk.tf(&[
        "--honour-lock",
        "LOCK",
        "--json",
        "put",
        "small",
        "big",
        "d/",
    ]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(
        run.out.matches("the directory is locked").count(),
        2,
        "{}",
        run.out
    );
    assert!(run.out.contains("\"moved\":0"), "{}", run.out);
    assert_eq!(desk.server.names("d"), ["LOCK"]);
    desk.fine(&["put", "small", "big", "d/"]);
}

#[test]
fn a_local_file_is_replaced_on_a_terminal_when_its_owner_agrees() {
    let server = Server::start();
    let person = Person::of(&server);
    for name in ["t/a", "t/b", "t/c"] {
        server.write(name, "new");
    }
    let reset = || ["a", "b", "c"].map(|name| person.write(&format!("t/{name}"), "old"));
    let texts = || {
        ["a", "b", "c"]
            .map(|name| fs::read_to_string(person.path(&format!("t/{name}"))).expect(name))
    };
    for (arguments, answers, expected) in [
        ("get t/a t/b t/c t/", "n\ny\nn\n", ["old", "new", "old"]),
        ("get t/a t/b t/c t/", "y\no\n", ["new", "old", "old"]),
        ("get t/a t/b t/c t/", "what\nn\na\n", ["old", "new", "new"]),
        ("get -f t/a t/b t/c t/", "", ["new", "new", "new"]),
        ("get -n t/a t/b t/c t/", "", ["old", "old", "old"]),
    ] {
        reset();
        let (screen, code) = person.on_terminal(arguments, answers);
        assert_eq!(
            (code, texts()),
            (Some(0), expected.map(str::to_owned)),
            "{arguments}: {screen}"
        );
        assert_eq!(
            screen.contains("replace t/a?"),
            !answers.is_empty(),
            "{screen}"
        );
    }
    // Nobody can be asked.
    reset();
    person.fine(&["get", "t/a", "t/"]);
    assert_eq!(texts(), ["new", "old", "old"]);
}
