//! A listening socket for operators or metrics: a path or a loopback address.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::config::Local;
use crate::trusted;

/// An open endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    place: Local,
    socket: OwnedFd,
    /// The directory and the name of its file, if it has one.
    file: Option<(OwnedFd, OsString)>,
}

impl Endpoint {
    /// The endpoint that replaces one; `None` if that one stays. `mode` is for its
    /// file.
    pub(crate) fn instead_of(
        old: Option<&Endpoint>,
        wanted: Option<&Local>,
        mode: u32,
    ) -> Result<Option<Option<Endpoint>>, String> {
        if old.map(|endpoint| &endpoint.place) == wanted {
            return Ok(None);
        }
        wanted
            .map(|place| Endpoint::open(place, mode))
            .transpose()
            .map(Some)
    }

    fn open(place: &Local, mode: u32) -> Result<Endpoint, String> {
        let (socket, file) = match place {
            Local::Path(path) => {
                let (socket, file) = listen_at(path, mode)
                    .map_err(|e| format!("{}: can't listen: {e}", path.display()))?;
                (socket.into(), Some(file))
            }
            Local::Address(address) => {
                let socket = TcpListener::bind(address)
                    .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
                    .map_err(|e| format!("{address}: can't listen: {e}"))?;
                (socket.into(), None)
            }
        };
        Ok(Endpoint {
            place: place.clone(),
            socket,
            file,
        })
    }

    /// The address, if it has one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.place {
            Local::Address(address) => Some(address),
            Local::Path(_) => None,
        }
    }

    /// The next client that waits, if there is one.
    pub(crate) fn accept(&self) -> Option<OwnedFd> {
        rustix::net::accept_with(&self.socket, rustix::net::SocketFlags::CLOEXEC).ok()
    }
}

impl AsFd for Endpoint {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some((directory, name)) = &self.file {
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
    }
}

/// Listens on a path in a directory that only root and the calling user may
/// write to. A stale socket there is replaced.
fn listen_at(path: &Path, mode: u32) -> io::Result<(UnixListener, (OwnedFd, OsString))> {
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if path == Path::new(crate::config::DEFAULT_CONTROL) {
        match rustix::fs::mkdir(parent, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let directory = trusted::open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    if !trusted::is_ours(&directory)? || directory.metadata()?.mode() & 0o022 != 0 {
        let shown = parent.display();
        return Err(io::Error::other(format!(
            "others may write to {shown}: chmod go-w {shown}"
        )));
    }
    // By the handle: an entry beneath it can't be moved elsewhere.
    let place = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(&name);
    let bound = match bind(&place, mode) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = place.symlink_metadata()?.file_type().is_socket();
            let nobody_listens = UnixStream::connect(&place)
                .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
            if !is_socket || !nobody_listens {
                return Err(e);
            }
            rustix::fs::unlinkat(&directory, &name, AtFlags::empty())?;
            bind(&place, mode)
        }
        other => other,
    };
    Ok((bound?, (directory.into(), name)))
}

fn bind(place: &Path, mode: u32) -> io::Result<UnixListener> {
    let before = rustix::process::umask(Mode::from_raw_mode(0o777 & !mode));
    let bound = UnixListener::bind(place);
    rustix::process::umask(before);
    let socket = bound?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("control");
        drop(UnixListener::bind(&path).expect("stale"));
        let place = Local::Path(path.clone());
        let endpoint = Endpoint::open(&place, 0o600).expect("in place of a stale one");
        assert_eq!(
            fs::metadata(&path).expect("stat").permissions().mode() & 0o777,
            0o600
        );
        let live = Endpoint::open(&place, 0o600).expect_err("somebody listens");
        assert!(live.contains("in use"), "{live}");
        drop(endpoint);
        assert!(!path.exists());
        fs::write(&path, "a file").expect("write");
        assert!(Endpoint::open(&place, 0o600).is_err());
        assert_eq!(fs::read(&path).expect("read"), b"a file");
    }

    #[test]
    fn a_directory_of_everybody_is_refused() {
        let dir = tempfile::tempdir().expect("directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("mode");
        let refused = Endpoint::open(&Local::Path(dir.path().join("control")), 0o600);
        assert!(refused.expect_err("refused").contains("others may write"));
    }
}
