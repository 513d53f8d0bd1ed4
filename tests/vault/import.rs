//! `tfd vault import`: the users of an original server, their devices and entries. Its
//! databases are made here, by the columns that are known of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use openssl::base64::encode_block;
use openssl::sha::sha256;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use crate::common::is_root;
use crate::peer::*;

/// The tables of the last version.
const TABLES: &str = "
    CREATE TABLE Tbl_user (U_id INTEGER PRIMARY KEY, U_username TEXT UNIQUE, U_name TEXT,
        U_password TEXT, U_email TEXT UNIQUE, U_isVerified INTEGER, U_code TEXT, U_codeType TEXT,
        U_codeTime TEXT, U_codeAttempts INTEGER, U_codeResend INTEGER, U_lastPasswordChange TEXT,
        U_isBanned INTEGER, U_banTime TEXT, U_banDuration TEXT, U_datetime TEXT);
    CREATE TABLE Tbl_data (D_id INTEGER PRIMARY KEY, D_host TEXT NOT NULL, D_url TEXT,
        D_uname TEXT, D_password TEXT NOT NULL, D_email TEXT, D_notes TEXT, D_icon TEXT,
        D_userid INTEGER, D_hid TEXT, D_datetime TEXT NOT NULL);
    CREATE TABLE Tbl_delete (DEL_id INTEGER PRIMARY KEY, DEL_hid TEXT, DEL_userid INTEGER);
    CREATE TABLE Tbl_cookies (C_id INTEGER PRIMARY KEY, C_cookie TEXT UNIQUE, C_os TEXT,
        C_lastSeen TEXT, C_ip TEXT);
    CREATE TABLE Tbl_connectUserCookies (U_id INTEGER, C_id INTEGER);
    CREATE TABLE Tbl_blockedCookies (BC_id INTEGER PRIMARY KEY, BC_cookie TEXT, BC_time TEXT,
        BC_duration TEXT);
    CREATE TABLE Tbl_clientLog (L_id INTEGER PRIMARY KEY, L_event TEXT, L_ip TEXT,
        L_datetime TEXT, L_details TEXT, L_userid INTEGER);
";

/// Those of October 2018.
const FIRST_TABLES: &str = "
    CREATE TABLE Tbl_user (U_id INTEGER PRIMARY KEY, U_username TEXT UNIQUE, U_name TEXT,
        U_password TEXT, U_isVerified INTEGER, U_isBanned INTEGER, U_banTime TEXT,
        U_banDuration TEXT);
    CREATE TABLE Tbl_data (D_id INTEGER PRIMARY KEY, D_host TEXT NOT NULL, D_uname TEXT,
        D_password TEXT NOT NULL, D_email TEXT, D_notes TEXT, D_userid INTEGER, D_hid TEXT,
        D_datetime TEXT NOT NULL);
    CREATE TABLE Tbl_cookies (C_id INTEGER PRIMARY KEY, C_cookie TEXT UNIQUE);
    CREATE TABLE Tbl_connectUserCookies (U_id INTEGER, C_id INTEGER);
";

/// How much work its hashes are, before and after December 2018.
const COSTS: [(u64, u64); 2] = [(4096, 2), (262_144, 8)];

/// A database of an original server, in a directory of its own.
struct Original {
    directory: TempDir,
    db: Connection,
}

fn cookie(number: i64) -> String {
    encode_block(&[number as u8; 64])
}

fn hid(number: i64) -> String {
    encode_block(&[number as u8 ^ 0xa5; 64])
}

