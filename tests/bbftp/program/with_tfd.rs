//! The program against tfd itself, in each version.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tfd::client::bbftp::Target;
use tfd::client::fetch_certificate;

use super::Caller;
use crate::client::content;
use crate::common::tf::{Run, run};
use crate::common::{PATIENCE, Server, account};
use crate::peer::{address, server, tls_server};

/// Calls the program for an account of a server.
struct Calls {
    caller: Caller,
    server: Server,
}

impl Calls {
    fn of(server: Server) -> Calls {
        let caller = Caller::new();
        caller.write("pw", "pass word");
        Calls { caller, server }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let address = address(&self.server);
        let target = Target::new("127.0.0.1", address.port());
        self.caller.run_at(&target, arguments)
    }

    /// The output of commands that are to succeed.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!((run.code, &*run.err), (Some(0), ""), "{}", run.out);
        assert!(!run.out.contains("FAILED"), "{}", run.out);
        run.out
    }

    fn there(&self, name: &str) -> Vec<u8> {
        fs::read(self.server.path(name)).expect(name)
    }

    fn here(&self, name: &str) -> Vec<u8> {
        fs::read(self.caller.path(name)).expect(name)
    }
}

/// Files there and back, alone and many, by these options.
fn there_and_back(calls: &Calls, options: &[&str]) {
    let big = content(700_001);
    calls.caller.write("big", &big);
    calls.caller.write("empty", "");
    calls.caller.write("a b", "blank");
    for directory in ["m", "back"] {
        fs::create_dir_all(calls.caller.path(directory)).expect("mkdir");
    }
    for number in 0..20 {
        calls
            .caller
            .write(&format!("m/f{number}"), content(number * 700));
    }
    let commands = "mkdir d;setbuffersize 16;put big d/big;put empty d/;put \"a b\" 'd/a b';\
                    mkdir d/m;mput m/f* d/m;dir d;\
                    get d/big back/big;get d/empty back/;get \"d/a b\" 'back/a b';\
                    mkdir d/x;cd d/m;mget f* back";
    let out = calls.done(&[options, &["-e", commands]].concat());
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 14 + 40, "{out}");
    assert_eq!(calls.there("d/big"), big);
    assert_eq!(calls.here("back/big"), big);
    assert_eq!(calls.there("d/empty"), b"");
    assert_eq!(calls.here("back/empty"), b"");
    assert_eq!(calls.there("d/a b"), b"blank");
    assert_eq!(calls.here("back/a b"), b"blank");
    for number in 0..20 {
        let expected = content(number * 700);
        assert_eq!(calls.there(&format!("d/m/f{number}")), expected);
        assert_eq!(calls.here(&format!("back/f{number}")), expected);
    }
    for directory in [calls.server.path("d"), calls.caller.path("back")] {
        let names = fs::read_dir(&directory).expect("directory");
        let mut names = names.map(|entry| entry.expect("entry").file_name());
        let is_temporary = |name: std::ffi::OsString| name.to_string_lossy().contains("tmp");
        assert!(!names.any(is_temporary), "{}", directory.display());
    }
}

#[test]
fn files_go_there_and_back_in_version_3() {
    let Some(server) = server("") else { return };
    let calls = Calls::of(server);
    there_and_back(&calls, &["-p", "4"]);
}

#[test]
fn files_go_there_and_back_compressed() {
    let Some(server) = server("") else { return };
    there_and_back(&Calls::of(server), &["-p", "3", "-c"]);
}

#[test]
fn files_go_there_and_back_in_version_2() {
    let Some(server) = server("active_source_port = \"any\"\n") else {
        return;
    };
    there_and_back(&Calls::of(server), &["-p", "4", "-D"]);
}

#[test]
fn files_go_there_and_back_in_version_1() {
    let Some(server) = server("versions = [1]\nactive_source_port = \"any\"\n") else {
        return;
    };
    there_and_back(&Calls::of(server), &["-p", "4"]);
}

