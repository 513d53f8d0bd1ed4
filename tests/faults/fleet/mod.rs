//! Two servers with one key, one hash and one directory: clients that follow
//! TLB find one server. `TFD_TEST_SHARED=DIR:DIR` has the two reach the
//! directory by mounts of its own each, in place of a local directory.

mod cluster;
mod haproxy;
mod ipvs;
mod load;
mod nfs;
mod rolling;
mod site;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tempfile::TempDir;

use crate::common::namespaces::{FAR, Link, NEAR};
use crate::common::{Client, Server, Setup, give_to_server, reply_for, wait_until};

const ROUNDS: u8 = 30;

/// A new directory, and what it is called on each of two machines.
struct Shared {
    ends: [PathBuf; 2],
    _local: Option<TempDir>,
}

impl Shared {
    fn make() -> Shared {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mounts = std::env::var("TFD_TEST_SHARED").unwrap_or_default();
        let Some((first, second)) = mounts.split_once(':') else {
            let local = tempfile::tempdir().expect("directory");
            fs::set_permissions(local.path(), fs::Permissions::from_mode(0o755)).expect("mode");
            let root = local.path().join("root");
            return Shared {
                ends: [root.clone(), root],
                _local: Some(local),
            };
        };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fleet-{}-{number}", std::process::id());
        let ends = [first, second].map(|mount| PathBuf::from(mount).join(&name));
        fs::create_dir(&ends[0]).expect("directory");
        give_to_server(&ends[0]);
        wait_until("the directory at the other end", || ends[1].exists());
        Shared { ends, _local: None }
    }

    /// A server on one of the two machines, with a pool file.
    fn serve(&self, end: usize, listen: &str) -> Server {
        self.serve_with(end, listen, "")
    }

    /// The same with further lines in `[server]`.
    fn serve_with(&self, end: usize, listen: &str, lines: &str) -> Server {
        Server::with(Setup {
            server: lines.to_owned(),
            ..self.setup(end, listen)
        })
    }