/// What it stores of a password.
fn stored(user: &str, password: &str, (n, r): (u64, u64)) -> String {
    let sent = online(password);
    let name = encode_block(&sha256(user.as_bytes()));
    let salt = encode_block(&sha256(format!("{name}{sent}").as_bytes()));
    let mut hash = [0; 128];
    openssl::pkcs5::scrypt(
        sent.as_bytes(),
        salt.as_bytes(),
        n,
        r,
        1,
        300 << 20,
        &mut hash,
    )
    .expect("scrypt");
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Original {
    fn new(tables: &str) -> Original {
        let directory = tempfile::tempdir().expect("directory");
        let db = Connection::open(directory.path().join("data.db")).expect("database");
        db.execute_batch(tables).expect("tables");
        Original { directory, db }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("data.db")
    }

    /// Adds a user with a device, whose numbers are the same.
    fn user(&self, number: i64, name: &str, hash: &str) {
        self.db
            .execute(
                "INSERT INTO Tbl_user (U_id, U_username, U_name, U_password, U_isVerified,
                 U_isBanned, U_banTime, U_banDuration) VALUES (?1, ?2, 'N', ?3, 1, 0, '', '')",
                params![number, name, hash],
            )
            .expect("user");
        self.device(number, number);
    }

    fn device(&self, user: i64, number: i64) {
        let text = "INSERT INTO Tbl_cookies (C_id, C_cookie) VALUES (?1, ?2)";
        self.db
            .execute(text, params![number, cookie(number)])
            .expect("cookie");
        let text = "INSERT INTO Tbl_connectUserCookies VALUES (?1, ?2)";
        self.db.execute(text, [user, number]).expect("device");
    }

    fn entry(&self, user: i64, number: i64, host: &str) {
        self.db
            .execute(
                "INSERT INTO Tbl_data (D_host, D_uname, D_password, D_email, D_notes, D_userid,
                 D_hid, D_datetime) VALUES (?1, 'u', 'p', NULL, ?2, ?3, ?4, ?5)",
                params![host, "\u{1}", user, hid(number), number.to_string()],
            )
            .expect("entry");
    }

    fn run(&self, text: &str) {
        self.db.execute_batch(text).expect("SQL");
    }

    /// Imports it, as its server has left it.
    fn import(&self, server: &Vault) -> serde_json::Value {
        let (text, is_well) = self.try_import(server);
        assert!(is_well, "{text}");
        serde_json::from_str(&text).expect(&text)
    }

    fn try_import(&self, server: &Vault) -> (String, bool) {
        let copy = self.directory.path().join("copy.db");
        fs::copy(self.path(), &copy).expect("copy");
        import(server, &copy)
    }
}

fn import(server: &Vault, file: &Path) -> (String, bool) {
    operate(server, &["import", file.to_str().expect("text"), "--json"])
}

/// A client whose device a user of the original had.
fn old_device(server: &Vault, kind: Kind, number: i64) -> Peer {
    let mut peer = Peer::new(server, kind);
    peer.cookie = cookie(number);
    if kind.is_last() {
        let ask = format!("MNGCCKcookie%eq!{}!;", peer.cookie);
        assert_eq!(peer.ask(&ask), "INFRETmsg%eq!COOKIE_DOES_EXIST!;");
    }
    peer.authorize();
    peer
}

fn reasons(report: &serde_json::Value) -> Vec<String> {
    let left_out = report["left_out"].as_array().expect("list");
    let reason = |of: &serde_json::Value| {
        let (what, why) = (of["what"].as_str(), of["why"].as_str());
        format!(
            "{} {}: {}",
            what.expect("what"),
            of["row"],
            why.expect("why")
        )
    };
    left_out.iter().map(reason).collect()
}

/// The tables of the accounts, as they are.
fn accounts(server: &Vault) -> Vec<String> {
    let db = Connection::open(server.data().join("roots/store/accounts.db")).expect("database");
    let mut all = Vec::new();
    for table in ["accounts", "cookies", "devices", "staged"] {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).expect("SQL");
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at));
            Ok(format!("{:?}", values.collect::<Result<Vec<_>, _>>()?))
        });
        all.extend(rows.expect("rows").map(|row| row.expect("row")));
    }
    all
}

fn nothing_came(server: &Vault) {
    assert_eq!(operate(server, &["accounts", "--json"]).0, "[]\n");
    for directory in ["users", "import"] {
        let directory = server.data().join("roots/store").join(directory);
        let left = fs::read_dir(directory).map_or(0, Iterator::count);
        assert_eq!(left, 0);
    }
}

