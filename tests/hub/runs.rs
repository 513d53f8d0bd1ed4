//! Runs: where copies go, when they count, and what is freed again.

use crate::common::wait_until;
use crate::peer::*;
use tfd::hub::wire::Value;

fn put(number: u8, size: u64) -> String {
    format!("PUT {} {size}", file(number).text())
}

#[test]
fn a_file_goes_to_its_holder_and_counts_once_that_has_signed_for_it() {
    let Some(server) = server("window = 3") else {
        return;
    };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, 10 * GIB);
    let mut owner = server.owner(&anna);
    let id = owner.request(&format!("BCK {MIB} 1 1 run={}", run_id(1)));
    // What is left comes before the answer.
    let space = owner.notice("ACS");
    assert_eq!(
        space,
        format!("ACS {} used=0 reserved={MIB} share=0 proved=0", GIB - MIB)
    );
    let begun = owner.answer(id);
    let run = run_id(1);
    assert_eq!(
        begun,
        format!("202 OK to begin backup ; id={id} window=3 run={run} runs=0")
    );
    let name = file(1).text();
    let id = owner.request(&put(1, MIB));
    let receive = keeper.obey("RCV", "211 OK to send file");
    let (key, number) = (anna.key().text(), named(&receive, "id"));
    assert_eq!(
        receive,
        format!(
            "RCV 127.0.0.1:7171 anna {key} name={name} size={MIB} kind=data purpose=backup \
             id={number}"
        )
    );
    let key = bob.holder_key().text();
    assert_eq!(
        owner.answer(id),
        format!("DST {name} 127.0.0.1:7272 bob {key} 1/1 id={id}")
    );
    // Not before its receipt, which fits this file alone.
    let missing = owner.done("DBU");
    assert!(
        missing.starts_with("406 ") && named(&missing, "missing") == "1",
        "{missing}"
    );
    for receipt in [
        bob.receipt(&anna, file(2), MIB),
        bob.receipt(&anna, file(1), MIB + 1),
        anna.receipt(&anna, file(1), MIB),
    ] {
        let reply = owner.done(&format!("DFI {name} bob receipt={receipt}"));
        assert_eq!(code(&reply), 505, "{reply}");
    }
    assert_eq!(code(&owner.done("REC anna kind=all")), 504, "not in a run");
    let receipt = bob.receipt(&anna, file(1), MIB);
    for _ in 0..2 {
        let reply = owner.done(&format!("DFI {name} bob receipt={receipt}"));
        assert_eq!(code(&reply), 212, "{reply}");
    }
    assert_eq!(owner.notice("NFI"), "NFI");
    // What is there needs no holder.
    let again = owner.done(&put(1, MIB));
    assert_eq!(code(&again), 212, "{again}");
    owner.notice("NFI");
    assert_eq!(code(&owner.done(&put(1, MIB + 1))), 503);
    let done = owner.done("DBU");
    assert_eq!(code(&done), 215, "{done}");
    let space = owner.notice("ACS");
    assert!(
        space.starts_with(&format!("ACS {} used={MIB} reserved=0", GIB - MIB)),
        "{space}"
    );
    let id = owner.request("REC anna kind=all");
    assert_eq!(
        owner.answer(id),
        format!("207 One or more index files exists ; id={id} number=1")
    );
    let listed = owner.answer(id);
    assert!(
        listed.starts_with(&format!("IDX 1 {name} size={MIB} time=")),
        "{listed}"
    );
    assert!(listed.contains(" kind=data "), "{listed}");
}

#[test]
fn each_copy_has_a_holder_of_its_own_and_one_that_refuses_is_replaced() {
    let Some(server) = server("") else { return };
    let names = ["bob", "carol", "dave"];
    let people: Vec<Person> = names.iter().map(|name| Person::new(name)).collect();
    let mut keepers: Vec<Line> = people.iter().map(|it| server.holder(it, GIB)).collect();
    let anna = Person::new("anna");
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 2, 1);
    let id = owner.request(&put(1, MIB));
    // Two of three are asked; who refuses is not asked again.
    let mut asked = Vec::new();
    // Once it is answered about anything else, they are asked.
    assert!(owner.is_idle());
    let mut has_refused = false;
    for keeper in &mut keepers {
        if !has_refused && keeper.is_asked() {
            keeper.obey("RCV", "403 Accessible space not sufficient");
            has_refused = true;
        } else {
            asked.push(keeper);
        }
    }
    assert!(has_refused);
    for keeper in asked {
        keeper.obey("RCV", "211 OK to send file");
    }
    let (first, second) = (owner.answer(id), owner.answer(id));
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(words(&first)[3], words(&second)[3], "two holders");
    let mut numbers = [words(&first)[5].clone(), words(&second)[5].clone()];
    numbers.sort();
    assert_eq!(numbers, ["1/2", "2/2"]);
}

