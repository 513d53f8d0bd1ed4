//! What the commands of one run of `tf` share: the servers, the sessions with
//! them, and how much to say; and remote paths as people write them: patterns
//! become the paths they match.

use super::access::Directory;
use super::failure::{Failure, Result, for_each};
use super::output::OutputOptions;
use super::place::{Remote, RemoteArg, ServerName};
use crate::client::{Access, Connection, is_pattern};

/// The surroundings of a command.
pub(crate) struct Context {
    /// What is known of servers.
    pub(crate) directory: Directory,
    /// How much to print, and in which form.
    pub(super) output: OutputOptions,
    /// A shell's directory.
    pub(super) here: Option<Remote>,
    sessions: Vec<Session>,
}

struct Session {
    server: ServerName,
    access: Access,
    connection: Option<Connection>,
}

impl Context {
    /// Nothing is connected yet.
    pub(super) fn new(directory: Directory, output: OutputOptions) -> Context {
        Context {
            directory,
            output,
            here: None,
            sessions: Vec::new(),
        }
    }

    /// The path that an argument stands for.
    pub(crate) fn resolve(&self, written: &RemoteArg) -> Result<Remote> {
        let server = match (&written.server, &self.here) {
            (Some(server), _) => server.clone(),
            (None, Some(here)) => return Ok(here.join(&written.path)),
            (None, None) => self.directory.default_server()?,
        };
        let path = written.path.clone();
        Ok(Remote { server, path })
    }

    /// The server that an argument names.
    pub(crate) fn server(&self, written: &RemoteArg) -> Result<ServerName> {
        self.resolve(written).map(|remote| remote.server)
    }

    /// The one server that all arguments name.
    pub(crate) fn common_server(&self, all: &[RemoteArg], otherwise: &str) -> Result<ServerName> {
        let mut servers = all.iter().map(|written| self.server(written));
        let server = servers
            .next()
            .unwrap_or_else(|| self.directory.default_server())?;
        for other in servers {
            if other? != server {
                return Err(Failure::usage(otherwise));
            }
        }
        Ok(server)
    }

    /// The session with a server, opened with the first call.
    pub(crate) fn connection(&mut self, server: &ServerName) -> Result<&mut Connection> {
        let session = self.session(server)?;
        let connection = match session.connection.take() {
            Some(connection) => connection,
            None => session.access.open()?,
        };
        Ok(session.connection.insert(connection))
    }

    /// The same failure, or a more exact one, see [`Connection::explain`].
    pub(crate) fn explain(&mut self, server: &ServerName, failure: Failure) -> Failure {
        match (failure, self.connection(server)) {
            (Failure::Client(error), Ok(connection)) => connection.explain(error).into(),
            (failure, _) => failure,
        }
    }

    /// The way to a session with a server, to reopen one or to open another.
    /// Passwords are asked for once.
    pub(crate) fn access(&mut self, server: &ServerName) -> Result<&Access> {
        self.session(server).map(|session| &session.access)
    }

    /// Hands over the session, if one is open.
    pub(crate) fn take(&mut self, server: &ServerName) -> Result<Option<Connection>> {
        Ok(self.session(server)?.connection.take())
    }

    /// Takes a session back.
    pub(crate) fn put_back(
        &mut self,
        server: &ServerName,
        connection: Option<Connection>,
    ) -> Result<()> {
        self.session(server)?.connection = connection;
        Ok(())
    }

    fn session(&mut self, server: &ServerName) -> Result<&mut Session> {
        let at = self
            .sessions
            .iter()
            .position(|session| session.server == *server);
        let at = match at {
            Some(at) => at,
            None => {
                let access = self.directory.access(server)?;
                self.sessions.push(Session {
                    server: server.clone(),
                    access,
                    connection: None,
                });
                self.sessions.len() - 1
            }
        };
        Ok(&mut self.sessions[at])
    }

    /// Forgets the sessions whose server has ended them or was cut off: the
    /// servers. Their next use reopens them.
    pub(super) fn drop_lost(&mut self) -> Vec<ServerName> {
        let mut lost = Vec::new();
        for session in &mut self.sessions {
            if session.connection.as_ref().is_some_and(Connection::is_lost) {
                session.connection = None;
                lost.push(session.server.clone());
            }
        }
        lost
    }

    /// Ends all sessions.
    pub(super) fn end(&mut self) -> Result<()> {
        for session in self.sessions.drain(..) {
            session.connection.map_or(Ok(()), Connection::end)?;
        }
        Ok(())
    }
}

/// The paths that an argument stands for. A pattern without a match stands for
/// itself, so that a name with `[` needs no quotes.
pub(super) fn expand(context: &mut Context, written: &RemoteArg) -> Result<Vec<Remote>> {
    let remote = context.resolve(written)?;
    if context.directory.options().literal || !is_pattern(&remote.path) {
        return Ok(vec![remote]);
    }
    let found = context.connection(&remote.server)?.expand(&remote.path)?;
    if found.is_empty() {
        return Ok(vec![remote]);
    }
    Ok(found
        .into_iter()
        .map(|path| remote.with_path(path))
        .collect())
}

/// Does the same with each path the arguments stand for, see [`for_each`].
pub(super) fn for_each_path(
    context: &mut Context,
    written: &[RemoteArg],
    mut act: impl FnMut(&mut Connection, &str) -> Result<()>,
) -> Result<()> {
    for_each(written, |written| {
        let paths = expand(context, written)?;
        for_each(&paths, |Remote { server, path }| {
            act(context.connection(server)?, path).map_err(|e| context.explain(server, e))
        })
    })
}

/// Does the same with each path as it is written, see [`for_each`].
pub(super) fn for_each_name(
    context: &mut Context,
    written: &[RemoteArg],
    mut act: impl FnMut(&mut Connection, &str) -> Result<()>,
) -> Result<()> {
    for_each(written, |written| {
        let Remote { server, path } = context.resolve(written)?;
        act(context.connection(&server)?, &path).map_err(|e| context.explain(&server, e))
    })
}

/// Whether a path is that of a server's root, however it is written.
pub(super) fn is_root(path: &str) -> bool {
    path.split('/').all(|name| matches!(name, "" | "."))
}
