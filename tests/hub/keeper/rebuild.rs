//! A hub that has lost its database, and keepers that name all that they have.

use nix::sys::signal::Signal;
use tfd::hub::wire::{Purpose, Value};

use super::circle::{Circle, SMALL, circle};
use super::*;

/// Changes the configuration of a tfd.
fn configure(server: &Server, from: &str, to: &str) {
    let config = fs::read_to_string(server.config_path()).expect("configuration");
    assert!(config.contains(from), "{config}");
    fs::write(server.config_path(), config.replacen(from, to, 1)).expect("configuration");
}

/// The machine of the hub is a new one, to which all users come again.
fn lose_the_hub(circle: &mut Circle) {
    for keeper in &mut circle.keepers {
        keeper.server.signal(Signal::SIGTERM);
        keeper.server.wait_for_end();
    }
    let hub = &mut circle.hub;
    hub.signal(Signal::SIGTERM);
    hub.wait_for_end();
    fs::remove_dir_all(hub.data()).expect("removed");
    configure(hub, "[hub]\n", "[hub]\nrebuild = true\n");
    hub.start_again();
    drop(hub.owner(&circle.anna));
    let port = hub.tls_address().port();
    for keeper in &mut circle.keepers {
        drop(circle.hub.owner(&keeper.person));
        let at = format!("[holder]\nhub = \"127.0.0.1:{port}\"\n");
        configure(&keeper.server, "[holder]\n", &at);
        keeper.server.start_again();
    }
}

#[test]
fn a_hub_that_has_lost_all_learns_from_its_keepers_what_is_where() {
    let Some(mut circle) = circle("", &["bob", "carol"]) else {
        return;
    };
    let contents = [content(1, 1_200_000), content(2, SMALL)];
    circle.store(&contents, 2);
    lose_the_hub(&mut circle);
    for keeper in &mut circle.keepers {
        keeper.server.wait_for_log("the hub has heard of all files");
    }
    for content in &contents {
        circle.wait_for_copies(content, &["bob", "carol"]);
    }
    // The owner finds both, and gets them by the way that the hub says.
    let mut line = circle.hub.log_in(&circle.anna);
    let id = line.request("REC anna kind=all");
    assert_eq!(named(&line.answer(id), "number"), "2");
    let listed = [line.answer(id), line.answer(id)];
    for content in &contents {
        let name = name_of(content).text();
        assert!(listed.iter().any(|it| it.contains(&name)), "{listed:?}");
    }
    let source = line.done("REC bob");
    assert!(source.starts_with("SRC"), "{source}");
    let bob = &circle.keepers[0];
    let mut peer = bob.dial(&circle.anna, Purpose::Recover);
    for content in &contents {
        assert_eq!(fetch(&mut peer, &get(content).into()), Ok(content.clone()));
    }
    // Once it knows all, it works as before: what is there need not be sent again.
    configure(&circle.hub, "rebuild = true", "rebuild = false");
    circle.hub.signal(Signal::SIGHUP);
    for keeper in &mut circle.keepers {
        keeper.wait_until_online(3);
    }
    let mut line = circle.hub.log_in(&circle.anna);
    line.begin(256 * MIB, 2, 2);
    for content in &contents {
        let (name, size) = (name_of(content).text(), content.len());
        let id = line.request(&format!("PUT {name} {size}"));
        for _ in 0..2 {
            assert_eq!(code(&line.answer(id)), 212);
        }
    }
}
