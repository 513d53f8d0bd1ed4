//! A keeper of tfd's next to a hub of tfd's, and owners that dial it.

pub mod circle;
mod crash;
mod files;
mod healing;
mod kills;
mod mounts;
mod orders;
mod processes;
mod rebuild;

use std::fs;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use openssl::sha::sha256;
use openssl::x509::X509;
use tempfile::TempDir;
use tfd::hub::peer::introduction::Parties;
use tfd::hub::peer::peer_line::PeerLine;
use tfd::hub::peer::signer::Signer;
use tfd::hub::peer::{PeerError, Result};
use tfd::hub::proofs::{Challenge, SigningKey, Statement};
use tfd::hub::wire::request::{Fil, Get};
use tfd::hub::wire::{
    Checksum, Line as WireLine, LoginKey, Message, Name, Purpose, Reply, Request, Signature, Value,
};
use tfd::net::tls::certificate::fingerprint;

use crate::common::{Server, Setup, wait_until};
use crate::peer::*;

/// Who keeps the store.
pub const KEEPS: &str = "mail";

/// What the log says once the hub knows the keeper and its share.
pub const ONLINE: &str = "line to the hub hub=";

/// A keeper that is ready at a hub.
pub struct Keeper {
    pub person: Person,
    pub server: Server,
    /// The directory of the holder.
    kept: PathBuf,
    _above: TempDir,
}

/// A hub, and a keeper of bob's.
pub struct Kept {
    pub hub: Hub,
    bob: Keeper,
}

impl Deref for Kept {
    type Target = Keeper;

    fn deref(&self) -> &Keeper {
        &self.bob
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Keeper {
        &mut self.bob
    }
}

/// What is different from the usual keeper.
#[derive(Default)]
pub struct Different {
    /// Lines of `[server]`, and of `[holder]`.
    pub server: String,
    pub lines: String,
    /// The directory above the store.
    pub above: Option<PathBuf>,
    /// The user who starts it.
    pub started_by: Option<u32>,
    /// Whether it looks up the hub's name.
    pub by_name: bool,
}

impl Signer for Person {
    fn respond(&self, challenge: &Challenge<'_>) -> std::io::Result<(Checksum, Option<Signature>)> {
        let signature = self.sign(&Statement::Response(challenge))?;
        Ok((challenge.response(&self.login)?, Some(signature)))
    }

