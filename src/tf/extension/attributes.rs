//! The attributes of TFD_SET: `mode=0640,mtime=1700000000.123456789` and so on,
//! read and given to a file. A text that is not whole and right gives nothing.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, fchmod, fchown, fremovexattr,
    fsetxattr, futimens,
};
use rustix::io::Errno;

use crate::text::unhex;
use crate::tf::command::chmod::parse_mode;
use crate::tf::env::Env;
use crate::tf::status::Status;

/// How the names of attributes begin that a client may give.
const OF_USERS: &[u8] = b"user.";

/// The longest name of an attribute, in bytes.
const MAX_NAME: usize = 255;

/// What a client wants a file to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// As the client wrote it.
    pub text: Vec<u8>,
    /// The permission bits.
    pub mode: Option<Mode>,
    /// When it was changed: seconds since the epoch, and nanoseconds behind that.
    pub mtime: Option<(i64, u32)>,
    /// The owner by name or number.
    pub user: Option<Vec<u8>>,
    /// The group by name or number.
    pub group: Option<Vec<u8>>,
    /// Extended attributes: names and values, no value to remove one.
    pub extended: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// How TFD_STORE makes the file.
    pub making: Making,
}

/// How a file is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Making {
    /// Only if the name is free.
    pub new: bool,
    /// With holes in place of zeros.
    pub sparse: bool,
    /// Without the extended attributes of a file that it replaces.
    pub bare: bool,
}

/// An owner and a group by their numbers.
pub(super) type Owner = (Option<Uid>, Option<Gid>);

impl Attributes {
    /// Reads those of TFD_SET: words that commas separate; `None` for one that is
    /// unknown, comes twice or has a wrong value.
    pub fn parse(text: &[u8]) -> Option<Attributes> {
        Attributes::parse_to_store(text)
            .filter(|read| text != b"-" && read.making == Making::default())
    }

    /// As [`Attributes::parse`], for TFD_STORE: also `-` for none, and words that say
    /// how the file is made.
    pub fn parse_to_store(text: &[u8]) -> Option<Attributes> {
        let mut read = Attributes {
            text: text.to_vec(),
            ..Attributes::default()
        };
        if text == b"-" {
            return Some(read);
        }
        for word in text.split(|c| *c == b',') {
            let at = word.iter().position(|c| *c == b'=');
            let (name, value) = word.split_at(at.unwrap_or(word.len()));
            if let Some(name) = name.strip_prefix(b"xattr:") {
                let value = value.strip_prefix(b"=").map(|value| unhex(value).ok_or(()));
                read.extended
                    .push((extended(name)?, value.transpose().ok()?));
                continue;
            }
            let value = value.strip_prefix(b"=").unwrap_or_default();
            let making = &mut read.making;
            let is_new = match name {
                b"new" if at.is_none() => !std::mem::replace(&mut making.new, true),
                b"sparse" if at.is_none() => !std::mem::replace(&mut making.sparse, true),
                b"xattrs" if at.is_none() => !std::mem::replace(&mut making.bare, true),
                b"mode" => read.mode.replace(parse_mode(value)?).is_none(),
                b"mtime" => read.mtime.replace(time(value)?).is_none(),
                b"user" => read.user.replace(filled(value)?).is_none(),
                b"group" => read.group.replace(filled(value)?).is_none(),
                _ => return None,
            };
            if !is_new {
                return None;
            }
        }
        Some(read)
    }

    /// The mode to set, of the bits that clients may set.
    pub(super) fn mode(&self, env: &Env) -> Option<Mode> {
        Some(self.mode? & Mode::from_raw_mode(env.settings.mode_bits))
    }

    /// The owner to set.
    ///
    /// # Errors
    /// 42 or 43 for one that the system does not have.
    pub(super) fn owner(&self, env: &Env) -> Result<Option<Owner>, Status> {
        let uid = |name: &Vec<u8>| env.names.user(name).ok_or(Status::UserMissing);
        let gid = |name: &Vec<u8>| env.names.group(name).ok_or(Status::GroupMissing);
        let uid = self.user.as_ref().map(uid).transpose()?;
        let gid = self.group.as_ref().map(gid).transpose()?;
        let owner = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok((owner != (None, None)).then_some(owner))
    }

    /// The time to set; that of the last access stays.
    pub(super) fn times(&self) -> Option<Timestamps> {
        let (seconds, nanoseconds) = self.mtime?;
        let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
        Some(Timestamps {
            last_access: time(0, UTIME_OMIT),
            last_modification: time(seconds, nanoseconds.into()),
        })
    }

