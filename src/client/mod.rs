//! A client of TF servers, the one public module: what `tf` and the tests use.
//! [`bbftp`] is one of BBFTP servers.
//! It talks to any server of TF Protocol 2.4.1, tfd or the public C server.
//!
//! [`Connection`] is one session with a method for each command; [`Transfers`]
//! moves trees and large files and survives lost connections. Sizes are bytes,
//! times are seconds since the epoch, remote paths use `/`. Every failure is a
//! [`ClientError`]; after `Lost` or `Interrupted` a connection is of no more use.
//!
//! ```no_run
//! use tfd::client::{Connection, PublicKey, Target};
//!
//! let key = PublicKey::from_file("public.pem".as_ref())?;
//! let target = Target::new("files.example.org:10345", key, "the hash");
//! let mut connection = Connection::open(&target)?;
//! connection.make_directory("reports")?;
//! for entry in connection.list("reports")? {
//!     println!("{:?} {}", entry.kind, entry.path.escape_ascii());
//! }
//! # Ok::<(), tfd::client::ClientError>(())
//! ```

mod access;
pub mod bbftp;
mod cancel;
mod commands;
mod connect;
mod error;
mod explain;
mod extension;
mod later;
mod listing;
mod observe;
mod probe;
mod program;
mod transfer;
mod transfers;
pub mod vault;
mod watch;

pub use access::{Access, CodeSource, Secret};
pub use cancel::Cancel;
pub use commands::{Stat, mode_request, owner_request, secret_name, secret_token};
pub use connect::{
    Certificate, Connection, PublicKey, Target, Transport, check_certificate, fetch_certificate,
    fetch_certificate_via, refusal, resolve,
};
pub(crate) use error::Class;
pub use error::{ClientError, Result};
pub use extension::{Attributes, Depth, Details, Features, Owners, Time, Xattr};
pub use later::Listed;
pub use listing::{Entry, Kind, Room, fits, is_pattern};
pub use observe::{Event, Note, Observer, Operation};
pub use probe::{Answer, Question, balance_by_udp};
pub use program::{BadVia, Via};
pub use transfers::{
    Backup, Direction, Existing, Failure, Filter, Keep, Mirror, Options, Progress, Rule, Summary,
    Transfers,
};
pub use watch::{Arrival, Verdict, Watch, Watched};

pub use crate::net::tls::client::{Tls, Trust};
