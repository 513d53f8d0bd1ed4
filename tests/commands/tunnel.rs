//! A client that knows nothing of TLS, through stunnel to a server that listens
//! with TLS: as the README says it is set up.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use crate::common::tf::Person;
use crate::common::{Server, Setup, own_address, wait_until};

/// An stunnel of ours. It ends with the value.
struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts an stunnel that trusts the certificate in this file and no other, and
/// returns where it listens.
fn tunnel(person: &Person, server: &Server, certificate: &str) -> (Tunnel, SocketAddr) {
    let address = SocketAddr::from((own_address(), 10345));
    let configuration = format!(
        "foreground = yes\npid =\n[tf]\nclient = yes\naccept = {address}\nconnect = {}\n\
         CAfile = {certificate}\nverifyPeer = yes\n",
        server.tls_address()
    );
    person.write("stunnel.conf", configuration);
    let mut command = person.command("stunnel4");
    command
        .arg("stunnel.conf")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let tunnel = Tunnel(command.spawn().expect("apt-get install stunnel4"));
    wait_until("stunnel listens", || TcpStream::connect(address).is_ok());
    (tunnel, address)
}

#[test]
fn a_client_without_tls_works_through_stunnel() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let mut person = Person::of(&server);
    let certificate = server.config_path().with_file_name("tls.pem");
    std::fs::copy(certificate, person.path("tls.pem")).expect("copy");
    let (_tunnel, address) = tunnel(&person, &server, "tls.pem");
    person.set("TF_SERVER", &address.to_string());
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
    person.write("tree/large", &content);
    for number in 0..50 {
        person.write(&format!("tree/d/{number}"), [number; 5000]);
    }
    person.fine(&["put", "-r", "tree", "there"]);
    assert!(server.read("there/large") == content);
    person.fine(&["get", "-r", "there", "back"]);
    assert!(std::fs::read(person.path("back/large")).expect("read") == content);
    assert_eq!(
        std::fs::read(person.path("back/d/49")).expect("read"),
        [49; 5000]
    );
    person.fine(&["mv", "there/large", "there/moved"]);
    assert_eq!(person.fine(&["ls", "there"]), "d/\nmoved\n");
}

#[test]
fn a_tunnel_to_another_server_than_the_one_that_is_trusted_gives_nothing() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let mut person = Person::of(&server);
    let (other, _) =
        tfd::net::tls::certificate::self_signed(&["127.0.0.1".to_owned()]).expect("made");
    person.write("other.pem", other);
    let (_tunnel, address) = tunnel(&person, &server, "other.pem");
    person.set("TF_SERVER", &address.to_string());
    person.fails(&["ls"], 4, &["TF server"]);
}
