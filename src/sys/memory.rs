//! Memory shared between processes.

use std::hint::black_box;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

/// Bytes of a page, the least that can be mapped.
pub fn page_size() -> usize {
    rustix::param::page_size()
}

/// Bytes of a word.
pub const WORD: usize = size_of::<AtomicU64>();

/// Memory of so many pages that processes can share, all zero. Its size is
/// sealed. Untouched pages cost nothing.
pub fn shared_pages(name: &str, pages: usize) -> io::Result<OwnedFd> {
    let memory = sealable_pages(name, pages)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SEAL)?;
    Ok(memory)
}

/// The same, but a process that has mapped it can seal it against other
/// writers.
pub fn sealable_pages(name: &str, pages: usize) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, (pages * page_size()) as u64)?;
    rustix::fs::fcntl_add_seals(&memory, SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(memory)
}

/// Memory for a text that a child is to write and others are to read, without a
/// trace of it in this process.
pub fn shared_text() -> io::Result<OwnedFd> {
    Ok(rustix::fs::memfd_create("tfd-text", MemfdFlags::CLOEXEC)?)
}

/// The text in such memory.
pub fn read_shared_text(memory: &OwnedFd) -> io::Result<String> {
    let mut bytes = vec![0; usize::try_from(rustix::fs::fstat(memory)?.st_size).unwrap_or(0)];
    let mut read = 0;
    while read < bytes.len() {
        match rustix::io::pread(memory, &mut bytes[read..], read as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => read += n,
        }
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The same memory behind a descriptor that is for reading only.
///
/// # Errors
/// The system's; also where `/proc` is not mounted.
pub fn for_reading(memory: impl AsFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", memory.as_fd().as_raw_fd());
    Ok(rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// From now on nobody can map it for writing or undo this; existing mappings
/// stay.
pub fn seal_against_others(memory: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(
        memory,
        SealFlags::FUTURE_WRITE | SealFlags::SEAL,
    )?)
}

/// Words of shared memory that this process can only read.
#[derive(Clone, Copy, Debug)]
pub struct ReadWords(&'static [AtomicU64]);

impl ReadWords {
    /// How many there are.
    pub fn words(self) -> usize {
        self.0.len()
    }

    /// A word, or 0 beyond the end.
    pub fn load(self, index: usize) -> u64 {
        self.0
            .get(index)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// Maps memory of one page for reading and writing. It stays mapped until the
/// process ends. No such mapping can grow over a page: the memory has no more.
///
/// # Errors
/// `InvalidInput` for memory of another size, or of one that is not sealed, else
/// the system's.
pub fn map_page(memory: BorrowedFd<'_>) -> io::Result<&'static [AtomicU64]> {
    if rustix::fs::fstat(memory)?.st_size != signed(page_size())? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    map(memory, page_size(), rights, None)
}

/// Maps memories of one page each for reading, one behind the other, likewise.
pub fn map_pages_to_read(memories: &[OwnedFd]) -> io::Result<ReadWords> {
    let len = memories.len() * page_size();
    let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
    let none = ProtFlags::PROT_NONE;
    // SAFETY: the kernel chooses the place, so nothing is mapped over.
    let room = unsafe { mmap_anonymous(None, size, none, MapFlags::MAP_PRIVATE) }?;
    let first = room.addr().get();
    for (at, memory) in memories.iter().enumerate() {
        let place = NonZeroUsize::new(first + at * page_size());
        map(memory.as_fd(), page_size(), ProtFlags::PROT_READ, place)?;
    }
    // SAFETY: all of the room is mapped for reading now, aligned to a page, never
    // unmapped, and backed, as `map` has checked. Any bits are a valid word, and
    // nobody stores by this mapping.
    let words = unsafe { std::slice::from_raw_parts(room.as_ptr().cast(), len / WORD) };
    Ok(ReadWords(words))
}

/// Maps all of such memory for reading, likewise.
pub fn map_to_read(memory: BorrowedFd<'_>) -> io::Result<ReadWords> {
    let size = usize::try_from(rustix::fs::fstat(memory)?.st_size).map_err(io::Error::other)?;
    Ok(ReadWords(map(memory, size, ProtFlags::PROT_READ, None)?))
}

/// `place` is within a mapping of this module that is for nothing else.
fn map(
    memory: BorrowedFd<'_>,
    len: usize,
    protection: ProtFlags,
    place: Option<NonZeroUsize>,
) -> io::Result<&'static [AtomicU64]> {
    let fixed = SealFlags::GROW | SealFlags::SHRINK;
    let backed = signed(len)? <= rustix::fs::fstat(memory)?.st_size
        && rustix::fs::fcntl_get_seals(memory)?.contains(fixed);
    let size = NonZeroUsize::new(len)
        .filter(|_| backed)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let mut flags = MapFlags::MAP_SHARED;
    flags.set(MapFlags::MAP_FIXED, place.is_some());
    // SAFETY: the kernel chooses the place, so nothing is mapped over, or it is
    // room that was mapped for this.
    let start = unsafe { mmap(place, size, protection, flags, memory, 0) }?;
    #[cfg(feature = "testing")]
    mapped::add(start.addr().get(), len, protection);
    // SAFETY: `len` bytes are mapped from `start`, aligned to a page, never
    // unmapped, and the sealed size keeps them backed. Any bits are a valid
    // word, and all access is atomic. Words mapped for reading only are out
    // of reach behind `ReadWords`, which never stores.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), len / WORD) })
}

/// Where pages are mapped, for tests that attack them from inside.
#[cfg(feature = "testing")]
pub mod mapped {
    use std::sync::{Mutex, PoisonError};

    use nix::sys::mman::ProtFlags;

    /// Start, bytes, and how.
    pub type Mapping = (usize, usize, ProtFlags);

    static ALL: Mutex<Vec<Mapping>> = Mutex::new(Vec::new());

    pub(super) fn add(start: usize, len: usize, protection: ProtFlags) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((start, len, protection));
    }

    /// All of this process.
    pub fn all() -> Vec<Mapping> {
        ALL.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn signed(len: usize) -> io::Result<i64> {
    i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Maps memory that is sealed against writing and against a change of its
/// size. It stays mapped until the process ends.
///
/// # Errors
/// `WouldBlock` when the memory is not sealed, or what the system says.
pub fn map_sealed(handle: BorrowedFd<'_>) -> io::Result<&'static [u8]> {
    let fixed = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK;
    if !rustix::fs::fcntl_get_seals(handle)?.contains(fixed) {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    let len = usize::try_from(rustix::fs::fstat(handle)?.st_size).map_err(io::Error::other)?;
    let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel chooses the place, so nothing is mapped over.
    let start = unsafe {
        mmap(
            None,
            size,
            ProtFlags::PROT_READ,
            MapFlags::MAP_SHARED,
            handle,
            0,
        )
    }?;
    // SAFETY: `len` bytes are mapped from `start`, readable, and never
    // unmapped. The seals, which can't be taken off, keep everyone from
    // writing to the memory and from making it shorter.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), len) })
}

/// Asks for large pages for a vector's memory; the answer only matters for
/// speed.
pub fn advise_huge_pages(buffer: &mut Vec<u8>) {
    let room = buffer.spare_capacity_mut();
    let start = room.as_mut_ptr().addr().next_multiple_of(PAGE) - room.as_mut_ptr().addr();
    let len = room.len().saturating_sub(start) / PAGE * PAGE;
    if len > 0 {
        let place = room[start..start + len].as_mut_ptr().cast();
        // SAFETY: the pages lie within the vector's own allocation, and this
        // advice changes nothing of what they hold.
        unsafe { libc::madvise(place, len, libc::MADV_HUGEPAGE) };
    }
}

/// Makes all threads of this process, and of those it forks, allocate from one
/// arena, and returns large allocations to the system as soon as they are freed.
/// Without it glibc reserves 128 MiB of addresses for the first allocation of
/// each further thread, and keeps megabytes after a transfer. Small pieces that are
/// freed join their neighbours at once: a child would do that for all those of its
/// parent, and copy the pages where they are.
pub fn keep_little_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls set numbers that malloc reads; called before any other
    // thread is there.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_MXFAST, 0);
    };
}

/// Makes all threads of this process allocate from two arenas, and returns allocations of
/// megabytes to the system as soon as they are freed. Without it glibc makes up to eight
/// arenas for each processor, and each keeps what was freed there for itself.
pub fn keep_few_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls set numbers that malloc reads; called before any other thread is
    // there.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MEGABYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MEGABYTES);
    };
}

/// Takes the small pieces of memory that are free between what is in use, for good. What
/// a child forked later allocates lies side by side then, and makes it copy few pages.
pub fn fill_gaps() {
    let end = Vec::<u8>::with_capacity(LARGEST_GAP);
    let taken = (16..=LARGEST_SMALL).rev().step_by(16).flat_map(|size| {
        let next = move || Some(Vec::<u8>::with_capacity(size));
        std::iter::from_fn(next).take_while(|it| black_box(it.as_ptr()) < end.as_ptr())
    });
    taken.take(MOST_GAPS).for_each(std::mem::forget);
}

/// Bytes that no gap has, of the largest piece that counts as small, and how many are
/// taken.
const LARGEST_GAP: usize = 48 * 1024;
const LARGEST_SMALL: usize = 1024;
const MOST_GAPS: usize = 4096;

/// Returns what is freed to the system, for a process that will do nothing for long.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc's own function, which may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    };
    give_back_stack();
}

/// Returns what calls have left behind on the stack of the main thread.
#[inline(never)]
fn give_back_stack() {
    if rustix::thread::gettid() != rustix::process::getpid() {
        return;
    }
    let mut frame = 0_u8;
    let here = black_box(std::ptr::from_mut(&mut frame));
    let down = (here.addr() - IN_USE) % page_size() + IN_USE;
    let end = here.wrapping_byte_sub(down);
    let start = end.wrapping_byte_sub(MOST_STACK);
    // SAFETY: the main thread's stack grows down, and a function that runs has nothing
    // further below this one's frame than the few bytes of the calls that it makes here,
    // for which there is room. The kernel keeps a MiB below the stack free of other
    // mappings, so nothing but left frames lies in these pages. Pages that were never
    // used are skipped.
    unsafe { libc::madvise(start.cast(), MOST_STACK, libc::MADV_DONTNEED) };
}

/// Bytes of the stack below a function that what it calls may have in use, and the most
/// that is given back.
const IN_USE: usize = 4096;
const MOST_STACK: usize = 512 * 1024;

/// From this many bytes on, an allocation is a mapping of its own.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 64 * 1024;

/// The same for a process that handles many, and how much of an arena may be free at its
/// end: what zstd needs for each chunk, some 3 MiB, stays there and costs no page faults.
#[cfg(target_env = "gnu")]
const MEGABYTES: libc::c_int = 4 << 20;

/// No page of a supported system is larger than this, and all divide it.
const PAGE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_the_others_read() {
        let memories = [0; 3].map(|_| shared_pages("test", 1).expect("memory"));
        let page = map_page(memories[2].as_fd()).expect("page");
        let all = map_pages_to_read(&memories).expect("all");
        page[1].store(7, Ordering::Relaxed);
        assert_eq!(all.load(2 * page_size() / WORD + 1), 7);
        assert_eq!(all.load(3 * page_size() / WORD), 0);
        assert_eq!(map_to_read(memories[2].as_fd()).expect("it").load(1), 7);
    }

    #[test]
    fn only_who_mapped_before_the_seal_writes() {
        let memory = sealable_pages("test", 1).expect("memory");
        let page = map_page(memory.as_fd()).expect("page");
        seal_against_others(memory.as_fd()).expect("seal");
        assert!(map_page(memory.as_fd()).is_err());
        assert!(rustix::io::pwrite(&memory, &[1], 0).is_err());
        page[0].store(7, Ordering::Relaxed);
        assert_eq!(map_to_read(memory.as_fd()).expect("all").load(0), 7);
    }

    #[test]
    fn memory_that_could_shrink_or_has_further_pages_is_not_mapped() {
        let memory = shared_pages("test", 2).expect("memory");
        assert!(map_page(memory.as_fd()).is_err());
        let open = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING).expect("memory");
        rustix::fs::ftruncate(&open, page_size() as u64).expect("size");
        assert!(map_page(open.as_fd()).is_err());
    }
}
