//! What a gate and a session that were taken over could do: a tfd with a
//! visitor in it, which attacks from inside the real processes in their
//! places, once in the sandbox and once without it. Attempts that the sandbox
//! alone prevents must succeed then, or the test would prove nothing.
//!
//! The test is that tfd, too: called with `serve` it serves. So it has no
//! harness. It needs root.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers in tests are small"
)]
#![allow(unreachable_pub, reason = "shared by the test binaries")]

mod attacks;
mod climbs;
#[path = "../common/mod.rs"]
mod common;
mod dialer;
mod files;
mod fuzz;
mod holder;
mod hub;
#[allow(dead_code, reason = "the tests of the hub use the rest")]
#[path = "../hub/peer.rs"]
mod hub_peer;
mod log;
mod needed;
#[allow(dead_code, reason = "the tests of the vault use the rest")]
#[path = "../vault/own/peer.rs"]
mod own_peer;
mod pages;
#[allow(dead_code, reason = "the tests of the vault use the rest")]
#[path = "../vault/peer.rs"]
mod peer;
mod pool;
mod rootless;
mod state;
mod vault;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

use attacks::{ATTACKS, Outcome};
use common::{Client, Server, Setup, wait_until};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use tfd::sandbox::landlock_is_whole;
use tfd::sandbox::place::{Place, call_in_place, leave_out};
use tfd::tf::wire::Wire;

/// In a process of the attacked tfd.
fn attack(place: Place, peer: SocketAddr, root: Option<BorrowedFd<'_>>) {
    let wanted = setting("TFD_TEST_PLACE");
    if wanted == fuzz::PLACE {
        return fuzz::attack(place, peer);
    }
    if wanted == log::PLACE {
        return log::attack(place, peer);
    }
    if wanted == vault::PLACE {
        return vault::attack(place, peer, root);
    }
    if wanted == hub::PLACE {
        return hub::attack(place, root);
    }
    if wanted == holder::PLACE {
        return holder::attack(place, root);
    }
    if wanted == state::PLACE {
        return state::attack(place);
    }
    if format!("{place:?}") != wanted {
        return;
    }
    if !setting(pages::ERASE).is_empty() {
        return pages::erase();
    }
    if !setting(pool::FLOOD).is_empty() {
        return pool::flood(peer);
    }
    if let Some(attack) = attacks::of(peer) {
        match (attack.run)(root) {
            Ok(()) => eprintln!("attack succeeded"),
            Err(e) => eprintln!("attack refused error=\"{e}\""),
        }
    }
}

/// The variables for the attacks; tfd forgets them.
static SETTINGS: OnceLock<HashMap<String, String>> = OnceLock::new();

/// A variable as it was when this process began.
fn setting(name: &str) -> String {
    let settings = SETTINGS.get_or_init(|| std::env::vars().collect());
    settings.get(name).cloned().unwrap_or_default()
}

/// A client from an address of its own. The way through the doors ends where
/// the attack has killed the process.
fn come_from(address: Ipv4Addr, server: SocketAddr) -> Option<Client> {
    let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&socket, &SocketAddrV4::new(address, 0)).expect("bind");
    connect(&socket, &server).expect("connect");
    Client {
        wire: Wire::new(TcpStream::from(socket)).expect("wire"),
    }
    .try_in()
}

/// How often the log says this.
fn count(server: &Server, text: &str) -> usize {
    server
        .log()
        .iter()
        .filter(|line| line.contains(text))
        .count()
}

