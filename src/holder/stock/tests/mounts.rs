//! A store whose files may be on a disk of their own, and a hub that wants to hear of all.

use super::*;

impl Shop {
    /// Puts the files away, as if their disk were not mounted, and says where they are.
    fn unmounted(&self) -> PathBuf {
        let away = self.directory.path().join("away");
        fs::rename(self.files(), &away).expect("put away");
        fs::create_dir(self.files()).expect("directory");
        away
    }

    fn mounted(&self, away: PathBuf) {
        fs::remove_dir(self.files()).expect("an empty directory");
        fs::rename(away, self.files()).expect("put back");
    }

    fn ready_to_rebuild(&mut self) {
        let ready = FromLine::Ready {
            time: self.stock.hub_time(),
            hub: [127, 0, 0, 1].into(),
            is_rebuilt: true,
        };
        self.stock.hear_line(ready).expect("heard");
    }
}

#[test]
fn files_whose_disk_is_not_mounted_are_not_taken_for_lost() {
    let mut shop = Shop::new();
    shop.store(b"one");
    let away = shop.unmounted();
    let opened = try_open(&shop.directory, settings());
    assert!(matches!(opened, Err(Trouble::NotMounted)), "{opened:?}");
    // A disk of another store is not the one.
    let mark = shop.files().join("store-id");
    fs::write(&mark, "00".repeat(16)).expect("written");
    let opened = try_open(&shop.directory, settings());
    assert!(matches!(opened, Err(Trouble::NotMounted)), "{opened:?}");
    fs::remove_file(mark).expect("removed");
    shop.mounted(away);
    let mut shop = shop.again();
    assert!(shop.fetched(b"one"));
    assert!(shop.said().is_empty());
}

#[test]
fn a_disk_that_goes_while_the_stock_serves_ends_it_without_a_word() {
    let mut shop = Shop::new();
    shop.store(b"one");
    let away = shop.unmounted();
    let name = name_of(b"one");
    let fetch = FromSession::Fetch { name, size: None };
    let answer = shop.stock.hear_session(1, fetch);
    assert!(matches!(answer, Err(Trouble::NotMounted)), "{answer:?}");
    let ticked = shop.stock.tick();
    assert!(matches!(ticked, Err(Trouble::NotMounted)), "{ticked:?}");
    assert!(shop.said().is_empty());
    shop.mounted(away);
    assert!(shop.fetched(b"one"));
}

#[test]
fn a_store_that_has_neither_files_nor_database_is_a_new_one() {
    let mut shop = Shop::new();
    shop.store(b"one");
    let mark = fs::read(shop.files().join("store-id")).expect("mark");
    fs::remove_dir_all(shop.files()).expect("removed");
    for name in ["stock.db", "stock.db-wal", "stock.db-shm"] {
        let _ = fs::remove_file(shop.directory.path().join(name));
    }
    let mut shop = shop.again();
    let new = fs::read(shop.files().join("store-id")).expect("mark");
    assert_ne!(mark, new);
    let time = shop.stock.hub_time();
    let ready = FromLine::Ready {
        time,
        hub: [127, 0, 0, 1].into(),
        is_rebuilt: false,
    };
    shop.stock.hear_line(ready).expect("heard");
    assert_eq!(shop.said(), ["RRC all=1\r\n"]);
}

#[test]
fn files_that_lie_next_to_the_database_are_taken_over() {
    let mut shop = Shop::new();
    shop.store(b"one");
    let Shop { stock, directory } = shop;
    drop(stock);
    let (store, files) = (directory.path(), directory.path().join("files"));
    fs::remove_file(files.join("store-id")).expect("removed");
    for entry in fs::read_dir(&files).expect("files") {
        let entry = entry.expect("entry");
        fs::rename(entry.path(), store.join(entry.file_name())).expect("moved");
    }
    fs::remove_dir(&files).expect("removed");
    let db = rusqlite::Connection::open(store.join("stock.db")).expect("database");
    db.execute_batch("DROP TABLE store; PRAGMA user_version = 1;")
        .expect("as before");
    drop(db);
    let stock = open(&directory, settings());
    let mut shop = Shop { stock, directory };
    assert!(shop.fetched(b"one"));
    assert!(shop.path("", b"one").exists());
}

#[test]
fn a_hub_that_has_lost_its_database_hears_of_every_file() {
    let mut shop = Shop::new();
    // More than are asked at once.
    let contents: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![number; 9]).collect();
    for content in &contents {
        shop.store(content);
    }
    shop.store(b"in the trash");
    assert_eq!(shop.order(&shop.removal(b"in the trash", None)), 203);
    shop.said();
    shop.ready_to_rebuild();
    let mut said = Vec::new();
    loop {
        let more = shop.said();
        if more.is_empty() {
            break;
        }
        said.extend(more);
        let tags: Vec<u64> = shop.stock.asks.asked.keys().copied().collect();
        for tag in tags {
            let line = Line::parse(b"212 Transfer completed ; id=1").expect("line");
            let answered = FromLine::Answered { tag, line };
            shop.stock.hear_line(answered).expect("heard");
        }
    }
    assert_eq!(said.len(), contents.len());
    for content in &contents {
        let name = name_of(content).text();
        let line = said.iter().find(|line| line.contains(&name));
        let line = line.expect("a report");
        for part in [
            " bob ",
            " replay=1",
            " owner=anna ",
            " size=9 ",
            " time=",
            " sig=",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    // What comes later is reported in the same way.
    shop.store(b"new");
    shop.stock.now += 3601;
    shop.stock.tick().expect("tick");
    let said = shop.said();
    assert!(said[0].contains(" replay=1"), "{said:?}");
}
