//! Between which addresses data goes, and who may log in by a certificate.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;

use tfd::client::bbftp::{Error, How, Session, Target, Transport};
use tfd::client::{Tls, Trust, fetch_certificate};

use crate::client::{Files, content};
use crate::common::ca::Ca;
use crate::common::namespaces::{FAR, Link, NEAR};
use crate::common::{PATIENCE, Server, account, has_ipv6};
use crate::peer::*;
use crate::streams::{ACK, Plan, agree};

fn tls_address(server: &Server) -> SocketAddr {
    let all = server.listening("listening with TLS address=");
    *all.last().expect("address")
}

/// TLS with the certificate of a server, whatever names it has.
fn pinned(address: SocketAddr) -> Tls {
    let shown = fetch_certificate(&address.to_string(), PATIENCE).expect("certificate");
    let pin = format!("SHA256:{}", shown.fingerprint);
    Tls::new(&Trust::Pin(pin), None).expect("TLS")
}

#[test]
fn data_goes_by_ipv6_in_both_directions_of_connections_inside_tls_and_not() {
    if !has_ipv6() {
        return;
    }
    let lines = "password_logins = \"rsa\"";
    let users = account("ann", "pass word", "games:::");
    let Some(server) = tls_server_at("[::1]:0", "", lines, &users) else {
        return;
    };
    for (version, over_tls) in [(1, false), (2, false), (3, false), (2, true), (3, true)] {
        let address = match over_tls {
            true => tls_address(&server),
            false => address(&server),
        };
        assert_eq!(address.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
        let mut target = Target::new("::1", address.port());
        target.login = Some((b"ann".to_vec(), b"pass word".to_vec().into()));
        target.versions = version..=version;
        if over_tls {
            target.transport = Transport::Tls(pinned(address));
        }
        let mut session = Session::open(&target, &()).expect("session");
        let files = Files::new();
        let (file, back) = (files.with("f", &content(700_001)), files.path("back"));
        let how = How {
            streams: 4,
            buffer: 16,
            ..How::default()
        };
        let what = format!("version {version}, TLS {over_tls}");
        session.put(&file, b"f", &how, &()).expect(&what);
        session.get(b"f", &back, &how, &()).expect(&what);
        assert!(fs::read(back).expect("read") == content(700_001), "{what}");
    }
}

/// Ann in version 3, at an address of the server; what is listened on for her file.
fn agreed_at(address: SocketAddr) -> (Peer, u16) {
    let mut peer = Peer::greeted_at(address);
    assert_eq!(peer.log_in("ann", "pass word").0, OK);
    peer.choose(3);
    let agreed = agree(&mut peer, Plan::new(3, 1), crate::peer::STORE_V2, "f", 5);
    (peer, agreed.ports[0])
}

/// Puts the file of [`agreed_at`] by this address.
fn put_by(peer: &mut Peer, to: SocketAddr) {
    let mut stream = TcpStream::connect(to).expect("connect");
    peer.send_bytes(&announcing(TRANS_START_V3, 4, b""));
    stream.write_all(b"there").expect("write");
    let mut ack = [0; 8];
    stream.read_exact(&mut ack).expect("ack");
    assert_eq!((ack, peer.answer()), (ACK, (OK, "OK".to_owned())));
}

#[test]
fn data_ports_listen_where_the_control_connection_has_come_to_and_nowhere_else() {
    let Some(server) = server_at("0.0.0.0:0", "", "") else {
        return;
    };
    let port = address(&server).port();
    for (own, other) in [(1, 2), (2, 1)] {
        let [own, other] = [own, other].map(|last| Ipv4Addr::new(127, 0, 0, last));
        let (mut peer, data) = agreed_at((own, port).into());
        let refused = TcpStream::connect((other, data)).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        put_by(&mut peer, (own, data).into());
    }
}

#[test]
fn a_data_port_is_out_of_reach_by_another_network() {
    let Some(link) = Link::make() else { return };
    link.near(|| {
        let Some(server) = server_at("0.0.0.0:0", "", "") else {
            return;
        };
        let port = address(&server).port();
        let (mut peer, data) = agreed_at((Ipv4Addr::LOCALHOST, port).into());
        let refused = link.far(|| {
            let control = TcpStream::connect((NEAR, port)).map(drop);
            control.expect("the control port is within reach");
            TcpStream::connect((NEAR, data)).expect_err("nobody listens")
        });
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "from {FAR}");
        put_by(&mut peer, (Ipv4Addr::LOCALHOST, data).into());
    });
}

#[test]
fn a_certificate_logs_in_the_account_that_it_names() {
    let directory = tempfile::tempdir().expect("directory");
    let (ca, stranger) = (Ca::new(), Ca::new());
    let authority = directory.path().join("ca.pem");
    let pem = ca.certificate.to_pem().expect("pem");
    fs::write(&authority, pem).expect("write");
    let users = [
        account("ann", "pass word", "games:::"),
        account("bob", "b", "mail:::"),
    ];
    let lines = format!("tls_client_ca = \"{}\"\n", authority.display());
    let Some(server) = tls_server_at("127.0.0.1:0", &lines, "", &users.concat()) else {
        return;
    };
    let open = |(certificate, key): (Vec<u8>, Vec<u8>), login: (&str, &str)| -> Result<_, Error> {
        let mut target = Target::new("127.0.0.1", tls_address(&server).port());
        target.transport = Transport::Tls(server.tls_as(Some((&certificate, &key))));
        target.login = Some((login.0.into(), login.1.as_bytes().to_vec().into()));
        Session::open(&target, &())
    };
    let files = Files::new();
    let file = files.with("f", b"content");
    for (name, user, uid) in [("ann", "games", 5), ("bob", "mail", 8)] {
        let mut session = open(ca.issue(&[name], 9), ("", "")).expect(user);
        let put = session.put(&file, name.as_bytes(), &How::default(), &());
        put.expect("put");
        let found = fs::metadata(server.path(name)).expect("file");
        assert_eq!(found.uid(), uid, "{user}");
    }
    for (certificate, login) in [
        (ca.issue(&["eve"], 9), ("", "")),
        (ca.issue(&["ann"], -1), ("", "")),
        (stranger.issue(&["ann"], 9), ("", "")),
        (ca.issue(&["ann"], 9), ("bob", "wrong")),
    ] {
        assert!(open(certificate, login).is_err(), "{login:?}");
    }
}
