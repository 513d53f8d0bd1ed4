mod errands;
mod mounts;

use std::fs;
use std::path::PathBuf;

use openssl::sha::sha256;
use tempfile::TempDir;

use super::message::{Coming, FromLine, FromSession, ToLine, ToSession};
use super::peers::Peer;
use super::*;
use crate::holder::store::catalog::Catalog;
use crate::hub::proofs::{SigningKey, Statement};
use crate::hub::wire::{Key, LoginKey, Name, Value};

const DAY: Time = 24 * 3600;

/// A stock, and the directory that it lies in.
struct Shop {
    stock: Stock,
    directory: TempDir,
}

fn read<T: Value>(text: &str) -> T {
    T::read(text).unwrap_or_else(|| panic!("{text}"))
}

fn keys() -> Keys {
    Keys {
        key: SigningKey::new(&[2; 32]).expect("key"),
        login: LoginKey([3; 32].into()),
    }
}

fn settings() -> Settings {
    Settings {
        hub: read("hub.example.org"),
        user: read("bob"),
        share: 1_000_000,
        spare: 1,
        trash: 30 * DAY,
    }
}

fn open(directory: &TempDir, settings: Settings) -> Stock {
    try_open(directory, settings).expect("start")
}

fn try_open(directory: &TempDir, settings: Settings) -> Result<Stock> {
    let catalog = Catalog::open(&directory.path().join(process::FILE)).expect("database");
    let shelves = Shelves::of(directory.path());
    let mut stock = Stock::new(settings, keys(), catalog, shelves);
    stock.reconcile()?;
    stock.is_online = true;
    Ok(stock)
}

/// The owner of the tests.
fn anna() -> SigningKey {
    SigningKey::new(&[1; 32]).expect("key")
}

fn key() -> Key {
    anna().public().expect("key")
}

fn name_of(content: &[u8]) -> Name {
    Name(sha256(content))
}

impl Shop {
    fn new() -> Shop {
        Shop::with(settings())
    }

    fn with(settings: Settings) -> Shop {
        let directory = tempfile::tempdir().expect("directory");
        let stock = open(&directory, settings);
        Shop { stock, directory }
    }

    /// The same after its process has ended.
    fn again(self) -> Shop {
        let Shop { stock, directory } = self;
        drop(stock);
        let stock = open(&directory, settings());
        Shop { stock, directory }
    }

    /// What the hub is answered; nothing if that is done later.
    fn try_order(&mut self, text: &str) -> Option<String> {
        let line = Line::parse(format!("{text} id=7").as_bytes()).expect(text);
        let answer = self.stock.order(line).expect("answer");
        answer.map(|line| line.print())
    }

    /// The code that the hub is answered.
    #[track_caller]
    fn order(&mut self, text: &str) -> u16 {
        let answer = self.try_order(text).expect("an answer");
        assert!(
            answer.ends_with(" id=7\r\n") || answer.contains(" id=7 "),
            "{answer}"
        );
        answer[..3].parse().expect("code")
    }

    fn announce(&mut self, content: &[u8]) -> u16 {
        let (name, size) = (name_of(content).text(), content.len());
        let key = key().text();
        self.order(&format!(
            "RCV 192.0.2.1 anna {key} name={name} size={size} kind=index"
        ))
    }

    /// Opens a line of anna's.
    fn peer(&mut self, number: u64) {
        let peer = Peer {
            user: read("anna"),
            key: key(),
            taking: None,
        };
        self.stock.peers.insert(number, peer);
    }

    fn ask(&mut self, ask: FromSession) -> ToSession {
        self.stock.hear_session(1, ask).expect("answer")
    }

