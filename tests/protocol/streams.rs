//! SNDFILE, RCVFILE, LS, LSR: files and listings in messages.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::common::{Server, is_root, reply_for};

#[test]
fn a_file_is_sent_and_received() {
    let server = Server::start();
    let mut client = server.connect();
    let content: Vec<u8> = (0..1_300_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
    client.send_file("f", false, &content);
    assert!(server.read("f") == content);
    client.send("RCVFILE 0 f");
    assert!(client.receive_stream().expect("stream") == content);
    client.send_file("empty", false, b"");
    assert_eq!(server.read("empty"), b"");
    client.send("RCVFILE 0 empty");
    assert_eq!(client.reply(), "OK");
    assert_eq!(server.names(""), ["empty", "f"]);
    client.expect_alive();
}

#[test]
fn sndfile_refusals() {
    let server = Server::start();
    let mut client = server.connect();
    server.write("f", "old");
    server.mkdir("d");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    client.expect_all(&[
        ("SNDFILE", 16),
        ("SNDFILE 1", 16),
        ("SNDFILE 0 f", 12),
        ("SNDFILE 2 f", 12),
        ("SNDFILE 0 d", 12),
        ("SNDFILE 1 d", 8),
        ("SNDFILE 1 pipe", 7),
        ("SNDFILE 0 missing/f", 7),
        ("SNDFILE 0 ../f", 1),
    ]);
    if is_root() {
        fs::write(server.path("roots"), "root's").expect("write");
        fs::set_permissions(server.path("roots"), fs::Permissions::from_mode(0o644)).expect("mode");
        client.expect("SNDFILE 1 roots", 1);
        assert_eq!(server.read("roots"), b"root's");
    }
    assert_eq!(server.read("f"), b"old");
}

#[test]
fn a_file_being_sent_is_seen_whole_or_not_at_all() {
    let server = Server::start();
    server.write("f", "old");
    fs::set_permissions(server.path("f"), fs::Permissions::from_mode(0o600)).expect("mode");
    let mut writer = server.connect();
    let mut reader = server.connect();
    assert_eq!(writer.ask("SNDFILE 1 f"), "CONT");
    assert_eq!(writer.ask("CONT new"), "CONT");
    reader.send("RCVFILE 0 f");
    assert_eq!(reader.receive_stream().expect("old"), b"old");
    assert_eq!(reader.list("LS "), ["F: f"]);
    assert_eq!(writer.ask("OK"), "OK");
    reader.send("RCVFILE 0 f");
    assert_eq!(reader.receive_stream().expect("new"), b"new");
    assert_eq!(
        fs::metadata(server.path("f")).expect("stat").mode() & 0o7777,
        0o600
    );
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn a_reader_keeps_the_file_it_began_with() {
    let server = Server::start();
    let old = vec![b'o'; 2_000_000];
    server.write("f", &old);
    let mut reader = server.connect();
    reader.send("RCVFILE 0 f");
    let first = reader.receive();
    server
        .connect()
        .send_file("f", true, &vec![b'n'; 2_000_000]);
    reader.send("CONT");
    let rest = reader.receive_stream().expect("stream");
    assert!([&first[5..], &rest].concat() == old);
    assert_eq!(server.read("f")[0], b'n');
}

#[test]
fn break_leaves_everything_as_it_was() {
    let server = Server::start();
    server.write("f", "old");
    let mut client = server.connect();
    for request in ["SNDFILE 1 f", "SNDFILE 0 new"] {
        assert_eq!(client.ask(request), "CONT");
        assert_eq!(client.ask("CONT some"), "CONT");
        assert_eq!(client.ask("BREAK"), "OK");
    }
    assert_eq!(server.names(""), ["f"]);
    assert_eq!(server.read("f"), b"old");
    client.expect_alive();
}

#[test]
fn any_other_word_carries_data_and_an_empty_message_loses_none() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    for chunk in ["CONT a", "cont b", "JUNK c", "CONT ", "CONT", "", "CONT  d"] {
        assert_eq!(client.ask(chunk), "CONT", "{chunk:?}");
    }
    assert_eq!(client.ask("OK"), "OK");
    assert_eq!(server.read("f"), b"abc d");
}

#[test]
fn a_name_made_meanwhile_is_not_overwritten_without_leave() {
    let server = Server::start();
    let mut client = server.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(client.ask("CONT mine"), "CONT");
    server.write("f", "theirs");
    let reply = client.ask("OK");
    assert!(reply.starts_with("FAILED "), "{reply}");
    assert_eq!(server.read("f"), b"theirs");
    assert_eq!(server.names(""), ["f"]);
    client.expect_alive();
}

#[test]
fn a_link_is_kept_and_its_target_replaced() {
    let server = Server::start();
    server.write("d/target", "old");
    symlink("d/target", server.path("link")).expect("link");
    server.connect().send_file("link", true, b"new");
    assert_eq!(server.read("d/target"), b"new");
    assert!(
        server
            .path("link")
            .symlink_metadata()
            .expect("link")
            .is_symlink()
    );
}

#[test]
fn rcvfile_refusals_and_break() {
    let server = Server::start();
    server.write("f", vec![1; 1_200_000]);
    server.mkdir("d");
    nix::unistd::mkfifo(&server.path("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let mut client = server.connect();
    client.expect_all(&[
        ("RCVFILE", 16),
        ("RCVFILE 0", 16),
        ("RCVFILE 0 missing", 9),
        ("RCVFILE 0 d", 8),
        ("RCVFILE 0 pipe", 7),
        ("RCVFILE 0 ../f", 1),
    ]);
    if is_root() {
        fs::write(server.path("secret"), "x").expect("write");
        fs::set_permissions(server.path("secret"), fs::Permissions::from_mode(0o600))
            .expect("mode");
        client.expect("RCVFILE 0 secret", 1);
    }
    client.send("RCVFILE 1 f");
    assert!(client.receive().starts_with(b"CONT "));
    assert_eq!(client.ask("BREAK"), "OK");
    assert!(server.exists("f"));
    client.expect_alive();
}

#[test]
fn rcvfile_deletes_after_the_last_acknowledgement() {
    let server = Server::start();
    server.write("f", "content");
    let mut client = server.connect();
    client.send("RCVFILE 1 f");
    assert_eq!(client.reply(), "CONT content");
    assert!(server.exists("f"));
    assert_eq!(client.ask("CONT"), "OK");
    assert!(!server.exists("f"));
}

#[test]
fn listings() {
    let server = Server::start();
    server.write("d/f", "");
    server.write("d/e/g", "");
    server.write("d/with space", "");
    server.mkdir("empty");
    symlink("f", server.path("d/link")).expect("link");
    nix::unistd::mkfifo(&server.path("d/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
    let mut client = server.connect();
    let lines = ["D: e/", "F: f", "F: with space", "U: link", "U: pipe"];
    assert_eq!(client.list("LS d"), lines);
    assert_eq!(client.list("LS d/"), lines);
    assert_eq!(
        client.list("LSR d"),
        [&lines[..1], &["F: e/g"], &lines[1..]].concat()
    );
    assert_eq!(client.list("LS"), ["D: d/", "D: empty/"]);
    client.send("LS empty");
    assert_eq!(client.reply(), "OK");
    for request in ["LS missing", "LS d/f", "LSR d/f"] {
        assert_eq!(client.ask(request), reply_for(10), "{request}");
    }
    assert_eq!(client.ask("LS ../d"), reply_for(1));
    if is_root() {
        fs::create_dir(server.path("roots")).expect("mkdir");
        fs::set_permissions(server.path("roots"), fs::Permissions::from_mode(0o700)).expect("mode");
        assert_eq!(client.ask("LS roots"), reply_for(1));
        // Listed with others, it says that it could not be read.
        let all = client.list("LSR");
        assert!(all.iter().any(|line| line == "D: roots/"), "{all:?}");
        assert!(all.iter().any(|line| line == "U: roots//"), "{all:?}");
        server.mkdir("t");
        fs::rename(server.path("roots"), server.path("t/roots")).expect("rename");
        assert_eq!(client.ask("CPDIR t | copy"), reply_for(21));
        assert!(!server.exists("copy"));
    }
}

#[test]
fn a_parent_is_listed_before_its_children() {
    let server = Server::start();
    server.write("a/b/c/f", "");
    let mut client = server.connect();
    client.send("LSR ");
    let content = client.receive_stream().expect("stream");
    assert_eq!(content, b"D: a/\nD: a/b/\nD: a/b/c/\nF: a/b/c/f\n");
}

#[test]
fn the_content_of_a_directory_follows_it_at_once() {
    let server = Server::start();
    for path in ["a/b/f", "a/c/f", "d/e/f", "d/f", "f"] {
        server.write(path, "");
    }
    let mut client = server.connect();
    client.send("LSR ");
    let content = client.receive_stream().expect("stream");
    let text = String::from_utf8(content).expect("text");
    let paths: Vec<&str> = text.lines().map(|line| &line[3..]).collect();
    for (at, path) in paths.iter().enumerate().filter(|(_, p)| p.ends_with('/')) {
        let inside = paths.iter().filter(|p| p.starts_with(path)).count();
        let behind = &paths[at..at + inside];
        assert!(behind.iter().all(|p| p.starts_with(path)), "{path}: {text}");
    }
    assert_eq!(paths.len(), 10);
}

#[test]
fn a_listing_longer_than_one_message_comes_whole() {
    let server = Server::start();
    for n in 0..4000 {
        fs::write(server.path(&format!("{n:0>200}")), "").expect("write");
    }
    assert_eq!(server.connect().list("LS").len(), 4000);
    assert_eq!(server.names("").len(), 4000);
}

#[test]
fn names_with_a_newline_can_not_forge_a_line() {
    let server = Server::start();
    server.write("a\nF: forged", "");
    server.write("b", "");
    let lines = server.connect().list("LS");
    assert!(!lines.iter().any(|line| line == "F: forged"), "{lines:?}");
    assert!(
        lines.iter().any(|line| line == "U: a/./F: forged"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line == "F: b"));
}

#[test]
fn the_servers_own_files_are_hidden() {
    let server = Server::start();
    server.write("d/jail.key", "token");
    for end in ["", ".rd", ".lck", ".swp", ".bak", "~"] {
        server.write(&format!("d/.securefs_metadata{end}"), "identity:4");
    }
    server.write("d/.tfd-00.part", "x");
    let mut client = server.connect();
    client.send("LSR d");
    assert_eq!(client.reply(), "OK");
    client.expect_all(&[
        ("FSTAT d/jail.key", 1),
        ("RCVFILE 0 d/jail.key", 1),
        ("DEL d/jail.key", 1),
        ("FSTAT d/.tfd-00.part", 1),
        ("RCVFILE 0 d/.securefs_metadata.bak", 1),
    ]);
}
