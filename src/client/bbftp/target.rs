//! A server and how to reach it.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::client::{Cancel, Tls};

/// What carries the control connection.
#[derive(Clone, Debug)]
pub enum Transport {
    /// TCP. The password is encrypted with a key that nobody vouches for.
    Tcp,
    /// TLS 1.3, and the data connections as well. Only tfd has it.
    Tls(Tls),
    /// The standard input and output of a program that reaches the server, as ssh
    /// does. Nobody logs in then.
    Command(Vec<OsString>),
}

/// How long the server is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For a message.
    pub receive: Duration,
    /// Until it takes a message.
    pub send: Duration,
    /// For bytes of a stream, or until it takes some.
    pub data: Duration,
    /// For the confirmation that a stream has arrived.
    pub ack: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(30),
            receive: Duration::from_secs(180),
            send: Duration::from_secs(180),
            data: Duration::from_secs(300),
            ack: Duration::from_secs(100),
        }
    }
}

/// A server, and who logs in there.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name or address.
    pub host: String,
    /// Its control port.
    pub port: u16,
    /// What carries the control connection.
    pub transport: Transport,
    /// The user and the password, unless a command reaches the server.
    pub login: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// The versions to speak: the highest that the server has. Version 1 alone is
    /// spoken without asking.
    pub versions: RangeInclusive<u32>,
    /// Where to listen for the server's data connections in versions 1 and 2.
    pub ports: Option<RangeInclusive<u16>>,
    /// How long the server is waited for.
    pub limits: Limits,
    /// Ends its connections from another thread.
    pub cancel: Cancel,
}

impl Target {
    /// A server that is reached by TCP and speaks any version.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Target {
        Target {
            host: host.to_owned(),
            port,
            transport: Transport::Tcp,
            login: None,
            versions: 1..=3,
            ports: None,
            limits: Limits::default(),
            cancel: Cancel::default(),
        }
    }
}