    /// Stores a file as a session does.
    #[track_caller]
    fn store(&mut self, content: &[u8]) {
        assert_eq!(self.announce(content), 211);
        self.peer(1);
        let (name, size) = (name_of(content), content.len() as u64);
        let coming = Coming {
            name,
            size,
            kind: None,
            owner: None,
            sig: Some(self.signature(name, size)),
        };
        let ToSession::Take { part, from: 0 } = self.ask(FromSession::Take(coming)) else {
            panic!("not taken");
        };
        use std::os::unix::fs::FileExt;
        fs::File::from(part)
            .write_all_at(content, 0)
            .expect("written");
        let ToSession::Receipt(receipt) = self.ask(FromSession::Whole) else {
            panic!("no receipt");
        };
        let statement = Statement::Receipt {
            hub: &self.stock.settings.hub,
            holder: &read("bob"),
            owner: &read("anna"),
            name,
            size,
        };
        assert!(statement.is_signed(&keys().key.public().expect("key"), &receipt));
    }

    fn signature(&self, name: Name, size: u64) -> crate::hub::wire::Signature {
        let statement = Statement::File {
            hub: &self.stock.settings.hub,
            owner: &read("anna"),
            name,
            size,
        };
        statement.sign(&anna()).expect("signature")
    }

    /// `REM` of a file, with a proof of this time by this key.
    fn removal(&self, content: &[u8], proof: Option<(&SigningKey, Time)>) -> String {
        let (name, size) = (name_of(content), content.len() as u64);
        let text = format!("REM anna {} {size}", name.text());
        let Some((by, time)) = proof else {
            return text;
        };
        let statement = Statement::Removal {
            hub: &self.stock.settings.hub,
            owner: &read("anna"),
            name,
            size,
            time: time as u64,
        };
        let proof = statement.sign(by).expect("proof").text();
        format!("{text} proof={proof} time={time}")
    }

    /// Where all files are, which may be a disk of its own.
    fn files(&self) -> PathBuf {
        self.directory.path().join("files")
    }

    fn path(&self, above: &str, content: &[u8]) -> PathBuf {
        let name = name_of(content).text();
        let digits = crate::holder::store::shelves::directory(&key());
        let below = self.files().join(above).join(digits);
        below.join("i").join(&name[..2]).join(name)
    }

    fn fetched(&mut self, content: &[u8]) -> bool {
        self.peer(1);
        let name = name_of(content);
        let size = Some(content.len() as u64);
        matches!(
            self.ask(FromSession::Fetch { name, size }),
            ToSession::Give { .. }
        )
    }

    /// Does the slow thread's work.
    fn work(&mut self) {
        let slow = slow::start().expect("thread");
        while let Some((waiting, job)) = self.stock.next_job().expect("job") {
            slow.send(&job).expect("sent");
            let done = slow.receive().expect("received").expect("done");
            self.stock.done(&waiting, &done).expect("done");
        }
    }

    fn said(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.stock.to_hub).into_iter();
        said.filter_map(|message| match message {
            ToLine::Line(line) | ToLine::Ask { line, .. } => Some(line.print()),
            ToLine::Response { .. } => None,
        })
        .collect()
    }
}

#[test]
fn what_a_receipt_was_signed_for_is_there_after_an_end_at_any_moment() {
    let mut shop = Shop::new();
    shop.store(b"one");
    shop.store(b"two");
    let held = shop.stock.held;
    assert_eq!(held, 6);
    let mut shop = shop.again();
    assert!(shop.fetched(b"one") && shop.fetched(b"two"));
    assert_eq!(shop.stock.held, held);
    // A file whose row was not written gets one, and counts once it is checked.
    let file = shop.stock.catalog.named(name_of(b"one")).expect("rows");
    shop.stock
        .catalog
        .forget(file[0].owner, file[0].name)
        .expect("row");
    let mut shop = shop.again();
    assert_eq!(shop.announce(b"one"), 211, "not checked yet");
    shop.stock.tick().expect("tick");
    shop.work();
    assert_eq!(shop.announce(b"one"), 212);
    // The whole database is made again.
    for name in ["stock.db", "stock.db-wal", "stock.db-shm"] {
        let _ = fs::remove_file(shop.directory.path().join(name));
    }
    let mut shop = shop.again();
    assert!(shop.fetched(b"one") && shop.fetched(b"two"));
    assert_eq!(shop.stock.held, held);
}

