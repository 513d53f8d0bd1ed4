//! `tf vault` on KDBX files: what KeePassXC has written is read, changed and written
//! so that KeePassXC finds the same in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::agents::{SECRET_TOOL, program};
use crate::common::schema::{fits, schema, types};
use crate::common::tf::{Person, Run, run, xc};

/// A person with a file of KeePassXC, whose password is in `pw`.
fn with_file() -> Person {
    let person = Person::new();
    person.write("pw", "its password\n");
    person.write("attached", b"\x00\xff attached".repeat(1000));
    xc(
        &person,
        &["db-create", "-p", "a.kdbx"],
        "its password\nits password\n",
    );
    xc(&person, &["mkdir", "a.kdbx", "Mail"], PASSWORD);
    let add = [
        "add",
        "-p",
        "-u",
        "ann",
        "--url",
        "https://m.example/?a=1&b=2",
        "--notes",
        "two\\nlines <&>\"",
        "a.kdbx",
        "Mail/web",
    ];
    xc(&person, &add, "its password\nse<c&r\"et ü\n");
    xc(
        &person,
        &[
            "attachment-import",
            "a.kdbx",
            "Mail/web",
            "file.bin",
            "attached",
        ],
        PASSWORD,
    );
    xc(
        &person,
        &["edit", "-p", "a.kdbx", "Mail/web"],
        "its password\nnew secret\n",
    );
    xc(&person, &["add", "-u", "bob", "a.kdbx", "gone"], PASSWORD);
    xc(&person, &["rm", "a.kdbx", "gone"], PASSWORD);
    xc(&person, &["add", "-u", "eve", "a.kdbx", "other"], PASSWORD);
    person
}

pub const PASSWORD: &str = "its password\n";

/// All that KeePassXC finds in a file.
pub fn exported(person: &Person, file: &str) -> String {
    xc(person, &["export", file], PASSWORD)
}

/// The output of a run that goes well, with these lines as the secrets.
#[track_caller]
pub fn fine(person: &Person, secrets: &str, arguments: &[&str]) -> String {
    let run = vault(person, secrets, arguments);
    assert_eq!(run.code, Some(0), "{arguments:?}: {}{}", run.out, run.err);
    run.out
}

pub fn vault(person: &Person, secrets: &str, arguments: &[&str]) -> Run {
    person.write("secrets", secrets);
    person.tf(&[&["--password-file", "secrets", "vault"], arguments].concat())
}

#[test]
fn what_keepassxc_has_written_stays_as_it_is() {
    let person = with_file();
    let before = exported(&person, "a.kdbx");
    fs::copy(person.path("a.kdbx"), person.path("b.kdbx")).expect("copy");
    fine(&person, "its password\nx\n", &["add", "b.kdbx", "new"]);
    fine(&person, PASSWORD, &["rm", "--purge", "b.kdbx", "new"]);
    let after = exported(&person, "b.kdbx");
    // But for what says that something was deleted.
    let plain = |text: &str| {
        text.split("<DeletedObjects")
            .next()
            .expect("text")
            .to_owned()
    };
    assert_eq!(plain(&after), plain(&before));
    assert!(
        before.contains("file.bin") && before.contains("<History>"),
        "{before}"
    );
    let out = person.path("out.bin");
    xc(
        &person,
        &[
            "attachment-export",
            "b.kdbx",
            "Mail/web",
            "file.bin",
            out.to_str().expect("path"),
        ],
        PASSWORD,
    );
    assert_eq!(
        fs::read(out).expect("read"),
        fs::read(person.path("attached")).expect("read")
    );
    let mode = fs::metadata(person.path("b.kdbx"))
        .expect("stat")
        .permissions()
        .mode();
    assert_eq!(
        mode & 0o777,
        fs::metadata(person.path("a.kdbx"))
            .expect("stat")
            .permissions()
            .mode()
            & 0o777
    );
}

