//! What is lost: the owner's machine, a keeper's disk, the hub, single files.

use std::fs::{self, File};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_bare_machine_has_the_list_in_5_seconds_and_the_first_file_in_10() {
    let Some(party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let begin = Instant::now();
    let machine = party.machine();
    assert_eq!(machine.fine(&["snapshots"]).lines().count(), 1);
    let listed = begin.elapsed();
    assert!(listed < Duration::from_secs(5), "{listed:?}");
    let source = party.anna.path("source").canonicalize().expect("path");
    let letter = format!("latest:{}/letter", source.display());
    let begin = Instant::now();
    assert_eq!(machine.fine(&["dump", &letter]), "dear all");
    let come = begin.elapsed();
    assert!(come < Duration::from_secs(10), "{come:?}");
    machine.fine(&["restore", "latest", "--target", "back"]);
    party.expect_same(&machine);
}

#[test]
fn a_keeper_that_comes_back_with_an_empty_disk_harms_no_restore_and_no_backup() {
    let Some(mut party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let bob = party.keeper("bob");
    bob.kill();
    fs::remove_dir_all(&bob.store).expect("remove");
    party.expect_restored();
    party.keeper("bob").start_again();
    party.expect_restored();
    fs::write(party.anna.path("source/more"), noise(70, 4000)).expect("file");
    party.anna.fine(&["backup", "source"]);
    party.expect_restored();
    assert!(!party.keeper("bob").files("d").is_empty());
}

#[test]
fn with_the_hub_gone_for_good_one_keeper_and_the_phrase_find_all() {
    let Some(mut party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    kill(&mut party.hub);
    // What bob has lost, carol has, whom his book names; one more file is cut short.
    let files = party.keeper("bob").files("d");
    fs::remove_file(&files[0]).expect("remove");
    let cut = File::options().write(true).open(&files[1]).expect("file");
    cut.set_len(10).expect("shorter");
    let bob = party.keeper("bob").at();
    let machine = Desk::new();
    let mut words = place(&party.hub, "2");
    words.push(party.anna.text("phrase"));
    let by_bob = ["--from-keeper", &bob];
    machine.fine(&with(&[&by_bob[..], &["hub", "recover"]].concat(), &words));
    let listed = machine.fine(&[&by_bob[..], &["snapshots"]].concat());
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let restore = ["restore", "latest", "--target", "back"];
    machine.fine(&[&by_bob[..], &restore].concat());
    party.expect_same(&machine);
}

/// `tf keep call` at a keeper, which ends with the test.
struct Calling(Child);

impl Calling {
    fn by(friend: &Friend, port: u16) -> Calling {
        let (owner, config) = (format!("127.0.0.1:{port}"), friend.server.config_path());
        let program = env!("CARGO_BIN_EXE_tf");
        let mut command = friend.desk.command_of(program, &["keep", "call", &owner]);
        Calling(command.arg("--config").arg(config).spawn().expect("tf"))
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn with_the_hub_gone_a_keeper_that_nobody_can_reach_calls_the_owner() {
    let Some(mut party) = Party::of("1", &["bob"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    kill(&mut party.hub);
    let port = free_port();
    let calling = Calling::by(party.keeper("bob"), port);
    let machine = Desk::new();
    let mut words = place(&party.hub, "1");
    words.push(party.anna.text("phrase"));
    let by_bob = ["--from-keeper", &format!("bob@:{port}")];
    machine.fine(&with(&[&by_bob[..], &["hub", "recover"]].concat(), &words));
    // A stranger comes first.
    let restore = ["restore", "latest", "--target", "back"];
    let restore = begin(&machine, &[&by_bob[..], &restore].concat());
    let mut stranger = None;
    wait_until("it waits", || {
        stranger = TcpStream::connect(("127.0.0.1", port)).ok();
        stranger.is_some()
    });
    drop(stranger);
    expect(&restore.wait_with_output().expect("restore"), 0);
    party.expect_same(&machine);
    drop(calling);
    let tfd = env!("CARGO_BIN_EXE_tfd");
    let control = party.anna.path("nowhere");
    let mut call = party
        .anna
        .command_of(tfd, &["holder", "call", "127.0.0.1:1", "--control"]);
    let (_, err) = expect(&call.arg(control).output().expect("tfd"), 1);
    assert!(err.contains("no daemon answers"), "{err}");
}

#[test]
fn a_server_without_a_keeper_calls_nobody() {
    let Some(party) = Party::of("1", &[]) else {
        return;
    };
    let control = party.hub.config_path().with_file_name("control");
    let tfd = env!("CARGO_BIN_EXE_tfd");
    let mut call = party
        .anna
        .command_of(tfd, &["holder", "call", "127.0.0.1:1", "--control"]);
    let (_, err) = expect(&call.arg(control).output().expect("tfd"), 1);
    assert!(err.contains("there is no [holder]"), "{err}");
}

/// How a keeper may spoil a file.
#[derive(Clone, Copy, Debug)]
enum Spoilt {
    Flipped,
    Dropped,
    Cut,
}

fn spoil(path: &Path, how: Spoilt) {
    match how {
        Spoilt::Flipped => {
            let mut bytes = fs::read(path).expect("file");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("file");
        }
        Spoilt::Dropped => fs::remove_file(path).expect("remove"),
        Spoilt::Cut => {
            let file = File::options().write(true).open(path).expect("file");
            let len = file.metadata().expect("file").len();
            file.set_len(len / 3).expect("shorter");
        }
    }
}

#[test]
fn what_one_keeper_spoils_comes_from_the_other() {
    let Some(mut party) = Party::of("2", &["bob", "carol"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let ways = [Spoilt::Flipped, Spoilt::Dropped, Spoilt::Cut];
    let bob = party.keeper("bob");
    for kind in ["d", "i", "s", "c"] {
        for (path, how) in bob.files(kind).iter().zip(ways.iter().cycle()) {
            spoil(path, *how);
        }
    }
    party.expect_restored();
}

#[test]
fn what_the_only_keeper_spoils_is_named_and_all_else_comes_back() {
    let Some(mut party) = Party::of("1", &["bob"]) else {
        return;
    };
    party.anna.fine(&["backup", "source"]);
    let deep = party.anna.path("source/deep");
    let ways = [Spoilt::Flipped, Spoilt::Dropped, Spoilt::Cut];
    let mut packs = Vec::new();
    for (number, how) in ways.into_iter().enumerate() {
        let before = party.keeper("bob").files("d");
        let lost = deep.join(format!("lost-{how:?}"));
        fs::write(lost, noise(30 + number as u64, 6 << 20)).expect("file");
        party.anna.fine(&["backup", "source"]);
        let mut after = party.keeper("bob").files("d");
        after.retain(|path| !before.contains(path));
        packs.push(after.swap_remove(0));
    }
    // A run that meets a loss saves the file again: this comes behind all runs.
    for (pack, how) in packs.iter().zip(ways) {
        spoil(pack, how);
    }
    let machine = party.machine();
    let (_, err) = machine.ends(3, &["restore", "latest", "--target", "back"]);
    for how in ways {
        assert!(err.contains(&format!("deep/lost-{how:?}")), "{err}");
        fs::remove_file(deep.join(format!("lost-{how:?}"))).expect("remove");
    }
    let lost = err.lines().filter(|line| line.contains("lost:")).count();
    assert_eq!(lost, ways.len(), "{err}");
    let source = party.anna.path("source").canonicalize().expect("path");
    let back = machine.path("back");
    let back = back.join(source.strip_prefix("/").expect("path"));
    let (mut here, mut there) = (seen(&source), seen(&back));
    // Its directory has been changed since.
    for tree in [&mut here, &mut there] {
        tree.remove("deep");
    }
    assert!(here == there);
}
