//! What the processes of a keeper of backups could do once they were taken over: every
//! way to its store, to its key and to another port.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use openssl::x509::X509;
use tempfile::TempDir;
use tfd::hub::proofs::{SigningKey, Statement};
use tfd::hub::wire::{LoginKey, Value};
use tfd::net::tls::certificate::fingerprint;
use tfd::sandbox::place::Place;

use crate::common::{Server, Setup, wait_until};
use crate::files::{self, TARGETS, reach_files, say};
use crate::hub_peer::{GIB, HUB, Hub, Line, MIB, Person, code, file, hub_name, server};
use crate::setting;

/// The place of processes of the keeper that are attacked, whatever theirs is.
pub const PLACE: &str = "Holder";

/// The variable with a port to which none of them is to connect.
const PORT: &str = "TFD_TEST_PORT";

/// How many attackers say at the end that they are through: stock, line, carrier and
/// caller.
const ATTACKERS: usize = 4;

/// Who keeps the store.
const KEEPS: &str = "mail";

/// In a process of the attacked tfd.
pub fn attack(place: Place, root: Option<BorrowedFd<'_>>) {
    let could = files::could(place);
    reach_files(root, &could);
    // To the stock the call itself is deadly.
    if place != Place::Helper("stock") {
        let port: u16 = setting(PORT).parse().expect("port");
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        could("connect elsewhere", connected.is_ok());
    }
    say(&format!("{place:?} has tried all"));
}

/// A hub that knows a file of anna's, with copies at bob and carol.
struct Scene {
    hub: Hub,
    anna: Person,
    above: TempDir,
    carol: Line,
    /// Where carol's keeper listens.
    peer: TcpListener,
}

fn scene() -> Option<Scene> {
    let hub = server("probe_cycle = 86400\nrelay_listen = [\"127.0.0.1:0\"]\n")?;
    let above = tempfile::tempdir().expect("directory");
    fs::set_permissions(above.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("random");
    let bob = Person {
        holder: SigningKey::new(&seed).expect("key"),
        ..Person::new("bob")
    };
    write_key(&hub, above.path(), &bob, seed);
    let (anna, carol) = (Person::new("anna"), Person::new("carol"));
    let peer = TcpListener::bind("127.0.0.1:0").expect("listen");
    let mut lines = [hub.holder(&bob, GIB), hub.holder(&carol, GIB)];
    let port = peer.local_addr().expect("address").port();
    let shared = lines[1].done(&format!("SHA {GIB} port={port}"));
    assert_eq!(code(&shared), 208, "{shared}");
    let mut owner = hub.owner(&anna);
    owner.begin(MIB, 2, 1);
    let id = owner.request(&format!("PUT {} {MIB}", file(1).text()));
    for line in &mut lines {
        line.obey("RCV", "211 OK to send file");
    }
    for _ in 0..2 {
        let goes = owner.answer(id);
        assert!(goes.starts_with("DST"), "{goes}");
    }
    for keeper in [&bob, &carol] {
        let receipt = keeper.receipt(&anna, file(1), MIB);
        let (name, user) = (file(1).text(), &keeper.name);
        let reply = owner.done(&format!("DFI {name} {user} receipt={receipt}"));
        assert_eq!(code(&reply), 212, "{reply}");
    }
    assert_eq!(code(&owner.done("DBU")), 215);
    let [_, carol] = lines;
    Some(Scene {
        hub,
        anna,
        above,
        carol,
        peer,
    })
}

/// The key file of a keeper, and a store that has nothing in it.
fn write_key(hub: &Hub, above: &Path, bob: &Person, seed: [u8; 32]) {
    let pem = fs::read(hub.data().with_file_name("tls.pem")).expect("certificate");
    let certificate = X509::from_pem(&pem).expect("PEM").to_der().expect("DER");
    let pin = fingerprint(&certificate).expect("pin");
    let proof = Statement::HolderKey {
        hub: &hub_name(),
        user: &bob.user(),
        key: bob.holder_key(),
    };
    let text = format!(
        "tfd-holder-key 1\nhub {} {HUB}\npin SHA256:{pin}\nuser bob\nkey {}\nlogin {}\nproof {}\n",
        hub.tls_address(),
        LoginKey(seed.into()).text(),
        LoginKey(bob.login.into()).text(),
        proof.sign(&bob.identity).expect("proof").text(),
    );
    let key = above.join("holder.key");
    fs::write(&key, text).expect("key file");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("mode");
    let store = above.join("kept/store");
    fs::create_dir_all(&store).expect("store");
    fs::write(store.join("stock.db"), "").expect("database");
    fs::write(above.join("readable"), "").expect("file");
    let keeps = nix::unistd::User::from_name(KEEPS).expect("users");
    let uid = keeps.expect("user").uid.as_raw();
    for path in [&store, &store.join("stock.db")] {
        chown(path, Some(uid), None).expect("chown");
    }
}

/// The keeper, with an attacker in each of its processes.
fn serve(above: &Path, environment: Vec<(&'static str, String)>) -> Server {
    let here = above.display();
    let program: PathBuf = std::env::current_exe().expect("this program");
    Server::with(Setup {
        tf: format!(
            "listen = []\n[holder]\nlisten = [\"127.0.0.1:0\"]\nkey = \"{here}/holder.key\"\n\
             store = \"{here}/kept\"\nuser = \"{KEEPS}\"\nshare = \"1G\"\nkeep_free = \"1M\"\n\
             public_port = 9\n"
        ),
        program: Some((program, environment)),
        ..Setup::default()
    })
}

/// Every way to files and to another port, from each process of a keeper; how much came
/// to something else than expected.
pub fn is_out_of_reach() -> usize {
    let Some(mut scene) = scene() else { return 0 };
    let above = scene.above.path();
    let targets = files::targets(&[
        ("the store", above.join("kept/store/stock.db")),
        ("the keeper's key", above.join("holder.key")),
        ("a file that all may read", above.join("readable")),
    ]);
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = elsewhere.local_addr().expect("address").port();
    let server = serve(
        above,
        vec![
            ("TFD_TEST_PLACE", PLACE.to_owned()),
            (TARGETS, targets),
            (PORT, port.to_string()),
        ],
    );
    // It has nothing of what the hub has given it, and asks for it.
    scene.carol.obey("LET", "211 OK to send file");
    let _line = scene.peer.accept().expect("a carrier");
    // Nobody reaches it: who wants to send it a file waits at the relay.
    wait_until("the hub has looked", || {
        let log = scene.hub.log();
        let mut lines = log.iter();
        lines.any(|line| line.contains("keeper is not reached user=\"bob\" address=127.0.0.1:9 "))
    });
    let mut owner = scene.hub.log_in(&scene.anna);
    owner.begin(MIB, 2, 2);
    owner.request(&format!("PUT {} {MIB}", file(2).text()));
    wait_until("all attacks", || {
        crate::count(&server, "has tried all") >= ATTACKERS
    });
    // What is in its place shows that they would reach what they could.
    let could = files::could_in(&server);
    let failures = files::differing("a keeper", &could, &[("the store", 1)]);
    println!("{ATTACKERS} processes of a keeper attacked, {failures} failures");
    drop(scene.hub);
    failures
}
