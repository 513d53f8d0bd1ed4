use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tfd::bbftp::wire::{Code, Transfer};
use tfd::client::bbftp::{Fate, How, Moved, Options, Result, Session};

use super::{Files, Heard, content};
use crate::fake::{ACK, Peer, connect, receive, send, serve_version};

fn how(streams: u32) -> How {
    How {
        streams,
        buffer: 1,
        ..How::default()
    }
}

/// Puts a file to a server that does as it is told.
fn put(
    version: u32,
    bytes: &[u8],
    how: &How,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> Result<Moved> {
    let (target, server) = serve_version(version, "x", script);
    let files = Files::new();
    let file = files.with("f", bytes);
    let mut session = Session::open(&target, &()).expect("session");
    let put = session.put(&file, b"/r", how, &());
    drop(session);
    server.join().expect("server");
    put
}

/// Gets a file: what came of it, and all that is left here.
fn get(
    version: u32,
    how: &How,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (Result<Moved>, Vec<(String, Vec<u8>)>) {
    let (target, server) = serve_version(version, "x", script);
    let files = Files::new();
    let mut session = Session::open(&target, &()).expect("session");
    let got = session.get(b"/r", &files.path("f"), how, &());
    drop(session);
    server.join().expect("server");
    let read = |name: String| {
        let bytes = fs::read(files.path(&name)).expect("read");
        (name, bytes)
    };
    (got, files.names().into_iter().map(read).collect())
}

const SIZES: [usize; 6] = [1, 1023, 1024, 2048, 65_537, 300_000];

#[test]
fn a_put_of_versions_2_and_3_sends_each_range_on_its_stream() {
    for version in [2, 3] {
        for size in SIZES {
            for streams in [1, 3, 32] {
                let bytes = content(size);
                let expected = bytes.clone();
                let moved = put(version, &bytes, &how(streams), move |peer| {
                    let (request, name) = peer.request(Code::StoreV2);
                    assert_eq!((request.size, &name[..]), (size as u64, &b"/r"[..]));
                    assert_eq!(request.options, Options::USUAL);
                    assert!(request.accessed.is_some() && request.modified.is_some());
                    let most = (size as u32 / 1024).max(1);
                    assert_eq!(request.streams, streams.min(most));
                    let streams = peer.streams(version, &request);
                    assert!(receive(streams, size) == expected);
                    peer.say(Code::Ok, b"OK");
                });
                let moved = moved.expect("put");
                assert_eq!(moved.bytes, size as u64);
            }
        }
    }
}

#[test]
fn a_get_of_versions_2_and_3_receives_each_range_on_its_stream() {
    for version in [2, 3] {
        for size in SIZES {
            for streams in [1, 3, 32] {
                let (got, files) = get(version, &how(streams), move |peer| {
                    let (request, name) = peer.request(Code::RetrV2);
                    assert_eq!((request.streams, &name[..]), (streams, &b"/r"[..]));
                    let transfer = Transfer {
                        size: size as u64,
                        mode: 0o640,
                        streams: streams.min((size as u32 / 1024).max(1)),
                        ..request
                    };
                    send(peer.streams(version, &transfer), &content(size));
                    peer.say(Code::Ok, b"OK");
                });
                got.expect("get");
                assert!(files == [("f".to_owned(), content(size))]);
            }
        }
    }
}

#[test]
fn version_1_has_up_to_ten_streams_and_some_may_be_empty() {
    for size in [1, 5, 300_000] {
        let bytes = content(size);
        let moved = put(1, &bytes.clone(), &how(32), move |peer| {
            let request = peer.old_request(Code::Store);
            assert_eq!((&request.name[..], request.size), (&b"/r"[..], size as u64));
            assert_eq!(request.ports.len(), 10);
            assert!(receive(connect(&request.ports), size) == bytes);
            peer.say(Code::Ok, b"OK");
        });
        assert_eq!(moved.expect("put").streams, 10);
        let (got, files) = get(1, &how(3), move |peer| {
            let request = peer.old_request(Code::Retr);
            peer.say(Code::RetrOk, &(size as u64).to_be_bytes());
            assert_eq!(peer.expect(Code::RetrStart), b"");
            send(connect(&request.ports), &content(size));
            peer.say(Code::Ok, b"OK");
        });
        got.expect("get");
        assert!(files == [("f".to_owned(), content(size))]);
    }
}

#[test]
fn compressed_transfers_say_so_in_every_version() {
    let zip = How {
        options: Options::USUAL | Options::GZIP,
        ..how(2)
    };
    for version in [1, 2, 3] {
        let stored = |bytes: &[u8]| {
            let len = (bytes.len() as u32).to_be_bytes();
            [&[0, 0, 0, 0][..], &len, bytes].concat()
        };
        let (got, files) = get(version, &zip, move |peer| {
            let streams = if version == 1 {
                let request = peer.old_request(Code::RetrC);
                peer.say(Code::RetrOk, &6_u64.to_be_bytes());
                peer.expect(Code::RetrStart);
                connect(&request.ports)
            } else {
                let (request, _) = peer.request(Code::RetrV2);
                assert!(request.options.has(Options::GZIP));
                let transfer = Transfer { size: 6, ..request };
                peer.streams(version, &transfer)
            };
            for (mut stream, part) in streams.into_iter().zip([b"abc", b"def"]) {
                stream.write_all(&stored(part)).expect("write");
                let mut ack = [0; 8];
                stream.read_exact(&mut ack).expect("ack");
                assert_eq!(ack, ACK);
            }
            peer.say(Code::Ok, b"OK");
        });
        assert!(got.expect("get").gzip);
        assert_eq!(files, [("f".to_owned(), b"abcdef".to_vec())]);
    }
}

#[test]
fn a_server_that_cannot_compress_is_believed_and_the_user_is_warned() {
    let (target, server) = serve_version(3, "x", |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        let transfer = Transfer {
            options: request.options.without(Options::GZIP),
            ..request
        };
        let streams = peer.streams(3, &transfer);
        assert_eq!(receive(streams, 3), b"abc");
        peer.say(Code::Info, b"Unable to set window\n");
        peer.say(Code::Ok, b"");
    });
    let files = Files::new();
    let file = files.with("f", b"abc");
    let heard = Heard::default();
    let mut session = Session::open(&target, &()).expect("session");
    let zip = How {
        options: Options::USUAL | Options::GZIP,
        ..How::default()
    };
    session.put(&file, b"/r", &zip, &heard).expect("put");
    server.join().expect("server");
    let heard = heard.all();
    assert_eq!(
        heard[..2],
        ["27 The server cannot compress", "3 on 1 from 0"]
    );
    assert!(heard.contains(&"100 Unable to set window".to_owned()));
    assert_eq!(heard.last().map(String::as_str), Some("3"));
}

#[test]
fn empty_files_need_no_data_connection() {
    for version in [2, 3] {
        let moved = put(version, b"", &how(4), |peer| {
            assert_eq!(peer.request(Code::StoreV2).0.size, 0);
            peer.say(Code::Ok, b"");
        });
        assert_eq!(moved.expect("put").bytes, 0);
        let code = if version == 2 {
            Code::TransOkV2
        } else {
            Code::TransOkV3
        };
        let (got, files) = get(version, &how(4), move |peer| {
            let (request, _) = peer.request(Code::RetrV2);
            let transfer = Transfer {
                streams: 0,
                ..request
            };
            peer.say(code, &transfer.encode());
            assert_eq!(peer.expect(Code::CreateZero), b"");
        });
        got.expect("get");
        assert_eq!(files, [("f".to_owned(), vec![])]);
    }
    let moved = put(1, b"", &how(4), |peer| {
        assert_eq!(peer.old_request(Code::Store).size, 0);
        peer.say(Code::Ok, b"OK");
    });
    assert_eq!(moved.expect("put").bytes, 0);
    let (got, files) = get(1, &how(4), |peer| {
        peer.old_request(Code::Retr);
        peer.say(Code::RetrOk, &[0; 8]);
        assert_eq!(peer.expect(Code::CreateZero), b"");
    });
    got.expect("get");
    assert_eq!(files, [("f".to_owned(), vec![])]);
}

#[test]
fn the_last_word_may_overtake_the_acknowledgements() {
    let bytes = content(100_000);
    let moved = put(3, &bytes, &how(2), |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        let mut streams = peer.streams(3, &request);
        for stream in &mut streams {
            let mut part = vec![0; 50_000];
            stream.read_exact(&mut part).expect("read");
        }
        peer.say(Code::Ok, b"OK");
        streams[0].write_all(&ACK).expect("write");
        // The other acknowledgement never comes.
    });
    assert_eq!(moved.expect("put").bytes, 100_000);
}

