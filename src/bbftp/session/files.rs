//! Requests about single files and directories that move no bytes of them.

use std::fmt::Write;

use rustix::fs::{AtFlags, OFlags, Stat};
use rustix::io::Errno;

use super::env::Env;
use super::reply::Reply;
use crate::bbftp::request::Named;
use crate::bbftp::wire::Options;
use crate::store::part::{is_directory, sync_directory};
use crate::store::read::{FileReader, ReadError};
use crate::text::hex;

/// MKDIR: one that does not exist.
pub fn make_one_directory(env: &Env, file: &Named) -> Reply {
    match env.directories().one(&file.path) {
        Ok(()) => Reply::ok("OK"),
        Err(e) => Reply::failed("Error creation directory", &file.text, e),
    }
}

/// MKDIR_V2: with those around it where that is wanted. One that exists is fine.
pub fn make_directory(env: &Env, file: &Named, options: Options) -> Reply {
    let directories = env.directories();
    let made = match options.has(Options::DIR) {
        true => directories.all(&file.path, |_| Ok::<_, Errno>(())),
        false => directories.one(&file.path).or_else(|e| match e {
            Errno::EXIST => Ok(()),
            e => Err(e),
        }),
    };
    let made = made.and_then(|()| env.root.open_dir(&file.path).map(drop));
    match made {
        Ok(()) => Reply::Ok([b"Directory ", &file.text[..], b" created"].concat()),
        Err(e) => Reply::failed("Error creation directory", &file.text, e),
    }
}

/// CHDIR and CHDIR_V2: the new working directory, as seen from the root.
pub fn change_directory(env: &mut Env, file: &Named) -> Reply {
    // As the system would: it need not be readable.
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let opened = env
        .root
        .open_at(&file.path, flags, rustix::fs::Mode::empty());
    let may_enter = opened.and_then(|directory| {
        let flags = AtFlags::EACCESS;
        rustix::fs::accessat(&directory, ".", rustix::fs::Access::EXEC_OK, flags)
    });
    match may_enter {
        Ok(()) => {
            env.directory = file.path.clone();
            Reply::Ok([b"/", file.path.as_bytes()].concat())
        }
        Err(e) => Reply::failed("Error changing directory", &file.text, e),
    }
}

/// RM: one file, or a link itself.
pub fn remove(env: &Env, file: &Named) -> Reply {
    let removed = env.root.entry(&file.path).and_then(|entry| {
        if is_directory(&entry.stat()?) {
            return Err(Errno::ISDIR);
        }
        env.quota.unlink(&entry.directory, entry.name())?;
        match env.sync() {
            true => sync_directory(&entry.directory),
            false => Ok(()),
        }
    });
    match removed {
        Ok(()) => Reply::Ok([&file.text[..], b" has been deleted"].concat()),
        Err(_) => Reply::no([b"Unable to delete ", &file.text[..]].concat()),
    }
}

/// STAT: one line of numbers, with times in UTC.
pub fn stat(env: &Env, file: &Named) -> Reply {
    match env.root.stat(&file.path) {
        Ok(stat) => Reply::ok(line(&stat)),
        Err(e) => Reply::no(Reply::failed("Error stating file", &file.text, e).into_text()),
    }
}

fn line(stat: &Stat) -> String {
    let mut line = format!(
        "{} {:08o} {} {} {}  {} {}",
        stat.st_ino,
        stat.st_mode,
        stat.st_size,
        stat.st_blksize,
        stat.st_blocks,
        stat.st_uid,
        stat.st_gid
    );
    for seconds in [stat.st_atime, stat.st_mtime, stat.st_ctime] {
        let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
        let _ = write!(line, " ({})", time.strftime("%a %b %e %H:%M:%S %Y"));
    }
    line
}

/// DF: blocks in all and to be had, their size, inodes in all and free, and the
/// longest name. The blocks to be had are within the quota.
pub fn disk_space(env: &Env, file: &Named) -> Reply {
    let flags = OFlags::PATH;
    let opened = env
        .root
        .open_at(&file.path, flags, rustix::fs::Mode::empty());
    match opened.and_then(rustix::fs::fstatvfs) {
        Ok(space) => {
            let size = space.f_frsize.max(1);
            let left = env.quota.left().map_or(u64::MAX, |bytes| bytes / size);
            Reply::ok(format!(
                "{} {} {size} {} {} {}",
                space.f_blocks,
                space.f_bavail.min(left),
                space.f_files,
                space.f_ffree,
                space.f_namemax
            ))
        }
        Err(e) => Reply::no(Reply::failed("Error stating file", &file.text, e).into_text()),
    }
}

/// SHA256: 64 hexadecimal digits.
pub fn digest(env: &Env, file: &Named) -> Reply {
    let opened = FileReader::open(&env.root, &file.path).map_err(|e| match e {
        ReadError::Directory => Errno::ISDIR,
        ReadError::Special => Errno::INVAL,
        ReadError::System(e) => e,
    });
    match opened.and_then(|file| file.sha256()) {
        Ok(digest) => Reply::ok(hex(&digest)),
        Err(e) => Reply::failed("Error reading file", &file.text, e),
    }
}