#[test]
fn a_file_that_is_not_its_owners_is_not_adopted() {
    let mut shop = Shop::new();
    shop.store(b"one");
    let path = shop.path("", b"two");
    fs::create_dir_all(path.parent().expect("directory")).expect("directory");
    fs::write(&path, [&b"two"[..], &[0; 64]].concat()).expect("written");
    let mut shop = shop.again();
    assert!(!shop.fetched(b"two") && shop.fetched(b"one"));
    assert!(path.with_extension("bad").exists());
}

#[test]
fn a_file_that_is_gone_is_reported_to_the_hub_and_taken_again() {
    let mut shop = Shop::new();
    shop.store(b"one");
    fs::remove_file(shop.path("", b"one")).expect("removed");
    assert!(!shop.fetched(b"one"));
    shop.stock.mourn().expect("warned");
    let name = name_of(b"one").text();
    assert_eq!(
        shop.said(),
        [format!("WRN anna reason=missing name={name}\r\n")]
    );
    assert_eq!(shop.stock.held, 0);
    shop.store(b"one");
    assert!(shop.fetched(b"one"));
    // What is found at a start is said once the hub hears.
    shop.store(b"two");
    fs::remove_file(shop.path("", b"one")).expect("removed");
    let mut shop = shop.again();
    assert!(!shop.fetched(b"one"));
    let ready = FromLine::Ready {
        time: 1_795_336_800,
        hub: [127, 0, 0, 1].into(),
        is_rebuilt: false,
    };
    shop.stock.hear_line(ready).expect("heard");
    let name = name_of(b"one").text();
    assert_eq!(
        shop.said(),
        [format!("WRN anna reason=missing name={name}\r\n")]
    );
}

#[test]
fn all_files_are_read_once_a_month_and_a_bad_one_is_set_aside() {
    let mut shop = Shop::new();
    shop.store(b"one");
    shop.store(b"two");
    let path = shop.path("", b"one");
    let mut bytes = fs::read(&path).expect("file");
    bytes[1] ^= 1;
    fs::write(&path, bytes).expect("written");
    shop.stock.tick().expect("tick");
    shop.work();
    assert!(shop.fetched(b"one"), "not looked at yet");
    shop.stock.now += 31 * DAY;
    shop.stock.tick().expect("tick");
    shop.said();
    shop.work();
    let name = name_of(b"one").text();
    assert_eq!(
        shop.said(),
        [format!("WRN anna reason=corrupt name={name}\r\n")]
    );
    assert!(!shop.fetched(b"one") && shop.fetched(b"two"));
    assert!(path.with_extension("bad").exists());
    assert_eq!(shop.order(&shop.removal(b"one", None)), 203);
    assert_eq!(shop.order(&shop.removal(b"one", None)), 505);
}

#[test]
fn a_deleted_file_waits_in_the_trash_for_shorter_with_a_proof() {
    let mut shop = Shop::new();
    for content in [&b"one"[..], b"two"] {
        shop.store(content);
    }
    let now = shop.stock.now;
    let (anna, carol) = (anna(), SigningKey::new(&[9; 32]).expect("key"));
    for (proof, code) in [
        (Some((&carol, now)), 504),
        (Some((&anna, now - 1)), 504),
        (Some((&anna, now)), 203),
    ] {
        assert_eq!(shop.order(&shop.removal(b"one", proof)), code);
    }
    assert_eq!(shop.order(&shop.removal(b"two", None)), 203);
    assert_eq!(shop.order(&shop.removal(b"two", None)), 203, "once more");
    assert_eq!(shop.order(&shop.removal(b"nine", None)), 505);
    let name = name_of(b"two").text();
    assert_eq!(shop.order(&format!("REM carol {name} 3")), 503);
    assert_eq!((shop.stock.held, shop.stock.loose), (6, 3));
    for content in [&b"one"[..], b"two"] {
        assert!(shop.fetched(content), "also from the trash");
        assert!(shop.path("trash", content).exists());
        assert!(!shop.path("", content).exists());
    }
    let mut shop = shop.again();
    assert_eq!((shop.stock.held, shop.stock.loose), (6, 3));
    shop.stock.now += 7 * DAY + 1;
    shop.stock.tick().expect("tick");
    assert!(!shop.fetched(b"one") && shop.fetched(b"two"));
    shop.stock.now += 23 * DAY;
    shop.stock.tick().expect("tick");
    assert!(!shop.fetched(b"two"));
    assert_eq!((shop.stock.held, shop.stock.loose), (0, 0));
}

