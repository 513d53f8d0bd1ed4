//! What transfers keep besides names and bytes, with a server that has the
//! extension.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::desk::{Desk, content, tree};

/// A moment with nanoseconds, some seconds ago.
fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000 - seconds, 123_456_789)
}

fn set(path: &Path, mode: u32, modified: SystemTime) {
    let file = File::open(path).expect("open");
    file.set_modified(modified).expect("time");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("mode");
}

/// Paths with modes and times, of files and directories beneath a directory.
fn attributes(top: &Path) -> Vec<(String, u32, i64, i64)> {
    let of = |name: String| {
        // A link's kind stands behind its name.
        let name = name.split(" (").next().unwrap_or_default().to_owned();
        let found = fs::symlink_metadata(top.join(&name)).expect("stat");
        (
            name,
            if found.is_symlink() {
                0
            } else {
                found.mode() & 0o7777
            },
            found.mtime(),
            found.mtime_nsec(),
        )
    };
    tree(top).into_iter().map(|(name, _)| of(name)).collect()
}

/// A tree with modes and times of all kinds, also beneath a directory with a blank.
fn odd_tree(desk: &Desk) {
    for (name, len) in [
        ("t/private", 3),
        ("t/program", 5),
        ("t/p d/key", 7),
        ("t/p d/in it/large", 5_000_000),
        ("t/closed/f", 1),
        ("t/old", 2),
    ] {
        desk.write(name, content(len, len as u64));
    }
    for (name, mode, ago) in [
        ("t/private", 0o600, 1),
        ("t/program", 0o755, 2),
        ("t/p d/key", 0o400, 3),
        ("t/p d/in it/large", 0o640, 4),
        ("t/old", 0o664, 1_700_000_100),
        ("t/closed/f", 0o444, 6),
        ("t/p d/in it", 0o710, 7),
        ("t/p d", 0o700, 8),
        ("t/closed", 0o555, 9),
        ("t", 0o750, 10),
    ] {
        if mode == 0o664 {
            let before = SystemTime::UNIX_EPOCH - Duration::new(5, 500);
            set(&desk.path(name), mode, before);
        } else {
            set(&desk.path(name), mode, moment(ago));
        }
    }
}

/// Makes the server's user the owner of a tree of the server.
fn hand_over(desk: &Desk, name: &str) {
    let owner = fs::metadata(desk.server.path("")).expect("stat").uid();
    let top = desk.server.path(name);
    let names = tree(&top).into_iter();
    // A link's kind stands behind its name.
    let name = |name: String| name.split(" (").next().unwrap_or_default().to_owned();
    let beneath = names.map(|(found, _)| top.join(name(found)));
    for path in beneath.chain([top.clone()]) {
        std::os::unix::fs::lchown(path, Some(owner), None).expect("owner");
    }
}

#[test]
fn modes_and_times_go_up_and_come_down_to_the_nanosecond() {
    let desk = Desk::new();
    odd_tree(&desk);
    let run = desk.fine(&["put", "-r", "t"]);
    assert_eq!(run.err, "");
    assert_eq!(
        attributes(&desk.server.path("t")),
        attributes(&desk.path("t"))
    );
    let run = desk.fine(&["get", "-r", "t", "back"]);
    assert_eq!(run.err, "");
    assert!(tree(&desk.path("back")) == tree(&desk.path("t")));
    assert_eq!(attributes(&desk.path("back")), attributes(&desk.path("t")));
    let top = fs::metadata(desk.path("back")).expect("stat");
    assert_eq!((top.mode() & 0o777, top.mtime_nsec()), (0o750, 123_456_789));

    desk.fine(&["get", "t/p d/key", "one"]);
    let one = fs::metadata(desk.path("one")).expect("stat");
    assert_eq!((one.mode() & 0o777, one.mtime_nsec()), (0o400, 123_456_789));
    desk.fine(&["put", "t/p d/key", "one"]);
    let one = fs::metadata(desk.server.path("one")).expect("stat");
    assert_eq!((one.mode() & 0o777, one.mtime_nsec()), (0o400, 123_456_789));
}

