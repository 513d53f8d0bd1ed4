//! `tf vault` between KDBX files of KeePassXC and a real tfd: what one device has done,
//! all have, and nothing is lost on the way.

mod devices;
mod faults;
mod legacy;
mod merges;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::Duration;

use tfd::client::fetch_certificate;
use tfd::client::vault::VaultFile;
use tfd::client::vault::sync::merge::canonical;
use tfd::client::vault::sync::shared::{META, share};

use crate::common::tf::{Person, Run, xc};
use crate::own::peer::server;
use crate::peer::Vault;

/// Where a server listens.
fn address(server: &Vault) -> std::net::SocketAddr {
    *server
        .listening("listening with TLS address=")
        .last()
        .expect("address")
}

/// The password of every file, and the master password.
const FILE: &str = "of the file\n";
const BOTH: &str = "of the file\nmaster\n";

/// People whose devices use one server.
struct Devices {
    server: Vault,
    pin: String,
    people: Vec<Person>,
}

impl Devices {
    /// So many, of which nobody is linked.
    fn new(lines: &str, count: usize) -> Option<Devices> {
        let server = server(lines)?;
        let shown = fetch_certificate(&address(&server).to_string(), Duration::from_secs(60));
        let pin = format!("SHA256:{}", shown.expect("certificate").fingerprint);
        let people = (0..count).map(|_| Person::new()).collect();
        Some(Devices {
            server,
            pin,
            people,
        })
    }

    /// The same, all linked with ann's account.
    fn linked(count: usize) -> Option<Devices> {
        let devices = Devices::new("", count)?;
        for at in 0..count {
            made(&devices.people[at]);
            devices.link(at, BOTH, if at == 0 { &["--new"] } else { &[] });
        }
        Some(devices)
    }

    /// Links a device's file.
    #[track_caller]
    fn link(&self, at: usize, secrets: &str, more: &[&str]) -> String {
        let run = self.try_to_link(at, secrets, more);
        assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
        run.out
    }

    fn try_to_link(&self, at: usize, secrets: &str, more: &[&str]) -> Run {
        let address = address(&self.server).to_string();
        let arguments = [
            "init",
            "f.kdbx",
            "--server",
            &address,
            "--tls-pin",
            &self.pin,
            "--user",
            "ann",
        ];
        vault(&self.people[at], secrets, &[&arguments[..], more].concat())
    }

    #[track_caller]
    fn sync(&self, at: usize) -> String {
        fine(&self.people[at], FILE, &["sync", "f.kdbx"])
    }

    /// Syncs until nobody has anything new; all have the same then.
    #[track_caller]
    fn settle(&self) {
        for _ in 0..2 {
            (0..self.people.len()).for_each(|at| drop(self.sync(at)));
        }
        let all: Vec<_> = self.people.iter().map(content).collect();
        for other in &all[1..] {
            let differ: Vec<_> = other
                .keys()
                .chain(all[0].keys())
                .filter(|key| other.get(*key) != all[0].get(*key))
                .collect();
            assert!(differ.is_empty(), "{differ:?}");
        }
        for at in 0..self.people.len() {
            assert_eq!(self.sync(at), "nothing has changed\n");
        }
    }
}

/// An empty file. keepassxc-cli makes one of version 3, and keeps the version of this.
fn made(person: &Person) {
    fine(person, FILE, &["init", "f.kdbx"]);
}

fn vault(person: &Person, secrets: &str, arguments: &[&str]) -> Run {
    person.write("secrets", secrets);
    person.tf(&[&["--password-file", "secrets", "vault"], arguments].concat())
}

#[track_caller]
fn fine(person: &Person, secrets: &str, arguments: &[&str]) -> String {
    let run = vault(person, secrets, arguments);
    assert_eq!(run.code, Some(0), "{arguments:?}: {}{}", run.out, run.err);
    run.out
}

/// All that a file shares with others, but for the settings of the database.
fn content(person: &Person) -> BTreeMap<String, Vec<String>> {
    let file = VaultFile::open(&person.path("f.kdbx"), FILE.trim_end(), None).expect("file");
    let mut items = share(&file.database);
    items.remove(&META);
    let text = |item: &_| {
        let parts = canonical(item).into_iter();
        parts
            .flat_map(|(_, all)| all.into_iter().map(|it| it.to_xml().to_string()))
            .collect()
    };
    items
        .iter()
        .map(|(key, item)| (format!("{key:?}"), text(item)))
        .collect()
}

/// The entries as KeePassXC lists them.
fn table(person: &Person) -> BTreeSet<String> {
    let text = xc(person, &["export", "-f", "csv", "f.kdbx"], FILE);
    text.lines().map(str::to_owned).collect()
}

/// A program that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(person: &Person, arguments: &[&str]) -> Running {
    person.write("secrets of it", FILE);
    let mut command = person.command(env!("CARGO_BIN_EXE_tf"));
    command
        .args([
            "--timeout",
            "60",
            "--password-file",
            "secrets of it",
            "vault",
        ])
        .args(arguments);
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Running(command.spawn().expect("start"))
}