#[test]
fn a_file_that_is_wanted_again_comes_back_from_the_trash_and_old_proofs_do_not_hit_it() {
    let mut shop = Shop::new();
    shop.store(b"one");
    let proof = shop.removal(b"one", Some((&anna(), shop.stock.now)));
    assert_eq!(shop.order(&proof), 203);
    shop.stock.now += 10;
    assert_eq!(shop.announce(b"one"), 212);
    assert!(shop.path("", b"one").exists());
    assert_eq!((shop.stock.held, shop.stock.loose), (3, 0));
    assert_eq!(shop.order(&proof), 504);
    shop.stock.now += 60 * DAY;
    shop.stock.tick().expect("tick");
    assert!(shop.fetched(b"one"));
}

#[test]
fn room_is_what_the_share_leaves_and_files_that_were_signed_away_go_first() {
    let mut shop = Shop::with(Settings {
        share: 1000,
        ..settings()
    });
    let (old, new) = ([1; 600], [2; 700]);
    shop.store(&old);
    assert_eq!(shop.announce(&[3; 401]), 403);
    // What may come counts already.
    assert_eq!(shop.announce(&[4; 400]), 211);
    assert_eq!(shop.announce(&[4; 400]), 211, "once more");
    assert_eq!(shop.announce(&[5; 1]), 403);
    shop.stock.tickets.end(&read("anna"));
    assert_eq!(shop.order(&shop.removal(&old, None)), 203);
    assert_eq!(shop.announce(&new), 403, "trash without a proof stays");
    let proof = shop.removal(&old, Some((&anna(), shop.stock.now)));
    assert_eq!(shop.order(&proof), 203);
    assert!(shop.fetched(&old));
    shop.store(&new);
    assert!(!shop.fetched(&old));
    assert_eq!((shop.stock.held, shop.stock.loose), (700, 0));
    let mut shop = Shop::with(Settings {
        spare: 1 << 60,
        ..settings()
    });
    assert_eq!(shop.announce(b"one"), 403, "the disk is to stay free");
}

#[test]
fn the_hub_is_answered_as_the_protocol_has_it() {
    let mut shop = Shop::new();
    let key_text = key().text();
    let name = name_of(b"one").text();
    let other = keys().key.public().expect("key").text();
    for (order, code) in [
        (format!("RCV 192.0.2.1 anna {key_text}"), 500),
        (
            format!("RCV 192.0.2.1 anna {key_text} name={name} size=67108865"),
            403,
        ),
        (
            format!("RCV 192.0.2.1 anna {key_text} name={name} size=1048577 kind=book"),
            403,
        ),
        (format!("LET 192.0.2.1 anna {key_text}"), 505),
        ("ACC anna".to_owned(), 401),
        (format!("ACC anna key={key_text}"), 206),
        (format!("REQ {name} f:{}", "33".repeat(32)), 505),
    ] {
        assert_eq!(shop.order(&order), code, "{order}");
    }
    shop.store(b"one");
    for (order, code) in [
        (
            format!("RCV 192.0.2.1 anna {key_text} name={name} size=3"),
            212,
        ),
        (
            format!("RCV 192.0.2.1 anna {other} name={name} size=3"),
            407,
        ),
        (format!("LET 192.0.2.1 anna {key_text}"), 211),
        (
            format!("LET 192.0.2.1 anna {key_text} name={name} size=3"),
            211,
        ),
        (
            format!("LET 192.0.2.1 dave {other} name={name} size=3 purpose=move"),
            211,
        ),
        (format!("LET 192.0.2.1 dave {other}"), 505),
        ("ACC anna".to_owned(), 206),
        (format!("ACC anna key={other}"), 401),
    ] {
        assert_eq!(shop.order(&order), code, "{order}");
    }
    let zeros = "00".repeat(32);
    assert_eq!(shop.try_order(&format!("REQ {name} f:{zeros}")), None);
    shop.work();
    let said = shop.said();
    assert!(
        said[0].starts_with("CRC ") && said[0].ends_with(" id=7\r\n"),
        "{said:?}"
    );
}

