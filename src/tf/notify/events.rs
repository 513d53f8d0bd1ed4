//! Events of the directories on the list: one inotify for all of them and their
//! parents, so that a path that begins to lead elsewhere is noticed, too. A
//! missing directory is waited for in the parent where it would appear.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::store::{Root, RootPath};

/// Events of a directory on the list.
const IN_PLACE: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);

/// Events of its parents.
const ON_THE_WAY: WatchFlags = WatchFlags::DELETE
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

/// Events of a directory itself.
const ITSELF: ReadFlags = ReadFlags::DELETE_SELF
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::IGNORED);

/// File systems whose changes on other machines give no events: NFS,
/// SMB (three kinds), FUSE, Ceph, 9P, AFS (two), Coda, GFS2, OCFS2, Lustre,
/// GPFS, VirtualBox.
const SILENT: [u32; 15] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x00c3_6400,
    0x0102_1997,
    0x5346_414f,
    0x6b41_4653,
    0x7375_7245,
    0x0116_1970,
    0x7461_636f,
    0x0bd0_0bd0,
    0x4750_4653,
    0x786f_4256,
];

/// Events are read in bits of this many bytes.
const BUFFER: usize = 16 * 1024;

/// The most events read at once, so that others don't wait.
const AT_ONCE: usize = 16 * 1024;

/// Something that happened, by the index of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News<'a> {
    /// An entry of this name, not a directory, has appeared.
    Arrived(usize, &'a [u8]),
    /// The path may lead elsewhere now, or nowhere.
    Moved(usize),
    /// Some events were lost.
    Missed,
}

/// The inotify and what its descriptors mean.
pub(super) struct Events {
    /// `None` while the user's limit is reached.
    inotify: Option<OwnedFd>,
    directories: HashMap<i32, Directory>,
    /// By watch: its places in `directories`, each with the name.
    places: Vec<Vec<(i32, Option<Vec<u8>>)>>,
}

/// The watches that depend on a directory.
#[derive(Default)]
struct Directory {
    /// They watch it.
    here: Vec<usize>,
    /// Their path continues with this name.
    ways: HashMap<Vec<u8>, Vec<usize>>,
}

impl Events {
    /// For so many watches, none started.
    pub(super) fn new(watches: usize) -> Events {
        let inotify = init()
            .inspect_err(|e| log::warn!(error:% = e; "no inotify: directories are scanned"))
            .ok();
        Events {
            inotify,
            directories: HashMap::new(),
            places: vec![Vec::new(); watches],
        }
    }

