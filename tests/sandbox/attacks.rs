//! What an attacker would try from a process that was taken over, and what
//! each attempt comes to in each place.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::waitpid;
use nix::unistd::{Uid, getppid};
use rustix::fs::{Mode, OFlags};
use tfd::sandbox::place::Place;
use tfd::sys::process::fork;

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Refused,
    Killed,
}

use Outcome::{Killed, Refused, Succeeded};

/// What an attempt comes to inside the sandbox, and without it.
type Expected = (Outcome, Outcome);

/// An attempt and what it comes to in a gate, before INJAIL, in a session.
pub struct Attack {
    pub name: &'static str,
    gate: Expected,
    before_jail: Expected,
    session: Expected,
    pub run: fn(Option<BorrowedFd<'_>>) -> io::Result<()>,
}

impl Attack {
    pub fn expected(&self, place: Place, sandbox: bool) -> Outcome {
        let (inside, without) = match place {
            Place::Gate | Place::Relay | Place::Helper(_) => self.gate,
            Place::BeforeJail => self.before_jail,
            Place::Session => self.session,
        };
        if sandbox { inside } else { without }
    }
}

const BY_LIST: Expected = BY_FILES;
const NEVER: Expected = (Refused, Refused);
const ALWAYS: Expected = (Succeeded, Succeeded);
const BY_FILES: Expected = (Refused, Succeeded);
const BY_FILTER: Expected = (Killed, Succeeded);
const TWICE: Expected = (Killed, Refused);

/// The attack that a client from this address sets off.
pub fn of(peer: SocketAddr) -> Option<&'static Attack> {
    let SocketAddr::V4(peer) = peer else {
        return None;
    };
    ATTACKS.get(usize::from(peer.ip().octets()[3]).checked_sub(FIRST)?)
}

/// The address of the client that sets off an attack.
pub fn address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, (FIRST + index) as u8)
}

const FIRST: usize = 10;

macro_rules! attacks {
    ($($name:literal: $gate:ident, $before_jail:ident, $session:ident, $run:expr;)*) => {
        pub const ATTACKS: &[Attack] = &[$(Attack {
            name: $name,
            gate: $gate,
            before_jail: $before_jail,
            session: $session,
            run: $run,
        },)*];
    };
}

