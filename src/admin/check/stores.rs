//! What `tfd check` says of the places where hub and keeper store: whether they can be
//! written, whether the database there can be opened, and whether there is room.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::Access;

use crate::config::{Config, Problem};
use crate::holder::store::catalog::Catalog;
use crate::holder::store::shelves::FILES;
use crate::hub::book::Book;
use crate::sandbox::operator::check_as;
use crate::text::human_size;
use crate::users::{Identity, directory};
use crate::{holder, hub};

/// What must be free for a database to go on, in bytes.
const LEAST: u64 = 16 << 20;

/// A place where a service stores.
struct Store<'a> {
    /// The key that names it.
    key: &'static str,
    /// What it names, of who starts tfd.
    top: &'a Path,
    /// The part that the system user has, and where in it most is stored.
    store: PathBuf,
    files: PathBuf,
    /// The system user.
    identity: Identity,
    /// The database in it.
    file: &'static str,
}

/// Every problem that keeps hub and keeper from storing.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    if let (Some(store), Some(of)) = (hub_store(config), &config.hub) {
        found.extend(store.check(|path| {
            let rules = hub::helpers::rules(of)?;
            let now = jiff::Timestamp::now().as_second();
            let text = "can't be opened, or is of another hub or version";
            let opened = Book::open(path, rules, now);
            opened.map(drop).map_err(|e| format!("{text}: {e}"))
        }));
    }
    if let Some(store) = holder_store(config) {
        found.extend(store.check(|path| {
            let text = "can't be opened, or is of another version: without it, it is made again \
                        from the files";
            Catalog::open(path)
                .map(drop)
                .map_err(|e| format!("{text}: {e}"))
        }));
    }
    let problem = |text| Problem::new(&config.path, text);
    found.into_iter().map(problem).collect()
}

/// Warnings: too little room, or room that others need.
pub(super) fn warnings(config: &Config) -> Vec<Problem> {
    let stores = hub_store(config).into_iter().chain(holder_store(config));
    let mut found: Vec<String> = stores.filter_map(|store| store.is_full()).collect();
    if let (Some(store), Some(of)) = (holder_store(config), &config.holder) {
        let place = nearest(&store.files);
        let device = |path: &Path| fs::metadata(path).map(|it| it.dev()).ok();
        let shown = store.top.display();
        if device(place).is_some() && device(place) == device(Path::new("/")) {
            let spare = human_size(of.spare);
            found.push(format!(
                "holder.store: {shown}: on the file system of /, of which keep_free leaves {spare} \
                 to all others: name a directory of a disk of its own"
            ));
        }
        if let Ok(disk) = rustix::fs::statvfs(place) {
            let size = disk.f_blocks.saturating_mul(disk.f_frsize);
            if of.share > size.saturating_sub(of.spare) {
                let (share, size) = (human_size(of.share), human_size(size));
                found.push(format!(
                    "holder.share: {share} is more than the disk of {shown} has, {size}, but \
                     keep_free"
                ));
            }
        }
    }
    let problem = |text| Problem::new(&config.path, text);
    found.into_iter().map(problem).collect()
}

fn hub_store(config: &Config) -> Option<Store<'_>> {
    let of = config.hub.as_ref()?;
    let store = hub::place::Place::at(&of.data).store();
    Some(Store {
        key: "hub.data",
        top: &of.data,
        files: store.clone(),
        store,
        identity: hub::helpers::identity(config, of).ok()?,
        file: hub::broker::process::FILE,
    })
}

fn holder_store(config: &Config) -> Option<Store<'_>> {
    let of = config.holder.as_ref()?;
    let store = holder::place::Place::at(&of.store).store();
    Some(Store {
        key: "holder.store",
        top: &of.store,
        files: store.join(FILES),
        store,
        identity: holder::helpers::identity(config, of).ok()?,
        file: holder::stock::process::FILE,
    })
}

/// The nearest directory to this one that exists.
fn nearest(path: &Path) -> &Path {
    let mut all = path.ancestors();
    all.find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

impl Store<'_> {
    /// What keeps the service from storing, if anything does.
    fn check(&self, open: impl FnOnce(&Path) -> Result<(), String>) -> Option<String> {
        let Store { key, top, .. } = self;
        let at = |path: &Path, why: &str| Some(format!("{key}: {}: {why}", path.display()));
        let own = Identity::own();
        for (path, owner) in [(*top, &own), (&self.store, &self.identity)] {
            let is_there = path.symlink_metadata().is_ok();
            if is_there && let Err(e) = directory::check(owner.owner(), path) {
                return Some(format!("{key}: {e}"));
            }
        }
        let place = nearest(&self.store);
        if let Err(e) = rustix::fs::access(place, Access::WRITE_OK) {
            return at(place, &format!("can't be written: {e}"));
        }
        let file = self.store.join(self.file);
        let is_there = file.symlink_metadata().is_ok();
        let opened = if is_there { self.inside(open) } else { Ok(()) };
        opened.err().and_then(|why| at(&file, &why))
    }

    /// Opens the database as its user, who may have put anything there.
    fn inside(&self, open: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
        if !geteuid().is_root() {
            return open(&self.store.join(self.file));
        }
        let store = directory::open(&self.store)?;
        let path = Path::new("/").join(self.file);
        check_as(&self.identity, &store, || open(&path))
    }

    /// That the disk is full.
    fn is_full(&self) -> Option<String> {
        let disk = rustix::fs::statvfs(nearest(&self.files)).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        (free < LEAST).then(|| {
            let (key, top, free) = (self.key, self.top.display(), human_size(free));
            format!("{key}: {top}: the disk is full, {free} are left: nothing can be stored")
        })
    }
}
