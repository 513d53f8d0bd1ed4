//! `on_upload`: a program for each file that has arrived whole. Needs root: the
//! program runs as `server.user`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};

use crate::common::{
    Client, Server, Setup, account, descendants, give_to_server, is_running, wait_until,
};
use crate::without_root;

/// What a program has been run for: the variables of its environment.
type Record = BTreeMap<String, String>;

/// A program, where it leaves its records, and the queue.
struct Hook {
    dir: tempfile::TempDir,
}

impl Hook {
    /// A program that does `body` and then leaves a record.
    fn new(body: &str) -> Hook {
        let dir = tempfile::tempdir().expect("directory");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), mode.clone()).expect("mode");
        fs::create_dir(dir.path().join("out")).expect("directory");
        give_to_server(&dir.path().join("out"));
        let hook = Hook { dir };
        let text = format!(
            "#!/bin/sh\nout=$1\n{body}\nnew=$(mktemp \"$out/XXXXXXXX\")\n\
             {{ cat /proc/$$/environ; printf 'UID=%s\\0' \"$(id -u)\"; \
             set -- /proc/$$/fd/*; printf 'FDS=%s\\0' \"$*\"; }} >\"$new\"\n\
             mv \"$new\" \"$new.done\"\n"
        );
        fs::write(hook.path("program"), text).expect("write");
        fs::set_permissions(hook.path("program"), mode).expect("mode");
        hook
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The lines of the configuration, and `more`.
    fn lines(&self, more: &str) -> String {
        format!(
            "on_upload = [\"{}\", \"{}\"]\non_upload_queue = \"{}\"\nmetrics = \"./metrics\"\n{more}\n",
            self.path("program").display(),
            self.path("out").display(),
            self.path("queue").display()
        )
    }

    fn serve(&self, more: &str) -> Server {
        Server::with(Setup {
            server: self.lines(more),
            ..Setup::default()
        })
    }

    /// All records, in no order.
    fn records(&self) -> Vec<Record> {
        let names = fs::read_dir(self.path("out")).expect("records");
        let paths = names.map(|entry| entry.expect("entry").path());
        let done = paths.filter(|path| path.extension().is_some_and(|end| end == "done"));
        done.map(|path| {
            let text = fs::read(path).expect("record");
            let text = String::from_utf8_lossy(&text).into_owned();
            let pairs = text
                .split_terminator('\0')
                .filter_map(|of| of.split_once('='));
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            pairs.map(own).collect()
        })
        .collect()
    }

    /// The paths that clients gave, sorted.
    fn client_paths(&self) -> Vec<String> {
        let records = self.records();
        let mut paths: Vec<_> = records
            .iter()
            .map(|of| of["TFD_CLIENT_PATH"].clone())
            .collect();
        paths.sort();
        paths
    }

    fn jobs(&self) -> usize {
        let names = fs::read_dir(self.path("queue")).expect("queue");
        names
            .filter(|name| {
                name.as_ref()
                    .is_ok_and(|of| of.path().extension().is_some_and(|end| end == "job"))
            })
            .count()
    }
}

fn put(client: &mut Client, path: &str, frames: &[&[u8]], code: i64) {
    client.hp_open("PUT", path, &[0, 100_000]);
    for frame in frames {
        client.send_frame(frame);
    }
    client.wire.write_i64(code).expect("send");
    assert_eq!(client.wire.read_i64().expect("fin"), -127);
    client.wire.write_i64(-127).expect("send");
}