#[test]
fn without_preserve_neither_modes_nor_times_are_kept() {
    let desk = Desk::new();
    odd_tree(&desk);
    let run = desk.fine(&["put", "--no-preserve", "-r", "t"]);
    assert_eq!(run.err, "");
    desk.fine(&["get", "--no-preserve", "-r", "t", "back"]);
    for top in [desk.server.path("t"), desk.path("back")] {
        let kept = fs::metadata(top.join("p d/key")).expect("stat");
        assert!(kept.mode() & 0o777 == 0o644 && kept.mtime() > 1_700_000_000);
        let kept = fs::metadata(top.join("p d")).expect("stat");
        assert!(kept.mode() & 0o777 == 0o755, "{:o}", kept.mode());
    }
    // A mirror compares by age then, and moves nothing twice.
    desk.fine(&["mirror", "--no-preserve", "t", ":m"]);
    assert_eq!(desk.fine(&["mirror", "--no-preserve", "t", ":m"]).out, "");
    std::thread::sleep(Duration::from_millis(1100));
    desk.fine(&["mirror", "--no-preserve", ":m", "m"]);
    assert_eq!(desk.fine(&["mirror", "--no-preserve", ":m", "m"]).out, "");
}

/// Modes of all files with content beneath a directory.
fn modes_of_content(top: &Path) -> Vec<u32> {
    let Ok(found) = fs::read_dir(top) else {
        return Vec::new();
    };
    let found = found.flatten().filter_map(|entry| entry.metadata().ok());
    let files = found.filter(|found| found.is_file() && found.len() > 0);
    files.map(|found| found.mode() & 0o777).collect()
}

#[test]
fn a_private_file_is_never_public_while_it_is_moved() {
    let desk = Desk::new();
    for (name, len) in [("up/large", 5_000_000), ("up/small", 200_000)] {
        let path = desk.write(name, content(len, 1));
        set(&path, 0o600, moment(1));
    }
    desk.server.mkdir("d");
    fs::create_dir(desk.path("here")).expect("directory");
    for (command, watched) in [
        (
            &["put", "--limit", "3M", "up/large", "d/"][..],
            desk.server.path("d"),
        ),
        (
            &["put", "--limit", "200K", "up/small", "d/"],
            desk.server.path("d"),
        ),
        (
            &["get", "--limit", "3M", "d/large", "here/"],
            desk.path("here"),
        ),
        (
            &["get", "--limit", "200K", "d/small", "here/"],
            desk.path("here"),
        ),
    ] {
        let mut child = desk.command(command).spawn().expect("tf");
        let mut seen = 0;
        while child.try_wait().expect("wait").is_none() {
            let modes = modes_of_content(&watched);
            seen += modes.len();
            assert!(modes.iter().all(|mode| mode & 0o077 == 0), "{modes:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(
            child.wait().expect("wait").success() && seen > 0,
            "{command:?}"
        );
    }
}

#[test]
fn a_mirror_sends_a_restored_file_and_nothing_that_is_the_same() {
    let desk = Desk::new();
    desk.write("d/a", "12");
    desk.write("d/b", "34");
    set(&desk.path("d/b"), 0o644, moment(5));
    desk.fine(&["mirror", "d", ":d"]);
    assert_eq!(desk.fine(&["mirror", "d", ":d"]).out, "");
    // Of the same size, and older: from a backup.
    desk.write("d/a", "99");
    set(&desk.path("d/a"), 0o644, moment(100_000));
    assert_eq!(desk.fine(&["mirror", "d", ":d"]).out, "~ a\n");
    assert_eq!(desk.server.read("d/a"), b"99");
    assert_eq!(desk.fine(&["mirror", "d", ":d"]).out, "");
    desk.server.write("d/a", "77");
    set(&desk.server.path("d/a"), 0o644, moment(200_000));
    assert_eq!(desk.fine(&["mirror", ":d", "d"]).out, "~ a\n");
    assert_eq!(desk.read("d/a"), b"77");
    assert_eq!(desk.fine(&["mirror", ":d", "d"]).out, "");
}

#[test]
fn a_tree_seeded_with_its_times_is_unchanged_either_way() {
    let desk = Desk::new();
    odd_tree(&desk);
    let copied = std::process::Command::new("cp")
        .args(["-a"])
        .args([desk.path("t"), desk.server.path("t")])
        .status();
    assert!(copied.expect("cp").success());
    hand_over(&desk, "t");
    assert_eq!(desk.fine(&["mirror", "t", ":t"]).out, "");
    assert_eq!(desk.fine(&["mirror", ":t", "t"]).out, "");
    assert_eq!(
        attributes(&desk.server.path("t")),
        attributes(&desk.path("t"))
    );
}

#[test]
fn a_mirror_sets_modes_that_differ_and_moves_no_bytes() {
    let desk = Desk::new();
    odd_tree(&desk);
    desk.fine(&["mirror", "t", ":t"]);
    assert_eq!(
        attributes(&desk.server.path("t")),
        attributes(&desk.path("t"))
    );
    for (mode, source, target) in [(0o444, "t", ":t"), (0o440, ":t", "t")] {
        let (there, here) = (desk.server.path("t"), desk.path("t"));
        let changed = if source == "t" { &here } else { &there };
        for name in ["old", "p d"] {
            let mode = if name == "old" { mode } else { mode | 0o311 };
            fs::set_permissions(changed.join(name), Permissions::from_mode(mode)).expect("mode");
        }
        let dry = desk.fine(&["mirror", "-n", source, target]);
        let run = desk.fine(&["mirror", source, target]);
        assert_eq!(run.out, ". old\n. p d\n");
        assert_eq!(run.out, dry.out);
        assert_eq!(attributes(&there), attributes(&here));
        assert_eq!(desk.fine(&["mirror", source, target]).out, "");
    }
    // What comes into a directory leaves it its time.
    desk.write("t/p d/new", "x");
    fs::remove_file(desk.path("t/p d/key")).expect("remove");
    set(&desk.path("t/p d"), 0o700, moment(50));
    desk.fine(&["mirror", "--delete", "t", ":t"]);
    assert_eq!(
        attributes(&desk.server.path("t")),
        attributes(&desk.path("t"))
    );
    // --checksum compares digests, and sets times.
    set(&desk.path("t/program"), 0o755, moment(77));
    assert_eq!(desk.fine(&["mirror", "-c", "t", ":t"]).out, ". program\n");
    assert_eq!(
        attributes(&desk.server.path("t")),
        attributes(&desk.path("t"))
    );
}

#[test]
fn names_with_a_newline_come_down_in_trees() {
    let desk = Desk::new();
    for name in ["t/new\nline", "t/d\n/f", "t/plain"] {
        desk.write(name, name);
    }
    let run = desk.fine(&["put", "-r", "t"]);
    assert_eq!(run.err, "");
    desk.fine(&["get", "-r", "t", "back"]);
    assert!(tree(&desk.path("back")) == tree(&desk.path("t")));
    desk.write("m/extra", "x");
    desk.fine(&["mirror", "--delete", ":t", "m"]);
    assert!(tree(&desk.path("m")) == tree(&desk.path("t")));
    fs::remove_file(desk.path("t/new\nline")).expect("remove");
    assert_eq!(
        desk.fine(&["mirror", "--delete", "t", ":t"]).out,
        "- new\\nline\n"
    );
    let found = desk.fine(&["find", "t"]);
    let mut lines: Vec<&str> = found.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["t/d\\n", "t/d\\n/f", "t/plain"]);
    assert_eq!(desk.fine(&["ls", "-R", "t"]).err, "");
}