#[test]
fn an_entry_is_added_changed_moved_and_removed_and_keepassxc_sees_it() {
    let person = with_file();
    let add = [
        "add",
        "--username",
        "zoe",
        "--url",
        "u",
        "--tags",
        "a,b",
        "--field",
        "pin",
        "--attach",
        "attached",
        "a.kdbx",
        "New/Deep/it",
    ];
    fine(&person, "its password\nfirst\n1234\n", &add);
    let show =
        |name: &str, of: &str| xc(&person, &["show", "-s", "-a", name, "a.kdbx", of], PASSWORD);
    assert_eq!(show("Password", "New/Deep/it"), "first\n");
    assert_eq!(show("UserName", "New/Deep/it"), "zoe\n");
    assert_eq!(show("pin", "New/Deep/it"), "1234\n");
    fine(
        &person,
        "its password\nsecond\n",
        &[
            "edit",
            "--password",
            "--title",
            "that",
            "a.kdbx",
            "New/Deep/it",
        ],
    );
    assert_eq!(show("Password", "New/Deep/that"), "second\n");
    assert_eq!(
        fine(&person, PASSWORD, &["get", "a.kdbx", "that"]),
        "second\n"
    );
    let history = fine(&person, PASSWORD, &["history", "a.kdbx", "that"]);
    assert!(
        history.starts_with("1  ") && history.contains("Password, Title"),
        "{history}"
    );
    fine(&person, PASSWORD, &["restore", "a.kdbx", "that", "1"]);
    assert_eq!(show("Password", "New/Deep/it"), "first\n");
    let history = fine(&person, PASSWORD, &["history", "a.kdbx", "it"]);
    assert_eq!(history.lines().count(), 2, "{history}");
    fine(&person, PASSWORD, &["mv", "a.kdbx", "it", "Mail"]);
    assert_eq!(show("Password", "Mail/it"), "first\n");
    fine(&person, PASSWORD, &["rm", "a.kdbx", "Mail/it"]);
    assert_eq!(show("Password", "Recycle Bin/it"), "first\n");
    fine(&person, PASSWORD, &["rm", "a.kdbx", "Recycle Bin/it"]);
    let listed = fine(&person, PASSWORD, &["ls", "-R", "a.kdbx"]);
    assert_eq!(
        listed,
        "Mail/\nMail/web\nNew/\nNew/Deep/\nRecycle Bin/\nRecycle Bin/gone\nother\n"
    );
    assert_eq!(fine(&person, PASSWORD, &["ls", "a.kdbx", "Mail"]), "web\n");
    assert_eq!(
        fine(&person, PASSWORD, &["ls", "--find", "M.EXAMPLE", "a.kdbx"]),
        "Mail/web\n"
    );
    fine(
        &person,
        PASSWORD,
        &[
            "edit",
            "--generate",
            "--length",
            "40",
            "--classes",
            "digits",
            "a.kdbx",
            "other",
        ],
    );
    let made = show("Password", "other");
    assert!(
        made.len() == 41 && made.trim_end().bytes().all(|c| c.is_ascii_digit()),
        "{made}"
    );
}

#[test]
fn secrets_are_hidden_until_they_are_asked_for() {
    let person = with_file();
    let shown = fine(&person, PASSWORD, &["show", "a.kdbx", "web"]);
    for text in [
        "Path: Mail/web\n",
        "UserName: ann\n",
        "Password: (hidden)\n",
        "Attachment: file.bin ",
        "Versions: ",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert!(!shown.contains("new secret"), "{shown}");
    let shown = fine(&person, PASSWORD, &["show", "--reveal", "a.kdbx", "web"]);
    assert!(shown.contains("Password: new secret\n"), "{shown}");
    // Nothing is left behind that has them.
    let bytes = fs::read(person.path("a.kdbx")).expect("read");
    assert!(!bytes.windows(10).any(|it| it == b"new secret"));
    let names: Vec<_> = fs::read_dir(person.path(""))
        .expect("home")
        .map(|it| it.expect("entry").file_name())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().contains(".new")),
        "{names:?}"
    );
}