    /// The same by this program in place of tfd, with its environment. New clients wait
    /// for the old tfd to end, so that is soon.
    fn serve_by(
        &self,
        end: usize,
        listen: &str,
        program: (PathBuf, Vec<(&'static str, String)>),
    ) -> Server {
        Server::with(Setup {
            server: "stop_grace = 0.2".to_owned(),
            program: Some(program),
            ..self.setup(end, listen)
        })
    }

    fn setup(&self, end: usize, listen: &str) -> Setup {
        Setup {
            tf: format!("listen = [\"{listen}\"]\ntlb_pool = \"pool\""),
            root: Some(self.ends[end].clone()),
            ..Setup::default()
        }
    }
}

/// Two servers on this machine.
fn fleet() -> (Shared, [Server; 2]) {
    let shared = Shared::make();
    let servers = [0, 1].map(|end| shared.serve(end, "127.0.0.1:0"));
    (shared, servers)
}

fn tuple(address: SocketAddr) -> String {
    format!("4 {};{}", address.ip(), address.port())
}

fn set_pool(server: &Server, pool: &str) {
    let path = server.config_path().with_file_name("pool");
    fs::write(path.with_extension("new"), pool).expect("write");
    fs::rename(path.with_extension("new"), path).expect("rename");
}

/// Waits until TLB hands out this server.
fn wait_for_tlb(client: &mut Client, address: SocketAddr) {
    let told = format!("OK {}", tuple(address));
    wait_until(&told, || client.ask("TLB") == told);
}

/// Where a client is sent to by TLB, if anywhere: a server that is slow to
/// answer may be thought dead for a moment.
fn follow(client: &mut Client) -> Option<SocketAddr> {
    let reply = client.ask("TLB");
    let (ip, port) = reply.strip_prefix("OK 4 ")?.split_once(';')?;
    Some(SocketAddr::new(
        ip.parse().expect("address"),
        port.parse().expect("port"),
    ))
}

/// A session at the server that TLB hands out.
fn connect_by_tlb(client: &mut Client) -> Client {
    let mut found = None;
    wait_until("a server", || {
        found = follow(client);
        found.is_some()
    });
    Client::connect(found.expect("a server"))
}

fn receive(client: &mut Client, path: &str) -> Result<Vec<u8>, String> {
    client.send(format!("RCVFILE 0 {path}"));
    client.receive_stream()
}

#[test]
fn clients_that_follow_tlb_find_their_files() {
    let (_shared, servers) = fleet();
    let [a, b] = [servers[0].address(), servers[1].address()];
    set_pool(&servers[0], &tuple(b));
    set_pool(&servers[1], &format!("{}\n{}", tuple(a), tuple(b)));
    let mut first = Client::connect(a);
    first.send_file("f", false, b"by the first");
    wait_for_tlb(&mut first, b);
    let mut second = connect_by_tlb(&mut first);
    wait_until("the file", || {
        receive(&mut second, "f") == Ok(b"by the first".to_vec())
    });
    second.send_file("f", true, b"by the second");
    wait_for_tlb(&mut second, a);
    wait_until("the change", || {
        receive(&mut first, "f") == Ok(b"by the second".to_vec())
    });
    let [gone, _left] = servers;
    drop(gone);
    wait_until("the one that is left", || {
        (0..4).all(|_| follow(&mut second) == Some(b))
    });
    assert_eq!(receive(&mut second, "f"), Ok(b"by the second".to_vec()));
}

#[test]
fn a_directory_locked_through_one_is_closed_through_the_other() {
    let (_shared, [a, b]) = fleet();
    let (mut first, mut second) = (a.connect(), b.connect());
    first.expect_all(&[("MKDIR d", 0), ("LOCK LCK", 0), ("TOUCH d/LCK", 0)]);
    second.expect("LOCK LCK", 0);
    wait_until("the lock", || second.ask("TOUCH d/LCK") == reply_for(30));
    second.expect_all(&[("MKDIR d/new", 30), ("LS d", 30), ("SNDFILE 0 d/f", 30)]);
    first.expect_all(&[("MKDIR d/new", 30), ("DEL d/LCK", 0)]);
    wait_until("no lock", || second.ask("MKDIR d/new") == reply_for(0));
}

#[test]
fn a_file_sent_through_one_is_told_by_the_other() {
    let (_shared, [a, b]) = fleet();
    let (mut watcher, mut sender) = (a.connect(), b.connect());
    watcher.expect_all(&[("MKDIR d", 0), ("ADDNTFY in d", 0)]);
    wait_until("the directory", || b.exists("d"));
    watcher.send("STARTNTFY 0.01");
    for name in ["in-1", "out-1", "in-2"] {
        sender.send_file(&format!("d/{name}"), false, b"x");
    }
    let mut told = [watcher.reply(), String::new()];
    watcher.send("DEL");
    told[1] = watcher.reply();
    told.sort();
    assert_eq!(told, ["0 in-1", "0 in-2"]);
}

#[test]
fn a_secure_directory_made_through_one_is_protected_by_the_other() {
    let (_shared, [a, b]) = fleet();
    let (mut first, mut second) = (a.connect(), b.connect());
    first.expect_all(&[("MKDIR d", 0), ("MKDIR d/name.sd", 0)]);
    first.send_file("d/name.sd/token", false, b"secret");
    first.send_file("d/token", false, b"open");
    wait_until("the file", || {
        receive(&mut second, "d/name.sd/token") == Ok(b"secret".to_vec())
    });
    assert_eq!(second.list("LSR d"), ["F: token"]);
    second.expect_all(&[("XDEL d token", 0), ("RMSECDIR wrong | d/name.sd", 47)]);
    assert!(a.exists("d/name.sd/token"));
    second.expect("RMSECDIR token | d/name.sd", 0);
    wait_until("its end", || !a.exists("d/name.sd"));
}

/// A version of a file is one letter, many times, and as long as it says.
fn version(writer: u8, round: u8) -> Vec<u8> {
    vec![b'a' + writer; 200_000 + usize::from(round) * 1000]
}

fn is_whole(content: &[u8]) -> bool {
    let letter = content.first().map_or(0, |first| first.wrapping_sub(b'a'));
    (0..=ROUNDS).any(|round| letter < 2 && content == version(letter, round))
}

#[test]
fn files_replaced_through_both_at_once_are_always_whole() {
    let (_shared, servers) = fleet();
    servers[0].connect().send_file("f", false, &version(0, 0));
    wait_until("the file", || servers[1].exists("f"));
    // NFS moves a file that is read on the same machine aside before it is replaced.
    let over_nfs = std::env::var_os("TFD_TEST_NFS").is_some();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = servers.iter().map(|server| {
            scope.spawn(|| {
                let mut client = server.connect();
                while !done.load(Ordering::Relaxed) {
                    let content = match receive(&mut client, "f") {
                        Err(missing) if over_nfs && missing == reply_for(9) => continue,
                        content => content.expect("a file at any time"),
                    };
                    assert!(is_whole(&content), "{} bytes, mixed", content.len());
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        let write = |writer: u8| {
            let mut client = servers[usize::from(writer)].connect();
            (1..=ROUNDS).for_each(|round| client.send_file("f", true, &version(writer, round)));
        };
        let writers: Vec<_> = (0..2)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        let written = writers.into_iter().all(|writer| writer.join().is_ok());
        done.store(true, Ordering::Relaxed);
        assert!(written && readers.into_iter().all(|reader| reader.join().is_ok()));
    });
    let last = servers[0].read("f");
    assert!([0, 1].map(|writer| version(writer, ROUNDS)).contains(&last));
    wait_until("the same", || servers[1].read("f") == last);
    assert_eq!(servers[1].names(""), ["f"]);
}

#[test]
fn the_start_of_one_leaves_what_is_being_sent_to_the_other() {
    let shared = Shared::make();
    let mut a = shared.serve(0, "127.0.0.1:0");
    a.wait_for_log("swept root");
    a.write(&format!(".tfd-{}.part", "0f".repeat(16)), "left behind");
    let mut client = a.connect();
    assert_eq!(client.ask("SNDFILE 0 f"), "CONT");
    assert_eq!(client.ask("CONT begun, "), "CONT");
    let mut b = shared.serve(1, "127.0.0.1:0");
    b.wait_for_log("removed abandoned parts count=1");
    assert_eq!(client.ask("CONT ended"), "CONT");
    assert_eq!(client.ask("OK"), "OK");
    assert_eq!(a.read("f"), b"begun, ended");
    assert_eq!(a.names(""), ["f"]);
}

#[test]
fn two_machines_hand_out_each_other_while_there_is_a_link() {
    let Some(link) = Link::make() else { return };
    let shared = Shared::make();
    let near = link.near(|| shared.serve(0, "0.0.0.0:0"));
    let far = link.far(|| shared.serve(1, "0.0.0.0:0"));
    let ports = [&near, &far].map(|server| server.address().port());
    let [a, b] = [
        SocketAddr::new(NEAR, ports[0]),
        SocketAddr::new(FAR, ports[1]),
    ];
    set_pool(&near, &tuple(b));
    set_pool(&far, &tuple(a));
    let mut first = link.near(|| Client::connect(a));
    wait_for_tlb(&mut first, b);
    let mut second = link.near(|| connect_by_tlb(&mut first));
    second.send_file("f", false, b"by the far one");
    wait_until("the file", || {
        receive(&mut first, "f") == Ok(b"by the far one".to_vec())
    });
    wait_for_tlb(&mut second, a);
    link.cut();
    wait_until("nobody is left", || first.ask("TLB") == reply_for(52));
    link.mend();
    wait_for_tlb(&mut first, b);
    second.expect_alive();
}
