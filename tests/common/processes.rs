//! What runs, by `/proc`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::Server;

/// What a process and its helpers are called, by pid, as far as they run.
pub fn descendants(pid: u32) -> Vec<(u32, String)> {
    let mut parents = vec![pid];
    let mut found = Vec::new();
    let all: Vec<(u32, u32, String)> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
            let mut fields = rest.split_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            (state != "Z").then(|| (pid, parent, name.to_owned()))
        })
        .collect();
    while let Some(parent) = parents.pop() {
        for (pid, _, name) in all.iter().filter(|(_, p, _)| *p == parent) {
            parents.push(*pid);
            found.push((*pid, name.clone()));
        }
    }
    found
}

/// The processes of a server that have this name.
pub fn pids(server: &Server, name: &str) -> Vec<u32> {
    let named = |(pid, found): (u32, String)| (found == name).then_some(pid);
    descendants(server.pid())
        .into_iter()
        .filter_map(named)
        .collect()
}

/// The processes that serve connections: gates and sessions. For a moment a
/// connection may have one of each.
pub fn connections(server: &Server) -> Vec<u32> {
    [pids(server, "tfd-gate"), pids(server, "tfd-session")].concat()
}

/// Whether a process runs; one that has ended and that nobody has waited for
/// does not.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    })
}

/// Whether the writable memory of a process holds these bytes; that of one that
/// has ended holds none.
pub fn memory_holds(pid: u32, needle: &[u8]) -> bool {
    let opened = fs::read_to_string(format!("/proc/{pid}/maps"))
        .and_then(|maps| Ok((maps, fs::File::open(format!("/proc/{pid}/mem"))?)));
    let (maps, memory) = match opened {
        Ok(opened) => opened,
        Err(_) if !is_running(pid) => return false,
        Err(e) => panic!("memory of {pid}: {e}"),
    };
    maps.lines()
        .filter(|line| line.contains(" rw"))
        .any(|line| {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let (from, to) = range.expect("a range");
            let at = |text| u64::from_str_radix(text, 16).expect("an address");
            let mut bytes = vec![0; usize::try_from(at(to) - at(from)).expect("a size")];
            memory.read_exact_at(&mut bytes, at(from)).is_ok()
                && bytes.windows(needle.len()).any(|window| window == needle)
        })
}

/// Copies a program that is then run. Another process writes it: what this one has open
/// for writing, a child that another test forks has open, too, and is not run so long.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.expect("cp").success(), "{}", to.display());
}
