//! System identities, looked up by name once, taken for good, verified; and the names
//! of users and groups, read before the root changes: an empty root has no files to
//! look them up in.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::path::Path;

use super::directory::Owner;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::ipc::codec::{Decode, Encode, Reader, Writer};

/// uid, gid and supplementary groups of a system user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, for the log.
    pub name: String,
    /// The uid.
    pub uid: Uid,
    /// The primary group.
    pub gid: Gid,
    /// All groups, the primary one included.
    pub groups: Vec<Gid>,
}

/// Who the processes of a server are that root has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identities {
    /// Gates and, where nobody logs in, sessions.
    pub clients: Identity,
    /// Helper processes.
    pub helpers: Identity,
}

crate::ipc::codec::codec!(struct Identities { clients, helpers });

/// The system user of helper processes, if there is one and no other is named.
pub const HELPER: &str = "tfd-helper";

/// Uids that distributions leave to nobody, for helper processes without a system
/// user (systemd's UIDS-GIDS: unused).
const UNUSED: std::ops::RangeInclusive<u32> = 65520..=65533;

impl Encode for Identity {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        let groups: Vec<u32> = self.groups.iter().map(|gid| gid.as_raw()).collect();
        let ids = (self.uid.as_raw(), self.gid.as_raw());
        out.put(&(ids, groups).to_bytes());
        self.name.encode(out);
    }
}

impl Decode for Identity {
    fn decode(from: &mut Reader<'_>) -> Option<Identity> {
        let ((uid, gid), groups) = <((u32, u32), Vec<u32>)>::decode(from)?;
        Some(Identity {
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
            groups: groups.into_iter().map(Gid::from_raw).collect(),
            name: String::decode(from)?,
        })
    }
}

/// What the name of an identity without a system user begins with; that of no
/// system user has a blank.
const UNNAMED: &str = "uid ";

impl Identity {
    /// To whom directories belong that are its own.
    pub fn owner(&self) -> Owner {
        (self.uid, self.gid)
    }

    /// Looks a system user up by name.
    ///
    /// # Errors
    /// `NotFound` for an unknown name, else the system's.
    pub fn of(name: &str) -> io::Result<Identity> {
        let user = User::from_name(name)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such system user"))?;
        let c_name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        let groups = getgrouplist(&c_name, user.gid)?;
        Ok(Identity {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            groups,
        })
    }

