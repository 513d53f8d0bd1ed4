//! The commands of `tf`, one function each.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;

use super::names::{human_size, shown};
use super::progress::Bar;
use crate::client::{ClientError, Connection, Entry, Kind, Stat};
use crate::tf::status::Status;

type Result<T> = std::result::Result<T, ClientError>;

/// `tf ls`: names, or with `long` kind, size and time of each.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub fn list(connection: &mut Connection, path: &str, long: bool, recursive: bool) -> Result<()> {
    let mut entries =
        if recursive { connection.list_recursive(path)? } else { connection.list(path)? };
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    if !long {
        return print(entries.iter().map(short_line));
    }
    let paths: Vec<String> = entries.iter().map(|entry| beneath(path, entry)).collect();
    let stats = connection.stat_all(&paths)?;
    print(entries.iter().zip(stats).map(|(entry, stat)| match stat {
        Ok(stat) => long_line(&stat, &short_line(entry)),
        Err(_) => format!("?        -                       - {}", short_line(entry)),
    }))
}

fn beneath(path: &str, entry: &Entry) -> String {
    let name = String::from_utf8_lossy(&entry.path);
    if path.is_empty() {
        name.into_owned()
    } else {
        format!("{}/{name}", path.trim_end_matches('/'))
    }
}

fn short_line(entry: &Entry) -> String {
    let mark = if entry.kind == Kind::Directory { "/" } else { "" };
    format!("{}{mark}", shown(&entry.path))
}

fn long_line(stat: &Stat, name: &str) -> String {
    format!("{} {:>8} {} {name}", letter(stat.kind), human_size(stat.size), time(stat.modified))
}

fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Other => '?',
    }
}

fn time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => seconds.to_string(),
    }
}

/// Prints lines; a reader that goes away ends it quietly.
fn print(lines: impl Iterator<Item = String>) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = lines.into_iter().try_for_each(|line| writeln!(out, "{line}"));
    match written.and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(output_error(e)),
        _ => Ok(()),
    }
}

fn output_error(source: io::Error) -> ClientError {
    ClientError::Local { path: "standard output".into(), source }
}

/// `tf stat`: what each path is.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub fn show_stat(connection: &mut Connection, paths: &[String]) -> Result<()> {
    let mut lines = Vec::new();
    for path in paths {
        let stat = connection.stat(path)?;
        let kind = match stat.kind {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Other => "special",
        };
        lines.push(format!(
            "{}: {kind}, {} bytes, changed {}, read {}",
            shown(path.as_bytes()),
            stat.size,
            time(stat.modified),
            time(stat.accessed),
        ));
    }
    print(lines.into_iter())
}

/// `tf sha256`: digest and path, as `sha256sum` prints them.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub fn show_sha256(connection: &mut Connection, paths: &[String]) -> Result<()> {
    for path in paths {
        let digest = connection.sha256(path)?;
        print(std::iter::once(format!("{digest}  {}", shown(path.as_bytes()))))?;
    }
    Ok(())
}

/// `tf cat`: files to standard output.
///
/// # Errors
/// The server's refusal, a local failure, or the connection is lost.
pub fn cat(connection: &mut Connection, paths: &[String]) -> Result<()> {
    let mut out = io::stdout().lock();
    for path in paths {
        connection.download_to(path, &mut out, &mut |_| {})?;
    }
    out.flush().map_err(output_error)
}

/// `tf get`: a file to a local one, into a local directory, or with `-` to
/// standard output.
///
/// # Errors
/// The server's refusal, a local failure, or the connection is lost.
pub fn get(
    connection: &mut Connection,
    remote: &str,
    local: Option<&Path>,
    quiet: bool,
) -> Result<()> {
    if local == Some(Path::new("-")) {
        return cat(connection, &[remote.to_owned()]);
    }
    let name = remote.trim_end_matches('/').rsplit('/').next().unwrap_or(remote);
    let target = match local {
        Some(directory) if directory.is_dir() => directory.join(name),
        Some(file) => file.to_owned(),
        None => name.into(),
    };
    let stat = connection.stat(remote)?;
    if stat.kind == Kind::Directory {
        let request = format!("get {remote}");
        return Err(ClientError::Refused { request, status: Status::IsDirectory });
    }
    let bar = Bar::new(quiet, shown(remote.as_bytes()), Some(stat.size));
    connection.download(remote, &target, &mut |bytes| bar.set(bytes))
}

/// `tf put`: a local file, or with `-` standard input, to a remote one or into
/// a remote directory.
///
/// # Errors
/// The server's refusal, a local failure, or the connection is lost.
pub fn put(
    connection: &mut Connection,
    local: &Path,
    remote: Option<&str>,
    quiet: bool,
) -> Result<()> {
    let told = |source| ClientError::Local { path: local.to_owned(), source };
    let name = local.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = match remote {
        None => name,
        Some(remote) if remote.is_empty() || remote.ends_with('/') => format!("{remote}{name}"),
        Some(remote) => match connection.stat(remote) {
            Ok(stat) if stat.kind == Kind::Directory => format!("{remote}/{name}"),
            _ => remote.to_owned(),
        },
    };
    if local == Path::new("-") {
        let bar = Bar::new(quiet, shown(target.as_bytes()), None);
        let mut input = io::stdin().lock();
        return connection.upload(local, &mut input, &target, &mut |bytes| bar.set(bytes));
    }
    let mut file = File::open(local).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    if metadata.is_dir() {
        return Err(told(io::ErrorKind::IsADirectory.into()));
    }
    let bar = Bar::new(quiet, shown(target.as_bytes()), Some(metadata.len()));
    connection.upload(local, &mut file, &target, &mut |bytes| bar.set(bytes))
}

/// `tf rm`: files, and with `recursive` directories with all in them.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub fn remove(connection: &mut Connection, paths: &[String], recursive: bool) -> Result<()> {
    for path in paths {
        match connection.delete(path) {
            Err(e) if recursive && e.status() == Some(Status::IsDirectory) => {
                connection.remove_directory(path)?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// `tf mkdir`: directories, with `parents` those on the way too.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub fn make_directories(
    connection: &mut Connection,
    paths: &[String],
    parents: bool,
) -> Result<()> {
    for path in paths {
        if !parents {
            connection.make_directory(path)?;
            continue;
        }
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            match connection.make_directory(&path[..at]) {
                Err(e) if e.status() == Some(Status::DirectoryExists) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// `tf mv`: renames, or moves into a directory that is there.
///
/// # Errors
/// The server's refusal, or the connection is lost.
pub fn rename(connection: &mut Connection, from: &str, to: &str) -> Result<()> {
    let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or(from);
    let target = match connection.stat(to) {
        Ok(stat) if stat.kind == Kind::Directory => format!("{}/{name}", to.trim_end_matches('/')),
        _ => to.to_owned(),
    };
    connection.rename(from, &target)
}