#[test]
fn a_holder_that_is_silent_or_goes_leaves_the_copy_to_nobody() {
    let Some(server) = server("keeper_timeout = 1") else {
        return;
    };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    // Silent for too long.
    let id = owner.request(&put(1, MIB));
    let late = keeper.asked("RCV");
    assert_eq!(code(&owner.answer(id)), 406);
    keeper.send(&format!("211 OK to send file ; id={}", named(&late, "id")));
    assert_eq!(code(&keeper.done("ABT")), 216, "a late answer is none");
    let id = owner.request(&put(2, MIB));
    keeper.asked("RCV");
    drop(keeper);
    assert_eq!(code(&owner.answer(id)), 406);
    // What was reserved for them is there still.
    assert_eq!(code(&owner.done("DBU")), 215);
    assert!(
        owner
            .notice("ACS")
            .contains(&format!("ACS {GIB} used=0 reserved=0"))
    );
}

#[test]
fn a_holder_that_has_the_file_stands_for_a_transfer() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(2 * MIB, 1, 1);
    let id = owner.request(&put(1, MIB));
    keeper.obey("RCV", "212 Transfer completed");
    assert_eq!(code(&owner.answer(id)), 212);
    owner.notice("NFI");
    // The same by its own word, for a file that was asked for.
    let id = owner.request(&put(2, MIB));
    keeper.obey("RCV", "211 OK to send file");
    assert!(owner.answer(id).starts_with("DST"));
    let name = file(2).text();
    for (who, owner_of, expected) in [
        ("bob", "nobody", 505),
        ("anna", "anna", 503),
        ("bob", "anna", 212),
        ("bob", "anna", 212),
    ] {
        let reply = keeper.done(&format!("DFI {name} {who} owner={owner_of}"));
        assert_eq!(code(&reply), expected, "{who} {owner_of}: {reply}");
    }
    let stranger = keeper.done(&format!("DFI {} bob owner=anna", file(9).text()));
    assert_eq!(code(&stranger), 505);
    owner.notice("NFI");
    assert_eq!(code(&owner.done("DBU")), 215);
}

#[test]
fn a_copy_that_could_not_be_stored_goes_elsewhere() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let carol = Person::new("carol");
    let mut at_bob = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    let id = owner.request(&put(1, MIB));
    at_bob.obey("RCV", "211 OK to send file");
    assert!(owner.answer(id).contains(" bob "));
    let name = file(1).text();
    let failed = format!("NST bob name={name} reason=unreachable");
    assert_eq!(code(&owner.done(&failed)), 406);
    let mut at_carol = server.holder(&carol, GIB);
    let id = owner.request(&failed);
    at_carol.obey("RCV", "211 OK to send file");
    let goes = owner.answer(id);
    assert!(goes.contains(" carol ") && goes.contains(" 1/1 "), "{goes}");
    let receipt = carol.receipt(&anna, file(1), MIB);
    let reply = owner.done(&format!("DFI {name} carol receipt={receipt}"));
    assert_eq!(code(&reply), 212);
    assert_eq!(code(&owner.done("DBU")), 215);
    for wrong in ["NST nobody", "NST bob"] {
        assert_eq!(code(&owner.done(wrong)), 504, "no run");
    }
}

