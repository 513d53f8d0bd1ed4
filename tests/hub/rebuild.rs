//! A hub that has lost its database and writes it again.

use tfd::hub::proofs::Statement;
use tfd::hub::wire::Value;

use crate::peer::*;

/// What a keeper says of a file that it has.
fn named_file(owner: &Person, number: u8, keeper: &str, size: u64, time: u64) -> String {
    let statement = Statement::File {
        hub: &hub_name(),
        owner: &owner.user(),
        name: file(number),
        size,
    };
    let sig = statement.sign(&owner.identity).expect("signature").text();
    let (name, key) = (file(number).text(), owner.key().text());
    let owner = &owner.name;
    format!(
        "DFI {name} {keeper} replay=1 owner={owner} okey={key} size={size} time={time} sig={sig} \
         kind=snapshot"
    )
}

#[test]
fn a_hub_without_its_database_learns_from_keepers_which_file_of_whom_is_where() {
    let Some(server) = server("rebuild = true") else {
        return;
    };
    let (anna, eve) = (Person::new("anna"), Person::new("eve"));
    let now = jiff::Timestamp::now().as_second() as u64;
    let mut lines = Vec::new();
    for (name, time) in [
        ("bob", now - 500),
        ("carol", now - 900),
        ("dave", now - 700),
    ] {
        let person = Person::new(name);
        let mut first = server.holder(&person, GIB);
        assert_eq!(first.notice("OUT"), "OUT after=5 reason=stopping");
        let mut line = Line::new(&server);
        let reply = line.log_in(&person, "keeper", &person.login);
        assert!(
            code(&reply) == 201 && named(&reply, "replay") == "1",
            "{reply}"
        );
        // It names no files in the name of others, and none twice.
        let forged = named_file(&eve, 1, name, MIB, time).replace("owner=eve", "owner=anna");
        assert_eq!(code(&line.done(&forged)), 503);
        let bare = format!("DFI {} {name} replay=1 owner=anna", file(1).text());
        assert_eq!(code(&line.done(&bare)), 503);
        for _ in 0..2 {
            let reply = line.done(&named_file(&anna, 1, name, MIB, time));
            assert_eq!(code(&reply), 212, "{reply}");
        }
        lines.push((person, line));
    }
    let code_text = server.add("anna");
    let mut owner = Line::new(&server);
    owner.enrol(&anna, &code_text);
    let id = owner.request("REC anna kind=all");
    assert_eq!(named(&owner.answer(id), "number"), "1");
    let listed = owner.answer(id);
    let (size, time) = (MIB.to_string(), (now - 700).to_string());
    assert!(listed.contains(&file(1).text()), "{listed}");
    assert_eq!(
        (named(&listed, "size"), named(&listed, "time")),
        (&*size, &*time)
    );
    assert_eq!(named(&listed, "kind"), "snapshot");
    // What comes later is entered at once, and all can be fetched.
    let (person, line) = &mut lines[0];
    let reply = line.done(&named_file(&anna, 2, &person.name, MIB, now));
    assert_eq!(code(&reply), 212, "{reply}");
    let id = owner.request(&format!("GIX anna name={}", file(2).text()));
    line.obey("LET", "211 OK to send file");
    assert!(owner.answer(id).starts_with("SRC"));
    let mut owner = Line::new(&server);
    let reply = owner.log_in(&anna, "owner", &anna.login);
    assert_eq!(code(&reply), 201, "{reply}");
    let space = owner.notice("ACS");
    assert_eq!(named(&space, "used"), (4 * MIB).to_string());
}
