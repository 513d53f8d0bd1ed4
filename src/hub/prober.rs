//! The prober: a process that looks whether holders are reached where their lines come
//! from, and whether who answers there has their key. It shakes hands and says nothing
//! else, has no key and no file, and leaves no connection open.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;

use super::book::UserId;
use super::peer::peer_line;
use super::wire::Key;
use crate::ipc::codec::codec;
use crate::ipc::{Helper, Pipe};
use crate::sandbox::confinement::{Confinement, Duty};
use crate::sandbox::{Reach, place};
use crate::session::protocol::HelperContext;

/// For how many holders it looks at once.
const AT_ONCE: usize = 8;

/// A holder to be looked for: from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// It.
    pub holder: UserId,
    /// Where its line comes from, and the port that it shares.
    pub address: SocketAddr,
    /// The key that its certificate has.
    pub key: Key,
}

codec!(struct Job { holder, address, key });

/// What has been found: to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The holder.
    pub holder: UserId,
    /// Where it was looked for.
    pub address: SocketAddr,
    /// Why it is not there.
    pub failed: Option<String>,
}

codec!(struct Probed { holder, address, failed });

/// Starts it.
///
/// # Errors
/// One line that says what could not be started.
pub fn spawn(context: &HelperContext<'_>, broker: Pipe<Probed, Job>) -> Result<Helper, String> {
    let sandbox = context.sandbox.reaching(Reach::Tcp);
    let sandbox = sandbox.map_err(|e| format!("hub prober: {e}"))?;
    let confinement = Confinement::new(context.identity, &sandbox)?;
    <Helper>::spawn("hub prober", |child| {
        let duty = Duty::Knocking(None);
        child.enter(c"tfd-prober", &confinement.with(duty), &[broker.as_fd()])?;
        place::reached(place::Place::Helper("prober"), place::NOBODY, None);
        run(&broker)
    })
}

fn run(broker: &Pipe<Probed, Job>) -> io::Result<()> {
    thread::scope(|scope| {
        for _ in 1..AT_ONCE {
            thread::Builder::new().spawn_scoped(scope, || serve(broker))?;
        }
        serve(broker);
        Ok(())
    })
}

/// Looks for one holder after the other, until the broker has ended.
fn serve(broker: &Pipe<Probed, Job>) {
    while let Ok(Some(job)) = broker.receive() {
        let found = peer_line::knock(job.address, &job.key);
        let probed = Probed {
            holder: job.holder,
            address: job.address,
            failed: found.err().map(|e| e.to_string()),
        };
        if broker.send(&probed).is_err() {
            return;
        }
    }
}