#[test]
fn a_run_is_refused_without_space_holders_or_beside_a_prune() {
    let Some(server) = server("free = \"1M\"") else {
        return;
    };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut owner = server.owner(&anna);
    assert_eq!(code(&owner.done("BCK 1 1 1")), 406);
    assert_eq!(code(&owner.done(&format!("BCK {MIB} 1 2"))), 403);
    assert_eq!(code(&owner.done("BCK 1 1 17")), 500);
    assert_eq!(code(&owner.done("BCK 1 1 0")), 500);
    let _keeper = server.holder(&bob, GIB);
    owner.begin(1000, 1, 1);
    let mut other = server.log_in(&anna);
    let exclusive = format!("BCK 0 0 1 exclusive=1 run={}", run_id(2));
    assert_eq!(code(&other.done(&exclusive)), 407);
    let begun = other.begin(1000, 1, 3);
    assert_eq!(named(&begun, "runs"), "1");
    assert_eq!(code(&other.done("ABT")), 216);
    assert_eq!(code(&owner.done(&format!("ABT run={}", run_id(1)))), 216);
    assert_eq!(code(&other.done(&exclusive)), 202);
    assert_eq!(code(&owner.done("BCK 1 1 1")), 407);
    // Nobody has a part in the runs of others.
    let mut stranger = server.log_in(&bob);
    let stolen = format!("BCK 1 1 1 run={}", run_id(2));
    assert_eq!(code(&stranger.done(&stolen)), 504);
}

#[test]
fn a_run_goes_on_where_its_line_was_cut() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(3 * MIB, 1, 1);
    store(&mut owner, &anna, &mut keeper, &bob, &put(1, MIB));
    let id = owner.request(&put(2, MIB));
    keeper.obey("RCV", "211 OK to send file");
    owner.answer(id);
    drop(owner);
    let mut owner = server.log_in(&anna);
    let begun = owner.begin(3 * MIB, 1, 1);
    assert_eq!(named(&begun, "runs"), "0");
    // Of the cut one the holder is asked once more.
    assert_eq!(code(&owner.done(&put(1, MIB))), 212);
    let id = owner.request(&put(2, MIB));
    keeper.obey("RCV", "211 OK to send file");
    assert!(owner.answer(id).contains(" bob "));
    let receipt = bob.receipt(&anna, file(2), MIB);
    let stored = owner.done(&format!("DFI {} bob receipt={receipt}", file(2).text()));
    assert_eq!(code(&stored), 212);
    assert_eq!(code(&owner.done("DBU")), 215);
}

#[test]
fn a_deletion_is_proved_and_reaches_its_holder_whenever_that_comes() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(2 * MIB, 1, 1);
    store(&mut owner, &anna, &mut keeper, &bob, &put(1, MIB));
    store(&mut owner, &anna, &mut keeper, &bob, &put(2, MIB));
    let (one, two) = (file(1).text(), file(2).text());
    for wrong in [
        format!("DEL {one}"),
        format!("DEL {one} {}", anna.proof(file(2), MIB)),
        format!("DEL {one} {}", anna.proof(file(1), 1)),
        format!("DEL {one} {}", bob.proof(file(1), MIB)),
    ] {
        assert_eq!(code(&owner.done(&wrong)), 504, "{wrong}");
    }
    let unknown = format!("DEL {} {}", file(3).text(), anna.proof(file(3), MIB));
    assert_eq!(code(&owner.done(&unknown)), 505);
    let proof = anna.proof(file(1), MIB);
    for _ in 0..2 {
        assert_eq!(code(&owner.done(&format!("DEL {one} {proof}"))), 203);
    }
    let remove = keeper.obey("REM", "203 File is deleted");
    assert!(
        remove.starts_with(&format!("REM anna {one} {MIB} {proof} id=")),
        "{remove}"
    );
    // The other one while nobody is there; the answer is heard first.
    assert_eq!(code(&keeper.done("ABT")), 216);
    drop(keeper);
    assert_eq!(
        code(&owner.done(&format!("DEL {two} {}", anna.proof(file(2), MIB)))),
        203
    );
    let mut keeper = server.log_in_holder(&bob);
    let remove = keeper.asked("REM");
    assert!(remove.contains(&two), "{remove}");
    // Without an answer it comes again.
    drop(keeper);
    let mut keeper = server.log_in_holder(&bob);
    keeper.obey("REM", "505 Requested file does not exist");
    assert_eq!(code(&keeper.done("ABT")), 216);
    let mut keeper = server.log_in_holder(&bob);
    assert_eq!(code(&keeper.done("ABT")), 216);
    assert!(keeper.is_idle(), "the order is done");
    assert_eq!(code(&owner.done("REC anna kind=all")), 504);
    owner.done("DBU");
    assert_eq!(code(&owner.done("REC anna kind=all")), 505);
}

