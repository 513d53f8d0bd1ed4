//! The numbered weaknesses of the public C server from 12 on: what they did to
//! files, rights and resources.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::common::disk::SmallDisk;
use crate::common::{
    Client, Setup, VERSION, account, connections, descendants, pids, reply_for, wait_until,
};
use crate::{Scene, connect_with_pid, give_to, without_root};

#[test]
fn weakness_12_a_missing_argument_is_empty_whatever_was_sent_before() {
    let mut scene = Scene::new();
    scene.server.write("victim", "0 ");
    let mut client = scene.connect();
    for (word, code) in [
        ("MKDIR", 4),
        ("DEL", 8),
        ("TOUCH", 12),
        ("FSTAT", 16),
        ("FUPD", 16),
        ("SHA256", 16),
        ("COPY", 16),
        ("CPDIR", 16),
        ("RENAM", 16),
        ("XCOPY", 16),
        ("XDEL", 16),
        ("XRMDIR", 16),
        ("CHMOD", 16),
        ("CHOWN", 16),
        ("RMSECDIR", 16),
        ("SNDFILE", 16),
        ("RCVFILE", 16),
        ("PUT", 16),
    ] {
        // What stood where the argument would be.
        let stale = format!("{} victim", "Z".repeat(word.len()));
        for end in ["", " ", "\0victim"] {
            assert_eq!(client.ask(&stale), "UNKNOWN");
            let reply = client.ask(format!("{word}{end}"));
            assert_eq!(reply, reply_for(code), "{word}");
        }
    }
    assert_eq!(client.ask("DEL victim"), reply_for(0));
    assert_eq!(client.ask("RMDIR"), reply_for(15));
    assert!(scene.server.names("").is_empty());
    scene.unharmed();
}

#[test]
fn weakness_13_ls_of_odd_directories_answers_and_uses_no_file() {
    let mut scene = Scene::new();
    scene.server.write("d/f", "inside");
    symlink("d", scene.server.path("link")).expect("link");
    symlink("f", scene.server.path("d/inner")).expect("link");
    symlink("inner", scene.server.path("d/twice")).expect("link");
    symlink("loop", scene.server.path("d/loop")).expect("link");
    let target = scene.outside().join("f");
    for pid in descendants(scene.server.pid())
        .into_iter()
        .map(|(pid, _)| pid)
        .chain(1..200)
    {
        symlink(&target, scene.server.path(&format!("d/{pid}_ls.tmp"))).unwrap_or_default();
        symlink(&target, scene.server.path(&format!("{pid}_ls.tmp"))).unwrap_or_default();
    }
    let mut client = scene.connect();
    let before = scene.server.names("");
    for request in ["LS link", "LSR link", "LS d", "LS /", "LSR /"] {
        let lines = client.list(request);
        let odd = lines.iter().find(|line| line.contains(crate::SECRET));
        assert_eq!(odd, None, "{request}");
        assert!(
            lines.iter().any(|line| line.ends_with("inner")) || request == "LS /",
            "{request}"
        );
    }
    fs::set_permissions(scene.server.root(), fs::Permissions::from_mode(0o555)).expect("mode");
    let mut watched = scene.connect();
    client.send("LS /");
    assert!(client.receive().starts_with(b"CONT "));
    assert_eq!(watched.list("LS /").len(), before.len());
    assert_eq!(scene.server.names(""), before);
    client.send("BREAK");
    assert_eq!(client.reply(), "OK");
    fs::set_permissions(scene.server.root(), fs::Permissions::from_mode(0o755)).expect("mode");
    scene.unharmed();
}

