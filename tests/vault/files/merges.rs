//! What several devices have done is merged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tfd::client::vault::VaultError;
use tfd::client::vault::database::{
    Database, Item, Kind, Uuid, now, set_field, set_time, uuid_text,
};
use tfd::client::vault::xml::Element;

use super::*;

#[test]
fn two_files_of_keepassxc_become_one_and_keepassxc_finds_the_same_in_both() {
    let Some(devices) = Devices::new("", 2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    made(ann);
    made(bob);
    xc(ann, &["mkdir", "f.kdbx", "Mail"], FILE);
    xc(
        ann,
        &[
            "add", "-p", "-u", "ann", "--notes", "<&> ü", "f.kdbx", "Mail/web",
        ],
        "of the file\nfirst secret\n",
    );
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|at| (at.wrapping_mul(at) / 7) as u8)
        .collect();
    ann.write("large", &large);
    xc(
        ann,
        &[
            "attachment-import",
            "f.kdbx",
            "Mail/web",
            "large.bin",
            "large",
        ],
        FILE,
    );
    xc(
        ann,
        &["edit", "-p", "f.kdbx", "Mail/web"],
        "of the file\nsecond secret\n",
    );
    xc(bob, &["add", "-u", "bob", "f.kdbx", "other"], FILE);
    let sheet = devices.link(0, BOTH, &["--new"]);
    assert!(sheet.contains("Account secret of ann at "), "{sheet}");
    devices.link(1, BOTH, &[]);
    devices.settle();
    assert_eq!(table(ann), table(bob));
    assert!(table(bob).iter().any(|line| line.contains("second secret")));
    let out = bob.path("out");
    xc(
        bob,
        &[
            "attachment-export",
            "f.kdbx",
            "Mail/web",
            "large.bin",
            out.to_str().expect("path"),
        ],
        FILE,
    );
    assert_eq!(fs::read(out).expect("read"), large);
    // Old versions, too; and nothing that one of them had before is missing.
    let exported = xc(bob, &["export", "f.kdbx"], FILE);
    assert!(exported.contains("first secret") && exported.contains(">bob<"));
    // The server has none of it in the open.
    for file in files(&devices.server.data()) {
        let bytes = fs::read(&file).expect("read");
        for text in ["second secret", "Mail", "large.bin"] {
            assert!(
                !bytes.windows(text.len()).any(|it| it == text.as_bytes()),
                "{file:?}: {text}"
            );
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory)
        .expect("directory")
        .map(|entry| entry.expect("entry").path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn what_both_have_done_offline_is_merged_and_no_version_is_lost() {
    let Some(devices) = Devices::linked(2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    for name in ["both", "deleted", "edited", "moved"] {
        xc(
            ann,
            &["add", "-p", "-u", "u", "f.kdbx", name],
            "of the file\nold\n",
        );
    }
    xc(ann, &["mkdir", "f.kdbx", "Group"], FILE);
    devices.settle();
    // Times are whole seconds.
    std::thread::sleep(Duration::from_millis(1100));
    xc(
        ann,
        &["edit", "-p", "f.kdbx", "both"],
        "of the file\nof ann\n",
    );
    std::thread::sleep(Duration::from_millis(1100));
    xc(
        bob,
        &["edit", "-p", "-u", "new user", "f.kdbx", "both"],
        "of the file\nof bob\n",
    );
    fine(ann, FILE, &["rm", "--purge", "f.kdbx", "deleted"]);
    fine(ann, FILE, &["rm", "--purge", "f.kdbx", "edited"]);
    xc(bob, &["edit", "-u", "kept", "f.kdbx", "edited"], FILE);
    xc(ann, &["mv", "f.kdbx", "moved", "Group"], FILE);
    xc(
        bob,
        &["edit", "--url", "https://x.example", "f.kdbx", "moved"],
        FILE,
    );
    devices.sync(0);
    let said = vault(bob, FILE, &["sync", "f.kdbx"]);
    assert!(
        said.err
            .contains("both: Password was changed on both sides"),
        "{}",
        said.err
    );
    devices.settle();
    assert_eq!(table(ann), table(bob));
    for person in [ann, bob] {
        assert_eq!(fine(person, FILE, &["get", "f.kdbx", "both"]), "of bob\n");
        assert_eq!(
            fine(person, FILE, &["get", "f.kdbx", "both", "UserName"]),
            "new user\n"
        );
        let all = xc(person, &["export", "f.kdbx"], FILE);
        assert!(all.contains("of ann") && all.contains(">old<"), "{all}");
        assert_eq!(
            fine(person, FILE, &["get", "f.kdbx", "edited", "UserName"]),
            "kept\n"
        );
        assert_eq!(
            vault(person, FILE, &["get", "f.kdbx", "deleted"]).code,
            Some(1)
        );
        assert_eq!(
            fine(person, FILE, &["get", "f.kdbx", "Group/moved", "URL"]),
            "https://x.example\n"
        );
    }
}

/// Changes a file as a program does.
fn change(person: &Person, act: impl Fn(&mut Database)) {
    let mut file = VaultFile::open(&person.path("f.kdbx"), FILE.trim_end(), None).expect("file");
    let changed: Result<(), VaultError> = file.change(|database| {
        act(database);
        Ok(())
    });
    changed.expect("changed");
}

/// The group of this name.
fn group<'a>(database: &'a mut Database, name: &str) -> &'a mut Element {
    let mut all = database.items.iter_mut();
    let found = all.find(|it| it.key.0 == Kind::Group && it.element.text_of("Name") == name);
    &mut found.expect("group").element
}

#[test]
fn icons_fields_and_groups_arrive_and_what_both_have_changed_of_them_is_merged() {
    const PICTURE: &str = "iVBORw0KGgo=";
    let icon: Uuid = [7; 16];
    let Some(devices) = Devices::linked(2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    xc(ann, &["mkdir", "f.kdbx", "Mail"], FILE);
    xc(ann, &["add", "-u", "ann", "f.kdbx", "Mail/web"], FILE);
    change(ann, |database| {
        database.items.push(Item {
            key: (Kind::Icon, icon),
            parent: Uuid::default(),
            element: Element::new("Icon")
                .with(Element::with_text("UUID", &uuid_text(&icon)))
                .with(Element::with_text("Data", PICTURE)),
        });
        let key = database.find("Mail/web").expect("entry");
        let entry = &mut database.item_mut(&key).expect("entry").element;
        entry.set_text("CustomIconUUID", &uuid_text(&icon));
        set_field(entry, "PIN of mine", "12345", true);
        set_time(entry, "LastModificationTime", now());
        group(database, "Mail").set_text("CustomIconUUID", &uuid_text(&icon));
    });
    devices.settle();
    change(ann, |database| {
        let group = group(database, "Mail");
        group.set_text("Notes", "of ann");
        set_time(group, "LastModificationTime", now());
    });
    change(bob, |database| {
        let group = group(database, "Mail");
        group.set_text("Name", "Post");
        set_time(group, "LastModificationTime", now());
    });
    devices.settle();
    for person in [ann, bob] {
        let exported = xc(person, &["export", "f.kdbx"], FILE);
        for text in [
            PICTURE,
            "PIN of mine",
            "12345",
            "of ann",
            "<Name>Post</Name>",
        ] {
            assert!(exported.contains(text), "{text}: {exported}");
        }
        let shown = format!("<CustomIconUUID>{}</CustomIconUUID>", uuid_text(&icon));
        assert_eq!(exported.matches(&shown).count(), 2, "{exported}");
    }
}

#[test]
fn a_device_that_has_lost_its_state_loses_and_drops_nothing() {
    let Some(devices) = Devices::linked(2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    xc(ann, &["add", "-u", "one", "f.kdbx", "one"], FILE);
    devices.settle();
    fs::remove_dir_all(bob.path(".local/state/tf")).expect("state");
    xc(ann, &["add", "-u", "two", "f.kdbx", "two"], FILE);
    xc(bob, &["edit", "-u", "edited", "f.kdbx", "one"], FILE);
    devices.settle();
    assert_eq!(
        fine(ann, FILE, &["get", "f.kdbx", "one", "UserName"]),
        "edited\n"
    );
    assert_eq!(
        fine(bob, FILE, &["get", "f.kdbx", "two", "UserName"]),
        "two\n"
    );
}

#[test]
fn an_old_copy_of_a_file_takes_nothing_from_anybody() {
    let Some(devices) = Devices::linked(2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    xc(ann, &["add", "-p", "f.kdbx", "old"], "of the file\nfirst\n");
    devices.settle();
    fs::copy(ann.path("f.kdbx"), ann.path("copy")).expect("copy");
    // Times are whole seconds.
    std::thread::sleep(Duration::from_millis(1100));
    xc(
        ann,
        &["edit", "-p", "f.kdbx", "old"],
        "of the file\nsecond\n",
    );
    xc(bob, &["add", "-u", "u", "f.kdbx", "new"], FILE);
    devices.settle();
    fs::copy(ann.path("copy"), ann.path("f.kdbx")).expect("copy");
    devices.settle();
    for person in [ann, bob] {
        let listed = fine(person, FILE, &["ls", "f.kdbx"]);
        assert!(
            listed.contains("new\n") && listed.contains("old\n"),
            "{listed}"
        );
        let all = xc(person, &["export", "f.kdbx"], FILE);
        assert!(all.contains(">first<") && all.contains(">second<"), "{all}");
    }
}

#[test]
fn a_thousand_entries_are_synced_and_are_the_same_everywhere() {
    let Some(devices) = Devices::linked(2) else {
        return;
    };
    let [ann, bob] = &devices.people[..] else {
        panic!("two")
    };
    let rows = (0..1000).map(|n| format!("Group {}/Sub,entry {n},user {n},secret {n}\n", n % 7));
    let rows: String = rows.collect();
    ann.write(
        "table.csv",
        format!("folder,title,username,password\n{rows}"),
    );
    fine(ann, FILE, &["import", "f.kdbx", "table.csv"]);
    devices.settle();
    assert_eq!(
        fine(bob, FILE, &["get", "f.kdbx", "entry 999"]),
        "secret 999\n"
    );
    let listed = fine(bob, FILE, &["ls", "-R", "f.kdbx"]);
    assert_eq!(listed.matches("/Sub/entry ").count(), 1000);
}