attacks! {
    //                                    gate       before jail  session
    "read a file of the root":            NEVER,     ALWAYS,      ALWAYS,    |root| open(root, "inside", READ);
    "write a file of the root":           NEVER,     ALWAYS,      ALWAYS,    |root| open(root, "new", WRITE);
    "leave the root by its handle":       NEVER,     NEVER,       NEVER,     |root| open(root, "../tfd.toml", READ);
    "climb out of the root":              NEVER,     NEVER,       NEVER,     crate::climbs::climb;
    "climb out by a second root":         TWICE,     TWICE,       TWICE,     crate::climbs::climb_from_second_root;
    "read /etc/passwd by name":           NEVER,     NEVER,       NEVER,     |_| std::fs::read("/etc/passwd").map(drop);
    "read /etc/shadow by name":           NEVER,     NEVER,       NEVER,     |_| std::fs::read("/etc/shadow").map(drop);
    "read /etc/shadow by the handle":     NEVER,     NEVER,       NEVER,     |root| open(root, SHADOW, READ);
    "read /etc/shadow by another root":   TWICE,     TWICE,       TWICE,     by_another_root;
    "read the private key":               NEVER,     NEVER,       NEVER,     |root| open(root, "../private.pem", READ);
    "read the memory of its parent":      TWICE,     TWICE,       TWICE,     |_| read_parent();
    "trace its parent":                   TWICE,     TWICE,       TWICE,     |_| Ok(ptrace::attach(getppid())?);
    "signal its parent":                  BY_FILTER, BY_FILTER,   BY_FILTER, |_| Ok(kill(getppid(), Signal::SIGCONT)?);
    "become root":                        TWICE,     TWICE,       TWICE,     |_| become_root();
    "take root's groups":                 TWICE,     TWICE,       TWICE,     |_| Ok(nix::unistd::setgroups(&[0.into()])?);
    "connect out":                        BY_FILTER, BY_FILTER,   BY_FILTER, |_| connect_out();
    "open a netlink socket":              BY_FILTER, BY_FILTER,   BY_FILTER, |_| netlink();
    "make a process":                     BY_FILTER, BY_FILTER,   BY_FILTER, |_| make_process();
    "make a thread":                      ALWAYS,    ALWAYS,      ALWAYS,    |_| make_thread();
    "make namespaces":                    TWICE,     TWICE,       TWICE,     |_| namespaces();
    "mount":                              TWICE,     TWICE,       TWICE,     |_| mount();
    "start a program":                    TWICE,     TWICE,       TWICE,     |_| start_program();
    "have the keeper sign a word":        NEVER,     NEVER,       NEVER,     |_| have_answered(&[&[3, 4, 3][..], b"a word"].concat());
    "take a key for logins":              NEVER,     NEVER,       NEVER,     |_| have_answered(&[7]);
    "shut the way to the auditor":        NEVER,     BY_FILTER,   BY_FILTER, shut_channels;
    "leave the way to the auditor no room": NEVER,   BY_FILTER,   BY_FILTER, narrow_channels;
    "type at a terminal":                 TWICE,     TWICE,       TWICE,     |_| type_at_terminal();
    "grow its page into others":          NEVER,     NEVER,       NEVER,     |_| crate::pages::grow();
    "make the quotas writable":           NEVER,     NEVER,       NEVER,     |root| crate::pages::make_writable(root.is_some());
    "dump core":                          NEVER,     NEVER,       NEVER,     |_| allow_core();
    "limit its parent":                   BY_FILTER, BY_FILTER,   BY_FILTER, |_| call(libc::SYS_prlimit64, &[parent(), 4, 0, 0]);
    "set its parent's priority":          BY_FILTER, TWICE,       BY_FILTER, |_| call(libc::SYS_setpriority, &[0, parent(), 19]);
    "read its parent's priority":         BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_getpriority, &[0, parent()]);
    "read its parent's I/O priority":     BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_ioprio_get, &[1, parent()]);
    "read its parent's scheduler":        BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_sched_getscheduler, &[parent()]);
    "read its parent's processors":       BY_LIST,   BY_LIST,     BY_LIST,   |_| processors_of(parent());
    "see whether a process exists":       BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_getpgid, &[parent()]);
    "signal a thread of its parent":      BY_FILTER, BY_FILTER,   BY_FILTER, |_| call(libc::SYS_tgkill, &[parent(), parent(), 0]);
    "signal its group":                   BY_FILTER, BY_FILTER,   BY_FILTER, |_| call(libc::SYS_kill, &[0, 0]);
    "outlive its parent":                 BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_prctl, &[1, 0]);
    "let others trace it":                BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_prctl, &[4, 1]);
    "have a signal sent by a descriptor": BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_fcntl, &[1, 10, 9]);
    "be told of a descriptor by SIGIO":   BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_fcntl, &[1, 4, 0x2001]);
    "move a mapping":                     BY_LIST,   BY_LIST,     BY_LIST,   |_| remap();
    "make memory executable":             BY_LIST,   BY_LIST,     BY_LIST,   |_| call(libc::SYS_mprotect, &[page()?, 4096, 7]);
    "map memory to execute":              BY_LIST,   BY_LIST,     BY_LIST,   |_| map(4096, 5, PRIVATE);
    "map memory to share with nobody":    BY_LIST,   BY_LIST,     BY_LIST,   |_| map(4096, 3, SHARED);
    "take 1 GB of memory":                BY_LIST,   BY_LIST,     BY_LIST,   |_| map(1 << 30, 3, PRIVATE);
    "make memory that counts for nobody": BY_FILTER, BY_FILTER,   BY_FILTER, |_| call(libc::SYS_memfd_create, &[c"m".as_ptr().addr(), 0]);
    "empty the log":                      NEVER,     NEVER,       NEVER,     |_| call(libc::SYS_ftruncate, &[2, 0]);
    "overwrite the log":                  NEVER,     NEVER,       NEVER,     |_| call(libc::SYS_pwrite64, &[2, c"x".as_ptr().addr(), 1, 0]);
    "read the log":                       NEVER,     NEVER,       NEVER,     |_| read_log();
    "open the log once more":             NEVER,     NEVER,       NEVER,     |_| reopen_log();
    "shut the way to the logger":         BY_FILTER, BY_FILTER,   BY_FILTER, |_| call(libc::SYS_shutdown, &[2, 0]);
    "change the room for the log":        BY_FILTER, BY_FILTER,   BY_FILTER, |_| room_for_log();
    "have no process wait for the log":   BY_FILTER, BY_FILTER,   BY_FILTER, |_| call(libc::SYS_fcntl, &[2, 4, 0x8000]);
    "copy the way to the logger":         BY_FILTER, BY_FILTER,   BY_FILTER, |_| call(libc::SYS_dup, &[2]);
    "pass itself descriptors":            BY_FILTER, ALWAYS,      ALWAYS,    |_| pair();
    "fill a file without writing":        NEVER,     BY_LIST,     BY_LIST,   fill;
}