    fn sign(&self, statement: &Statement<'_>) -> std::io::Result<Signature> {
        Ok(statement.sign(&self.identity)?)
    }
}

/// A keeper of bob's; `None` without root.
pub fn kept(lines: &str) -> Option<Kept> {
    kept_with(&Different {
        lines: lines.to_owned(),
        ..Different::default()
    })
}

pub fn kept_with(different: &Different) -> Option<Kept> {
    let hub = server("")?;
    let bob = Keeper::start(&hub, "bob", different);
    Some(Kept { hub, bob })
}

impl Keeper {
    /// One of this user, which is ready at the hub.
    #[track_caller]
    pub fn start(hub: &Hub, name: &str, different: &Different) -> Keeper {
        let (person, key_file) = keeper_of(hub, name);
        drop(hub.owner(&person));
        let above = tempfile::tempdir().expect("directory");
        let key = above.path().join("holder.key");
        fs::write(&key, key_file).expect("key file");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("mode");
        fs::set_permissions(above.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        if let Some(uid) = different.started_by {
            chown(&key, Some(uid), None).expect("chown");
            chown(above.path(), Some(uid), None).expect("chown");
        }
        let store = different.above.clone();
        let store = store
            .unwrap_or_else(|| above.path().to_owned())
            .join("kept");
        let share = match different.lines.contains("share =") {
            true => "",
            false => "share = \"10G\"",
        };
        let free = match different.lines.contains("keep_free =") {
            true => "",
            false => "keep_free = \"1M\"",
        };
        let port = hub.tls_address().port();
        let at = match different.by_name {
            true => format!("hub = \"localhost:{port}\""),
            false => String::new(),
        };
        let server = Server::with(Setup {
            server: different.server.clone(),
            tf: format!(
                "listen = []\n[holder]\nlisten = [\"127.0.0.1:0\"]\nkey = \"{}\"\n\
                 store = \"{}\"\nuser = \"{KEEPS}\"\n{share}\n{free}\n{at}\n{}\n",
                key.display(),
                store.display(),
                different.lines
            ),
            started_by: different.started_by,
            ..Setup::default()
        });
        let mut keeper = Keeper {
            person,
            server,
            kept: store,
            _above: above,
        };
        keeper.wait_until_online(1);
        keeper
    }
}

/// A user who keeps, and the text of its key file.
pub fn keeper_of(hub: &Hub, name: &str) -> (Person, String) {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("random");
    let person = Person {
        holder: SigningKey::new(&seed).expect("key"),
        ..Person::new(name)
    };
    let pem = fs::read(hub.certificate()).expect("certificate");
    let certificate = X509::from_pem(&pem).expect("PEM").to_der().expect("DER");
    let pin = fingerprint(&certificate).expect("pin");
    let proof = Statement::HolderKey {
        hub: &hub_name(),
        user: &person.user(),
        key: person.holder_key(),
    };
    let text = format!(
        "tfd-holder-key 1\nhub {} {HUB}\npin SHA256:{pin}\nuser {name}\nkey {}\nlogin {}\nproof {}\n",
        hub.tls_address(),
        LoginKey(seed.into()).text(),
        LoginKey(person.login.into()).text(),
        proof.sign(&person.identity).expect("proof").text(),
    );
    (person, text)
}

/// Bytes that differ from those of another seed.
pub fn content(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

pub fn name_of(content: &[u8]) -> Name {
    Name(sha256(content))
}

/// What the owner signs for a file of this size.
pub fn signed(owner: &Person, name: Name, size: u64) -> Signature {
    let statement = Statement::File {
        hub: &hub_name(),
        owner: &owner.user(),
        name,
        size,
    };
    statement.sign(&owner.identity).expect("signature")
}

/// `FIL`, as its owner sends it.
pub fn announced(owner: &Person, content: &[u8]) -> Fil {
    let (name, size) = (name_of(content), content.len() as u64);
    Fil {
        sig: Some(signed(owner, name, size)),
        ..Fil::new(name, size)
    }
}

impl Keeper {
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What the user of the store has.
    pub fn store(&self) -> PathBuf {
        self.kept.join("store")
    }

    /// Where all files are, which may be a disk of its own.
    pub fn files(&self) -> PathBuf {
        self.store().join("files")
    }

    /// Where a stored file of an owner lies.
    pub fn path(&self, owner: &Person, kind: &str, name: Name) -> PathBuf {
        let digits = Name(sha256(&owner.key().0)).text();
        let name = name.text();
        let below = self.files().join(&digits[..32]).join(kind);
        below.join(&name[..2]).join(name)
    }

    /// Waits until the keeper has been at the hub so many times.
    #[track_caller]
    pub fn wait_until_online(&mut self, times: usize) {
        self.server.wait_for_lines(ONLINE, times);
    }

    pub fn parties(&self, owner: &Person) -> Parties {
        Parties {
            own: owner.user(),
            other: self.person.user(),
            key: self.person.holder_key(),
            time: jiff::Timestamp::now().as_second() as u64,
        }
    }

    /// A line of an owner.
    pub fn try_dial(&self, owner: &Person, purpose: Purpose) -> Result<PeerLine> {
        let parties = self.parties(owner);
        let mut line = PeerLine::dial(&[self.address()], &parties.key)?;
        line.introduce(&parties, purpose, None, owner)?;
        Ok(line)
    }

    #[track_caller]
    pub fn dial(&self, owner: &Person, purpose: Purpose) -> PeerLine {
        self.try_dial(owner, purpose).expect("a line")
    }

    /// Has the hub announce a file to the keeper; the answer of the hub.
    #[track_caller]
    pub fn place(&self, line: &mut Line, content: &[u8]) -> String {
        let (name, size) = (name_of(content).text(), content.len());
        line.done(&format!("PUT {name} {size}"))
    }

    /// Stores a file as its owner does: hub, keeper, hub.
    #[track_caller]
    pub fn store_file(&self, line: &mut Line, owner: &Person, content: &[u8]) {
        let goes = self.place(line, content);
        assert!(goes.starts_with("DST"), "{goes}");
        let mut peer = self.dial(owner, Purpose::Backup);
        let receipt = sent(&mut peer, owner, content);
        self.acknowledge(line, content, receipt);
    }

    /// Shows the receipt to the hub.
    #[track_caller]
    pub fn acknowledge(&self, line: &mut Line, content: &[u8], receipt: Signature) {
        let (name, receipt) = (name_of(content).text(), receipt.text());
        let holder = &self.person.name;
        let reply = line.done(&format!("DFI {name} {holder} receipt={receipt}"));
        assert_eq!(code(&reply), 212, "{reply}");
    }
}

/// Sends a file; the last reply.
pub fn send(peer: &mut PeerLine, fil: &Fil, content: &[u8]) -> Result<Reply> {
    let id = peer.request(fil.clone())?;
    match peer.reply(id)? {
        Reply::MaySend { from } => {
            let from = from.unwrap_or(0) as usize;
            peer.write(&mut content[from..].to_vec())?;
            peer.reply(id)
        }
        reply => Ok(reply),
    }
}

/// Sends a file that is taken; the receipt.
#[track_caller]
pub fn sent(peer: &mut PeerLine, owner: &Person, content: &[u8]) -> Signature {
    match send(peer, &announced(owner, content), content).expect("reply") {
        Reply::FileReceived {
            receipt: Some(receipt),
        } => receipt,
        reply => panic!("{reply:?}"),
    }
}

/// Fetches a file, or a range of it.
pub fn fetch(peer: &mut PeerLine, get: &Request) -> std::result::Result<Vec<u8>, Reply> {
    let id = peer.request(get.clone()).expect("sent");
    let line = peer.line().expect("answer");
    let (own, fil) = match line {
        WireLine {
            id: Some(own),
            message: Message::Request(Request::Fil(fil)),
        } => (own, fil),
        WireLine {
            message: Message::Reply(reply),
            ..
        } => return Err(reply),
        other => panic!("{other:?}"),
    };
    assert_eq!(fil.r#for, Some(id));
    let from = Reply::MaySend { from: None };
    peer.answer(own, from).expect("sent");
    let mut content = vec![0; fil.filesize as usize];
    peer.read(&mut content).expect("bytes");
    let receipt = Reply::FileReceived { receipt: None };
    peer.answer(own, receipt).expect("sent");
    Ok(content)
}

pub fn get(content: &[u8]) -> Get {
    Get::new(name_of(content), content.len() as u64)
}

/// The reply that a line was refused by.
pub fn refusal<T>(result: Result<T>) -> Reply {
    match result {
        Err(PeerError::Refused(reply)) => reply,
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("let in"),
    }
}

/// An owner who has begun a run.
#[track_caller]
pub fn owner(kept: &Kept, name: &str) -> (Person, Line) {
    let person = Person::new(name);
    let mut line = kept.hub.owner(&person);
    line.begin(256 * MIB, 1, name.as_bytes()[0]);
    (person, line)
}

/// Ends the run, and has the hub announce the owner to the keeper.
#[track_caller]
pub fn recover(line: &mut Line) {
    line.done("ABT");
    let source = line.done("REC bob");
    assert!(source.starts_with("SRC"), "{source}");
}