#[test]
fn users_of_an_original_server_log_in_unchanged_with_their_old_devices() {
    let Some(server) = server("") else { return };
    let original = Original::new(TABLES);
    for (number, name, cost) in [(1, "alice", COSTS[0]), (2, "Bob Lee", COSTS[1])] {
        original.user(number, name, &stored(name, "correct horse", cost));
        original.entry(number, 10 * number, "one");
        original.entry(number, 10 * number + 1, "two");
        let text = "INSERT INTO Tbl_delete (DEL_hid, DEL_userid) VALUES (?1, ?2)";
        let text = original
            .db
            .execute(text, params![hid(10 * number + 2), number]);
        text.expect("deleted id");
    }
    original.run(
        "UPDATE Tbl_user SET U_email = U_id || '@example.org', U_code = 'PM-123456',
         U_codeType = 'NEW_LOGIN', U_datetime = '1600000000';
         UPDATE Tbl_cookies SET C_os = '{§Name§:§L§}', C_lastSeen = '1600000000', C_ip = '192.0.2.1:5'",
    );
    let report = original.import(&server);
    assert_eq!(report["left_out"], serde_json::json!([]));
    for user in report["users"].as_array().expect("users") {
        let counts = ["devices", "entries", "deleted"].map(|of| user[of].as_u64());
        assert_eq!(counts, [Some(1), Some(2), Some(1)], "{report}");
    }
    assert_eq!(operate(&server, &["codes", "--json"]).0, "[]\n");
    for (number, name) in [(1, "alice"), (2, "Bob Lee")] {
        for kind in [Kind::G3, Kind::G2] {
            let mut peer = old_device(&server, kind, number);
            assert!(peer.log_in(name, "wrong").contains("CRED"));
            let answer = peer.log_in(name, "correct horse");
            assert!(answer.contains("LOGIN_SUCCESSFUL"), "{answer}");
            let synced = peer.sync();
            for own in [hid(10 * number), hid(10 * number + 1)] {
                assert!(synced.contains(&format!("('{own}','")), "{synced}");
            }
            let deleted = format!("deleted%eq![('{}')]!;", hid(10 * number + 2));
            assert_eq!(synced.ends_with(&deleted), kind.is_last(), "{synced}");
            let selected = peer.ask(&format!("REQSEL{};", hid(10 * number)));
            assert!(selected.contains("host%eq!one!;"), "{selected}");
            assert!(selected.contains("notes%eq!\u{1}!;"), "{selected}");
        }
    }
    let hashes = accounts(&server);
    let replaced = hashes.iter().filter(|row| row.contains("$argon2id$"));
    assert_eq!(replaced.count(), 2, "{hashes:?}");
    let mut other = Peer::known(&server, Kind::G3);
    let new = "INFRETmsg%eq!SEND_VERIFICATION_NEW_DEVICE!;";
    assert_eq!(other.log_in("alice", "correct horse"), new);
}

#[test]
fn hashes_are_those_that_the_programs_of_the_original_make() {
    let hash = stored("alice", "correct horse", COSTS[0]);
    assert!(hash.starts_with("07334fd0040bc2d2775102fee3609992962127a1c914a34153fbb490c1d5663a"));
}

#[test]
fn a_second_import_changes_nothing() {
    let Some(server) = server("") else { return };
    let original = Original::new(FIRST_TABLES);
    original.user(1, "alice", &stored("alice", "pass", COSTS[0]));
    original.entry(1, 1, "one");
    original.import(&server);
    let before = accounts(&server);
    original.entry(1, 2, "two");
    let report = original.import(&server);
    assert_eq!(report["already"], serde_json::json!(["alice"]));
    assert_eq!(report["users"], serde_json::json!([]));
    assert_eq!(accounts(&server), before);
    let mut peer = old_device(&server, Kind::G3, 1);
    assert!(peer.log_in("alice", "pass").contains("LOGIN_SUCCESSFUL"));
    assert_eq!(peer.sync().matches("','").count(), 1);
}

