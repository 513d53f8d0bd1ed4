//! What XCOPY, XCPDIR, XDEL and XRMDIR share: finding entries by the last
//! names of their paths (tf-protocol(7), PATTERNS).

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::store::tree::{Step, Visit, open_directory, walk};
use crate::store::{Entry, RootPath};
use crate::tf::env::Env;

/// Visits the entries beneath `start` whose path from the root matches a
/// pattern. Enters neither secure directories, unless `start` names them, nor
/// those that `found` has dealt with ([`Step::Over`]).
pub(super) fn find(
    env: &Env,
    start: &RootPath,
    pattern: &RootPath,
    mut found: impl FnMut(&Visit<'_>) -> Step,
) -> Result<(), Errno> {
    let (directory, policy) = (env.root.open_dir(start)?, env.root.policy());
    walk(directory.as_fd(), |visit| {
        let name = visit.path.name().unwrap_or_default();
        if policy.hides(name) || visit.kind.is_dir() && policy.keeps(name) {
            return Ok::<Step, Errno>(Step::Over);
        }
        let fits = start.joined(visit.path).ends_with(pattern);
        Ok(if fits { found(visit) } else { Step::Enter })
    })
}

/// The directories beneath the root that match a pattern, except locked ones.
pub(super) fn open_targets(env: &Env, pattern: &RootPath) -> Result<Vec<RootPath>, Errno> {
    let mut targets = Vec::new();
    find(env, &RootPath::root(), pattern, |visit| {
        if visit.kind.is_dir() && !env.lock.closes(&env.root, visit.path) {
            targets.push(visit.path.clone());
        }
        Step::Enter
    })?;
    Ok(targets)
}

/// The entry of a new name in a directory that a walk has found, reached
/// through no link.
pub(super) fn new_entry(env: &Env, directory: &RootPath, name: &[u8]) -> Result<Entry, Errno> {
    let directory: OwnedFd = open_directory(env.root.handle(), directory)?;
    Ok(Entry {
        directory,
        name: name.to_vec(),
    })
}