#[test]
fn a_server_grants_fewer_streams_but_never_more() {
    let bytes = content(10_000);
    let fewer = put(3, &bytes, &how(4), |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        let transfer = Transfer {
            streams: 2,
            ..request
        };
        let streams = peer.streams(3, &transfer);
        assert!(receive(streams, 10_000) == content(10_000));
        peer.say(Code::Ok, b"OK");
    });
    assert_eq!(fewer.expect("put").streams, 2);
    for streams in [5, 33, 1 << 30] {
        let more = put(3, &bytes, &how(4), move |peer| {
            let (request, _) = peer.request(Code::StoreV2);
            let transfer = Transfer { streams, ..request };
            peer.say(Code::TransOkV3, &transfer.encode());
        });
        let more = more.expect_err("too many");
        assert_eq!((more.code, more.fate), (62, Fate::FinalReconnect));
    }
    let none = put(3, &bytes, &how(4), |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        let transfer = Transfer {
            streams: 0,
            ..request
        };
        peer.say(Code::TransOkV3, &transfer.encode());
    });
    assert_eq!(none.expect_err("none").code, 62);
    let port = put(3, &bytes, &how(1), |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        let payload = [&request.encode()[..], &[0, 1, 0, 0]].concat();
        peer.control
            .send_announcing(Code::TransOkV3, 48, &payload)
            .expect("send");
    });
    assert_eq!(port.expect_err("no port").code, 68);
}

