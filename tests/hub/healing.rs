//! Copies that are lost, or whose keepers go, are made elsewhere with no owner online.

use crate::common::wait_until;
use crate::crash::{again, kill_all};
use crate::keepers::Keepers;
use crate::peer::*;
use tfd::hub::wire::Value;

fn put(number: u8) -> String {
    format!("PUT {} {MIB}", file(number).text())
}

/// An owner with files that bob and carol have, each with an audit a day.
fn stored(lines: &str, files: u8) -> Option<(Hub, Person, Line, Keepers)> {
    let server = server(lines)?;
    let anna = Person::new("anna");
    let mut keepers = Keepers::new(&server, &["bob", "carol"], "anna");
    let mut owner = server.owner(&anna);
    owner.begin(u64::from(files) * MIB, 2, 1);
    for number in 1..=files {
        keepers.store(&mut owner, &anna, &put(number), 2);
    }
    assert_eq!(code(&owner.done("DBU")), 215);
    Some((server, anna, owner, keepers))
}

/// How many copies of a file count, as its owner hears who places it again.
fn live(server: &Hub, anna: &Person, number: u8) -> usize {
    let mut owner = server.log_in(anna);
    owner.begin(MIB, 2, 200);
    let id = owner.request(&put(number));
    let mut live = 0;
    while let Some(answer) = owner.try_answer(id) {
        live += usize::from(code(&answer) == 212);
    }
    assert_eq!(code(&owner.done("ABT")), 216);
    live
}

#[test]
fn a_bad_copy_is_made_again_from_a_good_one_with_no_owner_online() {
    let Some((server, anna, owner, mut keepers)) = stored("", 1) else {
        return;
    };
    drop(owner);
    let name = file(1).text();
    keepers.join(&server, "dave");
    let bob = keepers.of("bob");
    bob.files.clear();
    let line = bob.line.as_mut().expect("line");
    line.send(&format!("WRN anna reason=corrupt name={name}"));
    keepers.serve_until("healed", |keepers| {
        let log = &keepers.of("dave").log;
        log.iter().any(|line| line.starts_with("REQ"))
    });
    let receive = keepers.of("dave").log[0].clone();
    for part in [
        "RCV 127.0.0.1:7171 carol ",
        " owner=anna ",
        " purpose=move ",
    ] {
        assert!(receive.contains(part), "{receive}");
    }
    assert_eq!(named(&receive, "okey"), anna.key().text());
    let log = keepers.of("carol").log.clone();
    let send = log
        .iter()
        .find(|line| line.starts_with("TRA"))
        .expect("TRA");
    let start = format!("TRA {name} 127.0.0.1:7272 dave ");
    assert!(
        send.starts_with(&start) && named(send, "old") == "bob",
        "{send}"
    );
    // Both compute under the same key.
    let key = |log: &[String]| {
        let line = log.iter().find(|line| line.starts_with("REQ")).cloned();
        line.and_then(|line| line.split(' ').nth(2).map(str::to_owned))
    };
    keepers.serve();
    assert_eq!(
        key(&keepers.of("carol").log.clone()),
        key(&keepers.of("dave").log.clone())
    );
    assert_eq!(keepers.with(&name), ["carol", "dave"]);
    wait_until("both count", || live(&server, &anna, 1) == 2);
}

