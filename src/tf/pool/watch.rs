//! When the servers of a service are looked up again, and which are known
//! meanwhile: those found last, while nobody can say.

use std::net::SocketAddr;
use std::time::Duration;

use crate::tf::pool::file::Server;
use crate::tf::pool::resolver::{Found, Lookup, RETRY};

/// A service that is looked up again and again. Times are as those of
/// [`crate::tf::pool::Balancer`].
#[derive(Debug)]
pub struct Watch {
    name: String,
    next: Option<Duration>,
    servers: Vec<Server>,
}

impl Watch {
    /// A service by the absolute name of its SRV records, to be looked up at
    /// once.
    #[must_use]
    pub fn new(name: &str) -> Watch {
        Watch {
            name: name.to_owned(),
            next: Some(Duration::ZERO),
            servers: Vec::new(),
        }
    }

    /// The lookup to do now, if it is time; [`Watch::ended`] is due then.
    pub fn due(&mut self, now: Duration, name_servers: Vec<SocketAddr>) -> Option<Lookup> {
        self.next.take_if(|next| *next <= now)?;
        Some(Lookup::new(&self.name, name_servers))
    }

    /// How long until the next lookup; `None` while one is going on.
    #[must_use]
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        self.next.map(|next| next.saturating_sub(now))
    }

    /// Takes the end of a lookup; whether the servers are others than before.
    /// After a failure those found last stay.
    pub fn ended(&mut self, end: Result<Found, String>, now: Duration) -> bool {
        let (pause, servers) = match end {
            Ok(found) => (found.ttl, Some(found.servers)),
            Err(_) => (RETRY, None),
        };
        self.next = Some(now + pause);
        match servers {
            Some(servers) if servers != self.servers => {
                self.servers = servers;
                true
            }
            _ => false,
        }
    }

    /// The servers found last.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn lookups_follow_the_ttl_and_failures_keep_what_was_found() {
        let mut watch = Watch::new("_tf._tcp.a.org");
        assert!(watch.due(at(0), vec![]).is_some() && watch.due(at(1), vec![]).is_none());
        assert_eq!(watch.wait(at(1)), None);
        let server = Server {
            address: ([192, 0, 2, 1], 1).into(),
            weight: 1,
            priority: 0,
        };
        let found = Found {
            servers: vec![server],
            ttl: at(60),
            lost: vec![],
        };
        assert!(watch.ended(Ok(found.clone()), at(2)));
        assert_eq!(
            (watch.wait(at(2)), watch.due(at(61), vec![]).is_none()),
            (Some(at(60)), true)
        );
        assert!(watch.due(at(62), vec![]).is_some());
        assert!(!watch.ended(Err("nobody".to_owned()), at(63)));
        assert_eq!(
            (watch.servers(), watch.wait(at(63))),
            (&[server][..], Some(RETRY))
        );
        assert!(watch.due(at(80), vec![]).is_some() && !watch.ended(Ok(found.clone()), at(80)));
        let none = Found {
            servers: vec![],
            ..found
        };
        assert!(watch.due(at(140), vec![]).is_some() && watch.ended(Ok(none), at(140)));
        assert_eq!(watch.servers(), []);
    }
}