#[test]
fn weakness_14_notifications_leave_no_handle_open_and_a_file_is_no_directory() {
    let mut scene = Scene::new();
    scene.server.write("d/f", "inside");
    let (mut client, pid) = connect_with_pid(&mut scene);
    // With the first request that may take long comes a thread, with a handle.
    client.list("LS ");
    client.expect_alive();
    // Only root may look.
    let handles = || fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let before = handles();
    for _ in 0..2 {
        client.expect_all(&[("ADDNTFY f d/f", 5), ("STARTNTFY", 6)]);
    }
    client.expect_all(&[("ADDNTFY f d", 0), ("ADDNTFY f d/f", 5), ("ADDNTFY f ", 0)]);
    assert_eq!(handles(), before);
    client.send("STARTNTFY 0.001");
    assert_eq!(client.reply(), "0 f");
    let begun = handles();
    for round in 0..500 {
        let server = &scene.server;
        fs::rename(server.path("d"), server.path("moved")).expect("rename");
        if round % 2 == 0 {
            scene.server.write("d/f", "inside");
            fs::remove_dir_all(server.path("moved")).expect("remove");
        } else {
            fs::rename(server.path("moved"), server.path("d")).expect("rename");
        }
        client.send(if round % 50 == 0 { "OK" } else { "" });
        assert_eq!(client.reply(), "0 f");
    }
    assert_eq!(handles(), begun);
    // The inotify, and the file told of last.
    assert!(begun <= before + 2, "{before} {begun}");
    let watches = fs::read_dir(format!("/proc/{pid}/fdinfo")).map_or(0, |entries| {
        let text = |entry: fs::DirEntry| fs::read_to_string(entry.path()).unwrap_or_default();
        let all: String = entries.flatten().map(text).collect();
        all.lines()
            .filter(|line| line.starts_with("inotify wd:"))
            .count()
    });
    assert!(watches <= 2, "{watches}");
    scene.unharmed();
}

#[test]
fn weakness_15_a_file_that_was_there_survives_an_upload_broken_off() {
    let mut scene = Scene::new();
    for name in ["sndfile", "sup", "put", "putcan"] {
        scene.server.write(name, "all that was there");
    }
    let mut client = scene.connect();
    assert_eq!(client.ask("SNDFILE 1 sndfile"), "CONT");
    assert_eq!(client.ask("CONT new"), "CONT");
    drop(client);
    let mut client = scene.connect();
    client.send("SUP sup");
    client
        .wire
        .write_units(&mut b"\0\0\0\x03new".to_vec(), &[4, 3])
        .expect("send");
    drop(client);
    for (word, name) in [("PUT", "put"), ("PUTCAN", "putcan")] {
        let mut client = scene.connect();
        let numbers: &[i64] = if word == "PUT" {
            &[0, 100]
        } else {
            &[0, 100, 0]
        };
        client.hp_open(word, name, numbers);
        client.send_frame(b"new");
    }
    wait_until("their end", || connections(&scene.server).len() == 1);
    assert_eq!(scene.server.read("sndfile"), b"all that was there");
    assert_eq!(scene.server.read("sup"), b"all that was there");
    assert_eq!(scene.server.read("put"), b"new that was there");
    assert_eq!(scene.server.read("putcan"), b"new that was there");
    assert_eq!(scene.server.names(""), ["put", "putcan", "sndfile", "sup"]);
    scene.unharmed();
}

#[test]
fn weakness_15_what_did_not_happen_is_not_said_to_have() {
    let mut scene = Scene::new();
    scene.server.write("closed/f", "inside");
    let mut client = scene.connect();
    client.expect_all(&[
        ("CHMOD closed 555", 0),
        ("CHMOD closed/f abc", 41),
        ("TOUCH no/f", 24),
    ]);
    if !without_root() {
        fs::write(scene.server.path("roots"), "").expect("write");
        client.expect_all(&[("CHMOD roots 777", 41), ("TOUCH closed/new", 1)]);
    }
    scene.unharmed();
}

#[test]
fn weakness_15_a_full_disk_is_told_before_anything_is_acknowledged() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    fs::set_permissions(disk.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let root = Some(disk.path().join("root"));
    let mut scene = Scene::with(Setup {
        root,
        ..Setup::default()
    });
    let mut client = scene.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    let chunk = [b"CONT ", vec![1; 300_000].as_slice()].concat();
    let acknowledged = (0..8).take_while(|_| client.ask(&chunk) == "CONT").count();
    assert!(
        (1..4).contains(&acknowledged),
        "{acknowledged} of 300,000 bytes on 1 MiB"
    );
    client.expect_alive();
    assert!(scene.server.names("").is_empty());
    scene.unharmed();
}

