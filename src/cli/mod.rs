//! `tf`: arguments, and what each command does with them. It reaches servers
//! through [`crate::client`] alone. See tf(1).

#[allow(dead_code, reason = "commands to come use the rest")]
mod access;
mod arguments;
mod command;
#[allow(dead_code, reason = "commands to come use the rest")]
mod context;
mod exit;
#[allow(dead_code, reason = "commands to come use the rest")]
mod failure;
mod here;
mod interrupt;
pub(crate) mod names;
mod output;
#[allow(dead_code, reason = "commands to come use the rest")]
mod place;
mod progress;
mod secrets;
mod servers;
mod shell;

use std::process::ExitCode;

use access::Directory;
use arguments::Arguments;
use command::Command;
use context::Context;
pub use exit::Exit;
use failure::Failure;

use crate::client::{Cancel, ClientError};

/// `tf` with the arguments of this process: its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { connection, output, command } = match arguments::read() {
        Ok(arguments) => arguments,
        Err(e) => e.exit(),
    };
    if let Command::Completions(completions) = command {
        return completions.print().into();
    }
    let cancel = Cancel::default();
    if let Err(e) = interrupt::follow(cancel.clone()) {
        eprintln!("tf: Ctrl-C can't be caught: {e}");
    }
    crate::tf::cipher::cycle::make_table_on_need();
    let done = Directory::read(connection, cancel.clone()).and_then(|directory| {
        let mut context = Context::new(directory, output);
        match command {
            Command::Shell(shell) => shell.run(context),
            command => command.run(&mut context).and_then(|()| context.end()),
        }
    });
    let done = done.map_err(|failure| match cancel.is_cancelled() {
        true => Failure::Client(ClientError::Interrupted),
        false => failure,
    });
    done.map_or_else(|failure| failure.tell(), |()| Exit::Ok).into()
}
