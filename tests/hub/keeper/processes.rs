//! Who keeps files as whom, and what a process that was taken over reaches.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::sys::signal::Signal;
use tfd::hub::wire::{Purpose, Value};

use super::*;
use crate::common::pids;
use crate::common::sockets::{Socket, sockets};
use crate::common::tf::run;
use crate::processes::{status, uid_of};

/// What a process has open.
fn opened(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors");
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.map(|to| to.display().to_string()).collect()
}

/// The sockets among that.
fn inodes(pid: u32) -> Vec<u64> {
    let inode = |link: &String| {
        link.strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    opened(pid).iter().filter_map(inode).collect()
}

/// Waits until a process has nothing of the store open: what was sent is closed soon.
fn has_nothing_of(kept: &Kept, pid: u32) {
    let store = kept.store().display().to_string();
    wait_until("no file is open", || {
        !opened(pid).iter().any(|to| to.contains(&store))
    });
}

#[track_caller]
fn one(kept: &Kept, name: &str) -> u32 {
    let mut found = Vec::new();
    wait_until(name, || {
        found = pids(&kept.server, name);
        found.len() == 1
    });
    found[0]
}

#[test]
fn the_stock_alone_has_the_store_and_only_the_line_and_sessions_have_sockets() {
    let Some(kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, 1000);
    kept.store_file(&mut line, &anna, &content);
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    let whole = fetch(&mut peer, &get(&content).into());
    assert_eq!(whole, Ok(content));
    wait_until("one session", || {
        pids(&kept.server, "tfd-session").len() == 1
    });
    let (stock, session) = (one(&kept, "tfd-stock"), one(&kept, "tfd-session"));
    let to_hub = one(&kept, "tfd-line");
    for pid in [stock, session, to_hub] {
        for rights in ["CapEff:", "CapPrm:", "CapInh:"] {
            assert_eq!(status(pid, rights), "0000000000000000");
        }
        assert_eq!(status(pid, "NoNewPrivs:"), "1");
        assert_eq!(status(pid, "Seccomp:"), "2");
        assert_ne!(status(pid, "Uid:"), "0");
    }
    assert_eq!(status(stock, "Uid:"), uid_of(KEEPS));
    assert_eq!(status(session, "Uid:"), uid_of("nobody"));
    assert_ne!(status(to_hub, "Uid:"), uid_of(KEEPS));
    let above = kept.store().parent().expect("above").to_owned();
    for (pid, root) in [(stock, "store"), (session, "lines/peer")] {
        let own = fs::metadata(format!("/proc/{pid}/root")).expect("root");
        let wanted = fs::metadata(above.join(root)).expect("directory");
        assert_eq!(
            (own.dev(), own.ino()),
            (wanted.dev(), wanted.ino()),
            "{root}"
        );
    }
    let roots = fs::read_dir(format!("/proc/{to_hub}/root")).expect("root");
    assert_eq!(roots.count(), 0, "the line has no file");
    let has_tcp = |pid: u32| {
        let sockets = sockets();
        inodes(pid).iter().any(|inode| {
            let socket = sockets.get(inode);
            matches!(socket, Some(Socket::Connection(..) | Socket::Listener(_)))
        })
    };
    assert!(!has_tcp(stock) && has_tcp(session) && has_tcp(to_hub));
    assert!(opened(stock).iter().any(|to| to.contains("stock.db")));
    // A file that was sent is closed again.
    for pid in [session, to_hub] {
        has_nothing_of(&kept, pid);
        assert!(!opened(pid).iter().any(|to| to.contains("holder.key")));
    }
    let lines = fs::read_dir(above.join("lines/peer")).expect("root");
    assert_eq!(lines.count(), 0);
    let store = fs::metadata(kept.store()).expect("store");
    assert_eq!(
        (store.uid().to_string(), store.mode() & 0o777),
        (uid_of(KEEPS), 0o700)
    );
    let stored = kept.path(&anna, "d", name_of(&super::content(1, 1000)));
    let stored = fs::metadata(stored).expect("file");
    assert_eq!(stored.mode() & 0o777, 0o600);
}

#[test]
fn an_ordinary_user_keeps_files_in_the_sandbox_as_well() {
    let uid = 54321;
    let Some(kept) = kept_with(&Different {
        started_by: Some(uid),
        ..Different::default()
    }) else {
        return;
    };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, 1_500_000);
    kept.store_file(&mut line, &anna, &content);
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    assert_eq!(fetch(&mut peer, &get(&content).into()), Ok(content));
    wait_until("one session", || {
        pids(&kept.server, "tfd-session").len() == 1
    });
    for name in [
        "tfd-stock",
        "tfd-line",
        "tfd-session",
        "tfd-launcher",
        "tfd-zygote",
    ] {
        let pid = one(&kept, name);
        assert_eq!(status(pid, "Uid:"), uid.to_string(), "{name}");
        assert_eq!(status(pid, "NoNewPrivs:"), "1", "{name}");
        assert_eq!(status(pid, "Seccomp:"), "2", "{name}");
    }
    let session = one(&kept, "tfd-session");
    has_nothing_of(&kept, session);
}

