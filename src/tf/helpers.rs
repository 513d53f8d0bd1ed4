//! The helper processes of TF, for all its sessions: the one that makes keystream
//! tables, and those behind the UDP ports.

use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::unistd::Pid;

use crate::config::Tf;
use crate::session::protocol::{HelperContext, Helpers};
use crate::tf::cipher::tables::Tables;
use crate::tf::probes::Udp;
use crate::users::Login;

/// The processes.
#[derive(Debug)]
pub struct TfHelpers {
    /// Kept over a reload that does not change their size.
    tables: Option<Rc<Tables>>,
    /// None for a proxy, which has a process of its own that relays.
    udp: Option<Udp>,
}

impl TfHelpers {
    /// Starts them for a configuration, but takes tables of the same size from
    /// those that run.
    ///
    /// # Errors
    /// One line that says what could not be started.
    pub fn start(
        context: &HelperContext<'_>,
        tf: &Tf,
        before: Option<&TfHelpers>,
    ) -> Result<TfHelpers, String> {
        let tables = tf.keystream_memory.and_then(|limit| {
            let running = before.and_then(|before| before.tables.as_ref());
            match running.filter(|tables| tables.limit() == limit) {
                Some(tables) => Some(Rc::clone(tables)),
                None => start_tables(limit, context).map(Rc::new),
            }
        });
        let udp = match tf.proxy {
            Some(_) => None,
            None => Some(Udp::start(context, tf)?),
        };
        Ok(TfHelpers { tables, udp })
    }
}

/// Without tables sessions are slower, and nothing else.
fn start_tables(limit: u64, context: &HelperContext<'_>) -> Option<Tables> {
    Tables::start(limit, context.identity, context.sandbox)
        .inspect_err(|e| log::warn!(error:% = e; "no keystream tables"))
        .ok()
}

impl Helpers for TfHelpers {
    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        self.tables
            .iter()
            .flat_map(|tables| tables.handles())
            .collect()
    }

    fn adopt(&self) -> io::Result<()> {
        self.tables.as_ref().map_or(Ok(()), |tables| tables.read())
    }

    fn open(&self, _login: &Login, _peer: IpAddr) -> io::Result<Option<OwnedFd>> {
        self.udp.as_ref().map_or(Ok(None), Udp::open)
    }

    fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.udp.as_ref().and_then(Udp::channel)
    }

    fn hear(&mut self, page: &dyn Fn(u32) -> Option<OwnedFd>) {
        if let Some(udp) = &mut self.udp {
            udp.hear(page);
        }
    }

    fn reaped(&mut self, pid: Pid) -> bool {
        self.tables.iter().for_each(|tables| tables.reaped(pid));
        self.udp.as_mut().is_some_and(|udp| udp.reaped(pid))
    }

    fn due(&self) -> Option<Instant> {
        self.udp.as_ref().and_then(Udp::due)
    }

    fn restart_if_due(&mut self, context: &HelperContext<'_>) {
        if let (Some(udp), Some(tf)) = (&mut self.udp, &context.config.tf) {
            udp.restart_if_due(context, tf);
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
