//! Attacks on the memory that processes share: growing one's own page into those of
//! others, writing to what is for reading, and hiding by erasing one's page.

use std::io;
use std::net::Ipv4Addr;
use std::ptr::NonNull;

use nix::sys::mman::{MRemapFlags, ProtFlags, mprotect, mremap};
use tfd::sys::memory::mapped;

use crate::come_from;
use crate::common::{Server, Setup, wait_until};

/// Set for a tfd whose sessions erase their pages.
pub const ERASE: &str = "TFD_TEST_ERASE";

/// The pages that this process may write to, or not.
fn mappings(writable: bool) -> Vec<(NonNull<libc::c_void>, usize)> {
    let is_meant = |how: &ProtFlags| how.contains(ProtFlags::PROT_WRITE) == writable;
    let all = mapped::all().into_iter();
    all.filter(|(_, _, how)| is_meant(how))
        .filter_map(|(start, len, _)| Some((NonNull::new(start as *mut libc::c_void)?, len)))
        .collect()
}

/// Reads what lies behind a page of its own.
pub fn grow() -> io::Result<()> {
    let mut tried = Err(io::ErrorKind::PermissionDenied.into());
    let own = mappings(true);
    assert!(!own.is_empty(), "nothing to grow");
    for (start, len) in own {
        // SAFETY: the mapping is known to no other code by its new place, and a
        // process that attacks ends without using the old one.
        #[allow(unsafe_code, reason = "an attacker grows what it has")]
        let grown = unsafe { mremap(start, len, 2 * len, MRemapFlags::MREMAP_MAYMOVE, None) }?;
        // The kernel reads it, and fails where there is no page.
        // SAFETY: any address may be given to the kernel.
        #[allow(unsafe_code, reason = "no slice may lead there")]
        let read = unsafe { libc::write(2, grown.as_ptr().cast::<u8>().add(len).cast(), 1) };
        if read == 1 {
            tried = Ok(());
        }
    }
    tried
}

/// Makes writable what is for reading: the counters of others, which a process with a
/// root has.
pub fn make_writable(has_root: bool) -> io::Result<()> {
    let mut tried = Err(io::ErrorKind::PermissionDenied.into());
    let of_others = mappings(false);
    assert_eq!(of_others.is_empty(), !has_root, "{of_others:?}");
    for (start, len) in of_others {
        let all = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the memory stays readable, and nothing relies on a fault.
        #[allow(unsafe_code, reason = "an attacker asks for more")]
        if unsafe { mprotect(start, len, all) }.is_ok() {
            tried = Ok(());
        }
    }
    tried
}

/// Writes zeros all over its own pages.
pub fn erase() {
    for (start, len) in mappings(true) {
        // SAFETY: the words are atomic for all who use them, and any are valid.
        #[allow(unsafe_code, reason = "an attacker hides")]
        unsafe {
            start.as_ptr().cast::<u8>().write_bytes(0, len);
        }
    }
    eprintln!("erased");
}

/// A session that has erased its page is listed by user, address and process, and
/// is kicked.
pub fn an_erased_page_hides_nobody() {
    let environment = vec![
        ("TFD_TEST_PLACE", "Session".to_owned()),
        (ERASE, "yes".to_owned()),
    ];
    let mut server = Server::with(Setup {
        server: "control = \"control\"".to_owned(),
        program: Some((std::env::current_exe().expect("this program"), environment)),
        ..Setup::default()
    });
    let control = server.config_path().with_file_name("control");
    let tfd = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tfd"));
        let output = command
            .args(arguments)
            .arg("--control")
            .arg(&control)
            .output();
        String::from_utf8(output.expect("tfd").stdout).expect("text")
    };
    for kick in [
        &["kick", "--user", "nobody"][..],
        &["kick", "--all"],
        &["kick", "--slot", "0"],
    ] {
        let address = Ipv4Addr::new(127, 0, 0, 77);
        let mut client = come_from(address, server.address()).expect("a session");
        client.expect_alive();
        server.wait_for_log("erased");
        let table = tfd(&["status"]);
        assert!(table.contains(": 1 session"), "{table}");
        let line = table.lines().find(|line| line.contains("127.0.0.77:"));
        let line = line.unwrap_or_else(|| panic!("not listed: {table}"));
        let mut words = line.split_whitespace();
        assert!(words.clone().any(|word| word == "nobody"), "{table}");
        let pid = words.nth(1).expect("pid");
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        assert_eq!(name.expect("the process").trim(), "tfd-session");
        assert_eq!(tfd(kick), "ended 1 session\n", "{kick:?}");
        wait_until("its end", || tfd(&["status"]).contains(": 0 sessions"));
    }
}
