//! The code of the program in huge pages of memory, and the tables that the loader has
//! relocated in memory that a fork does not copy: processes forked from here map much
//! with each page fault, and copy and unmap little. Nothing but where it is stored
//! changes: neither the addresses nor what may be done there.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use rustix::fs::{MemfdFlags, SealFlags};

use super::memory::page_size;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// The fewest pages of relocated tables for which a mapping is worth its cost.
const FEWEST_PAGES: usize = 8;

const TO_RUN: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_EXEC);

/// Moves the whole huge pages of the program's code into a sealed memory of its own.
/// Called before anything is forked.
///
/// # Errors
/// The system's: it has no huge pages, or does not run code from memory. The code is
/// where it was then.
pub fn move_to_huge_pages() -> io::Result<()> {
    let is_code = |part: &Part| {
        part.of_program && part.kind == libc::PT_LOAD && part.rights == libc::PF_R | libc::PF_X
    };
    let Some(code) = parts().into_iter().find(is_code) else {
        return Ok(());
    };
    let code = whole_pages(code.place);
    let Some(len) = NonZeroUsize::new(code.len()) else {
        return Ok(());
    };
    let memory = sealed_copy("tfd-code", &[&code])?;
    make_huge(memory.as_fd(), len)?;
    // `make_huge` has mapped the memory like this, so no rule of the system is against it.
    replace(&code, &memory, 0, TO_RUN)
}

/// Moves the tables of the program and its libraries that are for reading only once the
/// loader has relocated them into a sealed memory. Called before anything is forked.
///
/// # Errors
/// The system's. What has not been moved yet is where it was then.
pub fn share_relocated_tables() -> io::Result<()> {
    let page = page_size();
    let tables = parts()
        .into_iter()
        .filter(|part| part.kind == libc::PT_GNU_RELRO)
        // The loader protects the pages that lie within it like this.
        .map(|part| part.place.start / page * page..part.place.end / page * page)
        .filter(|place| place.len() >= FEWEST_PAGES * page);
    let tables: Vec<_> = tables.collect();
    let memory = sealed_copy("tfd-relocated", &tables.iter().collect::<Vec<_>>())?;
    let mut at = 0;
    for table in &tables {
        replace(table, &memory, at, ProtFlags::PROT_READ)?;
        at += table.len();
    }
    Ok(())
}

/// A part of what the loader has mapped, by the header for it.
struct Part {
    /// Whether it is of the program itself, not of a library.
    of_program: bool,
    kind: u32,
    rights: u32,
    place: Range<usize>,
}

/// All such parts.
fn parts() -> Vec<Part> {
    unsafe extern "C" fn add(
        object: *mut libc::dl_phdr_info,
        _: usize,
        found: *mut c_void,
    ) -> libc::c_int {
        // SAFETY: the C library passes what it knows of an object, valid for the call,
        // and the list that the caller below has given it.
        let (object, found) = unsafe { (&*object, &mut *found.cast::<Vec<Part>>()) };
        // SAFETY: the C library has counted the headers, which are part of the object.
        let headers =
            unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
        // The program comes first.
        let of_program = found.is_empty();
        let at = |offset: u64| usize::try_from(object.dlpi_addr + offset).unwrap_or(0);
        found.extend(headers.iter().map(|header| Part {
            of_program,
            kind: header.p_type,
            rights: header.p_flags,
            place: at(header.p_vaddr)..at(header.p_vaddr + header.p_memsz),
        }));
        0
    }
    let mut found = Vec::new();
    // SAFETY: `add` is what the C library wants, and writes to nothing but the list,
    // which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut found).cast()) };
    found
}

/// The part that whole huge pages can hold.
fn whole_pages(range: Range<usize>) -> Range<usize> {
    let start = range.start.next_multiple_of(HUGE);
    start..(range.end / HUGE * HUGE).max(start)
}

/// A memory with what is in these places, one behind the other, that nobody can change.
fn sealed_copy(name: &str, places: &[&Range<usize>]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create(name, flags)?;
    let mut at = 0;
    for place in places {
        let start = std::ptr::with_exposed_provenance(place.start);
        // SAFETY: the place lies within a part of the program or of a library that is
        // mapped for reading, never unmapped, and written to by the loader alone, which
        // has ended.
        let bytes: &[u8] = unsafe { std::slice::from_raw_parts(start, place.len()) };
        let mut left = bytes;
        while !left.is_empty() {
            let written = rustix::io::pwrite(&memory, left, at)?;
            left = &left[written..];
            at += written as u64;
        }
    }
    let fixed = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, fixed)?;
    Ok(memory)
}