#[test]
fn weakness_16_no_group_and_no_right_of_the_daemon_reaches_a_client() {
    if without_root() {
        return;
    }
    let server = "mode = \"multi-user\"\nusers = \"users\"".to_owned();
    let users = account("ann", "a", "games:::");
    let mut scene = Scene::with(Setup {
        server,
        users,
        ..Setup::default()
    });
    let mut client = scene.connect();
    client.expect("LOGIN ann a", 0);
    let _in_front_of_the_door = scene.connect();
    wait_until("three connections", || {
        connections(&scene.server).len() == 3
    });
    for pid in connections(&scene.server) {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        let field = |name: &str| {
            text.lines()
                .find(|line| line.starts_with(name))
                .expect("field")
        };
        for name in ["Uid:", "Gid:", "Groups:"] {
            assert!(
                field(name).split_whitespace().skip(1).all(|id| id != "0"),
                "{text}"
            );
        }
        assert!(field("CapPrm:").ends_with("\t0000000000000000"), "{text}");
    }
    scene.unharmed();
}

#[test]
fn weakness_16_a_secure_directory_goes_only_with_a_name_that_is_in_it() {
    let mut scene = Scene::new();
    scene.server.write("x.sd/token", "inside");
    let mut client = scene.connect();
    for token in [
        "", ".", "..", "./token", "../x.sd", "/", "tok", "token/", "jail.key",
    ] {
        client.expect(format!("RMSECDIR {token} | x.sd"), 47);
    }
    assert_eq!(scene.server.names("x.sd"), ["token"]);
    client.expect("RMSECDIR token | x.sd", 0);
    scene.unharmed();
}

#[test]
fn weakness_16_the_token_file_of_a_jail_is_out_of_reach_inside() {
    if without_root() {
        return;
    }
    let setup = Setup {
        server: "jail = true".to_owned(),
        ..Setup::default()
    };
    let mut scene = Scene::with(setup);
    scene.server.write("cell/f", "inside");
    let tokens = scene.server.path("cell/jail.key");
    fs::write(&tokens, "\n\ntoken\n").expect("write");
    give_to("nobody", &tokens);
    let mut client = scene.connect();
    client.expect_all(&[("INJAIL  | cell", 49), ("INJAIL token | cell", 0)]);
    for request in [
        "RCVFILE 0 jail.key",
        "SNDFILE 1 jail.key",
        "COPY jail.key | g",
        "COPY f | jail.key",
        "RENAM jail.key | g",
        "RENAM f | jail.key",
        "DEL jail.key",
        "CHMOD /jail.key 666",
        "SHA256 ./jail.key",
        "FSTAT jail.key",
        "XDEL / jail.key",
        "XCOPY jail.key f | d",
    ] {
        client.expect(request, 1);
    }
    symlink("jail.key", scene.server.path("cell/link")).expect("link");
    assert_eq!(client.list("LSR /"), ["F: f", "U: link"]);
    client.expect("CPDIR / | copy", 0);
    assert_eq!(scene.server.names("cell/copy"), ["f", "link"]);
    assert_eq!(fs::read(&tokens).expect("tokens"), b"\n\ntoken\n");
    for request in [
        "RCVFILE 0 link",
        "SNDFILE 1 link",
        "SHA256 link",
        "CHMOD link 666",
    ] {
        let reply = client.ask(request);
        assert!(reply.starts_with("FAILED "), "{request}: {reply}");
    }
    assert_eq!(fs::read(&tokens).expect("tokens"), b"\n\ntoken\n");
    // Nor does it go with what is around it.
    scene.server.write("cell/in/jail.key", "of another jail");
    client.expect_all(&[
        ("XRMDIR / in", 0),
        ("RMDIR in", 15),
        ("RMSECDIR f | ", 15),
        ("RMDIR ", 15),
    ]);
    assert_eq!(scene.server.names("cell"), ["in", "jail.key"]);
    assert_eq!(scene.server.names("cell/in"), ["jail.key"]);
    let mut client = scene.connect();
    client.expect_all(&[("INJAIL of another jail | cell/in", 0), ("RMDIR ", 15)]);
    assert_eq!(scene.server.read("cell/in/jail.key"), b"of another jail");
    assert_eq!(fs::read(&tokens).expect("tokens"), b"\n\ntoken\n");
    scene.unharmed();
}