const READ: OFlags = OFlags::RDONLY;
const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CREATE);
const SHADOW: &str = "../../../../../../../../../../../../etc/shadow";

fn open(root: Option<BorrowedFd<'_>>, path: &str, flags: OFlags) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    match root {
        Some(root) => Ok(rustix::fs::openat(root, path, flags, mode).map(drop)?),
        None => Ok(rustix::fs::open(format!("/{path}"), flags, mode).map(drop)?),
    }
}

/// The old way out of a changed root: change it once more, with a handle from
/// before.
fn by_another_root(root: Option<BorrowedFd<'_>>) -> io::Result<()> {
    if let Some(root) = root {
        let _ = rustix::fs::mkdirat(root, "another", Mode::RWXU);
        rustix::process::fchdir(root)?;
        rustix::process::chroot("another")?;
    } else {
        rustix::process::chroot("/")?;
    }
    open(root, SHADOW, READ)
}

fn read_parent() -> io::Result<()> {
    let mut byte = [0];
    let here = (&raw const byte).addr();
    let remote = [RemoteIoVec { base: here, len: 1 }];
    Ok(process_vm_readv(getppid(), &mut [io::IoSliceMut::new(&mut byte)], &remote).map(drop)?)
}

fn become_root() -> io::Result<()> {
    let root = Uid::from_raw(0);
    Ok(nix::unistd::setresuid(root, root, root)?)
}

/// To whoever started the test: see `main`.
fn connect_out() -> io::Result<()> {
    let port = crate::setting("TFD_TEST_PORT").parse().unwrap_or(0);
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop)
}

fn netlink() -> io::Result<()> {
    let family = AddressFamily::Netlink;
    let protocol = SockProtocol::NetlinkRoute;
    Ok(socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map(drop)?)
}

fn make_process() -> io::Result<()> {
    let pid = fork(|| 0)?;
    Ok(waitpid(pid, None).map(drop)?)
}

fn make_thread() -> io::Result<()> {
    let thread = std::thread::Builder::new().spawn(|| ())?;
    thread.join().map_err(|_| io::Error::other("thread"))
}

fn namespaces() -> io::Result<()> {
    Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?)
}

fn mount() -> io::Result<()> {
    let flags = rustix::mount::MountFlags::empty();
    Ok(rustix::mount::mount("none", "/", "tmpfs", flags, None)?)
}

fn start_program() -> io::Result<()> {
    Ok(nix::unistd::execv(c"/bin/true", &[c"true"]).map(drop)?)
}

