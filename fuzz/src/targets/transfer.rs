//! What stands behind PUT, GET, PUTCAN and GETCAN: what was read, written
//! again, reads the same.

use tfd::tf::request::{HpRequest, Request};

/// Takes one input.
pub fn run(data: &[u8]) {
    for (word, windows) in [
        ("PUT", false),
        ("GET", false),
        ("PUTCAN", true),
        ("GETCAN", true),
    ] {
        let body = [word.as_bytes(), b" ", data].concat();
        let parsed = Request::parse(&body);
        if let Ok(request) = &parsed {
            assert_eq!(Request::parse(&write(word, windows, hp(request))), parsed);
        }
    }
}

fn hp(request: &Request) -> &HpRequest {
    match request {
        Request::Put(hp) | Request::Get(hp) | Request::Putcan(hp) | Request::Getcan(hp) => hp,
        other => panic!("{other:?}"),
    }
}

fn write(word: &str, windows: bool, hp: &HpRequest) -> Vec<u8> {
    let slash: &[u8] = if hp.path.names_directory() { b"/" } else { b"" };
    let mut body = [word.as_bytes(), b" ", hp.path.as_bytes(), slash, b" "].concat();
    body.extend_from_slice(&hp.offset.to_be_bytes());
    body.extend_from_slice(&hp.buffer.to_be_bytes());
    if windows {
        body.extend_from_slice(&hp.cancel_point.to_be_bytes());
    } else {
        assert_eq!(hp.cancel_point, 0);
    }
    body
}