#[test]
fn the_files_of_a_keeper_that_is_gone_go_elsewhere_and_it_is_relieved_of_them() {
    let times = "warn_after = 1\ngone_after = 2";
    let Some((server, _, mut owner, mut keepers)) = stored(times, 3) else {
        return;
    };
    keepers.join(&server, "dave");
    keepers.leave("bob");
    let warning = owner.notice("WRN bob");
    assert!(
        warning.starts_with("WRN bob reason=gone files=3 until="),
        "{warning}"
    );
    keepers.serve_until("healed", |keepers| {
        (1..=3).all(|number| keepers.with(&file(number).text()).contains(&"dave"))
    });
    let mut moved: Vec<String> = Vec::new();
    keepers.serve_until("the owner knows", |_| {
        moved.extend(
            owner
                .news()
                .1
                .into_iter()
                .filter(|it| it.starts_with("MOV")),
        );
        moved.len() == 3
    });
    assert!(
        moved.iter().all(|it| it.ends_with(" bob dave")),
        "{moved:?}"
    );
    // It comes back, and others have its files.
    keepers.come(&server, "bob");
    keepers.serve_until("surplus", |keepers| keepers.of("bob").files.is_empty());
    let removed = keepers.of("bob").log.clone();
    let removed = removed.iter().filter(|it| it.starts_with("REM anna "));
    assert!(removed.clone().count() == 3 && removed.clone().all(|it| !it.contains("proof=")));
}

#[test]
fn a_keeper_that_comes_back_before_others_could_take_its_files_has_them_still() {
    let times = "warn_after = 1\ngone_after = 1";
    let Some((mut server, anna, mut owner, mut keepers)) = stored(times, 1) else {
        return;
    };
    keepers.leave("bob");
    owner.notice("WRN bob");
    server.wait_for_log("keeper gone");
    keepers.come(&server, "bob");
    // Its copy counts once it equals the other one.
    keepers.serve_until("compared", |keepers| {
        let mut all = keepers.all.iter();
        all.all(|it| it.log.iter().any(|line| line.starts_with("REQ")))
    });
    assert!(keepers.all.iter().all(|it| it.files.len() == 1));
    drop(owner);
    wait_until("no warning", || {
        let (_, notices) = server.log_in(&anna).news();
        !notices.iter().any(|it| it.starts_with("WRN"))
    });
}

#[test]
fn a_keeper_that_leaves_keeps_its_files_until_others_have_them() {
    let Some((server, _, _, mut keepers)) = stored("", 2) else {
        return;
    };
    let sha = |keepers: &mut Keepers, text: &str| {
        let line = keepers.of("bob").line.as_mut().expect("line");
        line.done(text)
    };
    let refused = sha(&mut keepers, "SHA 0");
    assert_eq!(code(&refused), 404);
    assert_eq!(named(&refused, "used"), (2 * MIB).to_string());
    assert_eq!(keepers.with(&file(1).text()), ["bob", "carol"]);
    keepers.join(&server, "dave");
    keepers.serve_until("moved", |keepers| keepers.of("bob").files.is_empty());
    for number in [1, 2] {
        assert_eq!(keepers.with(&file(number).text()), ["carol", "dave"]);
    }
    let log = keepers.of("bob").log.clone();
    let removed = log.iter().filter(|it| it.starts_with("REM"));
    assert!(
        removed.clone().count() == 2 && removed.clone().all(|it| named(it, "reason") == "moved")
    );
    assert_eq!(code(&sha(&mut keepers, "SHA 0")), 208);
}

#[test]
fn a_keeper_that_has_lost_its_store_gets_it_back() {
    let Some((server, _, owner, mut keepers)) = stored("", 3) else {
        return;
    };
    drop(owner);
    keepers.of("bob").files.clear();
    let kept = file(3).text();
    keepers.leave("bob");
    // Names of before this second are taken for lost.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    keepers.come(&server, "bob");
    let bob = keepers.of("bob");
    bob.files.insert(kept.clone());
    let line = bob.line.as_mut().expect("line");
    let replayed = line.done(&format!("DFI {kept} bob owner=anna replay=1"));
    assert_eq!(code(&replayed), 212, "{replayed}");
    let id = line.request("RRC");
    keepers.serve_until("refilled", |keepers| keepers.of("bob").files.len() == 3);
    let log = keepers.of("bob").log.clone();
    let fetched: Vec<_> = log.iter().filter(|it| it.starts_with("SRR")).collect();
    assert_eq!(fetched.len(), 2, "{fetched:?}");
    assert!(
        fetched
            .iter()
            .all(|it| it.contains(" carol ") && named(it, "owner") == "anna")
    );
    let line = keepers.of("bob").line.as_mut().expect("line");
    assert_eq!(code(&line.answer(id)), 214);
}

