//! Our client and our server.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use tfd::bbftp::stream::sealed::{LABEL, Name, introduce};
use tfd::bbftp::wire::{Code, Control};
use tfd::client::bbftp::{How, Options, Session, Target, Transport};
use tfd::net::Link;
use tfd::net::tls::End;

use crate::client::Files;
use crate::common::{Server, account, wait_until};
use crate::peer::{address, login, tls_server, transfer};
use crate::streams::content;

/// A server that takes logins outside of TLS, too.
fn server() -> Option<Server> {
    let users = account("ann", "pass word", "games:::");
    tls_server("password_logins = \"rsa\"", &users)
}

fn tls_address(server: &Server) -> SocketAddr {
    let all = server.listening("listening with TLS address=");
    *all.last().expect("address")
}

fn target(server: &Server, version: u32, over_tls: bool) -> Target {
    let at = match over_tls {
        true => tls_address(server),
        false => address(server),
    };
    let mut target = Target::new("127.0.0.1", at.port());
    target.login = Some((b"ann".to_vec(), b"pass word".to_vec().into()));
    target.versions = version..=version;
    if over_tls {
        target.transport = Transport::Tls(server.tls());
    }
    target
}

/// Puts a file and gets it back.
fn there_and_back(session: &mut Session, server: &Server, how: &How, size: usize) {
    let (files, content) = (Files::new(), content(size));
    let local = files.with("local", &content);
    session.put(&local, b"remote", how, &()).expect("put");
    assert!(server.read("remote") == content);
    let back = files.path("back");
    session.get(b"remote", &back, how, &()).expect("get");
    assert!(fs::read(back).expect("read") == content);
}

#[test]
fn every_version_carries_files_on_few_and_on_many_streams() {
    let Some(server) = server() else { return };
    for (version, most) in [(1, 10), (2, 32), (3, 32)] {
        let mut session = Session::open(&target(&server, version, false), &()).expect("session");
        for options in [Options::USUAL, Options::USUAL | Options::GZIP] {
            for (streams, size) in [(1, 0), (1, 1), (3, 700_001), (most, 3_000_017)] {
                let how = How {
                    streams,
                    buffer: 16,
                    options,
                    ..How::default()
                };
                there_and_back(&mut session, &server, &how, size);
            }
        }
    }
}

#[test]
fn inside_tls_data_is_as_well_in_both_directions_of_connections() {
    let Some(server) = server() else { return };
    for version in [2, 3] {
        let mut session = Session::open(&target(&server, version, true), &()).expect("session");
        for options in [Options::USUAL, Options::USUAL | Options::GZIP] {
            for (streams, size) in [(1, 0), (1, 1), (3, 700_001), (32, 3_000_017)] {
                let how = How {
                    streams,
                    buffer: 16,
                    options,
                    ..How::default()
                };
                there_and_back(&mut session, &server, &how, size);
            }
        }
    }
}

#[test]
fn many_small_files_go_at_once() {
    let Some(server) = server() else { return };
    for over_tls in [false, true] {
        let mut session = Session::open(&target(&server, 3, over_tls), &()).expect("session");
        assert!(session.offer().small);
        let files = Files::new();
        let name = |at: usize| format!("f{at}");
        let put: Vec<_> = (0..200)
            .map(|at| {
                (
                    files.with(&name(at), &content(at * 40)),
                    name(at).into_bytes(),
                )
            })
            .collect();
        let mut done = 0;
        let mut count = |_: usize, moved: tfd::client::bbftp::Result<_>| {
            moved.map(drop).expect("moved");
            done += 1;
        };
        session
            .put_small(&put, &How::default(), &mut count)
            .expect("put");
        let get: Vec<_> = (0..200)
            .map(|at| (name(at).into_bytes(), files.path(&format!("back{at}"))))
            .collect();
        session
            .get_small(&get, &How::default(), &mut count)
            .expect("get");
        assert_eq!(done, 400);
        for at in [0, 1, 199] {
            assert!(server.read(&name(at)) == content(at * 40));
            assert!(fs::read(files.path(&format!("back{at}"))).expect("read") == content(at * 40));
        }
    }
}

#[test]
fn a_get_that_was_cut_goes_on() {
    let Some(server) = server() else { return };
    let mut session = Session::open(&target(&server, 3, false), &()).expect("session");
    assert!(session.offer().resume);
    let how = How {
        resume: true,
        sha256: true,
        streams: 3,
        ..How::default()
    };
    there_and_back(&mut session, &server, &how, 2_000_003);
}

/// A client inside TLS that has logged in and speaks version 3.
fn raw(server: &Server) -> Control {
    let socket = TcpStream::connect(tls_address(server)).expect("connect");
    let mut link = Link::new(socket).expect("link");
    link.export_as(LABEL);
    let shaken = server.tls().connect(&mut link, "127.0.0.1", &[b"bbftp"]);
    shaken.expect("handshake");
    let mut control = Control::new(link);
    expect(&mut control, Code::Crypt);
    let login = login(0, b"ann", b"pass word");
    control.send(Code::Log, &login).expect("login");
    expect(&mut control, Code::Ok);
    control.send(Code::Prot, &[]).expect("question");
    expect(&mut control, Code::ProtAns);
    control.send(Code::ProtAns, &[0, 0, 0, 3]).expect("choice");
    control
}

fn expect(control: &mut Control, code: Code) -> Vec<u8> {
    let header = control.read_header().expect("message");
    let payload = control.read_payload(&header, 4096).expect("payload");
    let text = String::from_utf8_lossy(&payload);
    assert_eq!(header.code, code.number(), "{text}");
    payload
}

#[test]
fn nobody_elses_connection_is_a_stream_of_tls() {
    let Some(server) = server() else { return };
    let mut control = raw(&server);
    let exported = control.link().exported().expect("exported").clone();
    for number in 0..2 {
        control
            .hold(Code::StoreV2, &transfer(5, 1, 256, 1))
            .expect("request");
        control.send(Code::FileName, b"f").expect("name");
        expect(&mut control, Code::TransOkV3);
        let port = control.read_bytes(4).expect("port");
        let port = u16::from_be_bytes([port[2], port[3]]);
        let connect = || TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let mut plain = connect();
        plain.write_all(b"12345").expect("write");
        let other = raw(&server);
        let theirs = other.into_link().exported().expect("exported").clone();
        let name = |transfer, stream| Name { transfer, stream };
        let _strangers = [
            introduce(connect(), &theirs, End::Client, name(number, 0)),
            introduce(connect(), &exported, End::Client, name(number + 1, 0)),
            introduce(connect(), &exported, End::Client, name(number, 1)),
        ];
        let mut link = introduce(connect(), &exported, End::Client, name(number, 0)).expect("link");
        let start = control.send_announcing(Code::TransStartV3, 4, &[]);
        start.expect("start");
        link.write(&mut b"there".clone()).expect("data");
        let mut ack = [0; 8];
        link.read_exact(&mut ack).expect("ack");
        expect(&mut control, Code::Ok);
        assert_eq!(server.read("f"), b"there");
    }
    drop(control);
    wait_until("no part", || server.names("") == ["f"]);
    assert!(Path::new(&server.path("f")).is_file());
}
