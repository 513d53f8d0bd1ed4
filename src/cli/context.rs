//! What the commands of one run of `tf` share: the way to the server, the
//! session, and how much to say.

use super::arguments::OutputArguments;
use crate::client::{Access, Connection, Result};

/// The surroundings of a command.
pub(super) struct Context {
    /// The way to a session, for one that has to be opened anew or beside.
    pub(super) access: Access,
    /// How much to say, and in which form.
    pub(super) output: OutputArguments,
    connection: Option<Connection>,
}

impl Context {
    /// Nothing is connected yet.
    pub(super) fn new(access: Access, output: OutputArguments) -> Context {
        Context { access, output, connection: None }
    }

    /// The session, opened with the first call.
    ///
    /// # Errors
    /// Why none can be opened.
    pub(super) fn connection(&mut self) -> Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.access.open()?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Ends the session, if there is one.
    ///
    /// # Errors
    /// When the connection is lost.
    pub(super) fn end(&mut self) -> Result<()> {
        self.connection.take().map_or(Ok(()), Connection::end)
    }
}
