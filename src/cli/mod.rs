//! `tf`: arguments, and what each command does with them. It reaches servers
//! through [`crate::client`] alone. See tf(1).

mod access;
mod arguments;
mod command;
mod complete;
mod context;
mod entries;
mod exit;
mod expand;
mod failure;
mod filter;
mod interrupt;
pub(crate) mod names;
mod output;
mod place;
mod progress;
mod secrets;
mod servers;
mod sums;
mod targets;
mod transfer;

use std::process::ExitCode;

use clap::Parser;

use access::Directory;
use arguments::Arguments;
use context::Context;
pub use exit::Exit;

/// `tf` with the arguments of this process: its exit status.
#[must_use]
pub fn main() -> ExitCode {
    complete::answer();
    let Arguments { connection, output, command } = Arguments::parse();
    crate::tf::cipher::cycle::make_table_on_need();
    let done = Directory::read(connection).and_then(|directory| {
        let mut context = Context::new(directory, output);
        command.run(&mut context).and_then(|()| context.end())
    });
    done.map_or_else(|failure| failure.tell(), |()| Exit::Ok as u8).into()
}
