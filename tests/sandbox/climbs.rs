//! Climbing out of the root by `..` from the handle of it: Landlock limits what
//! is opened, and neither modes, owners and times, nor watches.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Access, AtFlags, CWD, Gid, Mode, OFlags, Timestamps, Uid};
use tempfile::NamedTempFile;
use tfd::sandbox::place::Place;

use crate::common::{Server, Setup, account, give_to_server, wait_until};
use crate::{attacks, come_from, count, setting};

type Climb = fn(BorrowedFd<'_>, &str) -> rustix::io::Result<()>;

const CLIMBS: &[(&str, Climb)] = &[
    ("stat", |root, path| {
        rustix::fs::statat(root, path, AtFlags::empty()).map(drop)
    }),
    ("access", |root, path| {
        rustix::fs::accessat(root, path, Access::EXISTS, AtFlags::empty())
    }),
    ("chmod", |root, path| {
        rustix::fs::chmodat(root, path, Mode::RWXU, AtFlags::empty())
    }),
    ("chown", |root, path| {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let (uid, gid) = (Uid::from_raw(uid.as_raw()), Gid::from_raw(gid.as_raw()));
        rustix::fs::chownat(root, path, Some(uid), Some(gid), AtFlags::empty())
    }),
    ("utimens", |root, path| {
        let zero = rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: zero,
            last_modification: zero,
        };
        rustix::fs::utimensat(root, path, &times, AtFlags::empty())
    }),
    ("open a path", |root, path| {
        rustix::fs::openat(root, path, OFlags::PATH, Mode::empty()).map(drop)
    }),
    ("change directory", |root, path| {
        rustix::process::fchdir(root)?;
        rustix::process::chdir(
            path.rsplit_once('/')
                .map_or(path, |(directory, _)| directory),
        )?;
        rustix::fs::statat(
            CWD,
            path.rsplit('/').next().unwrap_or(path),
            AtFlags::empty(),
        )
        .map(drop)
    }),
    ("watch", |root, path| {
        rustix::process::fchdir(root)?;
        let watcher = inotify::init(CreateFlags::empty())?;
        inotify::add_watch(&watcher, path, WatchFlags::ALL_EVENTS).map(drop)
    }),
];

/// Tries all ways to the file in `TFD_TEST_OUTSIDE`, and says which led there.
pub fn climb(root: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let root = root.ok_or(io::ErrorKind::NotFound)?;
    let outside = setting("TFD_TEST_OUTSIDE");
    let outside = if outside.is_empty() {
        "etc/passwd"
    } else {
        &outside
    };
    let led = ways_to(root, outside);
    if led.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    eprintln!("climbed out by {}", led.join(", "));
    Ok(())
}

/// The ways that lead to a file outside.
pub fn ways_to(root: BorrowedFd<'_>, outside: &str) -> Vec<&'static str> {
    let path = format!("{}{outside}", "../".repeat(20));
    let led = CLIMBS
        .iter()
        .filter(|(_, climb)| climb(root, &path).is_ok());
    led.map(|(name, _)| *name).collect()
}

/// The same once the root is changed again, to a directory beneath it: `..` from the
/// handle of the first root does not meet the second.
pub fn climb_from_second_root(root: Option<BorrowedFd<'_>>) -> io::Result<()> {
    if let Some(root) = root {
        let _ = rustix::fs::mkdirat(root, "second", Mode::RWXU);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let second = rustix::fs::openat(root, "second", flags, Mode::empty())?;
        rustix::process::fchdir(second)?;
    }
    rustix::process::chroot(".")?;
    climb(root)
}

/// From the sessions of each kind of server; how many could.
pub fn out_of_each_root() -> usize {
    let multi_user = "mode = \"multi-user\"\nusers = \"users\"";
    let both = format!("{multi_user}\njail = true");
    let (login, injail) = ("LOGIN ann a", "INJAIL token | home/cell");
    [
        ("single-user", "", "", &[][..]),
        ("multi-user", multi_user, "nobody:::", &[login]),
        (
            "multi-user with a home",
            multi_user,
            "nobody:/home::",
            &[login],
        ),
        ("a jail", "jail = true", "", &[injail]),
        ("multi-user in a jail", &both, "nobody:::", &[login, injail]),
    ]
    .into_iter()
    .map(|(name, lines, system_user, steps)| {
        let sandboxes = [true, false].into_iter();
        let could = sandboxes.filter(|sandbox| {
            let lines = format!("sandbox = {sandbox}\n{lines}");
            is_way_out(name, lines, system_user, steps)
        });
        could.count()
    })
    .sum()
}

fn is_way_out(name: &str, lines: String, system_user: &str, steps: &[&str]) -> bool {
    let outside = NamedTempFile::new().expect("a file outside");
    give_to_server(outside.path());
    let path = outside.path().to_string_lossy();
    let environment = vec![
        ("TFD_TEST_PLACE", format!("{:?}", Place::Session)),
        ("TFD_TEST_OUTSIDE", path.trim_start_matches('/').to_owned()),
    ];
    let server = Server::with(Setup {
        server: lines,
        users: account("ann", "a", system_user),
        directories: &["home/cell"],
        program: Some((std::env::current_exe().expect("this program"), environment)),
        ..Setup::default()
    });
    server.write("home/cell/jail.key", "token\n");
    let index = attacks::ATTACKS
        .iter()
        .position(|attack| attack.name == CLIMB);
    let address = attacks::address(index.expect("the attack"));
    let mut client = come_from(address, server.address()).expect("a client");
    for step in steps {
        client.expect(step, 0);
    }
    let said = |text| count(&server, text);
    wait_until("the attempt", || {
        said("attack succeeded") + said("attack refused") > 0
    });
    let by: Vec<_> = server.log();
    let by = by.iter().find(|line| line.contains("climbed out by"));
    let verdict = if by.is_none() { "ok" } else { "FAILED" };
    println!("{verdict:6} {name}: {CLIMB}: {by:?}");
    by.is_some()
}

/// The name of the attack.
pub const CLIMB: &str = "climb out of the root";