#[test]
fn a_keeper_whose_line_is_replaced_is_given_its_files_again_at_once() {
    let Some((server, _, owner, mut keepers)) = stored("", 1) else {
        return;
    };
    drop(owner);
    keepers.of("bob").files.clear();
    let mut before = keepers.of("bob").line.take().expect("line");
    before.request("RRC all=1");
    keepers.serve_until("lent", |keepers| {
        let log = &keepers.of("carol").log;
        log.iter().any(|line| line.starts_with("LET"))
    });
    before.notice("SRR");
    keepers.come(&server, "bob");
    before.notice("OUT");
    let line = keepers.of("bob").line.as_mut().expect("line");
    let id = line.request("RRC all=1");
    keepers.serve_until("refilled", |keepers| keepers.of("bob").files.len() == 1);
    let line = keepers.of("bob").line.as_mut().expect("line");
    assert_eq!(code(&line.answer(id)), 214);
}

#[test]
fn a_file_that_nobody_has_any_more_is_lost_and_its_owner_hears_of_it() {
    let Some((server, anna, owner, mut keepers)) = stored("", 1) else {
        return;
    };
    drop(owner);
    keepers.of("bob").files.clear();
    keepers.of("carol").files.clear();
    let line = keepers.of("bob").line.as_mut().expect("line");
    let id = line.request("RRC all=1");
    keepers.serve_until("asked", |keepers| {
        let log = &keepers.of("carol").log;
        log.iter().any(|line| line.starts_with("LET"))
    });
    let line = keepers.of("bob").line.as_mut().expect("line");
    assert_eq!(code(&line.answer(id)), 214);
    let (_, notices) = server.log_in(&anna).news();
    let lost = notices.iter().find(|it| it.starts_with("WRN"));
    assert!(
        lost.is_some_and(|it| it.contains("reason=missing")),
        "{notices:?}"
    );
}

#[test]
fn audits_find_a_keeper_whose_bytes_are_others() {
    let Some((mut server, _, owner, mut keepers)) = stored("audit_cycle = 8", 1) else {
        return;
    };
    drop(owner);
    let name = file(1).text();
    keepers.join(&server, "dave");
    keepers.of("bob").bad.insert(name.clone());
    keepers.serve_until("another copy", |keepers| {
        keepers.with(&name).contains(&"dave")
    });
    // Who could not send it has no copy that counts.
    keepers.serve_until("a good pair", |keepers| {
        let log = &keepers.of("dave").log;
        log.iter().filter(|line| line.starts_with("REQ")).count() > 1
    });
    server.wait_for_log("keepers differ about a file");
}

#[test]
fn a_heal_that_a_new_start_of_the_hub_cuts_goes_on() {
    let Some((server, _, owner, mut keepers)) = stored("", 1) else {
        return;
    };
    drop(owner);
    let name = file(1).text();
    keepers.join(&server, "dave");
    let line = keepers.of("bob").line.as_mut().expect("line");
    line.send(&format!("WRN anna reason=missing name={name}"));
    let dave = keepers.of("dave").line.as_mut().expect("line");
    dave.obey("RCV", "211 OK to send file");
    // The file comes, and the hub does not hear of it.
    let carol = keepers.of("carol").line.as_mut().expect("line");
    carol.obey("TRA", "211 OK to send file");
    kill_all(&server, "tfd-hub");
    keepers.of("dave").files.insert(name.clone());
    for keeper in &mut keepers.all {
        keeper.line = Some(again(&server, &keeper.person, "keeper"));
    }
    keepers.serve_until("healed", |keepers| {
        let log = &keepers.of("dave").log;
        log.iter().any(|line| line.starts_with("REQ"))
    });
}
