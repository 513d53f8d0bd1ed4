//! Units of systemd that a person switches on.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::desk::{Desk, expect, wait_until};
use crate::hub::{place, with};
use crate::peer::{self, Hub};
use crate::schema::{fits, schema};
use crate::stories::free_port;

/// Whom the machine of a keeper belongs to.
const SOMEBODY: u32 = 54321;

/// The files that a command says it has made, the units among them as systemd likes them.
#[track_caller]
fn made(line: &Value) -> Vec<PathBuf> {
    assert!(fits(&schema("tf-backup.schema.json"), line), "{line}");
    let files = line["files"].as_array().expect("files").iter();
    let files: Vec<PathBuf> = files.map(|it| it.as_str().expect("path").into()).collect();
    let first = files[0].file_name().expect("name").display().to_string();
    let enable = line["enable"].as_str().expect("text");
    assert!(
        enable.ends_with(&format!("enable --now {first}")),
        "{enable}"
    );
    let is_unit = |path: &&PathBuf| path.extension().is_some_and(|it| it != "toml");
    verify(files.iter().filter(is_unit));
    files
}

#[track_caller]
fn verify<'a>(units: impl Iterator<Item = &'a PathBuf>) {
    let runtime = tempfile::tempdir().expect("directory");
    let mut command = Command::new("systemd-analyze");
    command
        .args(["--user", "verify", "--man=no"])
        .args(units)
        .env("XDG_RUNTIME_DIR", runtime.path());
    match command.output() {
        Ok(output) => assert_eq!(expect(&output, 0).1, ""),
        Err(e) => println!("left out: systemd-analyze: {e}"),
    }
}

/// The words of a line of a unit.
fn words(unit: &Path) -> Vec<String> {
    let text = fs::read_to_string(unit).expect("unit");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=\""));
    let line = line.expect("a command").trim_end_matches('"');
    let words = line.split("\" \"");
    let plain = |word: &str| word.replace("%%", "%").replace("$$", "$");
    words.map(plain).collect()
}

#[test]
fn a_timer_makes_the_snapshot_that_the_command_would_have_made() {
    let desk = Desk::with_keepers(&["one"]);
    let source = desk.path("100 % $HOME");
    fs::create_dir(&source).expect("directory");
    fs::write(source.join("letter"), "dear all").expect("file");
    fs::write(source.join("rest.tmp"), "of no use").expect("file");
    let timed = [
        "backup",
        "--every",
        "day",
        "--exclude",
        "*.tmp",
        "--tag",
        "timed",
    ];
    let line = desk.json(&[&timed[..], &["100 % $HOME"]].concat());
    let files = made(&line);
    assert_eq!(desk.fine(&["snapshots"]), "", "it has only made a timer");
    let text = fs::read_to_string(&files[0]).expect("timer");
    assert!(text.contains("OnCalendar=daily\n"), "{text}");
    let words = words(&files[1]);
    let mut command = desk.command_of(&words[0], &[]);
    command.args(&words[1..]).current_dir("/");
    expect(&command.output().expect("backup"), 0);
    let listed = desk.fine(&["snapshots"]);
    assert!(listed.contains("timed"), "{listed}");
    let found = desk.fine(&["backup", "find", "letter"]);
    assert_eq!(found.lines().count(), 1, "{found}");
    assert_eq!(desk.fine(&["backup", "find", "rest.tmp"]), "");
    // Another one takes its place.
    let weekly = desk.json(&["backup", "--every", "week", "100 % $HOME"]);
    assert_eq!(made(&weekly), files);
    let text = fs::read_to_string(&files[0]).expect("timer");
    assert!(text.contains("OnCalendar=weekly\n"), "{text}");
}

#[test]
fn a_timer_needs_what_it_saves_and_a_passphrase_that_it_can_read() {
    let desk = Desk::with_keepers(&["one"]);
    let (_, err) = desk.ends(1, &["backup", "--every", "day", "nowhere"]);
    assert!(err.contains("nowhere: No such file"), "{err}");
    let desk = Desk::new();
    fs::write(desk.path("passphrase"), "open sesame\n").expect("file");
    let from = ["--passphrase-file", "passphrase"];
    let init = [
        "backup",
        "init",
        "--keeper",
        "one",
        "--phrase-file",
        "phrase",
    ];
    desk.fine(&[&init[..], &from].concat());
    let timed = ["backup", "--every", "day", "home"];
    let (_, err) = desk.ends(1, &timed);
    assert!(err.contains("--passphrase-file FILE"), "{err}");
    let line = desk.json(&[&timed[..], &from].concat());
    let words = words(&made(&line)[1]);
    assert!(words.contains(&desk.text("passphrase")), "{words:?}");
}

/// A keeper that an ordinary user has made and started: its machine, its files and its
/// process.
struct Somebodys {
    desk: Desk,
    files: Vec<PathBuf>,
    tfd: Child,
}

