//! A fleet over an NFS that the kernel of `scripts/vm` serves, while the server is
//! restarted, cut off, and full. `TFD_TEST_NFS` is the directory that it exports.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::load;
use super::rolling::{Balanced, report};
use super::{Shared, receive};
use crate::common::reply_for;

/// How long the links are cut: longer than the server's lease.
const CUT: Duration = Duration::from_secs(12);

fn exported() -> Option<PathBuf> {
    let found = std::env::var_os("TFD_TEST_NFS");
    if found.is_none() {
        println!("left out: there is no NFS here: scripts/fleet vm");
    }
    found.map(PathBuf::from)
}

#[track_caller]
fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status().expect(program);
    assert!(status.success(), "{program} {words:?}: {status}");
}

/// A fleet under load while something happens to the NFS server; all that was
/// acknowledged is there then.
fn during(what: &str, happens: impl FnOnce()) {
    if exported().is_none() {
        return;
    }
    let fleet = Balanced::start("");
    let done = load::during(&fleet.configuration(), happens);
    report(what, &done);
    fleet.has_all(&done);
}

#[test]
fn a_restart_of_the_nfs_server_loses_nothing() {
    during("the NFS server restarted", || {
        run("rpc.nfsd", &["0"]);
        run("rpc.nfsd", &["--no-nfs-version", "3", "4"]);
    });
}

#[test]
fn links_to_the_nfs_server_that_are_cut_lose_nothing() {
    let links = |state: &str| {
        for link in ["to-a", "to-b"] {
            run("ip", &["link", "set", link, state]);
        }
    };
    during("the links to the NFS server cut", || {
        links("down");
        std::thread::sleep(CUT);
        links("up");
    });
}

#[test]
fn a_full_disk_of_the_nfs_server_is_code_13_on_both_machines() {
    let Some(exported) = exported() else { return };
    let shared = Shared::make();
    let servers = [0, 1].map(|end| shared.serve(end, "127.0.0.1:0"));
    let mut clients = [0, 1].map(|number| servers[number].connect());
    let content = vec![7; 1 << 20];
    clients[0].send_file("fits", false, &content);
    // Gone with its last handle, whatever happens.
    let mut filler = tempfile::tempfile_in(exported).expect("file");
    assert!(io::copy(&mut io::repeat(0), &mut filler).is_err());
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask(format!("SNDFILE 0 more-{number}")), "CONT");
        let mut reply = client.ask([b"CONT ", &content[..500_000]].concat());
        if reply == "CONT" {
            reply = client.ask("OK");
        }
        assert_eq!(reply, reply_for(13));
        client.expect_alive();
    }
    drop(filler);
    clients[1].send_file("fits-now", false, &content);
    assert_eq!(receive(&mut clients[0], "fits"), Ok(content.clone()));
    assert!(servers[0].read("fits-now") == content);
}