#[test]
fn weakness_17_who_says_nothing_is_closed_and_who_comes_too_often_is_turned_away() {
    let mut scene = Scene::with(Setup {
        server: "max_sessions_per_address = 6\nhandshake_timeout = 5".to_owned(),
        ..Setup::default()
    });
    let mut silent: Vec<Client> = (0..5)
        .map(|_| Client::knock(scene.server.address()))
        .collect();
    let gates = || pids(&scene.server, "tfd-gate").len();
    let sessions = || pids(&scene.server, "tfd-session").len();
    wait_until("six connections", || (gates(), sessions()) == (5, 1));
    for _ in 0..20 {
        Client::knock(scene.server.address()).expect_closed();
    }
    assert_eq!(gates(), 5, "no process for who is turned away");
    silent.iter_mut().for_each(Client::expect_closed);
    wait_until("room", || {
        let mut client = Client::knock(scene.server.address());
        let greeted = client.wire.write_message(VERSION.as_bytes());
        greeted.is_ok() && client.wire.read_message(&mut Vec::new()).is_ok()
    });
    scene.unharmed();
}

#[test]
fn weakness_17_key_blocks_in_a_row_cost_the_attackers_connection() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        let mut client = Client::knock(scene.server.address());
        assert_eq!(client.ask(VERSION), "OK");
        client.send(vec![7; 256]);
        client.send(vec![7; 256]);
        assert_eq!(client.reply(), reply_for(25));
        client.expect_closed();
    }
    scene.unharmed();
}

#[test]
fn weakness_18_copies_share_nothing() {
    let mut scene = Scene::new();
    scene.server.write("f", "original");
    scene.server.write("d/f", "original");
    scene.server.mkdir("target");
    let mut client = scene.connect();
    client.expect_all(&[
        ("COPY f | copy", 0),
        ("CPDIR d | tree", 0),
        ("XCOPY one f | target", 0),
        ("XCPDIR many d | target", 0),
    ]);
    let names = ["f", "d/f", "copy", "tree/f", "target/one", "target/many/f"];
    for (round, changed) in names.iter().enumerate() {
        let others = || names.iter().filter(|name| *name != changed);
        let states = || {
            let state = |name: &&str| {
                let stat = fs::metadata(scene.server.path(name)).expect("stat");
                (
                    stat.ino(),
                    stat.mode(),
                    stat.nlink(),
                    scene.server.read(name),
                )
            };
            others().map(state).collect::<Vec<_>>()
        };
        let before = states();
        client.hp_open("PUT", changed, &[0, 10]);
        client.send_frame(b"new");
        client.wire.write_units(&mut [0; 8], &[8]).expect("end");
        assert_eq!(client.wire.read_i64().expect("fin"), -127);
        client.wire.write_i64(-127).expect("fin");
        client.expect(format!("CHMOD {changed} 60{round}"), 0);
        client.send_file(changed, true, b"other");
        assert_eq!(states(), before);
    }
    scene.unharmed();
}

#[test]
fn weakness_19_words_of_later_servers_do_nothing_however_often_they_are_sent() {
    let mut scene = Scene::new();
    scene.server.write("list", "list\nmissing\n");
    let mut client = scene.connect();
    for _ in 0..3 {
        for request in [
            "TFPCRYPTO",
            "CIAON",
            "CIAOFF",
            "GOAES",
            "FAITOK 10",
            "FAIMQ",
            "RUNBASH touch out",
            "LOCKSYS /",
            "FLYCONTEXT out",
            "SETFSPERM list",
            "XS_SQLITE out",
            "XS_GATEWAY",
            "XS_ACE",
        ] {
            assert_eq!(client.ask(request), "UNKNOWN", "{request}");
        }
        client.send("FSTATLS missing");
        let mut record = [1; 26];
        client.wire.read_raw(&mut record).expect("record");
        assert_eq!((record[0], &record[1..]), (0xfe, &[0; 25][..]));
    }
    assert_eq!(scene.server.names(""), ["list"]);
    scene.unharmed();
}