impl Somebodys {
    fn keeper(hub: &Hub) -> Somebodys {
        let desk = Desk::new();
        let code = hub.add("anna");
        let mut words = place(hub, "1");
        words.push(desk.text("phrase"));
        let join = ["--json", "hub", "join", "--share", "5G", "--code", &code];
        let out = desk.fine(&with(&join, &words));
        let line = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
        let files = made(&line);
        let config = fs::read_to_string(&files[1]).expect("configuration");
        assert!(config.contains("share = \"5G\""), "{config}");
        let elsewhere = format!("127.0.0.1:{}", free_port());
        let config = config.replace("0.0.0.0:7171", &elsewhere);
        fs::write(&files[1], config).expect("configuration");
        let mut give = Command::new("chown");
        give.args(["-R", &SOMEBODY.to_string()]).arg(desk.path(""));
        assert!(give.status().expect("chown").success());
        let tfd = serve(&desk, &files[1]);
        Somebodys { desk, files, tfd }
    }

    /// The user's `tf keep`.
    fn keep(&self, status: i32, words: &[&str]) -> (String, String) {
        let program = env!("CARGO_BIN_EXE_tf");
        let mut command = self.desk.command_of(program, &[&["keep"], words].concat());
        expect(&command.uid(SOMEBODY).output().expect("tf"), status)
    }

    /// What it says of the keeper.
    fn said(&self, words: &[&str]) -> Value {
        let (out, _) = self.keep(0, &[words, &["--json"]].concat());
        let line = serde_json::from_str(&out).expect("JSON");
        assert!(fits(&schema("tf-backup.schema.json"), &line), "{line}");
        line
    }

    fn end(&mut self) {
        let pid = Pid::from_raw(self.tfd.id().cast_signed());
        kill(pid, Signal::SIGTERM).expect("signal");
        assert!(self.tfd.wait().expect("end").success());
    }
}

impl Drop for Somebodys {
    fn drop(&mut self) {
        let _ = self.tfd.kill();
        let _ = self.tfd.wait();
    }
}

fn serve(desk: &Desk, config: &Path) -> Child {
    let log = desk.path("log");
    let mut tfd = desk.command_of(env!("CARGO_BIN_EXE_tfd"), &["serve", "--config"]);
    tfd.arg(config).uid(SOMEBODY);
    let tfd = tfd.stderr(Stdio::from(File::create(&log).expect("log")));
    let tfd = tfd.spawn().expect("tfd");
    wait_until("the hub knows it", || {
        let log = fs::read_to_string(&log).expect("log");
        log.contains("line to the hub hub=")
    });
    tfd
}

#[test]
fn who_joins_with_a_share_gets_a_keeper_that_an_ordinary_user_starts() {
    let Some(hub) = peer::server("") else {
        return;
    };
    let mut keeper = Somebodys::keeper(&hub);
    let (listed, is_well) = hub.operate(&["keepers"]);
    assert!(is_well && listed.contains("anna"), "{listed}");
    keeper.end();
}

#[test]
fn the_owner_of_a_keeper_sees_it_changes_its_share_and_leaves() {
    let Some(hub) = peer::server("") else {
        return;
    };
    let mut keeper = Somebodys::keeper(&hub);
    wait_until("the hub hears it", || {
        keeper.said(&["status"])["online"] == true
    });
    let line = keeper.said(&["status"]);
    assert_eq!(
        (&line["share"], &line["files"]),
        (&(5_u64 << 30).into(), &0.into())
    );
    let line = keeper.said(&["share", "7G"]);
    assert_eq!(line["share"], 7_u64 << 30);
    let config = fs::read_to_string(&keeper.files[1]).expect("configuration");
    assert!(
        config.contains("share = \"7G\"") && config.starts_with("# See tfd.toml(5)"),
        "{config}"
    );
    wait_until("the hub knows of it", || {
        hub.operate(&["keepers"]).0.contains("7.0G")
    });
    let (out, _) = keeper.keep(0, &["leave", "--wait"]);
    assert!(out.contains("it has left"), "{out}");
    keeper.end();
    for words in [&["status"][..], &["share", "1G"]] {
        let (_, err) = keeper.keep(1, words);
        assert!(
            err.contains("systemctl --user start tf-holder.service"),
            "{err}"
        );
    }
    let config = fs::read_to_string(&keeper.files[1]).expect("configuration");
    assert!(
        config.contains("share = \"1G\""),
        "it holds from the next start: {config}"
    );
    let (_, err) = keeper.keep(2, &["share", "much"]);
    assert!(err.contains("use bytes above 0"), "{err}");
}

#[test]
fn where_no_keeper_is_tf_keep_says_how_one_is_made() {
    let (_, err) = Desk::new().ends(1, &["keep", "status"]);
    assert!(err.contains("tf hub join --share SIZE makes one"), "{err}");
}
