//! A local directory that somebody else changes meanwhile, or has prepared:
//! nothing is read or written through what was put there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Mutex};

use openssl::sha::sha256;

use crate::common::tf::Person;
use crate::common::{Server, wait_until};
use crate::desk::{Desk, tree};
use crate::liar::{self, Answer};
use crate::running::Running;

fn digest(content: &[u8]) -> Answer {
    let digits: String = sha256(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Answer::Message(format!("OK 0x{digits}").into())
}

#[test]
fn a_link_in_the_place_of_a_tree_is_not_written_through() {
    let desk = Desk::new();
    desk.server.write("t/file", "new");
    desk.write("precious/file", "old");
    fs::create_dir(desk.path("into")).expect("directory");
    symlink("../precious", desk.path("into/t")).expect("link");
    let run = desk.tf(&["get", "-r", "t", "into"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(
        run.err.contains("a symbolic link is in the way"),
        "{}",
        run.err
    );
    assert_eq!(
        tree(&desk.path("precious")),
        [("file".to_owned(), Some(b"old".to_vec()))]
    );
    // One that the user names is followed.
    desk.fine(&["get", "-r", "t", "into/t"]);
    assert_eq!(desk.read("precious/t/file"), b"new");
}

#[test]
fn a_directory_swapped_for_a_link_is_not_read_through() {
    let mut desk = Desk::new();
    desk.write("t/d/file", "mine");
    desk.write("secret/file", "hers");
    let (directory, secret) = (desk.path("t/d"), desk.path("secret"));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&sent);
    desk.address = liar::start(move |request| {
        seen.lock().expect("requests").push(request.to_owned());
        match request.split(' ').next().unwrap_or_default() {
            "FSTAT" | "DEL" => "FAILED 9 : File does not exist.".into(),
            // The tree has been looked through, and no file was opened.
            "MKDIR" => {
                if directory.symlink_metadata().expect("stat").is_dir() {
                    fs::remove_dir_all(&directory).expect("remove");
                    symlink(&secret, &directory).expect("link");
                }
                "OK".into()
            }
            _ => "OK".into(),
        }
    });
    let run = desk.tf(&["put", "-r", "t", "t"]);
    assert_eq!(run.code, Some(7), "{}", run.err);
    assert!(
        run.err.contains("a symbolic link is in the way"),
        "{}",
        run.err
    );
    let sent = sent.lock().expect("requests");
    assert!(
        sent.iter().any(|request| request == "MKDIR t/d"),
        "{sent:?}"
    );
    assert!(
        !sent.iter().any(|request| request.starts_with("SUP ")),
        "{sent:?}"
    );
}

#[test]
fn a_mirror_deletes_through_no_link() {
    let desk = Desk::new();
    desk.server.write("t/a", "x");
    desk.write("precious/file", "old");
    desk.write("back/extra", "x");
    symlink("../precious", desk.path("back/link")).expect("link");
    desk.fine(&["mirror", "--delete", ":t", "back"]);
    assert_eq!(desk.read("precious/file"), b"old");
    assert!(!desk.path("back/extra").exists());
    assert!(desk.path("back/link").is_symlink());
}

/// A server that tells of one file, and does something when it is asked for
/// it.
fn teller(
    name: &'static str,
    stat: &'static str,
    content: &'static [u8],
    then: impl Fn() + Send + Sync + 'static,
) -> Person {
    let address = liar::start(
        move |request| match request.split(' ').next().unwrap_or_default() {
            "ADDNTFY" => "OK".into(),
            "STARTNTFY" => Answer::Message(format!("0 {name}").into()),
            "OK" | "DEL" => Answer::Nothing,
            "FSTAT" => stat.into(),
            "GET" => {
                then();
                Answer::Get(vec![content.to_vec()])
            }
            "SHA256" => digest(b"content"),
            _ => "UNKNOWN".into(),
        },
    );
    let mut person = Person::new();
    person.set("TF_SERVER", &address.to_string());
    person.set("TF_KEY", "public.pem");
    person.set("TF_HASH", crate::common::HASH);
    fs::create_dir(person.path("got")).expect("directory");
    person
}

#[test]
fn what_takes_a_name_while_its_file_is_received_stays() {
    let place = Arc::new(Mutex::new(None));
    let there = Arc::clone(&place);
    let person = teller("f", "OK F 7 0 0", b"content", move || {
        let path: &std::path::PathBuf = &there.lock().expect("place").clone().expect("a path");
        fs::write(path, "somebody's").expect("write");
    });
    *place.lock().expect("place") = Some(person.path("got/f"));
    let watch = Running::start(&person, &["watch", "--delete", "--get", "got", "in"]);
    watch.expect_lines(&["got/f.1"]);
    assert_eq!(fs::read(person.path("got/f")).expect("read"), b"somebody's");
    assert_eq!(fs::read(person.path("got/f.1")).expect("read"), b"content");
    assert_eq!(tree(&person.path("got")).len(), 2);
}

#[test]
fn a_file_longer_than_told_is_not_kept_and_its_name_drives_no_terminal() {
    let person = teller("\u{1b}[2Jf", "OK F 3 0 0", b"content", || {});
    let watch = Running::start(&person, &["watch", "--delete", "--get", "got", "in"]);
    watch.wait_for_complaint("changed during the transfer");
    assert!(
        !watch.complaints().contains('\u{1b}'),
        "{:?}",
        watch.complaints()
    );
    assert!(tree(&person.path("got")).is_empty());
    let person = teller("\u{1b}[2Jf", "OK F 7 0 0", b"CONTENT", || {});
    let watch = Running::start(&person, &["watch", "--delete", "--get", "got", "in"]);
    watch.wait_for_complaint("SHA-256 differs");
    assert!(
        !watch.complaints().contains('\u{1b}'),
        "{:?}",
        watch.complaints()
    );
    wait_until("no part is left", || tree(&person.path("got")).is_empty());
}

#[test]
fn the_lines_of_a_shell_go_through_no_link() {
    let server = Server::start();
    let person = Person::of(&server);
    person.write("precious", "old\n");
    fs::set_permissions(person.path("precious"), fs::Permissions::from_mode(0o644)).expect("mode");
    fs::create_dir_all(person.path(".local/state/tf")).expect("directories");
    fs::hard_link(
        person.path("precious"),
        person.path(".local/state/tf/history"),
    )
    .expect("link");
    let (screen, code) = person.on_terminal("shell", "ls\nexit\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("no history is kept"), "{screen}");
    let mode = fs::metadata(person.path("precious"))
        .expect("stat")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(fs::read(person.path("precious")).expect("read"), b"old\n");
    // Nor where others may put a link.
    fs::remove_file(person.path(".local/state/tf/history")).expect("remove");
    fs::set_permissions(person.path(""), fs::Permissions::from_mode(0o777)).expect("mode");
    let (screen, _) = person.on_terminal("shell", "ls\nexit\n");
    assert!(screen.contains("no history is kept"), "{screen}");
    assert!(!person.path(".local/state/tf/history").exists());
}

#[test]
fn a_configuration_that_others_may_change_is_not_believed() {
    let person = Person::new();
    person.configure("[server.a]\naddress = \"127.0.0.1:1\"\n");
    person.fine(&["servers"]);
    let file = person.path(".config/tf/config.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("mode");
    person.fails(
        &["servers"],
        2,
        &["config.toml", "other users can write to it", "chmod go-w"],
    );
    // One that is named is the user's choice.
    person.fine(&["--config", ".config/tf/config.toml", "servers"]);
    fs::remove_file(&file).expect("remove");
    fs::create_dir(&file).expect("directory");
    person.fails(&["servers"], 2, &["config.toml"]);
}
