//! Lines that do not last.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::*;

/// How often all lines are cut, and how fast they are.
const CUT: Duration = Duration::from_secs(1);
const PIECE: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_millis(8);

/// A way to an address, slow and cut every second.
fn unsteady(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let cut = Arc::clone(&open);
    thread::spawn(move || {
        loop {
            thread::sleep(CUT);
            for socket in cut.lock().expect("sockets").drain(..) {
                // Nothing that is under way arrives.
                let _ = set_socket_linger(&socket, Some(Duration::ZERO));
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    });
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.expect("accept");
            let Ok(far) = TcpStream::connect(to) else {
                continue;
            };
            let clone = |socket: &TcpStream| socket.try_clone().expect("socket");
            let mut open = open.lock().expect("sockets");
            open.extend([clone(&near), clone(&far)]);
            drop(open);
            let (back, home) = (clone(&far), clone(&near));
            thread::spawn(move || pass(back, home));
            thread::spawn(move || pass(near, far));
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = vec![0; PIECE];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
        thread::sleep(PAUSE * len as u32 / PIECE as u32);
    }
    for socket in [from, to] {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_backup_and_a_restore_get_through_lines_that_are_cut_every_second() {
    let mib = match std::env::var_os("TFD_TEST_FULL") {
        Some(_) => 200,
        None => 20,
    };
    let keepers = ["bob", "carol"].map(|name| {
        let port = free_port();
        let way = unsteady(SocketAddr::from(([127, 0, 0, 1], port)));
        let different = Different {
            port: Some(port),
            public_port: Some(way.port()),
            ..Different::default()
        };
        (name, different)
    });
    let Some(party) = Party::with("2", keepers.into()) else {
        return;
    };
    let source = party.anna.path("source");
    fs::write(source.join("much"), noise(8, mib << 20)).expect("file");
    let begin = Instant::now();
    party.anna.fine(&["backup", "source"]);
    assert!(begin.elapsed() > 2 * CUT, "it was too fast to be cut");
    // The way to the hub is cut, too.
    let machine = party.machine_by(unsteady(party.hub.tls_address()));
    machine.fine(&["restore", "latest", "--target", "back"]);
    party.expect_same(&machine);
}
