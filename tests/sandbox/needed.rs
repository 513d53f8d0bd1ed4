//! Every call that processes may make is needed: taken out of the lists, one at a
//! time, each breaks the operation that docs/decisions/system-calls.md names. So
//! does no operation with all calls in place.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tfd::sandbox::place::known;

use crate::common::{Client, Server, Setup, account};

/// The table, of which column 1 is the call and the last the operation.
const TABLE: &str = include_str!("../../docs/decisions/system-calls.md");

/// What begins the name of an operation that this machine may not have.
const ELSEWHERE: &str = "elsewhere:";

/// How long a broken operation may take to show it.
const LATE: Duration = Duration::from_secs(20);

/// How many servers to try at once.
const AT_ONCE: usize = 3;

/// The variable with the call that a tfd does without.
pub const WITHOUT: &str = "TFD_TEST_WITHOUT";

/// A call left out, or none.
type Without = Option<&'static str>;

struct Operation {
    name: &'static str,
    setup: fn() -> Setup,
    run: fn(&Server, Without),
}

const OPERATIONS: &[Operation] = &[
    Operation {
        name: "a start and a login",
        setup: plain,
        run: |server, _| log_in(server),
    },
    Operation {
        name: "commands for files",
        setup: plain,
        run: |server, _| use_files(server),
    },
    Operation {
        name: "transfers",
        setup: plain,
        run: |server, _| transfer(server),
    },
    Operation {
        name: "notifications",
        setup: plain,
        run: |server, _| be_notified(server),
    },
    Operation {
        name: "an urgent byte",
        setup: plain,
        run: |server, _| send_urgent(server),
    },
    Operation {
        name: "TLS",
        setup: with_tls,
        run: |server, _| log_in_over_tls(server),
    },
    Operation {
        name: "a login as another user",
        setup: multi_user,
        run: |server, _| log_in_as_ann(server),
    },
    Operation {
        name: "a proxy",
        setup: plain,
        run: go_through_proxy,
    },
    Operation {
        name: "tfd kick",
        setup: with_control,
        run: |server, _| kick(server),
    },
    Operation {
        name: "KEEPALIVE",
        setup: plain,
        run: |server, _| keep_alive(server),
    },
];

fn plain() -> Setup {
    Setup {
        server: "audit = \"audit.log\"\nquota = \"100M\"\ndurability = \"file\"".to_owned(),
        ..Setup::default()
    }
}

fn with_tls() -> Setup {
    Setup {
        tls: true,
        ..plain()
    }
}

fn with_control() -> Setup {
    Setup {
        server: "control = \"control\"".to_owned(),
        ..Setup::default()
    }
}

fn multi_user() -> Setup {
    Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"\njail = true".to_owned(),
        users: account("ann", "a", "games:::"),
        ..Setup::default()
    }
}

fn log_in(server: &Server) {
    server.connect().expect_alive();
    // Helper processes that nobody waited for end by now if they will.
    std::thread::sleep(Duration::from_millis(100));
    server.connect().expect_alive();
}

fn log_in_over_tls(server: &Server) {
    server.connect_tls().expect_alive();
}

fn use_files(server: &Server) {
    server.write("tree/a/file", "content");
    symlink("file", server.path("tree/a/link")).expect("link");
    let mut client = server.connect();
    client.expect_all(&[
        ("MKDIR d", 0),
        ("TOUCH d/f", 0),
        ("CHMOD d/f 0600", 0),
        ("FUPD d/f", 0),
        ("RENAM d/f | d/g", 0),
        ("COPY tree/a/file | copy", 0),
        ("CPDIR tree | trees", 0),
        ("DEL d/g", 0),
        ("RMDIR d", 0),
        ("TFD_SET xattr:757365722e61=00 copy", 0),
        ("TFD_SET xattr:757365722e61 copy", 0),
    ]);
    client.list("LSR tree");
    for request in [
        "FSTAT copy",
        "SHA256 copy",
        "FREESP",
        "CHOWN copy nobody nogroup",
    ] {
        client.ask(request);
    }
}

fn transfer(server: &Server) {
    let content = vec![7; 20 << 20];
    let mut client = server.connect();
    client.send_file("sent", false, &content);
    client.send_file("sent", true, b"again");
    client.hp_open("PUT", "put", &[0, 1 << 20]);
    for part in content.chunks(1 << 20) {
        client.send_frame(part);
    }
    client.wire.write_i64(0).expect("the end");
    client.wire.read_i64().expect("fin");
    client.wire.write_i64(-127).expect("fin");
    client.hp_open("GET", "put", &[0, 1 << 20]);
    while client.receive_frame().0 > 0 {}
    client.wire.write_i64(-127).expect("fin");
    client.wire.read_i64().expect("fin");
    client.send("RCVFILE 1 put");
    client.receive_stream().expect("content");
    client.expect_alive();
}

fn be_notified(server: &Server) {
    server.mkdir("d");
    let mut client = server.connect();
    server.write("d/new", "x");
    client.expect("ADDNTFY t d", 0);
    client.send("STARTNTFY 0.01");
    std::thread::sleep(Duration::from_millis(300));
    std::fs::remove_dir_all(server.path("d")).expect("remove");
    std::thread::sleep(Duration::from_millis(100));
}

fn send_urgent(server: &Server) {
    let mut client = server.connect();
    client.send("SHA256 missing");
    rustix::net::send(client.wire.socket(), b"!", rustix::net::SendFlags::OOB).expect("urgent");
    client.reply();
    server.write("large", vec![1; 30 << 20]);
    client.ask("SHA256 large");
}