#[test]
fn what_can_not_be_done_is_said_with_its_cause() {
    let person = with_file();
    let fails = |secrets: &str, arguments: &[&str], code: i32, words: &str| {
        let run = vault(&person, secrets, arguments);
        assert_eq!(
            run.code,
            Some(code),
            "{arguments:?}: {}{}",
            run.out,
            run.err
        );
        assert!(run.err.contains(words), "{arguments:?}: {}", run.err);
    };
    fails(
        "wrong\n",
        &["ls", "a.kdbx"],
        4,
        "a.kdbx: wrong password or key file",
    );
    fails(
        "",
        &["ls", "a.kdbx"],
        2,
        "no line is left for the password of a.kdbx",
    );
    fails(PASSWORD, &["ls", "none.kdbx"], 7, "none.kdbx: No such file");
    fails(PASSWORD, &["ls", "attached"], 7, "not a KDBX file");
    fails(
        PASSWORD,
        &["get", "a.kdbx", "Mail/wep"],
        1,
        "no entry Mail/wep: did you mean Mail/web?",
    );
    fails(
        PASSWORD,
        &["get", "a.kdbx", "web", "None"],
        1,
        "has no field None",
    );
    fails(
        PASSWORD,
        &["otp", "a.kdbx", "web"],
        1,
        "no secret for codes",
    );
    fails(
        "its password\nx\n",
        &["add", "a.kdbx", "Mail/web"],
        1,
        "exists already",
    );
    fails(
        PASSWORD,
        &["restore", "a.kdbx", "web", "9"],
        1,
        "no version 9",
    );
    fails("x\n", &["init", "a.kdbx"], 2, "exists already");
    for of_an_account in ["--new", "--recovery"] {
        fails(
            "x\n",
            &["init", "b.kdbx", of_an_account],
            2,
            "give --server",
        );
    }
    // Cut or changed anywhere, a file is no file; it never becomes another one.
    let whole = fs::read(person.path("a.kdbx")).expect("read");
    for at in [0, 13, 60, 200, whole.len() / 2, whole.len() - 1] {
        let mut wrong = whole.clone();
        wrong[at] ^= 1;
        person.write("wrong.kdbx", &wrong);
        assert_ne!(
            vault(&person, PASSWORD, &["ls", "wrong.kdbx"]).code,
            Some(0),
            "{at}"
        );
        person.write("wrong.kdbx", &whole[..at]);
        assert_ne!(
            vault(&person, PASSWORD, &["ls", "wrong.kdbx"]).code,
            Some(0),
            "{at}"
        );
    }
}

#[test]
fn a_file_of_our_own_opens_in_keepassxc() {
    let person = Person::new();
    fine(&person, PASSWORD, &["init", "own.kdbx"]);
    let mode = fs::metadata(person.path("own.kdbx"))
        .expect("stat")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    fine(
        &person,
        &format!("its password\nx\n{secret}\n"),
        &["add", "--field", "otp", "own.kdbx", "site"],
    );
    let theirs = xc(&person, &["show", "-t", "own.kdbx", "site"], PASSWORD);
    let ours = fine(&person, PASSWORD, &["otp", "own.kdbx", "site"]);
    // A period may end between the two.
    let again = fine(&person, PASSWORD, &["otp", "own.kdbx", "site"]);
    assert!(ours.len() == 7 && again.len() == 7, "{ours}{again}");
    let url = format!("otpauth://totp/site:?secret={secret}&period=30&digits=6&issuer=site");
    fine(
        &person,
        &format!("its password\n{url}\n"),
        &["edit", "--field", "otp", "own.kdbx", "site"],
    );
    let both = || {
        (
            xc(&person, &["show", "-t", "own.kdbx", "site"], PASSWORD),
            fine(&person, PASSWORD, &["otp", "own.kdbx", "site"]),
        )
    };
    let same = (0..3).any(|_| {
        let (theirs, ours) = both();
        theirs == ours
    });
    assert!(same, "{theirs}");
}

