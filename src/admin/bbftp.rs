//! `tfd bbftp`: serves the client at the other end of ssh, as the user who has
//! logged in there.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::admin::status::fail;
use crate::bbftp::stdin::{self, Beside, Ends};
use crate::config::parse_port_range;
use crate::daemon::helpers::dialer::{self, NewSession};
use crate::ipc::Service;
use crate::sandbox::Sandbox;
use crate::session::dialer::Dialer;

/// How long a data connection may take to come about.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The arguments.
#[derive(Args)]
pub struct Bbftp {
    /// Serve the client at standard input and output
    #[arg(short = 's', long, required = true, overrides_with = "stdin")]
    stdin: bool,
    /// The port for the connection that shows the client's address
    ///
    /// Another one if it is taken.
    #[arg(long, value_name = "PORT", default_value_t = 5022)]
    port: u16,
    /// The ports for data connections of the client, as 20000-20100
    #[arg(long, value_name = "FIRST-LAST", value_parser = ports)]
    data_ports: Option<(u16, u16)>,
    /// Accept the client from another address than ssh has it from
    #[arg(long)]
    any_address: bool,
}

fn ports(text: &str) -> Result<(u16, u16), &'static str> {
    let range = parse_port_range(text);
    let range = range.ok_or("name the first and the last port, such as 20000-20100")?;
    Ok((*range.start(), *range.end()))
}

/// Serves the client to its end.
pub fn run(arguments: &Bbftp) -> ExitCode {
    let beside = Beside {
        port: arguments.port,
        from: match arguments.any_address {
            true => None,
            false => address_by_ssh(),
        },
    };
    let data_ports = arguments.data_ports.unwrap_or((0, 0));
    let streams = || {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        Ok((input, io::stdout().as_fd().try_clone_to_owned()?))
    };
    let served =
        streams().and_then(|streams| stdin::serve(streams, &beside, |ends| dial(ends, data_ports)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(format!("bbftp: {e}")),
    }
}

/// The client's address as sshd has it.
fn address_by_ssh() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let address: IpAddr = connection.split(' ').next()?.parse().ok()?;
    Some(address.to_canonical())
}

/// A dialer of its own for this client.
fn dial(ends: Ends, ports: (u16, u16)) -> io::Result<Dialer> {
    let settings = dialer::Settings {
        to: 1..=u16::MAX,
        timeout: TIMEOUT,
    };
    let helper = dialer::start(&settings, None, &Sandbox::new()?).map_err(io::Error::other)?;
    let channel = Service::new(helper).open(|channel| NewSession {
        peer: ends.peer,
        local: ends.local,
        ports,
        channel,
    })?;
    Ok(Dialer::new(channel))
}
