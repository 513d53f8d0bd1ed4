//! A program as ssh is: here one that carries its standard input and output to
//! the server of the test.

use std::ffi::OsString;
use std::net::TcpListener;

use tfd::bbftp::wire::Code;
use tfd::client::bbftp::{Fate, How, Options, Session, Target, Transport};

use super::{Files, content};
use crate::fake::{Peer, receive, serve};

fn by_command(target: &Target) -> Target {
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; cat <&3 & cat >&3; wait",
        target.port
    );
    let arguments = ["bash", "-c", &script].map(OsString::from).to_vec();
    Target {
        transport: Transport::Command(arguments),
        login: None,
        ..target.clone()
    }
}

#[test]
fn a_server_behind_a_program_learns_the_addresses_by_a_connection_beside() {
    let (target, server) = serve(|peer| {
        let beside = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = u32::from(beside.local_addr().expect("address").port());
        peer.say(Code::LOGGED_STDIN, &port.to_be_bytes());
        let mut other = Peer::on(beside.accept().expect("accept").0);
        assert_eq!(other.expect(Code::IpAddr), b"");
        other.say(Code::IpAddrOk, b"");
        peer.agree(1, 3);
        let (request, _) = peer.request(Code::StoreV2);
        let streams = peer.streams(3, &request);
        assert_eq!(receive(streams, 100_000), content(100_000));
        peer.say(Code::Ok, b"OK");
        peer.expect(Code::CloseConn);
    });
    let files = Files::new();
    let file = files.with("f", &content(100_000));
    let mut session = Session::open(&by_command(&target), &()).expect("session");
    let how = How {
        streams: 2,
        buffer: 1,
        ..How::default()
    };
    session.put(&file, b"f", &how, &()).expect("put");
    session.close();
    server.join().expect("server");
}

#[test]
fn only_a_program_that_is_named_tfd_is_asked_for_what_it_offers() {
    for (begin, is_asked) in [("", false), ("true /usr/sbin/tfd ; ", true)] {
        let (target, server) = serve(move |peer| {
            peer.say(Code::IpAddr, &[127, 0, 0, 1]);
            peer.expect(Code::IpAddrOk);
            peer.agree(1, 3);
            if is_asked {
                assert_eq!(peer.expect(Code::Offer), b"");
                peer.say(Code::BadNoRetry, b"Unkown message in logged state");
            }
            peer.expect(Code::ChDirV2);
            peer.say(Code::Ok, b"/");
        });
        let mut target = by_command(&target);
        if let Transport::Command(words) = &mut target.transport {
            let script = words.pop().expect("script").into_string().expect("text");
            words.push(format!("{begin}{script}").into());
        }
        let mut session = Session::open(&target, &()).expect("session");
        session.change_directory(b"/", Options::USUAL).expect("cd");
        server.join().expect("server");
    }
}

#[test]
fn a_server_behind_a_program_may_exchange_addresses_on_the_connection() {
    let (target, server) = serve(|peer| {
        peer.say(Code::IpAddr, &[127, 0, 0, 1]);
        assert_eq!(peer.expect(Code::IpAddrOk), [127, 0, 0, 1]);
        assert_eq!(peer.agree(1, 3), 2);
        peer.expect(Code::ChDirV2);
        peer.say(Code::Ok, b"/");
    });
    let mut target = by_command(&target);
    target.versions = 2..=2;
    let mut session = Session::open(&target, &()).expect("session");
    session.change_directory(b"/", Options::USUAL).expect("cd");
    server.join().expect("server");
}

#[test]
fn a_program_that_fails_or_a_server_that_refuses_is_an_error_of_the_start() {
    let mut target = Target::new("127.0.0.1", 1);
    for arguments in [&["/no/such/program"][..], &["false"], &[]] {
        let arguments = arguments.iter().map(OsString::from).collect();
        target.transport = Transport::Command(arguments);
        let failed = Session::open(&target, &()).expect_err("failed");
        assert_eq!(failed.code, 41, "{}", failed.text);
    }
    let (target, server) = serve(|peer| peer.say(Code::BadNoRetry, b"no"));
    let failed = Session::open(&by_command(&target), &()).expect_err("refused");
    assert_eq!((failed.code, failed.fate), (100, Fate::End));
    server.join().expect("server");
}