/// Maps the memory from there on where the bytes are of which it is a copy.
fn replace(
    place: &Range<usize>,
    memory: &OwnedFd,
    from: usize,
    rights: ProtFlags,
) -> io::Result<()> {
    let Some(len) = NonZeroUsize::new(place.len()) else {
        return Ok(());
    };
    let from = i64::try_from(from).map_err(io::Error::other)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    // SAFETY: the same bytes, which nobody can change, replace those at the place in one
    // step, with the rights that they had.
    unsafe {
        mmap(
            NonZeroUsize::new(place.start),
            len,
            rights,
            flags,
            memory,
            from,
        )
    }?;
    Ok(())
}

/// Has the system gather the memory in huge pages.
fn make_huge(memory: BorrowedFd<'_>, len: NonZeroUsize) -> io::Result<()> {
    let room_len = len.saturating_add(HUGE);
    let (none, alone) = (ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE);
    // SAFETY: the kernel chooses the place, so nothing is mapped over.
    let room = unsafe { mmap_anonymous(None, room_len, none, alone) }?;
    let start = NonZeroUsize::new(room.addr().get().next_multiple_of(HUGE));
    let flags = alone | MapFlags::MAP_FIXED;
    // SAFETY: the place lies within the room, which is for nothing else.
    let mapped = unsafe { mmap(start, len, TO_RUN, flags, memory, 0) };
    let gathered = mapped
        .map_err(io::Error::from)
        .and_then(|start| gather(start, len));
    // SAFETY: nothing refers to the room.
    unsafe { munmap(room, room_len.get()) }?;
    gathered
}

fn gather(start: NonNull<c_void>, len: NonZeroUsize) -> io::Result<()> {
    // SAFETY: changes nothing of what the pages hold.
    match unsafe { libc::madvise(start.as_ptr(), len.get(), libc::MADV_COLLAPSE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use nix::sys::wait::{WaitStatus, waitpid};

    #[test]
    fn only_whole_pages_are_moved() {
        assert_eq!(whole_pages(1..3 * HUGE + 1), HUGE..3 * HUGE);
        assert_eq!(whole_pages(HUGE..2 * HUGE), HUGE..2 * HUGE);
        assert!(whole_pages(1..HUGE).is_empty());
        assert!(whole_pages(1..2 * HUGE - 1).is_empty());
    }

    /// What a process of its own makes of it: 0 if all is well.
    fn in_a_child(check: fn() -> i32) {
        // SAFETY: the child makes system calls, allocates, and ends.
        let pid = match unsafe { nix::unistd::fork() }.expect("fork") {
            nix::unistd::ForkResult::Parent { child } => child,
            nix::unistd::ForkResult::Child => super::super::process::exit(check()),
        };
        assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
    }

    /// Whether there are mappings of this memory, all with these rights.
    fn are_mapped(name: &str, rights: &str) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mut of_it = maps.lines().filter(|line| line.contains(name)).peekable();
        of_it.peek().is_some() && of_it.all(|line| line.contains(rights))
    }

    #[test]
    fn the_code_moves_and_cannot_be_written_to() {
        in_a_child(|| match move_to_huge_pages() {
            Ok(()) => i32::from(!are_mapped("tfd-code", "r-xp")),
            // An old system, or one whose memory is in pieces.
            Err(e) => i32::from(are_mapped("tfd-code", "") || e.raw_os_error().is_none()),
        });
    }

    #[test]
    fn the_tables_move_and_keep_their_bytes() {
        in_a_child(|| {
            let sum = || {
                let all = parts();
                let of = all
                    .iter()
                    .find(|p| p.of_program && p.kind == libc::PT_GNU_RELRO);
                of.map(|part| {
                    let start = std::ptr::with_exposed_provenance(part.place.start);
                    // SAFETY: the program's own tables, mapped for reading.
                    let bytes: &[u8] = unsafe { std::slice::from_raw_parts(start, 4096) };
                    bytes.iter().map(|b| u64::from(*b)).sum::<u64>()
                })
            };
            let before = sum();
            let moved = share_relocated_tables().is_ok() && are_mapped("tfd-relocated", "r--p");
            i32::from(!moved || before.is_none() || sum() != before)
        });
    }
}
