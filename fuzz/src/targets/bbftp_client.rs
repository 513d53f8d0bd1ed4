//! What the client reads of a BBFTP server: any answer ends in a result, and
//! nothing but whole files stays here.
//!
//! The first byte chooses what the client asks, the rest is what the server says
//! on the control connection. Where that may name ports to connect to, it is left
//! out: others may listen there.

use std::fs;

use crate::peer::connection_with;
use tempfile::TempDir;
use tfd::bbftp::wire::Code;
use tfd::client::bbftp::{How, Options, Session};
use tfd::net::Link;

const TFD: &[u8] = b"tfd 0.1.0 : OK +small +sha256 +resume";

/// The message that names ports.
const PORTS: [u8; 4] = Code::TransOkV3.number().to_be_bytes();

const OPTIONS: Options = Options::USUAL;

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    if stream.windows(4).any(|bytes| bytes == PORTS) {
        return;
    }
    let (_peer, ours) = connection_with(stream);
    let link = Link::new(ours).expect("link");
    let version = match choice % 14 {
        0..=2 => 1,
        3..=4 => 2,
        _ => 3,
    };
    let mut session = Session::from_link(link, version, TFD).expect("session");
    match choice % 14 {
        2..=4 | 5..=7 => transfers(&mut session, *choice % 14),
        choice => commands(&mut session, choice),
    }
}

fn commands(session: &mut Session, choice: u8) {
    match choice {
        0 | 8 => {
            for entry in session.list(b"*", OPTIONS).unwrap_or_default() {
                assert!(!entry.path.is_empty() && !entry.path.contains(&0));
            }
        }
        1 | 9 => drop(session.change_directory(b"/a", OPTIONS)),
        10 => drop(session.make_directory(b"/a", OPTIONS)),
        11 => drop(session.stat(b"/a", OPTIONS)),
        12 => drop(session.set_umask(0o22)),
        _ => {
            if let Ok(digits) = session.sha256(b"/a") {
                assert!(digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_hexdigit()));
            }
        }
    }
}

fn transfers(session: &mut Session, choice: u8) {
    let directory = TempDir::new().expect("directory");
    let file = directory.path().join("file");
    let how = How {
        streams: 3,
        sha256: true,
        ..How::default()
    };
    let mut got = 0;
    match choice {
        2 | 3 => drop(session.get(b"/a", &file, &how, &()).map(|_| got = 1)),
        4 => {
            fs::write(&file, b"content").expect("write");
            got = 1;
            drop(session.put(&file, b"/a", &how, &()));
        }
        5 => {
            fs::write(&file, b"").expect("write");
            got = 1;
            drop(session.put(&file, b"/a", &how, &()));
        }
        6 => {
            fs::write(&file, b"content").expect("write");
            got = 1;
            let files = [(file.clone(), b"/a".to_vec()), (file, b"/b".to_vec())];
            drop(session.put_small(&files, &how, &mut |_, _| {}));
        }
        _ => {
            let files = [
                (b"/a".to_vec(), file),
                (b"/b".to_vec(), directory.path().join("b")),
            ];
            let mut done =
                |_, moved: tfd::client::bbftp::Result<_>| got += usize::from(moved.is_ok());
            let rest = session.get_small(&files, &how, &mut done);
            for place in rest.unwrap_or_default() {
                let (remote, local) = &files[place];
                done(place, session.get(remote, local, &how, &()));
            }
        }
    }
    let there = fs::read_dir(directory.path()).expect("directory").count();
    assert!(there <= got, "{there} files of {got}");
}