#[test]
fn entries_come_from_tables_and_from_bitwarden_and_go_out_again() {
    let person = with_file();
    let table = fine(&person, PASSWORD, &["export", "a.kdbx"]);
    assert!(
        table.contains("\"Passwords/Mail\",\"web\",\"ann\",\"new secret\""),
        "{table}"
    );
    person.write("table.csv", &table);
    fine(&person, PASSWORD, &["init", "b.kdbx"]);
    let said = fine(&person, PASSWORD, &["import", "b.kdbx", "table.csv"]);
    assert_eq!(said, "3 entries\n");
    assert_eq!(
        fine(&person, PASSWORD, &["get", "b.kdbx", "Mail/web"]),
        "new secret\n"
    );
    person.write("bitwarden.json", r#"{"encrypted":false,"folders":[{"id":"f","name":"Work"}],"items":[
        {"id":"1","folderId":"f","type":1,"name":"login","notes":"n","favorite":true,
         "fields":[{"name":"pin","value":"77","type":1}],
         "login":{"uris":[{"uri":"https://one"},{"uri":"https://two"}],"username":"u","password":"p","totp":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"},
         "passwordHistory":[{"lastUsedDate":"2024-01-02T03:04:05.000Z","password":"older"}]},
        {"id":"2","folderId":null,"type":3,"name":"card","card":{"number":"4111","code":"123"}}]}"#);
    fine(&person, PASSWORD, &["import", "b.kdbx", "bitwarden.json"]);
    let shown = fine(
        &person,
        PASSWORD,
        &["show", "--reveal", "b.kdbx", "Work/login"],
    );
    for text in [
        "UserName: u\n",
        "Password: p\n",
        "KP2A_URL_1: https://two\n",
        "pin: 77\n",
        "Tags: Favorite\n",
        "Versions: 1\n",
    ] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let card = fine(&person, PASSWORD, &["show", "--reveal", "b.kdbx", "card"]);
    assert!(
        card.contains("number: 4111\n") && card.contains("code: 123\n"),
        "{card}"
    );
    assert!(exported(&person, "b.kdbx").contains("older"));
    // What KeePass programs import.
    let xml = fine(&person, PASSWORD, &["export", "--format", "xml", "a.kdbx"]);
    person.write("a.xml", xml);
    xc(
        &person,
        &["import", "-p", "a.xml", "c.kdbx"],
        "its password\nits password\n",
    );
    assert_eq!(
        fine(&person, PASSWORD, &["get", "c.kdbx", "Mail/web"]),
        "new secret\n"
    );
    let out = xc(
        &person,
        &[
            "attachment-export",
            "--stdout",
            "c.kdbx",
            "Mail/web",
            "file.bin",
        ],
        PASSWORD,
    );
    assert_eq!(
        out.len(),
        String::from_utf8_lossy(&fs::read(person.path("attached")).expect("read")).len()
    );
    let wrong = vault(&person, PASSWORD, &["import", "b.kdbx", "attached"]);
    assert_ne!(wrong.code, Some(0));
    person.write("locked.json", "{\"encrypted\":true}");
    let locked = vault(&person, PASSWORD, &["import", "b.kdbx", "locked.json"]);
    assert!(
        locked.code == Some(2) && locked.err.contains("it is encrypted"),
        "{}",
        locked.err
    );
}

#[test]
fn the_clipboard_has_a_secret_for_a_while_and_no_argument_has_it() {
    let mut person = with_file();
    let script = "#!/bin/sh\necho \"$@\" >>\"$HOME/arguments\"\ncat >\"$HOME/clipboard\"\n\
                  cat \"$HOME/clipboard\" >>\"$HOME/all\"; echo >>\"$HOME/all\"\n";
    person.write("bin/xclip", script);
    fs::set_permissions(person.path("bin/xclip"), fs::Permissions::from_mode(0o755)).expect("mode");
    let path = std::env::var("PATH").expect("path");
    person.set("PATH", &format!("{}:{path}", person.path("bin").display()));
    person.set("DISPLAY", ":7");
    let run = vault(
        &person,
        PASSWORD,
        &["get", "--clip", "--for", "1", "a.kdbx", "web"],
    );
    assert_eq!((run.code, run.out.as_str()), (Some(0), ""), "{}", run.err);
    assert_eq!(
        fs::read_to_string(person.path("clipboard")).expect("read"),
        ""
    );
    assert_eq!(
        fs::read_to_string(person.path("all")).expect("read"),
        "new secret\n\n"
    );
    assert!(
        !fs::read_to_string(person.path("arguments"))
            .expect("read")
            .contains("secret")
    );
    person.unset("DISPLAY");
    let none = vault(&person, PASSWORD, &["get", "--clip", "a.kdbx", "web"]);
    assert!(
        none.code == Some(2) && none.err.contains("--osc52"),
        "{}",
        none.err
    );
}

