//! What a session that was taken over could do: each attempt is made from a
//! process that has gone the way of a session, once inside the sandbox, where
//! it must fail, and once without it. Attempts that the sandbox alone prevents
//! must succeed then, or the test would prove nothing.
//!
//! It forks, so it has one thread and no harness. It needs root.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, Uid, getpid};
use rustix::fs::{Mode, OFlags};
use tfd::daemon::confinement::Confinement;
use tfd::daemon::sandbox::{Sandbox, landlock_is_whole};
use tfd::sys::process::fork;
use tfd::users::Identity;

/// What is around a session.
struct World {
    /// The session's root.
    root: OwnedFd,
    /// A process of the same user.
    sibling: Pid,
    /// Somebody who listens.
    listener: SocketAddr,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Succeeded,
    Refused,
    Killed,
}

/// An attempt, what it comes to inside the sandbox, and without it.
struct Attempt {
    name: &'static str,
    inside: Outcome,
    without: Outcome,
    run: fn(&World) -> io::Result<()>,
}

use Outcome::{Killed, Refused, Succeeded};

const ATTEMPTS: &[Attempt] = &[
    Attempt { name: "read a file of its root", inside: Succeeded, without: Succeeded, run: read },
    Attempt { name: "write one", inside: Succeeded, without: Succeeded, run: write },
    Attempt { name: "leave the root by its handle", inside: Refused, without: Succeeded, run: up },
    Attempt { name: "read /etc/shadow", inside: Refused, without: Refused, run: shadow },
    Attempt { name: "connect out", inside: Killed, without: Succeeded, run: connect_out },
    Attempt { name: "open a netlink socket", inside: Killed, without: Succeeded, run: netlink },
    Attempt { name: "signal another process", inside: Killed, without: Succeeded, run: signal },
    Attempt { name: "fork", inside: Killed, without: Succeeded, run: make_process },
    Attempt { name: "make a thread", inside: Succeeded, without: Succeeded, run: make_thread },
    Attempt { name: "trace another process", inside: Killed, without: Refused, run: trace },
    Attempt { name: "become root", inside: Killed, without: Refused, run: become_root },
    Attempt { name: "change its root", inside: Killed, without: Refused, run: change_root },
    Attempt { name: "make namespaces", inside: Killed, without: Refused, run: namespaces },
    Attempt { name: "start a program", inside: Killed, without: Refused, run: start_program },
];

fn read(world: &World) -> io::Result<()> {
    open(&world.root, "inside", OFlags::RDONLY)
}

fn write(world: &World) -> io::Result<()> {
    open(&world.root, "new", OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)
}

fn up(world: &World) -> io::Result<()> {
    open(&world.root, "../outside", OFlags::RDONLY)
}

fn open(root: &OwnedFd, path: &str, flags: OFlags) -> io::Result<()> {
    Ok(rustix::fs::openat(root, path, flags, Mode::RUSR | Mode::WUSR).map(drop)?)
}

fn shadow(world: &World) -> io::Result<()> {
    let above = "../".repeat(20) + "etc/shadow";
    open(&world.root, &above, OFlags::RDONLY).or_else(|_| std::fs::read("/etc/shadow").map(drop))
}

fn connect_out(world: &World) -> io::Result<()> {
    std::net::TcpStream::connect(world.listener).map(drop)
}

fn netlink(_: &World) -> io::Result<()> {
    let family = AddressFamily::Netlink;
    let protocol = SockProtocol::NetlinkRoute;
    Ok(socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map(drop)?)
}

fn signal(world: &World) -> io::Result<()> {
    Ok(kill(world.sibling, Signal::SIGCONT)?)
}

fn make_process(_: &World) -> io::Result<()> {
    let pid = fork(|| 0)?;
    Ok(waitpid(pid, None).map(drop)?)
}

fn make_thread(_: &World) -> io::Result<()> {
    let thread = std::thread::Builder::new().spawn(|| ())?;
    thread.join().map_err(|_| io::Error::other("thread"))
}

fn trace(world: &World) -> io::Result<()> {
    Ok(ptrace::attach(world.sibling)?)
}

fn become_root(_: &World) -> io::Result<()> {
    let root = Uid::from_raw(0);
    Ok(nix::unistd::setresuid(root, root, root)?)
}

fn change_root(world: &World) -> io::Result<()> {
    rustix::process::fchdir(&world.root)?;
    Ok(rustix::process::chroot(".")?)
}

fn namespaces(_: &World) -> io::Result<()> {
    Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?)
}

fn start_program(_: &World) -> io::Result<()> {
    Ok(nix::unistd::execv(c"/bin/true", &[c"true"]).map(drop)?)
}

/// Makes an attempt from a process that has gone the way of a session.
fn make(attempt: &Attempt, world: &World, identity: &Identity, sandbox: &Sandbox) -> Outcome {
    let parent = getpid();
    let confinement = Confinement::new(Some(identity), sandbox).expect("confinement");
    let child = || {
        let root = world.root.as_fd();
        let entered = confinement.enter_as_leaf(parent, &[root], Some(root));
        if let Err(e) = entered {
            eprintln!("not confined: {e}");
            return 2;
        }
        i32::from((attempt.run)(world).is_err())
    };
    let pid = fork(child).expect("fork");
    match waitpid(pid, None).expect("wait") {
        WaitStatus::Exited(_, 0) => Succeeded,
        WaitStatus::Exited(_, 1) => Refused,
        WaitStatus::Signaled(_, Signal::SIGSYS, _) => Killed,
        other => panic!("{}: {other:?}", attempt.name),
    }
}

fn main() -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: the sandbox is tested as root");
        return ExitCode::SUCCESS;
    }
    if !landlock_is_whole() {
        println!("left out: this kernel's Landlock does not have all that the sandbox uses");
        return ExitCode::SUCCESS;
    }
    let identity = Identity::of("nobody").expect("nobody");
    let scratch = tempfile::tempdir().expect("directory");
    let path = |name: &str| scratch.path().join(name);
    let readable = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777);
    std::fs::create_dir(path("root")).expect("root");
    for name in ["root/inside", "outside"] {
        std::fs::write(path(name), name).expect("write");
    }
    for name in ["", "root", "root/inside", "outside"] {
        std::fs::set_permissions(path(name), readable.clone()).expect("mode");
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path("root"), flags, Mode::empty()).expect("root");
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let sibling = fork(|| {
        let _ = identity.take();
        std::thread::sleep(std::time::Duration::from_secs(60));
        0
    });
    let sibling = sibling.expect("fork");
    std::thread::sleep(std::time::Duration::from_millis(100));
    let listener_address = listener.local_addr().expect("address");
    let world = World { root, sibling, listener: listener_address };

    let mut failures = 0;
    for (what, sandbox) in
        [("inside the sandbox", Sandbox::new().expect("filters")), ("without it", Sandbox::off())]
    {
        for attempt in ATTEMPTS {
            let wanted = if sandbox.is_on() { attempt.inside } else { attempt.without };
            let outcome = make(attempt, &world, &identity, &sandbox);
            let verdict = if outcome == wanted { "ok" } else { "FAILED" };
            failures += u32::from(outcome != wanted);
            println!("{verdict:6} {what}: {}: {outcome:?}, expected {wanted:?}", attempt.name);
        }
    }
    let _ = kill(sibling, Signal::SIGKILL);
    let _ = waitpid(sibling, None);
    println!("{} attempts, {failures} failed", 2 * ATTEMPTS.len());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