#[test]
fn what_no_client_could_have_sent_is_left_out_and_reported() {
    let Some(server) = server("") else { return };
    let original = Original::new(TABLES);
    let hash = stored("alice", "pass", COSTS[0]);
    original.user(1, "alice", &hash);
    for (number, name) in [(2, "it's"), (3, "__ADMIN__"), (4, "inactive"), (5, "short")] {
        original.user(number, name, &hash);
    }
    original.run(
        "UPDATE Tbl_user SET U_isVerified = 0 WHERE U_id = 4;
         UPDATE Tbl_user SET U_password = 'x' WHERE U_id = 5;
         INSERT INTO Tbl_user (U_id, U_username, U_password, U_isVerified) VALUES (6, x'ff', '', 1);
         UPDATE Tbl_user SET U_email = 'no address' WHERE U_id = 1;",
    );
    for number in 10..20 {
        original.entry(1, number, "x");
    }
    original.entry(4, 20, "of nobody");
    original.run(
        "UPDATE Tbl_data SET D_notes = x'00' WHERE D_id = 1;
         UPDATE Tbl_data SET D_notes = CAST(x'ff' AS TEXT) WHERE D_id = 2;
         UPDATE Tbl_data SET D_notes = 'a!b' WHERE D_id = 3;
         UPDATE Tbl_data SET D_notes = CAST(x'610062' AS TEXT) WHERE D_id = 4;
         UPDATE Tbl_data SET D_hid = 'it''s' WHERE D_id = 5;
         UPDATE Tbl_data SET D_datetime = 'now' WHERE D_id = 6;
         UPDATE Tbl_data SET D_notes = printf('%.*c', 3000000, 'x') WHERE D_id = 7;
         UPDATE Tbl_data SET D_hid = (SELECT D_hid FROM Tbl_data WHERE D_id = 9) WHERE D_id = 10;",
    );
    original.device(1, 30);
    original.run(
        "INSERT INTO Tbl_blockedCookies (BC_cookie, BC_time, BC_duration)
         SELECT C_cookie, '1600000000', '99999999999' FROM Tbl_cookies WHERE C_id = 30",
    );
    let report = original.import(&server);
    let text = "has a character that no client can send";
    let long = "not a text, or a longer one than a client sends";
    let expected = [
        "user 2: U_username: not a name".to_owned(),
        "user 3: the administrator, whose work tfd vault does".to_owned(),
        "user 4: inactive: not activated".to_owned(),
        "user 5: short: U_password: not a hash".to_owned(),
        format!("user 6: U_username: {long}"),
        "address 1: U_email: not an address".to_owned(),
        "entry 11: of no user that is taken over".to_owned(),
        "device 30: banned".to_owned(),
        format!("entry 1: D_notes: {long}"),
        "entry 2: D_notes: not UTF-8".to_owned(),
        format!("entry 3: D_notes: {text}"),
        format!("entry 4: D_notes: {text}"),
        "entry 5: D_hid: not an id".to_owned(),
        "entry 6: D_datetime: not a number".to_owned(),
        format!("entry 7: D_notes: {long}"),
        "entry 10: the id is there twice".to_owned(),
    ];
    let found = reasons(&report);
    for reason in &expected {
        assert!(found.contains(reason), "{reason}: {found:#?}");
    }
    assert_eq!(report["users"][0]["entries"], 2);
    assert_eq!(report["users"][0]["devices"], 1);
    let (text, is_well) = operate(&server, &["accounts", "--json"]);
    assert!(is_well && text.matches("\"user\"").count() == 1, "{text}");
}

#[test]
fn an_import_that_can_not_be_whole_changes_nothing() {
    let Some(server) = server("max_account = \"1M\"") else {
        return;
    };
    let original = Original::new(TABLES);
    let hash = stored("alice", "pass", COSTS[0]);
    original.user(1, "alice", &hash);
    original.user(2, "bob", &hash);
    original.entry(1, 1, "one");
    for number in 10..20 {
        original.entry(2, number, &"x".repeat(200_000));
    }
    let (text, is_well) = original.try_import(&server);
    assert!(
        !is_well && text.contains("bob: no room: raise vault.max_account"),
        "{text}"
    );
    nothing_came(&server);
}

