//! A caller: a process that goes where a peer waits for this holder, to the hub's relay
//! or, by order of the operator, to the peer itself. Once that peer says something the
//! connection is a gate's, as if the peer had come by itself. It has no key and no file.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stock::message::Call;
use crate::hub::peer::DIAL;
use crate::ipc::Helper;
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, place};
use crate::session::protocol::{Called, HelperContext};

/// How long it waits for the peer: at least as long as the relay does.
const PATIENCE: Timespec = Timespec {
    tv_sec: 65,
    tv_nsec: 0,
};

/// How long the relay may take for the first line.
const WRITE: Duration = Duration::from_secs(5);

/// Starts one.
///
/// # Errors
/// One line that says what could not be started.
pub fn spawn(context: &HelperContext<'_>, call: &Call) -> Result<Helper<(), Called>, String> {
    let sandbox = context.sandbox.reaching(Reach::Tcp);
    let sandbox = sandbox.map_err(|e| format!("caller: {e}"))?;
    let confinement = Confinement::new(context.identity, &sandbox)?;
    Helper::spawn("caller", |child| {
        let duty = Duty::Mailing {
            port: call.address.port(),
            files: &[],
        };
        child.enter(c"tfd-caller", &confinement.with(duty), &[])?;
        place::reached(place::Place::Helper("caller"), place::NOBODY, None);
        let address = call.address;
        match wait(call) {
            Ok(Some(socket)) => child.channel.send(&Called {
                socket: socket.into(),
                peer: address,
            })?,
            Ok(None) => log::debug!(address:%; "no peer came there"),
            Err(e) if call.token.is_some() => {
                log::warn!(relay:% = address, error:% = e; "no way to the relay");
            }
            Err(e) => log::info!(address:%, error:% = e; "no owner waits there"),
        }
        Ok(())
    })
}

/// A connection to the peer, once that has said something.
fn wait(call: &Call) -> io::Result<Option<TcpStream>> {
    let mut socket = connect(call.address)?;
    if let Some(token) = call.token {
        io::Write::write_all(&mut socket, &token.relay_line())?;
    }
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    poll(&mut fds, Some(&PATIENCE))?;
    if fds[0].revents().is_empty() {
        return Ok(None);
    }
    let is_there = socket.peek(&mut [0])? > 0;
    Ok(is_there.then_some(socket))
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, DIAL)?;
    socket.set_write_timeout(Some(WRITE))?;
    Ok(socket)
}