#[test]
fn a_password_is_asked_for_by_its_name_and_the_others_in_their_order() {
    let person = with_file();
    let (screen, code) = person.on_terminal("vault get a.kdbx web", "its password\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("password of a.kdbx: ") && screen.contains("new secret"),
        "{screen}"
    );
    let (screen, code) = person.on_terminal("vault init other.kdbx", "one\ntwo\n");
    assert_eq!(code, Some(2), "{screen}");
    assert!(
        screen.contains("the two differ") && !Path::new(&person.path("other.kdbx")).exists(),
        "{screen}"
    );
    let by_command = person.tf(&[
        "--password-command",
        "cat pw",
        "vault",
        "get",
        "a.kdbx",
        "web",
    ]);
    assert_eq!(by_command.out, "new secret\n", "{}", by_command.err);
}

#[test]
fn a_password_comes_from_a_descriptor_or_from_the_keyring() {
    let mut person = with_file();
    let shell = |person: &Person, script: &str| {
        let run = run(person.command("sh").args(["-c", script]), b"");
        assert_eq!(run.code, Some(0), "{script}: {}", run.err);
        run.out
    };
    let tf = env!("CARGO_BIN_EXE_tf");
    let script = format!("{tf} --password-fd 3 vault get a.kdbx web 3<pw");
    assert_eq!(shell(&person, &script), "new secret\n");
    program(&mut person, "secret-tool", SECRET_TOOL);
    let of_keyring = ["--password-keyring", "vault", "get", "a.kdbx", "web"];
    assert_ne!(person.tf(&of_keyring).code, Some(0));
    // As the manual page says.
    let file = person.path("a.kdbx");
    let script = format!(
        "head -c -1 pw | secret-tool store --label=vault service tf server {} user vault",
        file.display()
    );
    shell(&person, &script);
    let run = person.tf(&of_keyring);
    assert_eq!(run.out, "new secret\n", "{}", run.err);
}

#[test]
fn each_command_prints_lines_of_its_schema() {
    let person = with_file();
    let schema = schema("tf-vault.schema.json");
    let mut shapes = std::collections::BTreeSet::new();
    fine(
        &person,
        "its password\nGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n",
        &["edit", "--field", "otp", "a.kdbx", "web"],
    );
    person.write("table.csv", "Title,Password\nx,y\n");
    for arguments in [
        &["ls", "-R", "a.kdbx"][..],
        &["show", "a.kdbx", "web"],
        &["history", "a.kdbx", "web"],
        &["get", "a.kdbx", "web"],
        &["otp", "a.kdbx", "web"],
        &["generate", "--words", "6"],
        &["import", "a.kdbx", "table.csv"],
    ] {
        let out = fine(&person, PASSWORD, &[&["--json"], arguments].concat());
        assert!(!out.is_empty(), "{arguments:?}");
        for line in out.lines() {
            let value: Value = serde_json::from_str(line).expect(line);
            assert!(fits(&schema, &value), "{arguments:?}: {line}");
            shapes.insert(value["type"].as_str().expect("type").to_owned());
        }
    }
    // The others need a server: tests/vault.
    let elsewhere = ["read", "sync", "status", "device"].map(str::to_owned);
    let mut all = types(&schema);
    all.retain(|name| !elsewhere.contains(name));
    assert_eq!(shapes, all);
}
