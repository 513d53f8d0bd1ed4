//! The streams of a transfer, and the control connection beside them.

use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::Session;
use super::start::interrupted;
use crate::bbftp::stream::{Coding, Direction, Job, StreamError, Streams};
use crate::bbftp::wire::Result;
use crate::net::Link;
use crate::net::link::Awaited;

/// How long a stream may stand still, and the client may take to acknowledge.
const IDLE: Duration = Duration::from_secs(300);
const ACK: Duration = Duration::from_secs(100);

/// What is carried.
pub(super) struct Freight<'a> {
    pub(super) file: BorrowedFd<'a>,
    pub(super) direction: Direction,
    pub(super) coding: Coding,
}

/// Carries ranges of a file over their streams. The inner result says how that
/// ended.
///
/// # Errors
/// When the client has said something on the control connection, or is gone: all
/// streams have ended then.
pub(super) fn carry(
    session: Session<'_>,
    freight: &Freight<'_>,
    links: Vec<Link>,
    ranges: Vec<Range<u64>>,
) -> Result<std::result::Result<(), StreamError>> {
    let (control, env) = session;
    let idle = env
        .settings
        .idle_limit
        .map_or(IDLE, |limit| limit.min(IDLE));
    let job = Job {
        file: Arc::new(File::from(freight.file.try_clone_to_owned()?)),
        direction: freight.direction,
        coding: freight.coding,
        idle,
        ack: ACK,
        pace: env.pace.clone(),
        write_behind: env.sync(),
    };
    let meter = env.meter;
    let counted = links.into_iter().map(|mut link| {
        if let Some(meter) = meter {
            link.count_on(meter);
        }
        link
    });
    let streams = Streams::start(job, counted.zip(ranges).collect())?;
    let awaited = control.link().wait_for_any(Some(streams.as_fd()), None);
    match awaited {
        Ok(Awaited::Other) => {}
        ended => {
            streams.abort();
            env.moved += streams.moved();
            drop(streams);
            return Err(ended.map_or_else(Into::into, |_| interrupted(control)));
        }
    }
    env.moved += streams.moved();
    Ok(streams.finish().map(drop))
}