/// Asks whoever is at the other end of any channel for what this gate may not
/// have.
fn have_answered(question: &[u8]) -> io::Result<()> {
    use nix::sys::socket::{SockType, getsockopt, recv, send, sockopt};
    let flags = nix::sys::socket::MsgFlags::MSG_NOSIGNAL;
    for number in 3..64 {
        // SAFETY: it is looked at before anything else is done, and never closed.
        #[allow(unsafe_code, reason = "an attacker tries every number")]
        let handle = unsafe { BorrowedFd::borrow_raw(number) };
        if getsockopt(&handle, sockopt::SockType) != Ok(SockType::SeqPacket) {
            continue;
        }
        send(number, question, flags)?;
        let patience = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 300_000_000,
        };
        let mut waiting = [rustix::event::PollFd::new(
            &handle,
            rustix::event::PollFlags::IN,
        )];
        if rustix::event::poll(&mut waiting, Some(&patience))? == 0 {
            continue;
        }
        let mut answer = [0; 128];
        let len = recv(number, &mut answer, nix::sys::socket::MsgFlags::empty())?;
        if len > 1 && answer[0] == 1 {
            return Ok(());
        }
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

/// Tries something on all channels of a process with a root, of which that to
/// the auditor is one for all sessions.
fn with_channels(
    root: Option<BorrowedFd<'_>>,
    run: impl Fn(BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let tried = channels().filter(|_| root.is_some()).map(run);
    let none = Err(io::ErrorKind::PermissionDenied.into());
    tried.last().unwrap_or(none)
}

/// All channels of this process.
pub fn channels() -> impl Iterator<Item = BorrowedFd<'static>> {
    use nix::sys::socket::{SockType, getsockopt, sockopt};
    let handle = |number| {
        // SAFETY: it is looked at before anything else is done, and never closed.
        #[allow(unsafe_code, reason = "an attacker tries every number")]
        unsafe {
            BorrowedFd::borrow_raw(number)
        }
    };
    let is_channel =
        |handle: &BorrowedFd<'_>| getsockopt(handle, sockopt::SockType) == Ok(SockType::SeqPacket);
    (3..64).map(handle).filter(is_channel)
}

fn shut_channels(root: Option<BorrowedFd<'_>>) -> io::Result<()> {
    with_channels(root, |handle| {
        Ok(rustix::net::shutdown(handle, rustix::net::Shutdown::Both)?)
    })
}

fn narrow_channels(root: Option<BorrowedFd<'_>>) -> io::Result<()> {
    with_channels(root, |handle| {
        Ok(rustix::net::sockopt::set_socket_send_buffer_size(
            handle, 1,
        )?)
    })
}

/// At the one that standard error may be.
fn type_at_terminal() -> io::Result<()> {
    // SAFETY: the request reads one byte, which is there.
    #[allow(unsafe_code, reason = "nobody offers this call")]
    let typed = unsafe { libc::ioctl(2, libc::TIOCSTI, b"\n".as_ptr()) };
    if typed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn read_log() -> io::Result<()> {
    let mut byte = [0];
    // The end of a channel that is shut is no byte.
    match nix::unistd::read(io::stderr(), &mut byte)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn reopen_log() -> io::Result<()> {
    std::fs::File::open("/proc/self/fd/2").map(drop)
}

fn room_for_log() -> io::Result<()> {
    let set = rustix::net::sockopt::set_socket_send_buffer_size(io::stderr(), 1 << 20);
    Ok(set?)
}

fn pair() -> io::Result<()> {
    std::os::unix::net::UnixStream::pair().map(drop)
}

/// Core dumps would carry session keys onto the disk.
fn allow_core() -> io::Result<()> {
    if nix::sys::prctl::get_dumpable()? {
        return Ok(());
    }
    Err(io::ErrorKind::PermissionDenied.into())
}

/// A system call as an attacker makes it.
#[allow(unsafe_code, reason = "nobody offers these calls")]
fn call(number: libc::c_long, arguments: &[usize]) -> io::Result<()> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: whatever it does, it does to this process, which ends soon.
    match unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn parent() -> usize {
    getppid().as_raw() as usize
}

const PRIVATE: usize = 0x22;
const SHARED: usize = 0x21;

fn map(len: usize, protection: usize, flags: usize) -> io::Result<()> {
    call(libc::SYS_mmap, &[0, len, protection, flags, usize::MAX, 0])
}

/// The address of a page of its own.
fn page() -> io::Result<usize> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
    let len = std::num::NonZeroUsize::new(4096).expect("a page");
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses the place.
    #[allow(unsafe_code, reason = "an attacker maps what it likes")]
    let start = unsafe { mmap_anonymous(None, len, protection, MapFlags::MAP_PRIVATE) }?;
    Ok(start.as_ptr().addr())
}

fn remap() -> io::Result<()> {
    call(libc::SYS_mremap, &[page()?, 4096, 8192, 1, 0])
}

fn processors_of(pid: usize) -> io::Result<()> {
    let mut set = [0_u64; 128];
    let len = size_of_val(&set);
    call(
        libc::SYS_sched_getaffinity,
        &[pid, len, set.as_mut_ptr().addr()],
    )
}

fn fill(root: Option<BorrowedFd<'_>>) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let root = root.ok_or(io::ErrorKind::PermissionDenied)?;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = rustix::fs::openat(root, "filled", WRITE, mode)?;
    call(
        libc::SYS_fallocate,
        &[file.as_raw_fd() as usize, 0, 0, 4096],
    )
}