#[test]
fn links_holes_and_extended_attributes_are_kept_when_asked() {
    let desk = Desk::new();
    odd_tree(&desk);
    let sparse = File::create(desk.path("t/sparse")).expect("file");
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 9_000_000).expect("write");
    sparse.set_len(20_000_000).expect("size");
    let link = |to: &str, name: &str| {
        std::os::unix::fs::symlink(to, desk.path(name)).expect("link");
    };
    link("program", "t/to program");
    link("nowhere", "t/dangling");
    fs::set_permissions(desk.path("t/closed"), Permissions::from_mode(0o755)).expect("mode");
    fs::hard_link(desk.path("t/program"), desk.path("t/closed/same")).expect("name");
    set(&desk.path("t/closed"), 0o555, moment(9));
    let has_xattrs = set_xattr(&desk.path("t/private"), "user.note", "a=b,c");

    let run = desk.fine(&["put", "-a", "t"]);
    assert_eq!(run.err, "");
    assert_like(&desk.server.path("t"), &desk.path("t"), has_xattrs);
    let run = desk.fine(&["get", "-a", "t", "back"]);
    assert_eq!(run.err, "");
    assert_like(&desk.path("back"), &desk.path("t"), has_xattrs);
    let same = ["mirror", "-a", "t", ":t"];
    assert_eq!(desk.fine(&same).out, "");

    // What has become another kind of entry, and names that part.
    fs::remove_file(desk.path("t/to program")).expect("remove");
    desk.write("t/to program", "a file now");
    fs::remove_file(desk.path("t/old")).expect("remove");
    link("private", "t/old");
    fs::remove_file(desk.path("t/dangling")).expect("remove");
    link("program", "t/dangling");
    fs::hard_link(desk.path("t/private"), desk.path("t/secret too")).expect("name");
    desk.fine(&same);
    assert_like(&desk.server.path("t"), &desk.path("t"), has_xattrs);
    assert_eq!(desk.fine(&same).out, "");
    desk.fine(&["mirror", "-a", ":t", "back"]);
    assert_like(&desk.path("back"), &desk.path("t"), has_xattrs);
    assert_eq!(desk.read("back/program"), desk.read("t/program"));
}

