//! The shell: one session, and line after line of it, from a person or from a
//! script. A failed line never ends it for a person.

mod complete;
mod history;
mod line;

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write, stdin, stdout};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Editor};

use super::command::shell::Shell as Arguments;
use super::context::Context;
use super::failure::{Failure, Result};
use super::interrupt::{OnInterrupt, on_interrupt};
use super::output::complain;
use super::place::{Remote, RemoteArg, ServerName};
use super::servers::Servers;
use crate::client::ClientError;
use complete::Completion;
use line::{Then, carry_out, change, prompt};

/// Opens a shell, to its end.
pub(super) fn open(arguments: Arguments, context: Context) -> Result<()> {
    let Arguments {
        batch,
        keep_going,
        place: text,
    } = arguments;
    let at = match &text {
        None => RemoteArg::default(),
        Some(text) => place(text, &context.directory.servers)?,
    };
    let at = context.resolve(&at)?;
    let mut shell = Shell::begin(context, at)?;
    match &batch {
        None if stdin().is_terminal() => shell.talk()?,
        Some(path) if path != Path::new("-") => {
            let script = File::open(path).map_err(Failure::local(path))?;
            shell.follow(&path.to_string_lossy(), BufReader::new(script), keep_going)?;
        }
        _ => shell.follow("input", stdin().lock(), keep_going)?,
    }
    shell.context().end()
}

/// The directory that a text stands for where a server is named.
fn place(text: &str, servers: &Servers) -> Result<RemoteArg> {
    let is_entry = |name: &str| servers.entries.contains_key(name);
    let names_entry = text.split_once(':').is_some_and(|(name, _)| is_entry(name));
    if names_entry || text.starts_with("tf://") || text.starts_with(':') {
        return text.parse().map_err(Failure::usage);
    }
    let server = ServerName::read(text, is_entry).map_err(Failure::usage)?;
    Ok(RemoteArg::new(Some(server), ""))
}

/// A shell under way.
struct Shell {
    context: Arc<Mutex<Context>>,
    /// The directory before the last `cd`.
    previous: Option<Remote>,
}

impl Shell {
    /// Begins at a directory of a server, with a session opened at once.
    fn begin(mut context: Context, at: Remote) -> Result<Shell> {
        let mut previous = None;
        context.connection(&at.server)?;
        context.here = Some(at.with_path(String::new()));
        if !at.path.is_empty() {
            let path = format!("/{}", at.path);
            change(Some(&path), &mut previous, &mut context)?;
        }
        on_interrupt(OnInterrupt::Cancel);
        let context = Arc::new(Mutex::new(context));
        Ok(Shell { context, previous })
    }

    fn context(&self) -> MutexGuard<'_, Context> {
        self.context.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads lines from a person until they leave.
    fn talk(&mut self) -> Result<()> {
        let mut editor = self.editor().map_err(terminal)?;
        let history = history::open().unwrap_or_else(|e| {
            complain!("tf: no history is kept: {e}");
            None
        });
        if let Some(path) = &history {
            // A new one has no content.
            let _ = editor.load_history(path);
        }
        loop {
            begin_line(&mut editor);
            let line = match editor.readline(&format!("{}> ", prompt(&self.context()))) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(e) => return Err(terminal(e)),
            };
            if !line.trim().is_empty() && !is_private(&line) {
                let kept = editor.add_history_entry(line.as_str()).map(|_| ());
                if let (Ok(()), Some(path)) = (kept, &history)
                    && let Err(e) = editor.append_history(path)
                {
                    complain!("tf: {}: {e}", path.display());
                }
            }
            match self.carry_out(&line) {
                Ok(Then::End) => return Ok(()),
                Ok(Then::Continue) => {}
                Err(failure) => drop(failure.report()),
            }
        }
    }

    fn editor(&self) -> rustyline::Result<Editor<Completion, FileHistory>> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_space(true)
            .max_history_size(history::MOST_LINES)?
            .build();
        let history = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history)?;
        editor.set_helper(Some(Completion(Arc::clone(&self.context))));
        Ok(editor)
    }

    /// Does what the lines of a script say. The first that fails ends it,
    /// unless `keep_going` is set; then the first failure decides the status.
    fn follow(&mut self, name: &str, script: impl BufRead, keep_going: bool) -> Result<()> {
        let mut first = None;
        for (number, line) in script.lines().enumerate() {
            let line = line.map_err(Failure::local(name))?;
            if line.trim_start().starts_with('#') {
                continue;
            }
            match self.carry_out(&line) {
                Ok(Then::Continue) => {}
                Ok(Then::End) => break,
                Err(failure) => {
                    let exit = failure.report();
                    complain!("tf: {name}:{}: this line failed", number + 1);
                    let interrupted = matches!(failure, Failure::Client(ClientError::Interrupted));
                    if !keep_going || interrupted {
                        return Err(Failure::Ended(exit));
                    }
                    first.get_or_insert(exit);
                }
            }
        }
        first.map_or(Ok(()), |exit| Err(Failure::Ended(exit)))
    }

    fn carry_out(&mut self, line: &str) -> Result<Then> {
        let Shell { context, previous } = self;
        let mut context = context.lock().unwrap_or_else(PoisonError::into_inner);
        let cancel = context.directory.cancel.clone();
        cancel.renew();
        for server in context.drop_lost() {
            complain!("tf: the connection to {server} was lost: reconnecting");
        }
        let done = carry_out(line, previous, &mut context);
        match done {
            Err(_) if cancel.is_cancelled() => {
                // All sessions are; the person knows why.
                context.drop_lost();
                Err(ClientError::Interrupted.into())
            }
            done => done,
        }
    }
}

/// Has the prompt stand at the beginning of a line, where the last command did
/// not end its own: as many blanks as a line holds lead on to the next one
/// unless they begin where it begins.
fn begin_line(editor: &mut Editor<Completion, FileHistory>) {
    if let (true, Some((columns, _))) = (stdout().is_terminal(), editor.dimensions()) {
        // It only tidies up the screen.
        let _ = write!(stdout(), "{:1$}\r", "", usize::from(columns));
        let _ = stdout().flush();
    }
}

fn terminal(e: ReadlineError) -> Failure {
    match e {
        ReadlineError::Io(source) => Failure::local("terminal")(source),
        e => Failure::usage(format!("the terminal: {e}")),
    }
}

/// Whether a line holds what only its writer should know.
fn is_private(line: &str) -> bool {
    let line = line.to_ascii_uppercase();
    ["LOGIN ", "INJAIL ", "--HASH"]
        .iter()
        .any(|secret| line.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_its_writer_should_know_is_noticed() {
        for line in [
            "raw LOGIN ann secret",
            "raw 'login ann x'",
            "raw \"INJAIL t | d\"",
            "ls --hash x",
            "raw 'LOGIN x",
        ] {
            assert!(is_private(line), "{line}");
        }
        for line in ["ls logs", "get a.hash", "put 'in jail'"] {
            assert!(!is_private(line), "{line}");
        }
    }
}
