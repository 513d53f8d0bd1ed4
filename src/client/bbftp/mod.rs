//! A client of BBFTP servers, of versions 1, 2 and 3, and of what tfd has beyond
//! them. It prints nothing and tries nothing twice: [`Error::fate`] says what may
//! be tried after a failure, and [`Error::code`] is the exit status of the public
//! client for it.
//!
//! ```no_run
//! use tfd::client::bbftp::{How, Session, Target};
//!
//! let mut target = Target::new("files.example.org", 5021);
//! target.login = Some((b"ann".to_vec(), b"secret".to_vec().into()));
//! let mut session = Session::open(&target, &())?;
//! session.put("data".as_ref(), b"incoming/data", &How::default(), &())?;
//! session.close();
//! # Ok::<(), tfd::client::bbftp::Error>(())
//! ```

mod commands;
mod connect;
mod data;
mod error;
mod local;
mod login;
mod observe;
mod remote;
mod session;
mod small;
mod target;
mod transfer;

pub use crate::bbftp::wire::extension::Offer;
pub use crate::bbftp::wire::{Kind, Options};
pub use commands::Listed;
pub use error::{Error, Fate, Result};
pub use observe::{Event, Observer};
pub use session::Session;
pub use small::Done;
pub use target::{Limits, Target, Transport};
pub use transfer::{How, Moved};