#[test]
fn an_account_that_only_appends_deletes_nothing() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let (_, is_well) = server.operate(&["user", "add", "anna", "--append-only", "--quota", "2M"]);
    assert!(is_well);
    let (text, is_well) =
        server.operate(&["user", "add", "anna", "--append-only", "--quota", "2M"]);
    assert!(is_well);
    let mut owner = Line::new(&server);
    owner.enrol(&anna, text.trim());
    assert_eq!(code(&owner.done(&format!("BCK {} 1 1", 3 * MIB))), 403);
    owner.begin(MIB, 1, 1);
    store(&mut owner, &anna, &mut keeper, &bob, &put(1, MIB));
    let proof = anna.proof(file(1), MIB);
    let reply = owner.done(&format!("DEL {} {proof}", file(1).text()));
    assert_eq!(code(&reply), 504);
}

#[test]
fn users_of_a_pool_keep_nothing_for_each_other() {
    let Some(server) = server("") else { return };
    let bob = Person::new("bob");
    let _keeper = server.holder(&bob, GIB);
    let (invitation, is_well) = server.operate(&["user", "add", "anna", "--pool", "bob"]);
    assert!(is_well);
    let anna = Person::new("anna");
    let mut owner = Line::new(&server);
    owner.enrol(&anna, invitation.trim());
    assert_eq!(code(&owner.done("BCK 1 1 1")), 406);
}

#[test]
fn a_line_too_many_of_an_owner_replaces_the_first() {
    let Some(server) = server("") else { return };
    let anna = Person::new("anna");
    let mut first = server.owner(&anna);
    let mut others: Vec<Line> = (0..16).map(|_| server.log_in(&anna)).collect();
    assert_eq!(first.notice("OUT"), "OUT after=60 reason=replaced");
    assert!(first.end().is_empty());
    for other in &mut others {
        assert_eq!(code(&other.done("ABT")), 216);
    }
}

#[test]
fn what_is_done_is_in_the_audit_log() {
    let Some(server) = server_with("audit = \"audit.log\"", "") else {
        return;
    };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    store(&mut owner, &anna, &mut keeper, &bob, &put(1, MIB));
    owner.done(&format!("DEL {}", file(1).text()));
    let path = server.config_path().with_file_name("audit.log");
    let log = || std::fs::read_to_string(&path).unwrap_or_default();
    let name = file(1).text();
    for (user, command, outcome) in [
        ("bob", "SHA", "ok"),
        ("anna", "BCK", "ok"),
        ("anna", "PUT", "ok"),
        ("anna", "DFI", "ok"),
        ("anna", "DEL", "504"),
    ] {
        wait_until("a record", || {
            let log = log();
            let mut lines = log.lines();
            lines.any(|line| {
                let has_name = !matches!(command, "PUT" | "DFI" | "DEL") || line.contains(&name);
                let is_of = line.contains(user) && line.contains(command);
                is_of && has_name && line.contains(outcome)
            })
        });
    }
}

#[test]
fn a_deleted_file_that_its_owner_places_again_comes_out_of_the_trash() {
    let Some(server) = server("") else { return };
    let (anna, bob) = (Person::new("anna"), Person::new("bob"));
    let mut keeper = server.holder(&bob, GIB);
    let mut owner = server.owner(&anna);
    owner.begin(MIB, 1, 1);
    store(&mut owner, &anna, &mut keeper, &bob, &put(1, MIB));
    assert_eq!(code(&owner.done("DBU")), 215);
    let name = file(1).text();
    let delete = format!("DEL {name} {}", anna.proof(file(1), MIB));
    assert_eq!(code(&owner.done(&delete)), 203);
    keeper.obey("REM", "203 File is deleted");
    assert_eq!(code(&owner.done("REC anna kind=all")), 505);
    owner.begin(MIB, 1, 2);
    let id = owner.request(&put(1, MIB));
    // The keeper has it in its trash, and takes it back.
    keeper.obey("RCV", "212 Transfer completed");
    assert_eq!(code(&owner.answer(id)), 212);
    assert_eq!(code(&owner.done("DBU")), 215);
    assert_eq!(code(&owner.done("REC anna kind=all")), 207);
}
