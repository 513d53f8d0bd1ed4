//! A keeper whose files are on a disk that is not mounted: it waits for that disk, and
//! neither reports files as lost nor asks for them.

use nix::sys::signal::Signal;
use tfd::hub::wire::Purpose;

use super::circle::{Circle, SMALL, circle};
use super::*;

/// What the log says then.
const NOT_MOUNTED: &str = "the disk with the files is not mounted";

/// Puts a keeper's files away, as if their disk were not mounted.
fn unmount(keeper: &Keeper) {
    let away = keeper.store().join("away");
    fs::rename(keeper.files(), away).expect("put away");
    fs::create_dir(keeper.files()).expect("directory");
}

fn mount(keeper: &Keeper) {
    fs::remove_dir(keeper.files()).expect("an empty directory");
    fs::rename(keeper.store().join("away"), keeper.files()).expect("put back");
}

/// The hub has heard of no loss, and the owner gets the file from bob's.
fn nothing_is_lost(circle: &mut Circle, content: &[u8]) {
    circle.wait_for_copies(content, &["bob", "carol"]);
    let log = circle.hub.log();
    let mut lost = log.iter().filter(|line| line.contains("has lost"));
    assert_eq!(lost.next(), None);
    let mut line = circle.hub.log_in(&circle.anna);
    let source = line.done("REC bob");
    assert!(source.starts_with("SRC"), "{source}");
    let mut peer = circle.keepers[0].dial(&circle.anna, Purpose::Recover);
    assert_eq!(fetch(&mut peer, &get(content).into()), Ok(content.to_vec()));
}

#[test]
fn a_keeper_that_starts_without_its_disk_waits_for_it() {
    let Some(mut circle) = circle("", &["bob", "carol"]) else {
        return;
    };
    let content = content(1, SMALL);
    circle.store(std::slice::from_ref(&content), 2);
    let bob = circle.at("bob");
    bob.server.signal(Signal::SIGTERM);
    bob.server.wait_for_end();
    unmount(bob);
    bob.server.start_again();
    bob.server.wait_for_log(NOT_MOUNTED);
    // Nobody is served meanwhile, and nobody hears that a file is not there.
    let anna = Person::new("anna");
    let refused = circle.keepers[0].try_dial(&anna, Purpose::Recover);
    assert!(!matches!(refused, Ok(_) | Err(PeerError::Refused(_))));
    let bob = circle.at("bob");
    mount(bob);
    bob.wait_until_online(1);
    nothing_is_lost(&mut circle, &content);
}

#[test]
fn a_keeper_whose_disk_goes_while_it_serves_waits_until_it_is_there_again() {
    let Some(mut circle) = circle("", &["bob", "carol"]) else {
        return;
    };
    let content = content(1, SMALL);
    circle.store(std::slice::from_ref(&content), 2);
    let mut line = circle.hub.log_in(&circle.anna);
    let source = line.done("REC bob");
    assert!(source.starts_with("SRC"), "{source}");
    let bob = circle.at("bob");
    unmount(bob);
    let mut peer = circle.keepers[0].dial(&circle.anna, Purpose::Recover);
    peer.request(get(&content)).expect("sent");
    let answer = peer.line();
    assert!(answer.is_err(), "{answer:?}");
    let bob = circle.at("bob");
    bob.server.wait_for_log(NOT_MOUNTED);
    mount(bob);
    bob.wait_until_online(2);
    nothing_is_lost(&mut circle, &content);
}