#[test]
fn hub_and_keeper_are_served_by_one_tfd() {
    let Some(mut hub) = server("") else { return };
    let (bob, key_file) = keeper_of(&hub, "bob");
    drop(hub.owner(&bob));
    let above = hub.data().parent().expect("above").to_owned();
    let key = above.join("holder.key");
    fs::write(&key, key_file).expect("key file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("mode");
    let mut config = fs::read_to_string(hub.config_path()).expect("configuration");
    config.push_str(&format!(
        "[holder]\nlisten = [\"127.0.0.2:0\"]\nkey = \"{}\"\nstore = \"{}\"\nuser = \"{KEEPS}\"\n\
         share = \"1G\"\nkeep_free = \"1M\"\n",
        key.display(),
        above.join("kept").display()
    ));
    fs::write(hub.config_path(), config).expect("configuration");
    hub.signal(Signal::SIGHUP);
    hub.wait_for_log(ONLINE);
    let anna = Person::new("anna");
    let mut line = hub.owner(&anna);
    line.begin(MIB, 1, 1);
    let content = content(1, 5000);
    let name = name_of(&content).text();
    let goes = line.done(&format!("PUT {name} 5000"));
    assert!(goes.starts_with("DST"), "{goes}");
    let sockets = sockets();
    let mut listeners =
        inodes(hub.pid())
            .into_iter()
            .filter_map(|inode| match sockets.get(&inode) {
                Some(Socket::Listener(address)) => Some(*address),
                _ => None,
            });
    let address = listeners.find(|address| *address != hub.tls_address());
    let address = address.expect("where peers come to");
    let parties = Parties {
        own: anna.user(),
        other: bob.user(),
        key: bob.holder_key(),
        time: jiff::Timestamp::now().as_second() as u64,
    };
    let mut peer = PeerLine::dial(&[address], &parties.key).expect("dialled");
    let met = peer.introduce(&parties, Purpose::Backup, None, &anna);
    met.expect("introduced");
    let receipt = sent(&mut peer, &anna, &content).text();
    let reply = line.done(&format!("DFI {name} bob receipt={receipt}"));
    assert_eq!(code(&reply), 212, "{reply}");
}

#[test]
fn a_probe_of_a_keeper_is_answered_and_leaves_no_line_in_its_log() {
    let Some(mut kept) = kept("") else { return };
    let address = kept.server.listening("listening address=")[0];
    let noise = |kept: &Kept| {
        let mut log = kept.server.log();
        log.retain(|line| !line.contains(" DEBUG "));
        log
    };
    kept.server.wait_for_log("lost files asked for");
    let before = noise(&kept);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tfd"));
    command.args(["probe", &address.to_string(), "--protocol", "holder"]);
    let run = run(&mut command, b"");
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    kept.server.wait_for_log(" left ");
    assert_eq!(noise(&kept), before);
}