    /// Readable when there is something to [`Events::read`].
    pub(super) fn handle(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Starts or restarts a watch: from now on every event is reported. Whether
    /// the directory exists; if not, its arrival is a [`News::Moved`].
    ///
    /// # Errors
    /// Why events would be missed; then none is reported. `ELOOP` for a link on
    /// the way, which may lead elsewhere unnoticed.
    pub(super) fn begin(
        &mut self,
        watch: usize,
        root: &Root,
        path: &RootPath,
    ) -> Result<bool, Errno> {
        self.forget(watch);
        if self.inotify.is_none() {
            self.inotify = Some(init()?);
        }
        let begun = self.walk(watch, root, path);
        if begun.is_err() {
            self.forget(watch);
        }
        begun
    }

    fn walk(&mut self, watch: usize, root: &Root, path: &RootPath) -> Result<bool, Errno> {
        let mut at = RootPath::root();
        let mut directory = open(root, &at)?;
        for name in path.names() {
            let on = Some(name);
            self.add(watch, root, &directory, ON_THE_WAY, on)?;
            at = at.join(name);
            let next = match open(root, &at) {
                Err(Errno::NOENT) => {
                    self.add(watch, root, &directory, WatchFlags::CREATE, on)?;
                    open(root, &at)
                }
                opened => opened,
            };
            directory = match next {
                Err(Errno::NOENT) => return Ok(false),
                opened => opened?,
            };
        }
        self.add(watch, root, &directory, IN_PLACE, None)
            .map(|()| true)
    }

    /// Stops a watch.
    pub(super) fn forget(&mut self, watch: usize) {
        for (id, name) in std::mem::take(&mut self.places[watch]) {
            let Some(directory) = self.directories.get_mut(&id) else {
                continue;
            };
            match name {
                None => directory.here.retain(|other| *other != watch),
                Some(name) => {
                    let of = directory.ways.entry(name.clone()).or_default();
                    of.retain(|other| *other != watch);
                    if of.is_empty() {
                        directory.ways.remove(&name);
                    }
                }
            }
            if directory.here.is_empty() && directory.ways.is_empty() {
                self.directories.remove(&id);
                // The kernel has removed it if the directory is gone.
                let _ = self
                    .inotify
                    .as_ref()
                    .map(|inotify| inotify::remove_watch(inotify, id));
            }
        }
    }

    fn add(
        &mut self,
        watch: usize,
        root: &Root,
        directory: &OwnedFd,
        flags: WatchFlags,
        name: Option<&[u8]>,
    ) -> Result<(), Errno> {
        let inotify = self.inotify.as_ref().ok_or(Errno::MFILE)?;
        let kind = u32::try_from(rustix::fs::fstatfs(directory)?.f_type);
        if kind.is_ok_and(|kind| SILENT.contains(&kind)) {
            return Err(Errno::OPNOTSUPP);
        }
        let flags = flags | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD;
        let id = add_handle(inotify, directory, flags, root)?;
        let entry = self.directories.entry(id).or_default();
        let of = match name {
            None => &mut entry.here,
            Some(name) => entry.ways.entry(name.to_vec()).or_default(),
        };
        if of.last() != Some(&watch) {
            of.push(watch);
            self.places[watch].push((id, name.map(<[u8]>::to_vec)));
        }
        Ok(())
    }

    /// Reads the events that have arrived.
    pub(super) fn read(&mut self, mut report: impl FnMut(News<'_>)) {
        let Some(inotify) = &self.inotify else { return };
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut reader = Reader::new(inotify, buffer.spare_capacity_mut());
        let mut count = 0;
        while count < AT_ONCE || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(event) => self.pass_on(&event, &mut report),
                Err(Errno::INTR) => continue,
                Err(_) => return,
            }
            count += 1;
        }
    }

    fn pass_on(&self, event: &Event<'_>, report: &mut impl FnMut(News<'_>)) {
        let what = event.events();
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return report(News::Missed);
        }
        let Some(directory) = self.directories.get(&event.wd()) else {
            return;
        };
        if what.intersects(ITSELF) {
            let all = directory
                .here
                .iter()
                .chain(directory.ways.values().flatten());
            return all.for_each(|watch| report(News::Moved(*watch)));
        }
        let name = event.file_name().map_or(&[][..], |name| name.to_bytes());
        if let Some(watches) = directory.ways.get(name) {
            watches.iter().for_each(|watch| report(News::Moved(*watch)));
        }
        let arrived = what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        if arrived && !what.contains(ReadFlags::ISDIR) {
            directory
                .here
                .iter()
                .for_each(|watch| report(News::Arrived(*watch, name)));
        }
    }
}

fn init() -> Result<OwnedFd, Errno> {
    inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
}

/// Adds a directory by its handle. The system call only takes a path, and
/// without /proc a handle has none: so the process changes its directory and
/// then changes back, or to the root if it may not enter the old one again.
fn add_handle(
    inotify: &OwnedFd,
    directory: &OwnedFd,
    flags: WatchFlags,
    root: &Root,
) -> Result<i32, Errno> {
    let handle = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::open(".", handle, Mode::empty()).ok();
    rustix::process::fchdir(directory)?;
    let added = inotify::add_watch(inotify, ".", flags);
    rustix::process::fchdir(here.as_ref().map_or(root.handle(), AsFd::as_fd))?;
    added
}

/// Opens a directory by a path without links.
fn open(root: &Root, path: &RootPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(
        root.handle(),
        path.as_os_str(),
        flags,
        Mode::empty(),
        resolve,
    )
}