#[test]
fn a_refusal_before_the_data_keeps_the_connection() {
    for (version, code) in [(1, Code::Store), (2, Code::StoreV2), (3, Code::StoreV2)] {
        for (answer, fate) in [(Code::Bad, Fate::Again), (Code::BadNoRetry, Fate::Final)] {
            let refused = put(version, b"abc", &how(1), move |peer| {
                if version == 1 {
                    peer.old_request(code);
                } else {
                    peer.request(code);
                }
                peer.say(answer, b"File /r is a directory ");
            });
            let refused = refused.expect_err("refused");
            let expected = (100, fate, "File /r is a directory ");
            assert_eq!((refused.code, refused.fate, &refused.text[..]), expected);
        }
    }
}

#[test]
fn a_failure_of_the_server_is_reported_by_its_text_and_nothing_stays_here() {
    for version in [1, 2, 3] {
        let (got, files) = get(version, &how(2), move |peer| {
            let mut streams = if version == 1 {
                let request = peer.old_request(Code::Retr);
                peer.say(Code::RetrOk, &100_u64.to_be_bytes());
                peer.expect(Code::RetrStart);
                connect(&request.ports)
            } else {
                let (request, _) = peer.request(Code::RetrV2);
                let transfer = Transfer {
                    size: 100,
                    ..request
                };
                peer.streams(version, &transfer)
            };
            streams[0].write_all(b"abc").expect("write");
            drop(streams);
            peer.say(Code::Bad, b"Error on server: Input/output error");
        });
        let failed = got.expect_err("failed");
        let expected = (100, Fate::Again, "Error on server: Input/output error");
        assert_eq!((failed.code, failed.fate, &failed.text[..]), expected);
        assert_eq!(files, []);
    }
}