#[test]
fn the_hub_hears_once_of_each_file_and_one_that_nobody_wants_goes_into_the_trash() {
    let mut shop = Shop::new();
    shop.store(b"one");
    shop.stock.tick().expect("tick");
    assert!(shop.said().is_empty(), "its owner may do so");
    shop.stock.now += 3601;
    shop.stock.tick().expect("tick");
    let said = shop.said();
    assert!(
        said[0].starts_with("DFI ") && said[0].contains(" bob size=3 owner=anna "),
        "{said:?}"
    );
    let answered = |shop: &mut Shop, text: &str| {
        let tag = *shop.stock.asks.asked.keys().next().expect("report");
        let line = Line::parse(format!("{text} ; id=1").as_bytes()).expect("line");
        let said = FromLine::Answered { tag, line };
        shop.stock.hear_line(said).expect("heard");
    };
    answered(&mut shop, "212 Transfer completed");
    shop.stock.tick().expect("tick");
    assert!(shop.said().is_empty(), "reported");
    shop.store(b"two");
    shop.stock.now += 3601;
    shop.stock.tick().expect("tick");
    answered(&mut shop, "505 Requested file does not exist");
    assert!(shop.path("trash", b"two").exists());
    assert!(shop.path("", b"one").exists());
}

#[test]
fn tickets_end_after_ten_minutes_but_for_peers_with_a_line_and_when_the_hub_says_so() {
    let mut shop = Shop::new();
    assert_eq!(shop.announce(b"one"), 211);
    let reserved = |shop: &Shop| shop.stock.tickets.reserved();
    shop.peer(1);
    shop.stock.now += 601;
    shop.stock.tick().expect("tick");
    assert_eq!(reserved(&shop), 3);
    shop.stock.peers.clear();
    shop.stock.tick().expect("tick");
    assert_eq!(reserved(&shop), 0);
    assert_eq!(shop.announce(b"one"), 211);
    shop.peer(1);
    let stop = Line::parse(b"STP anna").expect("line");
    assert!(shop.stock.order(stop).expect("done").is_none());
    assert_eq!(
        (reserved(&shop), shop.stock.stopped.as_slice()),
        (0, &[1][..])
    );
}

#[test]
fn who_comes_again_takes_a_part_over_from_a_line_that_is_lost() {
    let mut shop = Shop::new();
    let content = vec![5; 3_000_000 / 4];
    assert_eq!(shop.announce(&content), 211);
    shop.peer(1);
    shop.peer(2);
    let (name, size) = (name_of(&content), content.len() as u64);
    let coming = Coming {
        name,
        size,
        kind: None,
        owner: None,
        sig: Some(shop.signature(name, size)),
    };
    let first = shop.ask(FromSession::Take(coming.clone()));
    assert!(matches!(first, ToSession::Take { from: 0, .. }));
    let second = shop.stock.hear_session(2, FromSession::Take(coming));
    assert!(matches!(second, Ok(ToSession::Take { .. })));
    let late = shop.ask(FromSession::Whole);
    assert!(matches!(late, ToSession::Refused(505)), "{late:?}");
}