#[test]
fn what_is_not_a_database_of_an_original_server_is_refused() {
    let Some(server) = server("") else { return };
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("garbage.db");
    fs::write(&file, "x".repeat(9000)).expect("write");
    let (text, is_well) = import(&server, &file);
    assert!(!is_well && text.contains("not a database"), "{text}");
    for (tables, reason) in [
        (
            "CREATE TABLE Tbl_other (x)".to_owned(),
            "it has no table Tbl_user",
        ),
        (
            TABLES.replace("U_password TEXT,", ""),
            "Tbl_user has no column U_password",
        ),
        (
            TABLES.replace("CREATE TABLE Tbl_data", "CREATE TABLE Tbl_real")
                + "CREATE VIEW Tbl_data AS SELECT * FROM Tbl_real;",
            "Tbl_data is not an ordinary table",
        ),
        (
            TABLES.replace("D_hid TEXT", "D_hid TEXT AS (hex(D_host))"),
            "Tbl_data has no column D_hid",
        ),
    ] {
        let (text, is_well) = Original::new(&tables).try_import(&server);
        assert!(!is_well && text.contains(reason), "{text}");
    }
    nothing_came(&server);
}

#[test]
fn a_database_in_use_is_refused() {
    let Some(server) = server("") else { return };
    let original = Original::new(TABLES);
    let (text, is_well) = import(&server, &original.path());
    assert!(
        !is_well && text.contains("in use: stop the server"),
        "{text}"
    );
    let Original { directory, db } = original;
    db.close().expect("close");
    let file = directory.path().join("data.db");
    fs::write(directory.path().join("data.db-journal"), "x").expect("write");
    let (text, is_well) = import(&server, &file);
    assert!(
        !is_well && text.contains("-journal of it has content"),
        "{text}"
    );
    fs::remove_file(directory.path().join("data.db-journal")).expect("remove");
    let (text, is_well) = import(&server, &file);
    assert!(is_well, "{text}");
}

#[test]
fn an_import_that_was_cut_is_finished_by_the_next_login() {
    let Some(server) = server("") else { return };
    let original = Original::new(TABLES);
    original.user(1, "alice", &stored("alice", "pass", COSTS[0]));
    original.entry(1, 1, "one");
    original.import(&server);
    // As it is right behind the moment in which the account comes about.
    let store = server.data().join("roots/store");
    fs::rename(store.join("users/1"), store.join("import/0")).expect("rename");
    let db = Connection::open(store.join("accounts.db")).expect("database");
    let text = "INSERT INTO staged (account, directory) VALUES (1, '0')";
    db.execute(text, []).expect("staged");
    let mut peer = old_device(&server, Kind::G3, 1);
    assert!(peer.log_in("alice", "pass").contains("LOGIN_SUCCESSFUL"));
    assert!(peer.sync().contains(&hid(1)));
    let left: i64 = db
        .query_row("SELECT count(*) FROM staged", [], |row| row.get(0))
        .expect("SQL");
    assert_eq!(left, 0);
}

#[test]
fn accounts_can_be_there_before_the_first_start() {
    if !is_root() {
        println!("left out: a vault needs root");
        return;
    }
    let original = Original::new(TABLES);
    original.user(1, "alice", &stored("alice", "pass", COSTS[0]));
    let copy = original.directory.path().join("copy.db");
    fs::copy(original.path(), &copy).expect("copy");
    let above = tempfile::tempdir().expect("directory");
    let config = above.path().join("tfd.toml");
    let text = "[server]\nuser = \"nobody\"\n[vault]\nlisten = [\"127.0.0.1:0\"]\n\
                data = \"vault\"\nuser = \"games\"\n";
    fs::write(&config, text).expect("write");
    let tfd = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tfd"))
            .arg("vault")
            .args(words)
            .arg("--config")
            .arg(&config)
            .output();
        let output = output.expect("tfd");
        String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
    };
    let text = tfd(&["import", copy.to_str().expect("text")]);
    let first = "imported: users 1, devices 1, entries 0, ids of deleted entries 0\n";
    assert_eq!(text, first);
    assert!(tfd(&["accounts"]).contains("alice"));
}