#[test]
fn a_server_that_vanishes_during_a_transfer_is_lost() {
    for version in [1, 2, 3] {
        let (got, files) = get(version, &how(2), move |peer| {
            let streams = if version == 1 {
                let request = peer.old_request(Code::Retr);
                peer.say(Code::RetrOk, &100_u64.to_be_bytes());
                peer.expect(Code::RetrStart);
                connect(&request.ports)
            } else {
                let (request, _) = peer.request(Code::RetrV2);
                let transfer = Transfer {
                    size: 100,
                    ..request
                };
                peer.streams(version, &transfer)
            };
            drop(streams);
        });
        let failed = got.expect_err("lost");
        assert_eq!((failed.code, failed.fate), (67, Fate::Reconnect));
        assert_eq!(files, []);
    }
}

#[test]
fn a_file_that_can_not_be_written_here_ends_the_transfer_and_not_the_session() {
    let (target, server) = serve_version(3, "x", |peer| {
        let (request, _) = peer.request(Code::RetrV2);
        let transfer = Transfer { size: 3, ..request };
        let _listeners = peer.consent(&transfer);
        peer.expect(Code::Abort);
        peer.expect(Code::ChDirV2);
        peer.say(Code::Ok, b"/");
    });
    let files = Files::new();
    let usual = How::default();
    let mut session = Session::open(&target, &()).expect("session");
    let refused = session.get(b"/r", files.0.path(), &usual, &());
    let refused = refused.expect_err("a directory");
    assert_eq!((refused.code, refused.fate), (73, Fate::Final));
    session.change_directory(b"/", Options::USUAL).expect("cd");
    server.join().expect("server");
}

#[test]
fn options_decide_what_a_file_gets_here() {
    let all = Options::USUAL;
    for (options, mode, changed) in [
        (all, Some(0o601), Some(0x1000_0000)),
        (all.without(Options::MODE), None, Some(0x1000_0000)),
        (all.without(Options::ACC), Some(0o601), None),
        (all.without(Options::TMP), Some(0o601), Some(0x1000_0000)),
    ] {
        let (target, server) = serve_version(3, "x", |peer| {
            let (request, _) = peer.request(Code::RetrV2);
            let transfer = Transfer {
                size: 3,
                mode: 0o4601,
                accessed: Some(0x0fff_ffff),
                modified: Some(0x1000_0000),
                ..request
            };
            send(peer.streams(3, &transfer), b"abc");
            peer.say(Code::Ok, b"OK");
        });
        let files = Files::new();
        let file = files.path("new/below/f");
        let how = How {
            options,
            ..How::default()
        };
        let mut session = Session::open(&target, &()).expect("session");
        session.get(b"/r", &file, &how, &()).expect("get");
        server.join().expect("server");
        let found = fs::metadata(&file).expect("file");
        if let Some(mode) = mode {
            assert_eq!(found.permissions().mode() & 0o7777, mode);
        }
        assert_eq!(found.mtime() == 0x1000_0000, changed.is_some());
    }
    let (target, server) = serve_version(3, "x", |peer| {
        let (request, _) = peer.request(Code::RetrV2);
        let transfer = Transfer { size: 3, ..request };
        let _listeners = peer.consent(&transfer);
        peer.expect(Code::Abort);
    });
    let files = Files::new();
    let how = How {
        options: all.without(Options::DIR),
        ..How::default()
    };
    let mut session = Session::open(&target, &()).expect("session");
    let refused = session.get(b"/r", &files.path("new/f"), &how, &());
    assert_eq!(refused.expect_err("no directory").code, 75);
    server.join().expect("server");
}

