//! What the hub's processes could do once they were taken over: all attempts on the
//! system from a gate and from a session, and every way to its database and to the
//! server's key.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use tempfile::TempDir;
use tfd::sandbox::place::Place;

use crate::attacks::{self, ATTACKS, Outcome};
use crate::common::{Server, Setup, connect_from, wait_until, write_certificate};
use crate::files::{self, TARGETS, reach_files, say};
use crate::hub_peer::{ALPN, HUB, Line, Person, enrol};
use crate::{Attempt, is_expected};

/// The place of processes of the hub that are attacked, whatever theirs is.
pub const PLACE: &str = "Hub";

/// How many attackers say at the end that they are through: the broker, the prober, a
/// gate, a session.
const ATTACKERS: usize = 4;

/// What a session of TF may do to a file, or needs one for.
const NEEDS_A_FILE: [&str; 4] = [
    "read a file of the root",
    "write a file of the root",
    "climb out by a second root",
    "read /etc/shadow by another root",
];

/// In a process of the attacked tfd.
pub fn attack(place: Place, root: Option<BorrowedFd<'_>>) {
    reach_files(root, &files::could(place));
    say(&format!("{place:?} has tried all"));
}

/// A tfd with a hub in this directory.
fn serve(above: &Path, environment: Option<Vec<(&'static str, String)>>, lines: &str) -> Server {
    let here = above.display();
    let program = environment.map(|environment| {
        let program = std::env::current_exe().expect("this program");
        (program, environment)
    });
    Server::with(Setup {
        server: format!(
            "{lines}control = \"control\"\ntls_certificate = \"{here}/tls.pem\"\n\
             tls_key = \"{here}/tls-key.pem\""
        ),
        tf: format!(
            "listen = []\n[hub]\ntls_listen = [\"127.0.0.1:0\"]\nname = \"{HUB}\"\n\
             data = \"{here}/hub\"\nuser = \"games\"\n"
        ),
        program,
        ..Setup::default()
    })
}

/// A directory with a hub in it that knows a user.
fn scene() -> (TempDir, Person) {
    let above = tempfile::tempdir().expect("directory");
    write_certificate(above.path(), None);
    let anna = Person::new("anna");
    let server = serve(above.path(), None, "");
    enrol(&server, &anna);
    drop(server);
    (above, anna)
}

/// Every way to files, from each process of the hub; how much came to something else
/// than expected.
pub fn is_out_of_reach() -> usize {
    let (above, anna) = scene();
    let above = above.path();
    let targets = files::targets(&[
        ("the book", above.join("hub/store/hub.db")),
        ("the key of TLS", above.join("tls-key.pem")),
        ("a file that all may read", above.join("tls.pem")),
    ]);
    let environment = vec![("TFD_TEST_PLACE", PLACE.to_owned()), (TARGETS, targets)];
    let server = serve(above, Some(environment), "");
    let mut line = Line::new(&server);
    let reply = line.log_in(&anna, "owner", &anna.login);
    assert!(reply.starts_with("201"), "{reply}");
    wait_until("all attacks", || {
        crate::count(&server, "has tried all") >= ATTACKERS
    });
    // What is in its place shows that they would reach what they could.
    let could = files::could_in(&server);
    let failures = files::differing("the hub", &could, &[("the book", 1)]);
    println!("{ATTACKERS} processes of a hub attacked, {failures} failures");
    failures
}

/// All attempts of `attacks` from a gate or a session of the hub in its sandbox; how
/// many came to something else than those of TF.
pub fn attack_in(place: Place) -> usize {
    let (above, anna) = scene();
    let environment = vec![
        ("TFD_TEST_PLACE", format!("{place:?}")),
        ("TFD_TEST_PORT", "9".to_owned()),
    ];
    // What sessions have together.
    let lines = "audit = \"audit.log\"\nquota = \"1G\"\n";
    let server = serve(above.path(), Some(environment), lines);
    let come = |address: Ipv4Addr| {
        let socket = connect_from(&address.to_string(), server.tls_address());
        let mut line = Line::over(socket, ALPN)?;
        if place == Place::Session {
            line.respond(&anna, "owner", &anna.login);
        }
        Some(line)
    };
    let attempts = ATTACKS.iter().enumerate();
    let failed = attempts.filter(|(index, attack)| {
        let attempt = Attempt::new(&server);
        let line = come(attacks::address(*index));
        let outcome = attempt.outcome(attack.name);
        drop(line);
        // Nothing in its root can be read, so nothing there leads any further.
        let has_no_file = outcome == Outcome::Refused && NEEDS_A_FILE.contains(&attack.name);
        if place == Place::Session && has_no_file {
            return false;
        }
        !is_expected(attack, outcome, (place, true), "of the hub")
    });
    failed.count()
}
