//! The dialer in its own sandbox: it still connects and accepts there, and
//! ends with its last session once its service is dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use tfd::daemon::helpers::dialer::{NewSession, Settings, start};
use tfd::ipc::Service;
use tfd::sandbox::Sandbox;
use tfd::session::dialer::Dialer;

const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

pub fn works_in_its_sandbox() {
    let settings = Settings {
        to: 1024..=u16::MAX,
        timeout: Duration::from_secs(60),
    };
    let sandbox = Sandbox::new().expect("sandbox");
    let helper = start(&settings, None, &sandbox).expect("dialer");
    let pid = helper.pid;
    let service = Service::new(helper);
    let channel = service.open(|channel| NewSession {
        peer: IpAddr::V4(CLIENT),
        local: (Ipv4Addr::LOCALHOST, 0).into(),
        ports: (0, 0),
        channel,
    });
    let mut session = Dialer::new(channel.expect("channel"));

    let client = TcpListener::bind((CLIENT, 0)).expect("client");
    let port = client.local_addr().expect("address").port();
    session.connect(port).expect("connection");
    session.connect_from_range(port).expect("connection");
    let listening = session.listen().expect("port");
    let _client = client_at(listening.port);
    session.accept(&listening).expect("connection");
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).expect("name");
    assert_eq!(name.trim(), "tfd-dialer");
    drop(service);
    let listening = session.listen().expect("it still serves its session");
    session.close(listening).expect("close");
    drop(session);
    let status = nix::sys::wait::waitpid(pid, None).expect("its end");
    assert_eq!(status, nix::sys::wait::WaitStatus::Exited(pid, 0));
}

/// A connection of the client to a port of the server.
fn client_at(port: u16) -> TcpStream {
    let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("socket");
    bind(&socket, &SocketAddr::from((CLIENT, 0))).expect("bind");
    connect(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, port))).expect("connect");
    socket.into()
}