#[test]
fn a_simulation_touches_nothing_on_either_side() {
    for version in [2, 3] {
        let simulation = How {
            simulate: true,
            ..how(2)
        };
        let start = move |peer: &mut Peer, request: &Transfer| {
            if version == 2 {
                peer.say(Code::TransOkV2, &request.encode());
                let ports = peer.expect(Code::TransSimul);
                drop(connect(
                    &tfd::bbftp::wire::decode_ports(&ports).expect("ports"),
                ));
            } else {
                let listeners = peer.consent(request);
                peer.expect(Code::TransSimulV3);
                for listener in listeners {
                    let (mut socket, _) = listener.accept().expect("accept");
                    assert_eq!(socket.read(&mut [0]).expect("read"), 0);
                }
            }
            peer.say(Code::Ok, b"OK");
        };
        let moved = put(version, &content(5000), &simulation, move |peer| {
            let (request, name) = peer.request(Code::StoreV2);
            // The public servers delete the file that they simulate.
            assert!(name.starts_with(b"/r.bbftp.tmp."));
            start(peer, &request);
        });
        assert_eq!(moved.expect("put").bytes, 0);
        let (got, files) = get(version, &simulation, move |peer| {
            let (request, _) = peer.request(Code::RetrV2);
            let transfer = Transfer {
                size: 5000,
                ..request
            };
            start(peer, &transfer);
        });
        assert_eq!(got.expect("get").bytes, 0);
        assert_eq!(files, []);
    }
    let simulation = How {
        simulate: true,
        ..how(2)
    };
    let (got, files) = get(1, &simulation, |peer| {
        peer.old_request(Code::Retr);
        peer.say(Code::RetrOk, &5_u64.to_be_bytes());
        peer.expect(Code::Abr);
    });
    got.expect("get");
    assert_eq!(files, []);
}

#[test]
fn a_size_that_is_none_is_refused() {
    for size in [&[0xff; 8][..], &[0x80, 0, 0, 0, 0, 0, 0, 0], &[0; 7], b""] {
        let (got, _) = get(1, &how(1), move |peer| {
            peer.old_request(Code::Retr);
            peer.say(Code::RetrOk, size);
        });
        let failed = got.expect_err("no size");
        assert_eq!((failed.code, failed.fate), (63, Fate::FinalReconnect));
    }
    let (got, _) = get(3, &how(1), |peer| {
        let (request, _) = peer.request(Code::RetrV2);
        let mut payload = request.encode();
        payload[0] = 0x80;
        peer.say(Code::TransOkV3, &payload);
    });
    assert_eq!(got.expect_err("no size").code, 62);
}

#[test]
fn files_that_are_not_there_or_not_files_are_not_sent() {
    let (target, server) = serve_version(3, "x", |peer| assert!(peer.is_left()));
    let files = Files::new();
    let usual = How::default();
    let mut session = Session::open(&target, &()).expect("session");
    let missing = session.put(&files.path("no"), b"/r", &usual, &());
    assert_eq!(missing.expect_err("missing").code, 72);
    let directory = session.put(files.0.path(), b"/r", &usual, &());
    assert_eq!(directory.expect_err("a directory").code, 73);
    drop(session);
    server.join().expect("server");
}

#[test]
fn a_data_connection_of_somebody_else_is_no_stream() {
    let moved = put(2, b"abc", &how(1), |peer| {
        let (request, _) = peer.request(Code::StoreV2);
        peer.say(Code::TransOkV2, &request.encode());
        let ports = peer.expect(Code::TransStartV2);
        let ports = tfd::bbftp::wire::decode_ports(&ports).expect("ports");
        let other = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .expect("socket");
        let from = std::net::SocketAddr::from(([127, 0, 0, 2], 0));
        rustix::net::bind(&other, &from).expect("bind");
        let to = std::net::SocketAddr::from(([127, 0, 0, 1], ports[0]));
        rustix::net::connect(&other, &to).expect("connect");
        let mut other = std::net::TcpStream::from(other);
        assert!(matches!(other.read(&mut [0]), Ok(0) | Err(_)));
        assert_eq!(receive(connect(&ports), 3), b"abc");
        peer.say(Code::Ok, b"OK");
    });
    moved.expect("put");
}
