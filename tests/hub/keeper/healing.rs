//! Copies that are lost are made again by keepers alone: they send files to each other,
//! at the word of the hub, with no owner online.

use std::net::TcpListener;
use std::os::unix::fs::FileExt;

use nix::sys::signal::Signal;
use tfd::hub::wire::Purpose;

use super::circle::{SMALL, circle, leave};
use super::*;
use crate::common::pids;
use crate::processes::{status, uid_of};

#[test]
fn the_files_of_a_keeper_that_is_gone_go_to_a_third_one() {
    let Some(mut circle) = circle("warn_after = 1\ngone_after = 2", &["bob"]) else {
        return;
    };
    // Who sends is an ordinary user.
    circle.join_as(
        "carol",
        &Different {
            started_by: Some(54321),
            ..Different::default()
        },
    );
    let contents = [content(1, 3_000_000), content(2, SMALL), content(3, 1)];
    circle.store(&contents, 2);
    circle.join("dave");
    circle.at("bob").server.signal(Signal::SIGTERM);
    circle.at("bob").server.wait_for_end();
    for content in &contents {
        wait_until("dave has it", || circle.has("dave", content));
    }
    circle
        .at("carol")
        .server
        .wait_for_lines("file sent to a keeper", 3);
    for content in &contents {
        circle.wait_for_copies(content, &["carol", "dave"]);
    }
    // The owner gets from the third one what it has never sent there.
    let mut line = circle.hub.log_in(&circle.anna);
    let source = line.done("REC dave");
    assert!(source.starts_with("SRC"), "{source}");
    let dave = circle.keepers.last().expect("dave");
    let mut peer = dave.dial(&circle.anna, Purpose::Recover);
    for content in &contents {
        assert_eq!(fetch(&mut peer, &get(content).into()), Ok(content.clone()));
    }
}

#[test]
fn a_keeper_with_a_new_disk_gets_back_what_it_had() {
    let Some(mut circle) = circle("", &["bob", "carol"]) else {
        return;
    };
    let contents = [content(1, 2_500_000), content(2, SMALL)];
    circle.store(&contents, 2);
    let bob = circle.at("bob");
    bob.server.signal(Signal::SIGTERM);
    bob.server.wait_for_end();
    fs::remove_dir_all(&bob.kept).expect("removed");
    bob.server.start_again();
    for content in &contents {
        circle.wait_for_copies(content, &["bob", "carol"]);
    }
    let bob = circle.at("bob");
    bob.server.wait_for_lines("file fetched from a keeper", 2);
    bob.server.wait_for_log("lost files asked for");
}

#[test]
fn copies_that_are_damaged_on_disk_are_found_by_audits_and_made_elsewhere() {
    let Some(mut circle) = circle("audit_cycle = 8", &["bob", "carol"]) else {
        return;
    };
    let [flipped, cut, gone] = [content(1, SMALL), content(2, SMALL), content(3, SMALL)];
    circle.store(&[flipped.clone(), cut.clone(), gone.clone()], 2);
    circle.join("dave");
    let path = |content: &[u8]| {
        let bob = &circle.keepers[0];
        bob.path(&circle.anna, "d", name_of(content))
    };
    let (flipped_path, cut_path, gone_path) = (path(&flipped), path(&cut), path(&gone));
    let file = fs::File::options().write(true).open(&flipped_path);
    let changed = [flipped[7] ^ 4];
    let written = file.expect("file").write_all_at(&changed, 7);
    written.expect("written");
    let file = fs::File::options().write(true).open(&cut_path);
    file.expect("file").set_len(1000).expect("cut");
    fs::remove_file(gone_path).expect("removed");
    for content in [&flipped, &cut, &gone] {
        circle.wait_for_copies(content, &["carol", "dave"]);
    }
}

#[test]
fn a_keeper_finds_a_flipped_bit_itself_and_others_make_the_copy_again() {
    let Some(mut circle) = circle("", &["bob", "carol"]) else {
        return;
    };
    let content = content(1, 1_500_000);
    circle.store(std::slice::from_ref(&content), 2);
    circle.join("dave");
    let anna_path = circle.keepers[0].path(&circle.anna, "d", name_of(&content));
    let bob = circle.at("bob");
    bob.server.signal(Signal::SIGTERM);
    bob.server.wait_for_end();
    let file = fs::File::options().write(true).open(&anna_path);
    let changed = [content[1_000_000] ^ 1];
    let written = file.expect("file").write_all_at(&changed, 1_000_000);
    written.expect("written");
    // As if it had last been looked at long ago.
    let book = bob.store().join("stock.db");
    let book = rusqlite::Connection::open(book).expect("database");
    book.execute("UPDATE file SET scrubbed = 0", [])
        .expect("changed");
    drop(book);
    bob.server.start_again();
    circle.wait_for_copies(&content, &["carol", "dave"]);
    wait_until("the bad one is set aside", || {
        anna_path.with_extension("bad").exists() && !anna_path.exists()
    });
}

#[test]
fn a_keeper_that_leaves_is_emptied() {
    let Some(mut circle) = circle("", &["bob", "carol"]) else {
        return;
    };
    let contents = [content(1, 1_200_000), content(2, SMALL)];
    circle.store(&contents, 2);
    circle.join("dave");
    let bob = circle.at("bob");
    leave(bob);
    for content in &contents {
        circle.wait_for_copies(content, &["carol", "dave"]);
        wait_until("it is not at bob's", || !circle.has("bob", content));
    }
    let bob = circle.at("bob");
    bob.server.signal(Signal::SIGTERM);
    bob.server.wait_for_end();
    bob.server.start_again();
    bob.wait_until_online(1);
    let log = bob.server.log();
    assert!(
        !log.iter().any(|line| line.contains("smaller than what")),
        "{log:#?}"
    );
}

#[test]
fn who_carries_files_has_a_line_and_nothing_else() {
    let Some(mut kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, SMALL);
    kept.store_file(&mut line, &anna, &content);
    line.done("DBU");
    // A keeper that takes lines and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let carol = Person::new("carol");
    let mut hers = kept.hub.holder(&carol, GIB);
    let shared = hers.done(&format!("SHA {GIB} port={port}"));
    assert_eq!(code(&shared), 208, "{shared}");
    leave(&mut kept);
    hers.obey("RCV", "211 OK to send file");
    let (silent, _) = listener.accept().expect("a line");
    let [carrier] = pids(&kept.server, "tfd-carrier")[..] else {
        panic!("one carrier");
    };
    for rights in ["CapEff:", "CapPrm:", "CapInh:"] {
        assert_eq!(status(carrier, rights), "0000000000000000");
    }
    assert_eq!(status(carrier, "NoNewPrivs:"), "1");
    assert_eq!(status(carrier, "Seccomp:"), "2");
    let uid = status(carrier, "Uid:");
    assert!(uid != "0" && uid != uid_of(KEEPS), "{uid}");
    let root = fs::read_dir(format!("/proc/{carrier}/root")).expect("root");
    assert_eq!(root.count(), 0, "it has no file");
    let entries = fs::read_dir(format!("/proc/{carrier}/fd")).expect("descriptors");
    let opened = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    for to in opened.map(|to| to.display().to_string()) {
        assert!(!to.contains("holder.key") && !to.contains("store"), "{to}");
    }
    // The other one does not answer: the hub hears of it, and the carrier ends.
    drop((silent, listener));
    wait_until("it has ended", || {
        pids(&kept.server, "tfd-carrier").is_empty()
    });
    kept.server.wait_for_log("file not carried");
}
