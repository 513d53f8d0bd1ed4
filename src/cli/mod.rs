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
mod interrupt;
pub(crate) mod names;
mod output;
#[allow(dead_code, reason = "commands to come use the rest")]
mod place;
mod progress;
mod secrets;
mod servers;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

use access::Directory;
use arguments::Arguments;
use command::Command;
use context::Context;
pub use exit::Exit;

/// `tf` with the arguments of this process: its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { connection, output, command } = Arguments::parse();
    if let Command::Completions(completions) = command {
        return completions.print().into();
    }
    crate::tf::cipher::cycle::make_table_on_need();
    let done = Directory::read(connection).and_then(|directory| {
        let mut context = Context::new(directory, output);
        command.run(&mut context).and_then(|()| context.end())
    });
    done.map_or_else(|failure| failure.tell(), |()| Exit::Ok).into()
}