/// Sends content in one frame, and the end.
fn send_frames(client: &mut Client, content: &[u8]) {
    for frame in [content, b""] {
        let mut unit = (frame.len() as i32).to_be_bytes().to_vec();
        unit.extend_from_slice(frame);
        let units = [4, frame.len()];
        client.wire.write_units(&mut unit, &units).expect("send");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const PART: &str = ".tf-0123456789abcdef.part";

#[test]
fn every_way_a_file_arrives_runs_the_program_once_when_it_is_whole() {
    if without_root() {
        return;
    }
    let hook = Hook::new("");
    let server = hook.serve("");
    server.mkdir("d");
    let mut client = server.connect();
    client.send_file("d/sent", false, b"by SNDFILE");
    put(&mut client, "put", &[b"by ", b"PUT"], 0);
    client.send("SUP sup");
    send_frames(&mut client, b"by SUP");
    assert_eq!(client.wire.read_i32().expect("result"), 0);
    client.send("TFD_STORE - stored");
    send_frames(&mut client, b"by STORE");
    let mut digest = Sha256::digest(b"by STORE").to_vec();
    client.wire.write_units(&mut digest, &[32]).expect("send");
    assert_eq!(client.reply(), "OK");
    put(&mut client, PART, &[b"by RENAM"], 0);
    client.expect(format!("RENAM {PART} | renamed"), 0);
    client.send_file("odd\n$(touch x) 'name", false, b"odd");
    client.hp_open("PUTCAN", "putcan", &[0, 100_000, 0]);
    client.send_frame(b"by PUTCAN");
    client.wire.write_i64(0).expect("send");
    client.expect("TOUCH written", 0);
    client.send("INTWRITE written");
    let old = format!("0x{}", hex(&Sha256::digest(b"")));
    let content = b"by INTWRITE";
    let length = (content.len() as i32).to_be_bytes();
    let mut bytes = [old.as_bytes(), &length, content].concat();
    let units = [old.len(), length.len(), content.len()];
    client.wire.write_units(&mut bytes, &units).expect("send");
    assert_eq!(client.wire.read_i32().expect("result"), 0);
    // None of these is an upload that is whole.
    put(&mut client, "stopped", &[b"half"], -1);
    assert_eq!(client.ask("SNDFILE 1 broken"), "CONT");
    assert_eq!(client.ask("CONT half"), "CONT");
    assert_eq!(client.ask("BREAK"), "OK");
    client.expect_all(&[("RENAM stopped | moved", 0), ("COPY put | copy", 0)]);
    client.expect_all(&[("TOUCH new", 0), ("MKDIR made", 0)]);
    let expected = [
        ("d/sent", "by SNDFILE"),
        ("odd\n$(touch x) 'name", "odd"),
        ("put", "by PUT"),
        ("putcan", "by PUTCAN"),
        ("renamed", "by RENAM"),
        ("stored", "by STORE"),
        ("sup", "by SUP"),
        ("written", "by INTWRITE"),
    ];
    wait_until("all have run", || hook.records().len() >= expected.len());
    wait_until("all jobs are done", || hook.jobs() == 0);
    assert_eq!(hook.client_paths(), expected.map(|(path, _)| path));
    let uid = fs::metadata(server.root()).expect("root").uid();
    for record in hook.records() {
        let path = &record["TFD_CLIENT_PATH"];
        let (_, content) = expected.iter().find(|of| of.0 == path).expect("path");
        let root = fs::canonicalize(server.root()).expect("root");
        assert_eq!(record["TFD_PATH"], root.join(path).to_str().expect("UTF-8"));
        assert_eq!(record["TFD_SIZE"], content.len().to_string());
        let digest = Sha256::digest(content.as_bytes());
        assert_eq!(record["TFD_SHA256"], hex(&digest));
        assert_eq!(record["TFD_ACCOUNT"], "nobody");
        assert_eq!(record["TFD_PROTOCOL"], "tf");
        assert!(record["TFD_PEER"].starts_with("127.0.0.1:"));
        assert_eq!(record["UID"], uid.to_string());
        let numbers = record["FDS"]
            .split(' ')
            .filter_map(|of| of.rsplit('/').next());
        // The shell's own for its script, and where this goes.
        let is_own = |number: &str| ["0", "1", "2", "3", "10", "11", "255"].contains(&number);
        assert!(numbers.clone().all(is_own), "{}", record["FDS"]);
        let known =
            |name: &String| name.starts_with("TFD_") || ["PATH", "UID", "FDS"].contains(&&**name);
        assert!(record.keys().all(known), "{record:?}");
    }
}

#[test]
fn a_program_that_fails_hangs_or_prints_much_harms_nobody() {
    if without_root() {
        return;
    }
    let hook = Hook::new(
        "case $TFD_CLIENT_PATH in\n\
         fails) [ -e \"$out/once\" ] || { touch \"$out/once\"; echo because; exit 3; } ;;\n\
         hangs) [ -e \"$out/twice\" ] || { touch \"$out/twice\"; sleep 1000 & sleep 1000; } ;;\n\
         prints) yes 'a line' | head -c 3000000; head -c 100000 /dev/zero ;;\n\
         esac",
    );
    let mut server = hook.serve("on_upload_timeout = 1\non_upload_parallel = 3");
    let mut client = server.connect();
    for name in ["fails", "hangs", "prints", "fine"] {
        client.send_file(name, false, b"content");
    }
    wait_until("each has run in the end", || {
        hook.client_paths() == ["fails", "fine", "hangs", "prints"]
    });
    for text in [
        "exit status 3",
        "time is up",
        "output left out",
        "output=\"because\"",
    ] {
        server.wait_for_log(text);
    }
    let printed = server
        .log()
        .iter()
        .filter(|line| line.contains("a line"))
        .count();
    assert_eq!(printed, 200);
    let sleeping = descendants(server.pid())
        .into_iter()
        .filter(|(_, name)| name == "sleep");
    assert_eq!(sleeping.count(), 0);
    client.expect_alive();
}

#[test]
fn no_more_programs_run_at_once_than_configured() {
    if without_root() {
        return;
    }
    let hook = Hook::new(
        "touch \"$out/$TFD_CLIENT_PATH.begun\"\n\
         while ! [ -e \"$out/go\" ]; do sleep 0.1; done",
    );
    let begun = || {
        let names = fs::read_dir(hook.path("out")).expect("names").flatten();
        let is_begun =
            |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "begun");
        names.filter(is_begun).count()
    };
    let server = hook.serve("on_upload_parallel = 2");
    let names: Vec<_> = (0..6).map(|n| format!("f{n}")).collect();
    let mut client = server.connect();
    for name in &names {
        client.send_file(name, false, b"content");
    }
    wait_until("all are queued", || hook.jobs() == 6);
    wait_until("two have begun", || begun() == 2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(begun(), 2);
    fs::write(hook.path("out/go"), "").expect("write");
    wait_until("all have run", || hook.client_paths() == names);
    wait_until("none is left", || hook.jobs() == 0);
}

#[test]
fn files_that_arrive_in_a_jail_come_with_their_path_from_the_root() {
    if without_root() {
        return;
    }
    let hook = Hook::new("");
    let server = Server::with(Setup {
        server: hook.lines("mode = \"multi-user\"\nusers = \"users\"\njail = true"),
        users: account("ann", "a", "games:::"),
        directories: &["home/cell"],
        ..Setup::default()
    });
    server.write("home/cell/jail.key", "token\n");
    let anybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(server.path("home/cell"), anybody).expect("mode");
    let mut client = server.connect();
    client.expect_all(&[("LOGIN ann a", 0), ("INJAIL token | home/cell", 0)]);
    client.send_file("f", false, b"content");
    wait_until("it has run", || hook.records().len() == 1);
    let records = hook.records();
    let path = fs::canonicalize(server.path("home/cell/f")).expect("path");
    assert_eq!(records[0]["TFD_PATH"], path.to_str().expect("UTF-8"));
    assert_eq!(records[0]["TFD_CLIENT_PATH"], "f");
    assert_eq!(records[0]["TFD_ACCOUNT"], "ann");
    client.expect_alive();
}

#[test]
fn jobs_survive_the_death_of_every_process() {
    if without_root() {
        return;
    }
    let hook = Hook::new("while ! [ -e \"$out/go\" ]; do sleep 0.1; done");
    let mut server = hook.serve("on_upload_parallel = 1");
    let names = |begin: &str| (0..5).map(|n| format!("{begin}{n}")).collect::<Vec<_>>();
    let mut client = server.connect();
    for name in names("a") {
        client.send_file(&name, false, b"content");
    }
    // The process behind it is started again; a session that it knew ends rather
    // than say that all is well.
    let of = |server: &Server| {
        let all = descendants(server.pid()).into_iter();
        all.filter(|(_, name)| name == "tfd-uploads")
            .map(|(pid, _)| pid)
            .collect::<Vec<_>>()
    };
    wait_until("all are queued", || hook.jobs() == 5);
    let [first, ..] = of(&server)[..] else {
        panic!("no tfd-uploads")
    };
    kill(Pid::from_raw(first as i32), Signal::SIGKILL).expect("kill");
    wait_until("it has ended", || !is_running(first));
    assert_eq!(client.ask("SNDFILE 1 late"), "CONT");
    assert_eq!(client.ask("CONT content"), "CONT");
    assert!(client.ask("OK").starts_with("FAILED "));
    client.expect_closed();
    wait_until("it runs again", || {
        of(&server).iter().any(|pid| *pid != first)
    });
    let mut client = server.connect();
    for name in names("b") {
        client.send_file(&name, false, b"content");
    }
    // No moment for anything: the reports are on their way.
    kill(Pid::from_raw(server.pid() as i32), Signal::SIGKILL).expect("kill");
    server.wait_for_end();
    wait_until("all are queued", || hook.jobs() == 10);
    assert!(hook.records().is_empty());
    fs::write(hook.path("out/go"), "").expect("write");
    server.start_again();
    let all = [names("a"), names("b")].concat();
    wait_until("all have run", || hook.client_paths() == all);
    wait_until("none is left", || hook.jobs() == 0);
}

#[test]
fn files_of_accounts_come_with_their_name_and_path() {
    if without_root() {
        return;
    }
    let hook = Hook::new("");
    let users = account("ann", "a", "games:ann::") + &account("bob", "b", "mail:bob::");
    let server = Server::with(Setup {
        server: hook.lines("mode = \"multi-user\"\nusers = \"users\""),
        directories: &["ann", "bob"],
        users,
        ..Setup::default()
    });
    for (name, user) in [("ann", "games"), ("bob", "mail")] {
        let identity = tfd::users::Identity::of(user).expect("system user");
        let home = server.path(name);
        chown(
            &home,
            Some(identity.uid.as_raw()),
            Some(identity.gid.as_raw()),
        )
        .expect("chown");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("mode");
    }
    let root = fs::canonicalize(server.root()).expect("root");
    for (name, password) in [("ann", "a"), ("bob", "b")] {
        let mut client = server.connect();
        client.expect(format!("LOGIN {name} {password}"), 0);
        client.send_file("f", false, name.as_bytes());
    }
    wait_until("both have run", || hook.records().len() == 2);
    for name in ["ann", "bob"] {
        let records = hook.records();
        let record = records
            .iter()
            .find(|of| of["TFD_ACCOUNT"] == name)
            .expect(name);
        let path = root.join(name).join("f");
        assert_eq!(record["TFD_PATH"], path.to_str().expect("UTF-8"));
        assert_eq!(record["TFD_CLIENT_PATH"], "f");
    }
}

#[test]
fn a_reload_begins_changes_and_ends_it() {
    if without_root() {
        return;
    }
    let hook = Hook::new("");
    let mut server = Server::start();
    let plain = fs::read_to_string(server.config_path()).expect("read");
    let begun = plain.replacen("[server]\n", &format!("[server]\n{}", hook.lines("")), 1);
    for (text, count, name) in [(&begun, 1, "with"), (&plain, 2, "without")] {
        fs::write(server.config_path(), text).expect("write");
        server.signal(Signal::SIGHUP);
        server.wait_for_lines("configuration read again", count);
        server.connect().send_file(name, false, b"content");
    }
    wait_until("one has run", || hook.client_paths() == ["with"]);
    let begin = Instant::now();
    wait_until("the process has ended", || {
        let all = descendants(server.pid());
        !all.iter().any(|(_, name)| name == "tfd-uploads")
    });
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(hook.client_paths(), ["with"]);
}

#[test]
fn check_says_why_a_program_can_not_be_run() {
    if without_root() {
        return;
    }
    let hook = Hook::new("");
    let server = hook.serve("");
    let text = fs::read_to_string(server.config_path()).expect("read");
    let program = hook.path("program").display().to_string();
    let secret = hook.path("secret").display().to_string();
    fs::write(&secret, "#!/bin/sh\n").expect("write");
    let other = hook.path("other.toml");
    let check = |named: &str| {
        let changed = text.replacen(&format!("\"{program}\""), &format!("\"{named}\""), 1);
        fs::write(&other, changed).expect("write");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"));
        let output = command.args(["check", "--config"]).arg(&other).output();
        let output = output.expect("tfd check");
        let told = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&told).into_owned()
    };
    assert!(!check(&program).contains("on_upload"));
    for (named, why) in [
        ("import", "absolute path"),
        ("/nonexistent/import", "name a program that exists"),
        ("/tmp", "not a program"),
        (&secret, "nobody may not run it"),
    ] {
        let told = check(named);
        assert!(
            told.contains("server.on_upload") && told.contains(why),
            "{named}: {told}"
        );
    }
}
