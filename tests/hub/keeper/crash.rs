//! Kills of each process, in the middle of a file: what was acknowledged is there, and
//! the rest comes without help.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tfd::hub::wire::{Purpose, Reply, Value};

use super::*;
use crate::common::{is_running, pids};

/// Kills the processes of this name, and waits until they are gone.
pub fn kill_all(server: &Server, name: &str) {
    let found = pids(server, name);
    assert!(!found.is_empty(), "no {name}");
    for pid in &found {
        let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
    }
    wait_until("they have ended", || {
        !found.iter().any(|pid| is_running(*pid))
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill_of_each_process() {
    let Some(mut kept) = kept("") else { return };
    let (anna, mut line) = owner(&kept, "anna");
    let mut stored: Vec<Vec<u8>> = Vec::new();
    let mut times = 1;
    let victims = ["tfd-stock", "tfd-line", "tfd-session", "tfd-stock"];
    for (number, victim) in victims.into_iter().enumerate() {
        let whole = content(number as u8, 1_000_000);
        kept.store_file(&mut line, &anna, &whole);
        stored.push(whole);
        let cut = content(100 + number as u8, 3_000_000);
        let goes = kept.place(&mut line, &cut);
        assert!(goes.starts_with("DST"), "{goes}");
        let mut peer = kept.dial(&anna, Purpose::Backup);
        let id = peer.request(announced(&anna, &cut)).expect("sent");
        let reply = peer.reply(id).expect("reply");
        assert!(matches!(reply, Reply::MaySend { .. }), "{reply:?}");
        peer.write(&mut cut[..2_000_000].to_vec()).expect("sent");
        kill_all(&kept.server, victim);
        // Stock and line come again together.
        if victim != "tfd-session" {
            times += 1;
            kept.wait_until_online(times);
        }
        drop(peer);
        let goes = kept.place(&mut line, &cut);
        assert!(goes.starts_with("DST"), "after a kill of {victim}: {goes}");
        let mut peer = kept.dial(&anna, Purpose::Backup);
        let receipt = sent(&mut peer, &anna, &cut);
        kept.acknowledge(&mut line, &cut, receipt);
        stored.push(cut);
    }
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    for content in stored {
        assert_eq!(fetch(&mut peer, &get(&content).into()), Ok(content));
    }
}

#[test]
fn a_keeper_looks_up_its_hub_and_comes_back_to_one_that_was_gone() {
    let Some(mut kept) = kept_with(&Different {
        by_name: true,
        ..Different::default()
    }) else {
        return;
    };
    let (anna, mut line) = owner(&kept, "anna");
    let content = content(1, 100_000);
    kept.store_file(&mut line, &anna, &content);
    let name = name_of(&content).text();
    let brokers = pids(&kept.hub, "tfd-hub");
    for pid in brokers {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
    kept.wait_until_online(2);
    let mut line = kept.hub.log_in(&anna);
    line.begin(256 * MIB, 1, b'a');
    let again = line.done(&format!("PUT {name} 100000"));
    assert_eq!(code(&again), 212, "{again}");
    recover(&mut line);
    let mut peer = kept.dial(&anna, Purpose::Recover);
    assert_eq!(fetch(&mut peer, &get(&content).into()), Ok(content));
}
