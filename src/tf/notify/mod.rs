//! Notification mode (document, "The notification system"): ADDNTFY makes a
//! list of directories, STARTNTFY reports files in them to the client, for the
//! rest of the session.
mod events;
mod interval;
mod list;
mod serve;
mod watch;

pub use list::Listed;
pub(crate) use list::add;
pub(crate) use serve::serve;
