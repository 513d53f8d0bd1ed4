//! What Tab offers, in the system's shells and in `tf shell`: clap's engine
//! knows commands and options, this module the names of servers and of files
//! on them. It never asks for a password.

use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Command;
use clap::builder::ArgExt;
use clap_complete::CompleteEnv;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use super::access::Directory;
use super::context::Context;
use super::output::OutputOptions;
use super::place::{RemoteArg, ServerName};
use super::settings::ConnectionOptions;
use crate::client::{Entry, Kind, Listed, Room};
use crate::text::shown;

/// The variable by which a completion script calls `tf`.
pub(super) const VARIABLE: &str = "TF_COMPLETE";

/// Characters that bash would not take as part of a name: it inserts names
/// unquoted.
const SPECIAL_IN_BASH: &[char] = &[
    ' ', '$', '`', '"', '\'', '\\', '|', '&', ';', '<', '>', '(', ')', '{', '}', '*', '?', '[',
    ']', '!', '#', '~', '^',
];

/// How long connecting to a server may take for the system's shells, in
/// seconds.
const TIMEOUT: u64 = 2;

/// What an argument names: `#[arg(add = Names::Remote)]`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Names {
    /// A server.
    Server,
    /// A remote path.
    Remote,
    /// A path here, or on a server that it names.
    Place,
    /// Local paths, and after them a remote one.
    Upload,
    /// Remote paths, and after them a local one.
    Download,
}

impl ArgExt for Names {}

/// Where names come from, and who gets them.
#[derive(Clone)]
pub(super) struct Source {
    /// The sessions with the servers.
    pub(super) context: Arc<Mutex<Context>>,
    /// Whether the line has a path already.
    pub(super) is_behind_path: bool,
    /// Whether the names go to bash.
    pub(super) is_for_bash: bool,
}

impl Source {
    /// A command whose arguments complete the names they are declared with.
    pub(super) fn attach(&self, command: Command) -> Command {
        let command = command.mut_args(|arg| match arg.get::<Names>().copied() {
            Some(names) => {
                let source = self.clone();
                arg.add(ArgValueCompleter::new(NameCompleter { names, source }))
            }
            None => arg,
        });
        command.mut_subcommands(|command| self.attach(command))
    }
}

/// Answers a completion script, if one has called: whether it has.
pub(super) fn answer(commands: impl Fn() -> Command) -> clap::error::Result<bool> {
    let Some(shell) = std::env::var_os(VARIABLE) else {
        return Ok(false);
    };
    let directory = Directory::read(ConnectionOptions {
        config: std::env::var_os("TF_CONFIG").map(Into::into),
        timeout: TIMEOUT,
        ..ConnectionOptions::default()
    });
    let context = Context::new(directory.unwrap_or_default(), OutputOptions::default());
    let source = Source {
        context: Arc::new(Mutex::new(context)),
        is_behind_path: false,
        is_for_bash: shell == "bash",
    };
    let current_dir = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(|| source.attach(commands()))
        .var(VARIABLE)
        .try_complete(std::env::args_os(), current_dir.as_deref());
    let mut context = source
        .context
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    // The names have been printed; a lost connection does not matter.
    let _ = context.end();
    answered
}

/// Completes the names of one argument.
struct NameCompleter {
    names: Names,
    source: Source,
}

impl ValueCompleter for NameCompleter {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let text = match current.to_str() {
            Some(text) if !text.starts_with('-') => text,
            _ => return Vec::new(),
        };
        // A command that runs in the shell has the context.
        let Ok(mut context) = self.source.context.try_lock() else {
            return Vec::new();
        };
        let names_server = text.contains(':');
        let is_behind_path = self.source.is_behind_path;
        let (remote, local) = match self.names {
            Names::Server => (false, false),
            Names::Remote => (true, false),
            Names::Place => (names_server, true),
            Names::Upload => (names_server || is_behind_path, true),
            Names::Download => (true, is_behind_path),
        };
        let mut found = servers(&context, text);
        if remote {
            context.directory.silent = true;
            found.extend(self.remote_names(&mut context, text).unwrap_or_default());
            context.directory.silent = false;
        }
        if local {
            found.extend(PathCompleter::any().complete(current));
        }
        found
    }
}

impl NameCompleter {
    /// The entries of the directory that a text is in, as far as they begin
    /// with its last name. A directory that can't be listed offers none.
    fn remote_names(&self, context: &mut Context, text: &str) -> Option<Vec<CompletionCandidate>> {
        let mut written: RemoteArg = text.parse().ok()?;
        if matches!(&written.server, Some(ServerName::At { .. }))
            && !text["tf://".len()..].contains('/')
        {
            return None;
        }
        let begin = written.path.rfind('/').map_or(0, |at| at + 1);
        let begun = written.path.split_off(begin);
        let before = text.strip_suffix(&begun)?;
        let directory = context.resolve(&written).ok()?;
        let connection = context.connection(&directory.server).ok()?;
        let mut names = Vec::new();
        let mut room = Room::of(&directory.path);
        let mut take = |entry: Entry| {
            room.take(&entry)?;
            if entry.untold().is_none()
                && let Ok(name) = String::from_utf8(entry.path)
                && name.starts_with(&begun)
                && self.is_printable(&name)
            {
                let mark = if entry.kind == Kind::Directory {
                    "/"
                } else {
                    ""
                };
                names.push((format!("{before}{name}{mark}"), name.starts_with('.')));
            }
            Ok(())
        };
        if connection.list_names(&directory.path, &mut take).ok()? != Listed::All {
            let listed = connection.list_as_it_comes(&directory.path, false, &mut take);
            listed.ok()?;
        }
        names.sort();
        let candidate =
            |(name, is_hidden): (String, bool)| CompletionCandidate::new(name).hide(is_hidden);
        Some(names.into_iter().map(candidate).collect())
    }

    /// Whether a name can stand on the line as it is.
    fn is_printable(&self, name: &str) -> bool {
        let is_special = self.source.is_for_bash && name.contains(SPECIAL_IN_BASH);
        shown(name.as_bytes()) == name && !is_special
    }
}

/// The servers of the configuration whose names begin so.
fn servers(context: &Context, text: &str) -> Vec<CompletionCandidate> {
    let names = context.directory.servers.entries.keys();
    let names = names.filter(|name| name.starts_with(text));
    names
        .map(|name| CompletionCandidate::new(OsString::from(format!("{name}:"))))
        .collect()
}