/// Makes all attempts in one place; how many came to something else than
/// expected.
fn attack_in(place: Place, sandbox: bool, listener: u16) -> usize {
    let environment = vec![
        ("TFD_TEST_PLACE", format!("{place:?}")),
        ("TFD_TEST_PORT", listener.to_string()),
    ];
    let backend = (place == Place::Relay).then(Server::start);
    let jail = place == Place::BeforeJail;
    let tf = match &backend {
        Some(backend) => format!("proxy_to = \"{}\"", backend.address()),
        None => String::new(),
    };
    // The auditor's socket is what sessions have together.
    let audit = if backend.is_some() {
        ""
    } else {
        "audit = \"audit.log\""
    };
    // The counters of quotas are memory that sessions share.
    let quota = if backend.is_some() {
        ""
    } else {
        "quota = \"1G\""
    };
    let server = Server::with(Setup {
        server: format!("sandbox = {sandbox}\njail = {jail}\n{audit}\n{quota}"),
        tf,
        program: Some((std::env::current_exe().expect("this program"), environment)),
        ..Setup::default()
    });
    server.write("inside", "inside");
    let around = if sandbox {
        "in the sandbox"
    } else {
        "without it"
    };
    let attempts = ATTACKS.iter().enumerate();
    let failed = attempts.filter(|(index, attack)| {
        let attempt = Attempt::new(&server);
        let client = come_from(attacks::address(*index), server.address());
        let outcome = attempt.outcome(attack.name);
        drop(client);
        !is_expected(attack, outcome, (place, sandbox), around)
    });
    failed.count()
}

/// An attack that is about to begin.
struct Attempt<'a> {
    server: &'a Server,
    before: [usize; 3],
}

/// What the log has of an attack in the end, as `OUTCOMES`.
const SAID: [&str; 3] = ["attack succeeded", "attack refused", "signal=SIGSYS"];
const OUTCOMES: [Outcome; 3] = [Outcome::Succeeded, Outcome::Refused, Outcome::Killed];

impl Attempt<'_> {
    fn new(server: &Server) -> Attempt<'_> {
        let before = SAID.map(|text| count(server, text));
        Attempt { server, before }
    }

    /// What it came to, once that is known.
    fn outcome(&self, name: &str) -> Outcome {
        let mut outcome = None;
        wait_until(name, || {
            let now = SAID.map(|text| count(self.server, text));
            outcome = (0..3).find(|at| now[*at] > self.before[*at]);
            outcome.is_some()
        });
        OUTCOMES[outcome.unwrap_or(0)]
    }
}

/// Whether an attack came to what it should; says so.
fn is_expected(
    attack: &attacks::Attack,
    outcome: Outcome,
    (place, sandbox): (Place, bool),
    around: &str,
) -> bool {
    let expected = attack.expected(place, sandbox);
    let verdict = if outcome == expected { "ok" } else { "FAILED" };
    println!(
        "{verdict:6} {place:?} {around}: {}: {outcome:?}, expected {expected:?}",
        attack.name
    );
    outcome == expected
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "serve") {
        setting("");
        call_in_place(attack);
        let without = std::env::var(needed::WITHOUT);
        assert!(
            without.is_err() || without.is_ok_and(|call| leave_out(&call)),
            "a call"
        );
        return tfd::daemon::serve(Path::new(&arguments[3]));
    }
    if !common::is_root() {
        println!("left out: the sandbox is tested as root");
        return ExitCode::SUCCESS;
    }
    if !landlock_is_whole() {
        println!("left out: this kernel's Landlock does not have all that the sandbox uses");
        return ExitCode::SUCCESS;
    }
    dialer::works_in_its_sandbox();
    pages::an_erased_page_hides_nobody();
    pool::a_flood_of_questions_keeps_no_other_session_waiting();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let mut failures = needed::every_call_is_needed(std::env::var_os("TFD_TEST_FULL").is_some());
    for place in [Place::Gate, Place::BeforeJail, Place::Session, Place::Relay] {
        failures += attack_in(place, true, port) + attack_in(place, false, port);
    }
    for place in [Place::Gate, Place::Session] {
        failures += vault::attack_in(place) + hub::attack_in(place);
    }
    failures += vault::is_out_of_reach() + hub::is_out_of_reach();
    failures += holder::is_out_of_reach();
    failures += state::is_confined();
    failures += log::is_out_of_reach();
    failures += climbs::out_of_each_root();
    failures += rootless::reaches_no_other_file();
    failures += fuzz::nothing_is_harmed();
    println!("{} attacks, {failures} failures", 10 * ATTACKS.len());
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