    /// Gives an open file its extended attributes.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn extend(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        for (name, value) in &self.extended {
            let name = OsStr::from_bytes(name);
            match value {
                Some(value) => fsetxattr(file, name, value, XattrFlags::empty())?,
                None => match fremovexattr(file, name) {
                    Err(Errno::NODATA) => {}
                    removed => removed?,
                },
            }
        }
        Ok(())
    }

    /// Gives a new file all of it, as [`super::set`] does; of the mode these bits.
    ///
    /// # Errors
    /// 44, 201, 41 or 27.
    pub(super) fn give(
        &self,
        env: &Env,
        file: BorrowedFd<'_>,
        owner: Option<Owner>,
        bits: u32,
    ) -> Result<(), Status> {
        if let Some((uid, gid)) = owner {
            fchown(file, uid, gid).map_err(|_| Status::ChangeOwner)?;
        }
        self.extend(file).map_err(|_| Status::Attribute)?;
        if let Some(mode) = self.mode(env) {
            let mode = mode & Mode::from_raw_mode(bits);
            fchmod(file, mode).map_err(|_| Status::ChangeMode)?;
        }
        if let Some(times) = self.times() {
            futimens(file, &times).map_err(|_| Status::TimestampUpdate)?;
        }
        Ok(())
    }
}

fn filled(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// `SECONDS` or `SECONDS.NNNNNNNNN`. The fraction counts forwards, of seconds
/// before the epoch, too.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "000000000"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let fine = digits(seconds.strip_prefix('-').unwrap_or(seconds))
        && digits(fraction)
        && fraction.len() == 9;
    if !fine {
        return None;
    }
    Some((seconds.parse().ok()?, fraction.parse().ok()?))
}

/// The name of an extended attribute, in hexadecimal digits.
fn extended(name: &[u8]) -> Option<Vec<u8>> {
    let name = unhex(name)?;
    let fine = name.starts_with(OF_USERS)
        && name.len() > OF_USERS.len()
        && name.len() <= MAX_NAME
        && !name.contains(&0);
    fine.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_whole_or_not_at_all() {
        let text = b"mode=0640,mtime=-2.500000000,user=web,group=33,xattr:757365722e61=00ff";
        let read = Attributes::parse(text).expect("attributes");
        assert_eq!(
            (read.mode, read.mtime),
            (Some(Mode::from_raw_mode(0o640)), Some((-2, 500_000_000)))
        );
        assert_eq!(read.user.as_deref(), Some(&b"web"[..]));
        assert_eq!(read.group.as_deref(), Some(&b"33"[..]));
        assert_eq!(read.extended, [(b"user.a".to_vec(), Some(vec![0, 255]))]);
        assert_eq!(read.text, text);
        let whole = b"mtime=5,xattr:757365722E61=,xattr:757365722E62";
        let whole = Attributes::parse(whole).expect("attributes");
        assert_eq!(whole.mtime, Some((5, 0)));
        let expected = [
            (b"user.a".to_vec(), Some(Vec::new())),
            (b"user.b".to_vec(), None),
        ];
        assert_eq!(whole.extended, expected);
        for wrong in [
            "",
            "mode",
            "mode=",
            "mode=8",
            "mode=10000",
            "mode=640,",
            "mode=640,mode=640",
            "MODE=640",
            "mtime=",
            "mtime=1.5",
            "mtime=1.",
            "mtime=+1",
            "mtime=-",
            "mtime=1.0000000001",
            "mtime=99999999999999999999",
            "user=",
            "size=1",
            "-",
            "new",
            "mode=640,sparse",
            "xattr:=00",
            "xattr:757365722e=00",
            "xattr:757365722e61=0",
            "xattr:757365722e6100=00",
            "xattr:73797374656d2e61=00",
            "xattr:zz=00",
        ] {
            assert_eq!(Attributes::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
    #[test]
    fn how_a_file_is_made_is_said_with_its_attributes() {
        let making = |text: &str| Some(Attributes::parse_to_store(text.as_bytes())?.making);
        assert_eq!(making("-"), Some(Making::default()));
        assert_eq!(making("mode=640"), Some(Making::default()));
        let all = Making {
            new: true,
            sparse: true,
            bare: true,
        };
        assert_eq!(making("xattrs,mode=640,sparse,new"), Some(all));
        for wrong in ["", "new,new", "new=1", "sparse=", "-,new", "later"] {
            assert_eq!(making(wrong), None, "{wrong}");
        }
    }
}