fn log_in_as_ann(server: &Server) {
    server.write("jail/inside", "x");
    server.write("jail/jail.key", "token\n");
    let mut client = server.connect();
    client.ask("LOGIN ann wrong");
    client.expect("LOGIN ann a", 0);
    client.expect("INJAIL token | jail", 0);
    client.expect_alive();
}

fn go_through_proxy(server: &Server, without: Without) {
    let port = server.address().port();
    let proxy = Server::with(Setup {
        tf: format!("proxy_to = \"localhost:{port}\""),
        program: Some(program(without)),
        ..Setup::default()
    });
    let mut client = Client::connect(proxy.address());
    client.send_file("sent", false, &vec![7; 3 << 20]);
    client.expect_alive();
    drop(client);
    std::thread::sleep(Duration::from_millis(200));
    let harm = harm(&proxy);
    assert!(harm.is_none(), "{harm:?}");
}

fn kick(server: &Server) {
    let mut client = server.connect();
    client.expect_alive();
    let kicked = Command::new(env!("CARGO_BIN_EXE_tfd"))
        .args(["kick", "--all", "--control"])
        .arg(server.config_path().with_file_name("control"))
        .output()
        .expect("tfd kick");
    assert!(kicked.status.success());
    client.expect_closed();
}

fn keep_alive(server: &Server) {
    let mut client = server.connect();
    client.ask("KEEPALIVE 1 60 | 5 | 3");
    client.ask("KEEPALIVE 0");
    client.expect_alive();
}

/// The first line of a log that shows a process killed.
fn harm(server: &Server) -> Option<String> {
    let signs = ["signal=SIGSYS", "ended unasked", "can't serve"];
    let is_harm = |line: &String| signs.iter().any(|sign| line.contains(sign));
    server.log().into_iter().find(is_harm)
}

/// This program as a tfd without a call.
fn program(without: Without) -> (PathBuf, Vec<(&'static str, String)>) {
    let environment = without.map(|call| (WITHOUT, format!("SYS_{call}")));
    let program = std::env::current_exe().expect("this program");
    (program, environment.into_iter().collect())
}

/// What an operation comes to without this call, or with all.
fn break_by(call: Without, operation: &'static Operation) -> Option<String> {
    let setup = Setup {
        program: Some(program(call)),
        ..(operation.setup)()
    };
    let started = catch_unwind(AssertUnwindSafe(|| Server::with(setup)));
    let Ok(server) = started else {
        return Some("no start".to_owned());
    };
    let server = Arc::new(server);
    let (over, ended) = mpsc::channel();
    let shared = Arc::clone(&server);
    std::thread::spawn(move || {
        let run = catch_unwind(AssertUnwindSafe(|| (operation.run)(&shared, call)));
        let _ = over.send(run.is_err());
    });
    let late = Instant::now() + LATE;
    let outcome = loop {
        if let Some(line) = harm(&server) {
            break Some(line);
        }
        match ended.recv_timeout(Duration::from_millis(20)) {
            Ok(true) => break Some(harm(&server).unwrap_or("a client was cut off".to_owned())),
            Ok(false) => {
                std::thread::sleep(Duration::from_millis(50));
                break harm(&server);
            }
            Err(_) if Instant::now() > late => break Some("it does not end".to_owned()),
            Err(_) => {}
        }
    };
    server.signal(Signal::SIGKILL);
    outcome
}

/// The calls of the table and the operations that need them.
fn table() -> Vec<(&'static str, &'static str)> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`'), *cells.last().expect("cells"))
    })
    .collect()
}

/// Tries all operations and, if `each`, leaves out each call; how much came to
/// something else than the table says.
pub fn every_call_is_needed(each: bool) -> usize {
    let table = table();
    let mut failures = 0;
    let mut fail = |text: String| {
        println!("FAILED {text}");
        failures += 1;
    };
    for (name, _) in known() {
        let name = name.trim_start_matches("SYS_");
        if !table.iter().any(|(call, _)| *call == name) {
            fail(format!("{name} is not in docs/decisions/system-calls.md"));
        }
    }
    let is_known = |call: &str| known().any(|(name, _)| name.trim_start_matches("SYS_") == call);
    for (call, _) in table.iter().filter(|(call, _)| !is_known(call)) {
        fail(format!("{call} is in the table and in no list"));
    }
    std::panic::set_hook(Box::new(|_| ()));
    let whole = OPERATIONS.iter().map(|operation| (None, operation));
    let rows = table
        .iter()
        .filter(|(call, by)| is_known(call) && !by.starts_with(ELSEWHERE));
    let rows = rows.filter_map(|(call, by)| {
        let operation = OPERATIONS.iter().find(|operation| operation.name == *by);
        if operation.is_none() {
            fail(format!("{call}: no operation is called \"{by}\""));
        }
        Some((Some(*call), operation?))
    });
    let rows = rows.filter(|_| each);
    let work: Vec<_> = whole.chain(rows).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let out = Mutex::new(std::io::stdout());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((call, operation)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = break_by(*call, operation);
                    let fine = outcome.is_some() == call.is_some();
                    failed.fetch_add(usize::from(!fine), Ordering::Relaxed);
                    let verdict = if fine { "ok" } else { "FAILED" };
                    let without = call.unwrap_or("nothing");
                    let mut out = out.lock().expect("output");
                    let name = operation.name;
                    let _ = writeln!(out, "{verdict:6} {name} without {without}: {outcome:?}");
                }
            });
        }
    });
    drop(std::panic::take_hook());
    failures + failed.into_inner()
}