    /// The identity of helper processes: this system user, or without a name
    /// [`HELPER`], or a uid that no system user has.
    ///
    /// # Errors
    /// As for [`Identity::of`]; `NotFound` if all such uids are taken.
    pub fn of_helpers(name: Option<&str>) -> io::Result<Identity> {
        match Identity::of(name.unwrap_or(HELPER)) {
            Err(e) if name.is_none() && e.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        Identity::unused(None)
    }

    /// A uid and gid that no system user and no group has, nor another identity.
    ///
    /// # Errors
    /// When there is none.
    pub fn unused(but: Option<&Identity>) -> io::Result<Identity> {
        let is_free = |id: &u32| {
            if but.is_some_and(|but| but.uid.as_raw() == *id) {
                return false;
            }
            let user = User::from_uid(Uid::from_raw(*id));
            let group = Group::from_gid(Gid::from_raw(*id));
            matches!((user, group), (Ok(None), Ok(None)))
        };
        let id = UNUSED.rev().find(is_free);
        let id = id.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no unused uid"))?;
        Ok(Identity {
            name: format!("{UNNAMED}{id}"),
            uid: Uid::from_raw(id),
            gid: Gid::from_raw(id),
            groups: vec![Gid::from_raw(id)],
        })
    }

    /// Whether it is a uid without a system user.
    pub fn is_unnamed(&self) -> bool {
        self.name.starts_with(UNNAMED)
    }

    /// The identity this process has now.
    pub fn own() -> Identity {
        let uid = Uid::effective();
        let name = match User::from_uid(uid) {
            Ok(Some(user)) => user.name,
            _ => uid.to_string(),
        };
        let groups = nix::unistd::getgroups().unwrap_or_default();
        Identity {
            name,
            uid,
            gid: Gid::effective(),
            groups,
        }
    }

    /// Takes this identity for good: groups, gid, uid, then no capability in
    /// any set but those `kept` until [`Identity::keep`], and no way to gain one. Each
    /// step is read back.
    ///
    /// # Errors
    /// The system's, or `PermissionDenied` when a step did not take effect.
    /// The process must end then.
    pub fn take_keeping(&self, kept: CapabilitySet) -> io::Result<()> {
        drop_bounding_set(CapabilitySet::empty());
        nix::unistd::setgroups(&self.groups)?;
        nix::unistd::setresgid(self.gid, self.gid, self.gid)?;
        rustix::thread::set_keep_capabilities(!kept.is_empty())?;
        nix::unistd::setresuid(self.uid, self.uid, self.uid)?;
        rustix::thread::set_keep_capabilities(false)?;
        limit_capabilities(kept)?;
        nix::sys::prctl::set_no_new_privs()?;
        nix::sys::prctl::set_dumpable(false)?;
        self.verify(kept)
    }

    /// Gives up the capabilities that [`Identity::take_keeping`] left, but these.
    pub fn keep(&self, kept: CapabilitySet) -> io::Result<()> {
        limit_capabilities(kept)?;
        self.verify(kept)
    }

    /// Checks that the process has exactly this identity.
    fn verify(&self, kept: CapabilitySet) -> io::Result<()> {
        let uids = nix::unistd::getresuid()?;
        let gids = nix::unistd::getresgid()?;
        // The C library's way would look for a limit below /proc.
        let groups = rustix::process::getgroups()?;
        let mut groups: Vec<Gid> = groups
            .iter()
            .map(|gid| Gid::from_raw(gid.as_raw()))
            .collect();
        let mut wanted = self.groups.clone();
        for list in [&mut groups, &mut wanted] {
            list.sort_unstable_by_key(|g| g.as_raw());
            list.dedup();
        }
        let has = |uid| uid == self.uid;
        let in_group = |gid| gid == self.gid;
        let capabilities = rustix::thread::capabilities(None)?;
        let fine = [uids.real, uids.effective, uids.saved].into_iter().all(has)
            && [gids.real, gids.effective, gids.saved]
                .into_iter()
                .all(in_group)
            && groups == wanted
            && capabilities.effective == kept
            && capabilities.permitted == kept
            && capabilities.inheritable.is_empty()
            && nix::sys::prctl::get_no_new_privs()?;
        if fine {
            Ok(())
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

/// Leaves root these capabilities and no way to any other, for good.
///
/// # Errors
/// The system's. The process must end then.
pub fn limit_root(kept: CapabilitySet) -> io::Result<()> {
    limit(kept, CapabilitySet::empty())
}

/// The same, but programs of root that it starts have them, too.
///
/// # Errors
/// As above.
pub fn limit_root_and_programs(kept: CapabilitySet) -> io::Result<()> {
    limit(kept, kept)
}

fn limit(kept: CapabilitySet, of_programs: CapabilitySet) -> io::Result<()> {
    drop_bounding_set(of_programs);
    limit_capabilities(kept)?;
    nix::sys::prctl::set_no_new_privs()?;
    nix::sys::prctl::set_dumpable(false)?;
    let held = rustix::thread::capabilities(None)?;
    let fine = held.effective == kept && held.permitted == kept && held.inheritable.is_empty();
    if fine {
        Ok(())
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// Removes every capability but these from the bounding set, for good. The kernel
/// refuses numbers it doesn't know.
fn drop_bounding_set(but: CapabilitySet) {
    // Without this one nothing can be removed, and the parent of a process
    // that lacks it has removed all.
    let may = rustix::thread::capabilities(None);
    if may.is_ok_and(|held| !held.effective.contains(CapabilitySet::SETPCAP)) {
        return;
    }
    for capability in CapabilitySet::all().difference(but).iter() {
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
}

/// Leaves these capabilities effective and permitted, and none to inherit.
fn limit_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(())
}

/// Names and their numbers as they were when they were read.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Names {
    /// Reads `/etc/passwd` and `/etc/group`.
    pub fn read() -> io::Result<Names> {
        let table = |path: &str| std::fs::read(Path::new(path)).map(|text| parse(&text));
        Ok(Names {
            users: table("/etc/passwd")?,
            groups: table("/etc/group")?,
        })
    }

    /// The uid of a user by name or number.
    pub fn user(&self, name: &[u8]) -> Option<u32> {
        id(&self.users, name)
    }

    /// The name of a user.
    pub fn name_of_user(&self, uid: u32) -> Option<&str> {
        name_of(&self.users, uid)
    }

    /// The name of a group.
    pub fn name_of_group(&self, gid: u32) -> Option<&str> {
        name_of(&self.groups, gid)
    }

    /// The gid of a group by name or number.
    pub fn group(&self, name: &[u8]) -> Option<u32> {
        id(&self.groups, name)
    }
}

/// Lines of `name:password:number:...`; others are ignored.
fn parse(text: &[u8]) -> HashMap<String, u32> {
    let text = String::from_utf8_lossy(text);
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// The number of a name. A number that isn't also a name stands for itself,
/// except the one that means "unchanged" to the system.
fn id(table: &HashMap<String, u32>, name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty())?;
    let number = || {
        let digits = name.bytes().all(|c| c.is_ascii_digit());
        name.parse().ok().filter(|id| digits && *id != u32::MAX)
    };
    table.get(name).copied().or_else(number)
}

/// The name of a number: of several the first in alphabetical order.
fn name_of(table: &HashMap<String, u32>, number: u32) -> Option<&str> {
    let names = table.iter().filter(|(_, other)| **other == number);
    names.map(|(name, _)| name.as_str()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_user_is_found_with_its_groups_and_an_unknown_one_is_not() {
        let root = Identity::of("root").expect("root");
        assert!(root.uid.is_root() && root.groups.contains(&Gid::from_raw(0)));
        assert_eq!(Identity::from_bytes(&root.to_bytes()), Some(root));
        assert_eq!(Identity::from_bytes(&[255; 12]), None);
        let missing = Identity::of("no-such-user-here").map_err(|e| e.kind());
        assert_eq!(missing, Err(io::ErrorKind::NotFound));
    }

    #[test]
    fn names_and_numbers_are_found_and_nothing_else() {
        let users = parse(b"root:x:0:0::/:/bin/sh\n# note\n:x:7:\nweb:x:33:\nbad:x:-1:\n");
        let names = Names {
            users,
            ..Names::default()
        };
        assert_eq!(names.user(b"web"), Some(33));
        assert_eq!(names.user(b"1234"), Some(1234));
        assert_eq!(
            (names.name_of_user(33), names.name_of_user(7)),
            (Some("web"), None)
        );
        for none in ["", "nobody", "bad", "-1", "+5", "4294967295", "4294967296"] {
            assert_eq!(names.user(none.as_bytes()), None, "{none}");
        }
    }
}
