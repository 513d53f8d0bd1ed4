//! The protocols that are served. This is the one place of the daemon that names
//! them: a new one is a row of the enum and an arm of the match.

use std::os::fd::BorrowedFd;

use crate::config::Config;
use crate::session::protocol::Protocol;
use crate::tf;

/// The protocols of a configuration.
pub struct Protocols(Vec<Box<dyn Protocol>>);

impl Protocols {
    /// Those of this configuration.
    pub fn of(config: &Config) -> Protocols {
        Protocols(vec![Box::new(tf::server::Server::new(config))])
    }

    /// One of them, by its number.
    pub fn get(&self, number: u8) -> Option<&dyn Protocol> {
        self.0.get(usize::from(number)).map(|protocol| &**protocol)
    }

    /// The descriptors of all of them that gates and sessions keep.
    pub fn handles(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().flat_map(|protocol| protocol.handles())
    }
}