#[test]
fn each_is_kept_by_itself_and_nothing_else() {
    let desk = Desk::new();
    desk.write("t/f", "x");
    fs::hard_link(desk.path("t/f"), desk.path("t/g")).expect("name");
    std::os::unix::fs::symlink("f", desk.path("t/l")).expect("link");
    let has_xattrs = set_xattr(&desk.path("t/f"), "user.note", "v");
    let names = |top: &Path| {
        let found = fs::metadata(top.join("f")).expect("stat");
        let is_link = fs::symlink_metadata(top.join("l")).is_ok_and(|l| l.is_symlink());
        (found.nlink(), is_link, xattr(&top.join("f"), "user.note"))
    };
    let value = has_xattrs.then(|| "v".to_owned());
    for (number, (option, expected)) in [
        ("--links", (1, true, None)),
        ("--hard-links", (2, false, None)),
        ("--xattrs", (1, false, value)),
        ("--sparse", (1, false, None)),
    ]
    .into_iter()
    .enumerate()
    {
        let (there, back) = (format!("t{number}"), format!("b{number}"));
        desk.fine(&["put", "-r", option, "t", &there]);
        assert_eq!(names(&desk.server.path(&there)), expected, "{option}");
        // The copy has everything; the option takes its own part of it.
        let all = format!("all{number}");
        desk.fine(&["put", "-a", "t", &all]);
        desk.fine(&["get", "-r", option, &all, &back]);
        assert_eq!(names(&desk.path(&back)), expected, "{option}");
    }
}

#[test]
fn a_link_that_leads_out_of_the_root_is_not_made() {
    let desk = Desk::new();
    desk.write("t/f", "x");
    std::os::unix::fs::symlink("/etc/passwd", desk.path("t/out")).expect("link");
    let run = desk.tf(&["put", "-r", "--links", "t"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("t/out"), "{}", run.err);
    assert!(fs::symlink_metadata(desk.server.path("t/out")).is_err());
    assert_eq!(desk.server.read("t/f"), b"x");
}

/// Asserts that a tree is like another one in all that is kept.
#[track_caller]
fn assert_like(copy: &Path, original: &Path, has_xattrs: bool) {
    assert!(tree(copy) == tree(original));
    assert_eq!(attributes(copy), attributes(original));
    let more = |top: &Path| {
        let of = |name: String| {
            let path = top.join(&name);
            let found = fs::symlink_metadata(&path).expect("stat");
            let target = fs::read_link(&path).ok();
            let names = if found.is_file() { found.nlink() } else { 0 };
            let has_holes = found.is_file() && found.blocks() < found.len() / 512;
            let note = has_xattrs.then(|| xattr(&path, "user.note")).flatten();
            (name, target, names, has_holes, note)
        };
        tree(top)
            .into_iter()
            .map(|(name, _)| of(name.split(" (").next().unwrap_or_default().to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(more(copy), more(original));
}

/// Sets an extended attribute; `false` where the file system has none.
fn set_xattr(path: &Path, name: &str, value: &str) -> bool {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, name, value.as_bytes(), flags).is_ok()
}

fn xattr(path: &Path, name: &str) -> Option<String> {
    let mut value = [0; 100];
    let len = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    Some(String::from_utf8_lossy(&value[..len]).into_owned())
}

#[test]
fn a_mirror_replaces_a_link_and_leaves_what_it_leads_to() {
    let desk = Desk::new();
    desk.write("t/a", "new");
    desk.server.write("t/b", "old");
    std::os::unix::fs::symlink("b", desk.server.path("t/a")).expect("link");
    hand_over(&desk, "t");
    desk.fine(&["mirror", "t", ":t"]);
    assert_eq!(desk.server.read("t/a"), b"new");
    assert_eq!(desk.server.read("t/b"), b"old");
}

#[test]
fn a_put_replaces_a_link_whatever_the_size_of_the_file() {
    for desk in [Desk::new(), Desk::without_extension()] {
        desk.write("small", "new");
        desk.write("large", vec![7; 600_000]);
        desk.server.write("kept", "old");
        for name in ["small", "large"] {
            std::os::unix::fs::symlink("kept", desk.server.path(name)).expect("link");
            desk.fine(&["put", name]);
            let found = fs::symlink_metadata(desk.server.path(name)).expect("stat");
            assert!(found.is_file(), "{name}");
            assert!(desk.server.read(name) == desk.read(name), "{name}");
        }
        assert_eq!(desk.server.read("kept"), b"old");
    }
}
