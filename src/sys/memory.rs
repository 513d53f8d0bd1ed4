//! Memory shared between processes.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;

use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use rustix::fs::SealFlags;

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
    let start = unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, handle, 0) }?;
    // SAFETY: `len` bytes are mapped from `start`, readable, and never
    // unmapped. The seals, which can't be taken off, keep everyone from
    // writing to the memory and from making it shorter.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast(), len) })
}

/// Asks for large pages behind what a vector has room for; what the system
/// answers makes a difference in speed only.
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

/// No page of a supported system is larger than this, and all divide it.
const PAGE: usize = 64 * 1024;
