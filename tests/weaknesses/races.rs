//! A parent directory that is swapped for a link to a directory outside the
//! root, again and again, while a client works beneath it.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::common::{Client, PATIENCE};
use crate::{SECRET, Scene, without_root};

/// How long each race is run.
const SPAN: Duration = Duration::from_millis(500);

/// Makes a request with whatever exchange belongs to it: all that came back.
fn make(client: &mut Client, request: &str) -> String {
    let (word, path) = request.split_once(' ').expect("an argument");
    match word {
        "RCVFILE" | "LS" | "LSR" => {
            client.send(request);
            match client.receive_stream() {
                Ok(content) => format!("OK {}", String::from_utf8_lossy(&content)),
                Err(refused) => refused,
            }
        }
        "SNDFILE" => match client.ask(request).as_str() {
            "CONT" => {
                assert_eq!(client.ask("CONT new"), "CONT");
                client.ask("OK")
            }
            refused => refused.to_owned(),
        },
        "PUT" => {
            client.send(Client::hp("PUT", path, &[0, 100]));
            let reply = client.receive();
            if !reply.starts_with(b"OK ") {
                return String::from_utf8_lossy(&reply).into_owned();
            }
            client.send_frame(b"new");
            client.wire.write_units(&mut [0; 8], &[8]).expect("end");
            assert_eq!(client.wire.read_i64().expect("fin"), -127);
            client.wire.write_i64(-127).expect("fin");
            "OK".to_owned()
        }
        _ => client.ask(request),
    }
}

/// Repeats the requests, `made_ready` before each, while `d` beneath the root
/// is in turns a directory and a link to the one outside. Each request must
/// have met both.
fn race(requests: &[&str], made_ready: impl Fn(&Path)) {
    let met = race_to_the_end(requests, true, made_ready);
    assert!(
        both(&met),
        "fine and refused: {:?}",
        requests.iter().zip(&met).collect::<Vec<_>>()
    );
}

fn both(met: &[(u32, u32)]) -> bool {
    met.iter().all(|(fine, refused)| *fine > 0 && *refused > 0)
}

/// As [`race`], until each has met both where that is wanted: how often each
/// request was fine, and how often refused.
fn race_to_the_end(
    requests: &[&str],
    to_meet: bool,
    made_ready: impl Fn(&Path),
) -> Vec<(u32, u32)> {
    let mut scene = Scene::new();
    scene.server.mkdir("d");
    let root = scene.server.root().to_owned();
    let (directory, link) = (root.join("d"), root.join("l"));
    std::os::unix::fs::symlink("../outside", &link).expect("link");
    let handle = fs::File::open(&directory).expect("open");
    // The directory itself, wherever its name is at the moment.
    let real = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let mut client = scene.connect();
    let done = AtomicBool::new(false);
    let end = Instant::now() + SPAN;
    let mut met = vec![(0, 0); requests.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) && Instant::now() < end + PATIENCE {
                renameat_with(CWD, &directory, CWD, &link, RenameFlags::EXCHANGE).expect("swap");
            }
        });
        // With one processor the swaps come in turns with the requests.
        while Instant::now() < end || to_meet && !both(&met) && Instant::now() < end + PATIENCE {
            for (request, met) in requests.iter().zip(&mut met) {
                made_ready(&real);
                let reply = make(&mut client, request);
                assert!(
                    !reply.contains(SECRET) && !reply.contains("only-outside"),
                    "{reply}"
                );
                match reply.starts_with("OK") {
                    true => met.0 += 1,
                    false => met.1 += 1,
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    scene.unharmed();
    met
}

/// A file or a tree of the server's user in the directory.
fn file(directory: &Path, name: &str) {
    let path = directory.join(name);
    if !path.exists() {
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(&path, "inside").expect("write");
        crate::give_tree_to_server(&directory.join(name.split('/').next().expect("a name")));
    }
}

fn no_file(directory: &Path, name: &str) {
    let _ = fs::remove_file(directory.join(name));
}

#[test]
fn swapped_parent_reading_never_gives_a_byte_from_outside() {
    race(&["RCVFILE 0 d/f", "SHA256 d/f", "FSTAT d/f"], |d| {
        file(d, "f");
    });
}

#[test]
fn swapped_parent_new_and_replaced_files_never_appear_outside() {
    race(&["SNDFILE 0 d/new", "PUT d/put", "TOUCH d/touched"], |d| {
        ["new", "put", "touched"]
            .iter()
            .for_each(|name| no_file(d, name));
    });
    race(&["SNDFILE 1 d/f", "PUT d/f"], |d| file(d, "f"));
}

#[test]
fn swapped_parent_mkdir_makes_nothing_outside() {
    race(&["MKDIR d/made"], |d| {
        let _ = fs::remove_dir(d.join("made"));
    });
}

#[test]
fn swapped_parent_renam_takes_nothing_from_outside_and_puts_nothing_there() {
    race(&["RENAM d/f | taken"], |d| file(d, "f"));
    race(&["RENAM given | d/new"], |d| {
        let root = fs::read_link(d).expect("path");
        file(root.parent().expect("the root"), "given");
    });
}

#[test]
fn swapped_parent_del_and_rmdir_remove_nothing_outside() {
    race(&["DEL d/f"], |d| file(d, "f"));
    // RMDIR says OK to what is not there, so it meets the link as code 1.
    race(&["RMDIR d/t"], |d| file(d, "t/t/f"));
}

#[test]
fn swapped_parent_xdel_and_xrmdir_remove_nothing_outside() {
    race(&["XDEL d f"], |d| file(d, "f"));
    race(&["XRMDIR d t"], |d| file(d, "t/f"));
}

#[test]
fn swapped_parent_modes_times_and_owners_outside_stay() {
    race(&["CHMOD d/f 600", "CHMOD d/f 644", "FUPD d/f"], |d| {
        file(d, "f");
    });
    if !without_root() {
        race(&["CHOWN d/f nobody nogroup"], |d| file(d, "f"));
    }
}

#[test]
fn swapped_parent_listings_never_show_what_is_outside() {
    race(&["LS d", "LSR d"], |d| file(d, "t/f"));
}

#[test]
fn swapped_parent_copies_take_nothing_from_outside_and_put_nothing_there() {
    let ready = |d: &Path| {
        file(d, "f");
        let inside = fs::read_link(d).expect("path");
        let root = inside.parent().expect("the root");
        no_file(root, "copy");
        no_file(d, "copy");
        let _ = fs::remove_dir_all(root.join("tree"));
        file(root, "given");
    };
    race(
        &["COPY d/f | copy", "COPY given | d/copy", "CPDIR d | tree"],
        ready,
    );
}

#[test]
fn swapped_directories_on_the_way_of_a_walk_are_not_followed() {
    let requests = [
        "LSR /",
        "XDEL / f",
        "XRMDIR / t",
        "XCOPY copy given | d",
        "CPDIR / | tree",
    ];
    race_to_the_end(&requests, false, |d| {
        file(d, "f");
        file(d, "t/f");
        let inside = fs::read_link(d).expect("path");
        let root = inside.parent().expect("the root");
        file(root, "given");
        no_file(d, "copy");
        let _ = fs::remove_dir_all(root.join("tree"));
    });
}
