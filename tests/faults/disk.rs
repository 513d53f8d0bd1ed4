//! A full disk: a small file system of its own, which needs root to mount.

use std::process::Command;

use crate::common::disk::SmallDisk;
use crate::common::{Client, Server, Setup, reply_for, wait_until};

fn serve(disk: &SmallDisk) -> (Server, Client) {
    serve_with(disk, "")
}

fn serve_with(disk: &SmallDisk, lines: &str) -> (Server, Client) {
    // The scratch directory is root's alone, and so is the way to the disk.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(disk.path(), open).expect("mode");
    let root = disk.path().join("root");
    std::fs::create_dir(&root).expect("mkdir");
    let server = Server::with(Setup {
        root: Some(root),
        server: lines.to_owned(),
        ..Setup::default()
    });
    server.write("f", "old");
    let client = server.connect();
    (server, client)
}

#[test]
fn sndfile_says_13_and_the_old_file_stays() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let (server, mut client) = serve(&disk);
    assert_eq!(client.ask("SNDFILE 1 f"), "CONT");
    let chunk = [b"CONT ", vec![1; 200_000].as_slice()].concat();
    let mut acknowledged = 0;
    loop {
        match client.ask(&chunk).as_str() {
            "CONT" => acknowledged += 1,
            refused => {
                assert_eq!(refused, reply_for(13));
                break;
            }
        }
        assert!(acknowledged < 6, "more acknowledged than there is room for");
    }
    assert_eq!(server.names(""), ["f"]);
    assert_eq!(server.read("f"), b"old");
    client.send_file("f", true, b"new");
    assert_eq!(server.read("f"), b"new");
}

#[test]
fn sup_says_minus_one_and_the_old_file_stays() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let (server, mut client) = serve(&disk);
    client.send("SUP f");
    for _ in 0..8 {
        let mut part = 200_000_i32.to_be_bytes().to_vec();
        part.resize(200_004, 1);
        client
            .wire
            .write_units(&mut part, &[4, 200_000])
            .expect("send");
    }
    client.wire.write_i32(0).expect("send");
    assert_eq!(client.wire.read_i32().expect("result"), -1);
    assert_eq!(server.names(""), ["f"]);
    assert_eq!(server.read("f"), b"old");
    client.expect_alive();
}

#[test]
fn put_is_cancelled_and_the_session_lives() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let (server, mut client) = serve(&disk);
    for path in ["f", "new"] {
        client.hp_open("PUT", path, &[0, 200_000]);
        for _ in 0..8 {
            client.send_frame(&[1; 200_000]);
        }
        client.wire.write_i64(0).expect("send");
        assert_eq!(client.wire.read_i64().expect("cancel"), -2, "{path}");
        assert_eq!(client.wire.read_i64().expect("fin"), -127);
        client.wire.write_i64(-127).expect("send");
        client.expect_alive();
        std::fs::write(server.path("f"), "old").expect("write");
    }
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn a_full_disk_is_named_to_clients_log_and_audit_log() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let (mut server, mut client) = serve_with(&disk, "audit = \"audit.jsonl\"");
    assert_eq!(client.ask("TFD_WHY"), "OK");
    assert_eq!(client.ask("SNDFILE 1 f"), "CONT");
    let chunk = [b"CONT ", vec![1; 400_000].as_slice()].concat();
    while client.ask(&chunk) == "CONT" {}
    assert_eq!(client.ask("TFD_WHY"), "OK disk full on the server");
    client.hp_open("PUT", "new", &[0, 400_000]);
    for _ in 0..4 {
        client.send_frame(&[1; 400_000]);
    }
    assert_eq!(client.wire.read_i64().expect("cancel"), -2);
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    client.wire.write_i64(-127).expect("send");
    assert_eq!(client.ask("TFD_WHY"), "OK disk full on the server");
    client.expect("DEL missing", 9);
    assert_eq!(client.ask("TFD_WHY"), "OK");
    server.wait_for_log("not stored");
    let warned = server.log();
    let warned: Vec<_> = warned.iter().filter(|l| l.contains("not stored")).collect();
    let [line] = warned.as_slice() else {
        panic!("{warned:?}")
    };
    for part in ["WARN", "SNDFILE", "path=f ", "disk full on the server"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let path = server.config_path().with_file_name("audit.jsonl");
    let audit = || std::fs::read_to_string(&path).expect("audit log");
    for command in ["SNDFILE", "PUT"] {
        wait_until(command, || audit().contains(command));
        let audit = audit();
        let named = |line: &&str| line.contains(command);
        let line = audit.lines().find(named).expect(command);
        assert!(line.contains("\"result\":\"failed\""), "{line}");
        assert!(
            line.contains("\"cause\":\"disk full on the server\""),
            "{line}"
        );
    }
}

#[test]
fn putcan_tells_at_its_window_or_closes() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let (server, mut client) = serve(&disk);
    client.hp_open("PUTCAN", "new", &[0, 200_000, 8]);
    for _ in 0..8 {
        client.send_frame(&[1; 200_000]);
    }
    assert_eq!(client.wire.read_i64().expect("window"), -2);
    client.expect_alive();
    client.hp_open("PUTCAN", "new", &[0, 200_000, 0]);
    for _ in 0..8 {
        client.send_frame(&[1; 200_000]);
    }
    client.wire.write_i64(0).expect("send");
    client.expect_closed();
    assert_eq!(server.names(""), ["f"]);
}

#[test]
fn copies_leave_nothing_behind() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let (server, mut client) = serve(&disk);
    server.write("d/big", vec![1; 600_000]);
    client.expect_all(&[
        ("COPY d/big | copy", 18),
        ("CPDIR d | copy", 21),
        ("XCOPY c d/big | d", 0),
    ]);
    assert_eq!(server.names(""), ["d", "f"]);
    assert_eq!(server.names("d"), ["big"]);
    client.expect_alive();
}

#[test]
fn a_disk_that_turns_read_only_is_told_and_nothing_is_lost() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let (server, mut client) = serve(&disk);
    let remount = |how: &str| {
        let status = Command::new("mount")
            .args(["-o", how])
            .arg(disk.path())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "remount");
    };
    remount("remount,ro");
    for request in [
        "MKDIR d",
        "DEL f",
        "TOUCH t",
        "COPY f | g",
        "SNDFILE 1 f",
        "RENAM f | g",
        "CHMOD f 600",
    ] {
        let reply = client.ask(request);
        assert!(reply.starts_with("FAILED "), "{request}: {reply}");
    }
    remount("remount,rw");
    assert_eq!(server.read("f"), b"old");
    client.send_file("f", true, b"new");
}
