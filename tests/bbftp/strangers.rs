//! Connections that are nobody's: inside TLS each stream proves whose it is.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use tfd::bbftp::stream::sealed::{LABEL, Name, introduce};
use tfd::bbftp::wire::{Code, Control};
use tfd::net::Link;
use tfd::net::tls::End;

use crate::common::{Server, account, wait_until};
use crate::peer::{login, tls_server, transfer};

fn server() -> Option<Server> {
    tls_server("", &account("ann", "pass word", "games:::"))
}

fn tls_address(server: &Server) -> SocketAddr {
    let all = server.listening("listening with TLS address=");
    *all.last().expect("address")
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