#[test]
fn modes_and_times_are_kept_both_ways_unless_they_are_not_to_be() {
    let Some(server) = server("") else { return };
    let calls = Calls::of(server);
    calls.caller.write("f", "text");
    let path = calls.caller.path("f");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("mode");
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let file = fs::File::options().write(true).open(&path).expect("open");
    file.set_modified(time).expect("time");
    calls.done(&[
        "-e",
        "put f;get f g;setoption nokeepmode;setoption nokeepaccess;put f h",
    ]);
    let kept = |path: &std::path::Path| {
        let found = fs::metadata(path).expect("file");
        (found.mode() & 0o777, found.mtime())
    };
    assert_eq!(kept(&calls.server.path("f")), (0o640, 1_000_000_000));
    assert_eq!(kept(&calls.caller.path("g")), (0o640, 1_000_000_000));
    let (_, time) = kept(&calls.server.path("h"));
    assert_ne!(time, 1_000_000_000);
}

#[test]
fn everything_but_transfers_is_answered_and_told() {
    let Some(server) = server("") else { return };
    let calls = Calls::of(server);
    calls.caller.write("f", "text");
    let commands = "put f;mkdir d;mkdir d;dir .;stat f;df .;rm f;setremoteumask 077";
    let out = calls.done(&["-m", "-e", commands]);
    let has = |line: &str| out.lines().any(|it| it == line);
    assert!(has(" f ./f") && has(" d ./d"), "{out}");
    let stat = out
        .lines()
        .find(|line| line.starts_with("stat "))
        .expect("stat");
    let words: Vec<&str> = stat.split_ascii_whitespace().collect();
    assert_eq!(words[2..4], ["00100644", "4"], "{out}");
    let space = out
        .lines()
        .find(|line| line.starts_with("df "))
        .expect("df");
    assert_eq!(space.split(' ').count(), 7, "{out}");
    assert!(!calls.server.path("f").exists());
    let run = calls.run(&["-V", "-e", "rm f;cd none;get none x;put f /no/dir/f"]);
    assert_eq!(run.code, Some(100), "{}", run.err);
    assert_eq!(run.out.matches(" FAILED\n").count(), 3, "{}", run.out);
}

#[test]
fn a_simulation_touches_nothing() {
    let Some(server) = server("") else { return };
    let calls = Calls::of(server);
    calls.caller.write("f", content(5000));
    calls.done(&["-e", "put f"]);
    calls.caller.write("f", "new");
    let out = calls.done(&["-n", "-V", "-e", "put f;put f g;get f f"]);
    assert!(!out.contains("bytes"), "{out}");
    assert_eq!(calls.there("f"), content(5000));
    assert_eq!(calls.here("f"), b"new");
    assert!(!calls.server.path("g").exists());
}

#[test]
fn a_password_that_is_wrong_is_tried_once() {
    let Some(server) = server("") else { return };
    let calls = Calls::of(server);
    calls.caller.write("pw", "wrong");
    let run = calls.run(&["-e", "df ."]);
    assert_eq!(run.code, Some(100), "{}", run.err);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
}

