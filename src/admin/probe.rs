//! `tfd probe`: asks a running server whether it serves, for those who balance,
//! supervise and monitor. It sends no secret and reports a line for each port.

mod question;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use self::question::Port;
use crate::admin::ConfigFile;
use crate::admin::status::say;
use crate::config::{Config, Listener, Protocol};
use crate::net::proxy_header::is_trusted;
use crate::users::account::Network;

/// The exit status when nothing was asked.
const USAGE: u8 = 2;

/// The version string of most servers of TF Protocol.
const USUAL_VERSION: &str = "0.0";

// Whom to ask and how. No doc comment: clap would show it.
#[derive(Args)]
pub(super) struct Probe {
    /// The server, as host:port [default: every listener of the configuration]
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
    /// What it speaks: tf, bbftp, vault, hub or holder [default: tf; without ADDRESS all]
    #[arg(long, value_name = "NAME", value_parser = protocol)]
    protocol: Option<Protocol>,
    /// It speaks TLS there, as hubs and holders always do
    #[arg(long, requires = "address")]
    tls: bool,
    /// The version string of a server of TF Protocol [default: 0.0]
    #[arg(long, value_name = "VERSION", requires = "address")]
    tf_version: Option<String>,
    /// Begin with a PROXY header: accept_proxy_from of the server lists this machine
    #[arg(long, requires = "address")]
    send_proxy: bool,
    /// Ask a server of TF Protocol by UDP, too
    #[arg(long)]
    udp: bool,
    /// How many seconds each answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    #[command(flatten)]
    file: ConfigFile,
}

fn protocol(name: &str) -> Result<Protocol, String> {
    let found = Protocol::ALL.iter().find(|known| known.section() == name);
    found
        .copied()
        .ok_or_else(|| "tf, bbftp, vault, hub or holder".to_owned())
}

/// A port, its addresses, and who comes to it with a PROXY header.
struct Target {
    port: Port,
    shown: String,
    addresses: Vec<SocketAddr>,
    proxies: Vec<Network>,
    always_introduces: bool,
}

/// Runs `tfd probe`: exit status 0 if all answer, 1 if one does not, 2 if none was
/// asked.
pub(super) fn run(probe: &Probe) -> ExitCode {
    let targets = match &probe.address {
        Some(address) => of_address(probe, address).map(|target| vec![target]),
        None => of_config(probe),
    };
    let targets = match targets {
        Ok(targets) => targets,
        Err(text) => {
            eprintln!("tfd: {text}");
            return ExitCode::from(USAGE);
        }
    };
    let mut all_answer = true;
    let mut lines = String::new();
    for target in &targets {
        let begin = Instant::now();
        let found = match target.ask(Duration::from_secs(probe.timeout)) {
            Ok(()) => format!("healthy, {} ms", begin.elapsed().as_millis()),
            Err(text) => {
                all_answer = false;
                format!("not healthy: {text}")
            }
        };
        lines += &format!("{}: {found}\n", target.name());
    }
    match (say(&lines), all_answer) {
        (said, true) => said,
        (_, false) => ExitCode::FAILURE,
    }
}

/// The one that the arguments name.
fn of_address(probe: &Probe, address: &str) -> Result<Target, String> {
    let protocol = probe.protocol.unwrap_or(Protocol::Tf);
    let host = address.rsplit_once(':').map(|(host, _)| host);
    let host = host.ok_or_else(|| format!("{address}: an address has a port: host:port"))?;
    let addresses = address
        .to_socket_addrs()
        .map_err(|e| format!("{address}: {e}"))?;
    let version = probe.tf_version.as_deref().unwrap_or(USUAL_VERSION);
    Ok(Target {
        port: Port {
            protocol,
            tls: probe.tls || matches!(protocol, Protocol::Hub | Protocol::Holder),
            host: host.trim_matches(['[', ']']).to_owned(),
            version: version.to_owned(),
            udp: probe.udp && protocol == Protocol::Tf,
        },
        shown: address.to_owned(),
        addresses: addresses.collect(),
        proxies: Vec::new(),
        always_introduces: probe.send_proxy,
    })
}

/// Every listener of the configuration, or those of one protocol.
fn of_config(probe: &Probe) -> Result<Vec<Target>, String> {
    let config = Config::load(&probe.file.config).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        problems.join("\ntfd: ")
    })?;
    let mut listeners = config.listeners();
    listeners.retain(|listener| probe.protocol.is_none_or(|it| it == listener.protocol));
    if listeners.is_empty() {
        return Err("the configuration has no listener of this protocol".to_owned());
    }
    let target = |listener: &Listener| of_listener(probe, &config, listener);
    Ok(listeners.iter().map(target).collect())
}

fn of_listener(probe: &Probe, config: &Config, listener: &Listener) -> Target {
    let address = reachable(listener.address);
    let tf = config.tf.as_ref();
    let version = tf.map(|tf| tf.version.as_str());
    // A proxy has none of its own.
    let version = version.filter(|version| !version.is_empty());
    Target {
        port: Port {
            protocol: listener.protocol,
            tls: listener.tls,
            host: address.ip().to_string(),
            version: version.unwrap_or(USUAL_VERSION).to_owned(),
            udp: probe.udp && listener.protocol.uses_udp(),
        },
        shown: address.to_string(),
        addresses: vec![address],
        proxies: config.server.accept_proxy_from.clone(),
        always_introduces: false,
    }
}

/// Where this machine reaches what listens at an address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Target {
    fn name(&self) -> String {
        let section = self.port.protocol.section();
        let with = if self.port.tls { " with TLS" } else { "" };
        format!("{section}{with} {}", self.shown)
    }

    /// Asks one address after the other until one answers.
    fn ask(&self, timeout: Duration) -> Result<(), String> {
        let introduces = |own: SocketAddr| {
            self.always_introduces || is_trusted(own.ip().to_canonical(), &self.proxies)
        };
        let mut why = "the name has no address".to_owned();
        for address in &self.addresses {
            if address.port() == 0 {
                return Err("the system chooses this port: name the address".to_owned());
            }
            match self.port.ask(*address, timeout, introduces) {
                Ok(()) => return Ok(()),
                Err(e) => why = e,
            }
        }
        Err(why)
    }
}
