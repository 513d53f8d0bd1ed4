//! The hub's book: what owners and holders rely on, each on a database of its own.

mod base;
mod care;
mod files;
mod model;
mod rules;

use tempfile::TempDir;

use super::*;
use crate::hub::proofs::{SigningKey, Statement};
use crate::hub::wire::{Factor, Key, Kind, Name, Role, RunId, Signature, User, Value};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const DAY: Time = 86_400;

/// A hub with its users and the time.
struct World {
    dir: TempDir,
    book: Book,
    online: Online,
    now: Time,
    drawn: u64,
}

fn user(name: &str) -> User {
    User::read(name).expect("name")
}

fn name(number: u8) -> Name {
    Name([number; 32])
}

fn run(number: u8) -> RunId {
    RunId([number; 16])
}

fn factor(number: u8) -> Factor {
    Factor::new(number).expect("factor")
}

fn rules() -> Rules {
    Rules {
        hub: Label::read("hub.example.org").expect("name"),
        free: GIB,
        ratio: 100,
    }
}

/// The database in a directory, without the wait for the disk.
fn open(dir: &TempDir, now: Time) -> Book {
    let book = Book::open(&dir.path().join("hub.db"), rules(), now).expect("open");
    let off = book.db.pragma_update(None, "synchronous", "OFF");
    off.expect("setting");
    book
}

/// The key of a user: an owner's, or a holder's.
fn signing_key(name: &User, role: Role) -> SigningKey {
    let mut bytes = [role.number(); 32];
    let text = name.as_str().as_bytes();
    bytes[..text.len()].copy_from_slice(text);
    SigningKey::new(&bytes).expect("key")
}

fn key(name: &User, role: Role) -> Key {
    signing_key(name, role).public().expect("key")
}

fn receipt(holder: &Account, owner: &Account, name: Name, size: u64) -> Signature {
    let statement = Statement::Receipt {
        hub: &rules().hub,
        holder: &holder.name,
        owner: &owner.name,
        name,
        size,
    };
    let key = signing_key(&holder.name, Role::Holder);
    statement.sign(&key).expect("signature")
}

fn removal(owner: &Account, name: Name, size: u64, time: Time) -> Removal {
    let time = count(time);
    let statement = Statement::Removal {
        hub: &rules().hub,
        owner: &owner.name,
        name,
        size,
        time,
    };
    let key = signing_key(&owner.name, Role::Owner);
    let proof = statement.sign(&key).expect("signature");
    Removal { name, proof, time }
}

/// The code of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("a refusal").code().expect("a refusal")
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().expect("directory");
        let now = 1_795_336_800;
        let book = open(&dir, now);
        World {
            dir,
            book,
            online: Online::new(),
            now,
            drawn: 0,
        }
    }

    /// The same hub after the end of its process.
    fn again(mut self) -> World {
        self.book = open(&self.dir, self.now);
        self
    }

    fn owner(&self, name: &str) -> Account {
        let name = user(name);
        let settings = Settings::default();
        let account = self.book.enter(&name, &settings, self.now).expect("user");
        let key = key(&name, Role::Owner);
        self.book
            .learn_key(account.id, Role::Owner, key)
            .expect("key");
        self.book.account(account.id).expect("user")
    }

    /// A holder with this share, online, in a network of its own.
    fn holder(&mut self, name: &str, share: u64) -> Account {
        let id = self.owner(name).id;
        let key = key(&user(name), Role::Holder);
        self.book.learn_key(id, Role::Holder, key).expect("key");
        self.shares(id, share).expect("share");
        let address = format!("198.51.{id}.1").parse().expect("address");
        self.book.arrived(id, address).expect("holder");
        self.online.insert(id);
        self.book.account(id).expect("user")
    }

    /// One of version 1.0, which may be owner and holder.
    fn base(&self, name: &str) -> Account {
        let name = user(name);
        let settings = Settings::default();
        let account = self.book.enter(&name, &settings, self.now).expect("user");
        let code = [7; 32];
        let enrolled = self.book.enrol(account.id, &code, self.now + DAY);
        enrolled.expect("code");
        let key = key(&name, Role::Both);
        let learned = self.book.learn_key(account.id, Role::Both, key);
        learned.expect("key");
        self.book.account(account.id).expect("user")
    }

    /// The same with this share, online, in a network of its own.
    fn base_holder(&mut self, name: &str, share: u64) -> Account {
        let id = self.base(name).id;
        self.shares(id, share).expect("share");
        let address = format!("203.0.{id}.1").parse().expect("address");
        self.book.arrived(id, address).expect("holder");
        self.online.insert(id);
        self.book.account(id).expect("user")
    }

    fn shares(&self, holder: UserId, size: u64) -> Result<()> {
        let share = Share {
            size,
            port: None,
            site: None,
        };
        self.book.share(holder, &share, self.now)
    }

    fn new_run(&self, owner: &Account, number: u8, size: u64) -> NewRun {
        NewRun {
            id: run(number),
            owner: owner.id,
            size,
            files: 1,
            factor: factor(1),
            is_chain: false,
            is_exclusive: false,
        }
    }

    fn begin(&self, new: &NewRun) -> Result<u64> {
        self.book.begin(new, &self.online, self.now)
    }

    fn place(&mut self, wish: &Wish<'_>) -> Result<Vec<Placed>> {
        let drawn = &mut self.drawn;
        let mut random = || {
            *drawn = drawn.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            *drawn >> 20
        };
        self.book.place(wish, &self.online, &mut random, self.now)
    }

    /// Places a file and has every copy stored.
    fn store(&mut self, wish: &Wish<'_>) -> Vec<UserId> {
        let owner = self.book.account(wish.owner).expect("owner");
        let mut holders = Vec::new();
        for placed in self.place(wish).expect("place") {
            let Placed::At(holder, _) = placed else {
                panic!("{placed:?}");
            };
            let account = self.book.account(holder).expect("holder");
            let receipt = receipt(&account, &owner, wish.name, wish.size);
            let stored = match owner.is_base {
                true => self.book.has_copy(owner.id, wish.name, holder, self.now),
                false => self
                    .book
                    .stored(&owner, wish.name, &account.name, &receipt, self.now),
            };
            assert!(stored.expect("stored").is_new);
            holders.push(holder);
        }
        holders
    }

    fn names(&self, owner: &Account) -> Vec<Name> {
        use crate::hub::wire::Kinds;
        let all = self.book.files(owner.id, Some(Kinds::All), None, 1000);
        all.expect("list").iter().map(|file| file.name).collect()
    }

    fn used(&self, owner: &Account) -> u64 {
        self.book.space(owner.id).expect("space").used
    }
}

fn wish(owner: &Account, run_number: u8, number: u8, size: u64) -> Wish<'static> {
    Wish {
        owner: owner.id,
        run: run(run_number),
        name: name(number),
        size,
        kind: Kind::Data,
        factor: Some(factor(1)),
        trusted: &[],
    }
}