#[test]
fn over_tls_the_server_is_known_by_pin_authority_or_entry() {
    let Some(server) = tls_server("", &account("ann", "pass word", "games:::")) else {
        return;
    };
    let tls = *server
        .listening("listening with TLS address=")
        .last()
        .expect("address");
    let calls = Calls::of(server);
    let target = Target::new("127.0.0.1", tls.port());
    let authority = calls.server.config_path().with_file_name("tls.pem");
    let authority = authority.to_str().expect("text");
    let shown = fetch_certificate(&tls.to_string(), PATIENCE).expect("certificate");
    let pin = format!("SHA256:{}", shown.fingerprint);
    let entry = format!("[server.files]\naddress = \"{tls}\"\ntls_pin = \"{pin}\"\n");
    calls.caller.write("config.toml", entry);
    calls.caller.write("f", content(100_000));
    let commands = [
        "-p",
        "4",
        "-e",
        "setbuffersize 16;put f;get f g;mput f d;rm f",
    ];
    for trust in [
        &["--tls-pin", &pin][..],
        &["--tls-ca", authority],
        &["--tls"],
    ] {
        let mut command = calls
            .caller
            .command_at(&target, &[trust, &commands].concat());
        let run = run(command.env("TF_CONFIG", "config.toml"), b"");
        assert_eq!(
            (run.code, &*run.err),
            (Some(0), ""),
            "{trust:?} {}",
            run.out
        );
        assert_eq!(calls.here("g"), content(100_000));
    }
    let other = format!("SHA256:{}", "A".repeat(43));
    let refused = calls
        .caller
        .run_at(&target, &["--tls-pin", &other, "-e", "df ."]);
    assert_eq!(refused.code, Some(56), "{}", refused.err);
    let unknown = calls.caller.run_at(&target, &["--tls", "-e", "df ."]);
    assert_eq!(unknown.code, Some(56), "{}", unknown.err);
    let clear = calls.run(&["-e", "df ."]);
    assert_eq!(clear.code, Some(100));
    assert!(clear.err.contains("TLS"), "{}", clear.err);
}

#[test]
fn a_server_of_ssh_serves_its_user() {
    let caller = Caller::new();
    // As ssh does: the last argument is a command for there.
    caller.write(
        "ssh",
        "#!/bin/sh\nfor word; do :; done\nexec sh -c \"$word\"\n",
    );
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(caller.path("ssh"), mode).expect("mode");
    caller.write("f", content(100_000));
    let remote = format!("{} bbftp --stdin", env!("CARGO_BIN_EXE_tfd"));
    let there = caller.path("there");
    fs::create_dir(&there).expect("mkdir");
    let there = there.display();
    let commands = format!("setbuffersize 16;put f {there}/g;get {there}/g back;rm {there}/g");
    for options in [&["-p", "3"][..], &["-D", "-p", "2"]] {
        let ssh = ["-r", "1", "-L", "./ssh", "-E", &remote];
        let commands = ["-e", &commands, "127.0.0.1"];
        let run = caller.run(&[&ssh[..], options, &commands].concat());
        assert_eq!((run.code, &*run.err), (Some(0), ""), "{}", run.out);
        assert_eq!(run.out.lines().count(), 4, "{}", run.out);
        let back = fs::read(caller.path("back")).expect("read");
        assert_eq!(back, content(100_000));
    }
    for number in 0..20 {
        caller.write(&format!("m{number}"), content(number * 100));
    }
    let commands = format!("setoption sha256;put f {there}/g;setoption nosha256;mput m* {there}");
    let run = caller.run(&[
        "-V",
        "-r",
        "1",
        "-L",
        "./ssh",
        "-E",
        &remote,
        "-e",
        &commands,
        "127.0.0.1",
    ]);
    assert_eq!((run.code, &*run.err), (Some(0), ""), "{}", run.out);
    assert!(run.out.contains(" +small +sha256 +resume\n"), "{}", run.out);
    let there = caller.path("there/m19");
    assert_eq!(fs::read(there).expect("read"), content(1900));
}

#[test]
fn digests_are_compared_where_it_is_asked_for() {
    let Some(server) = server("") else { return };
    let calls = Calls::of(server);
    calls.caller.write("f", content(100_000));
    fs::create_dir(calls.caller.path("m")).expect("mkdir");
    calls.caller.write("m/a", content(3000));
    calls.caller.write("m/b", content(300_000));
    let commands = "setoption sha256;put f;get f g;setoption resume;put f h;get h i;mput m/* d";
    calls.done(&["-p", "3", "-e", &format!("setbuffersize 16;{commands}")]);
    assert_eq!(calls.here("i"), content(100_000));
    assert_eq!(calls.there("d/b"), content(300_000));
}
