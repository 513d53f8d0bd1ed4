//! `tf`: its arguments and commands. It reaches servers through
//! [`crate::client`] alone, and no other module imports it. See tf(1).

mod access;
mod arguments;
mod command;
mod complete;
mod context;
mod events;
mod expand;
mod failure;
mod interrupt;
mod output;
mod place;
mod progress;
mod secrets;
mod servers;
mod settings;
mod shell;

use std::process::ExitCode;

use clap::CommandFactory;

use access::Directory;
use arguments::Arguments;
use command::Command;
use context::Context;
pub use failure::Exit;
use failure::Failure;

use crate::client::ClientError;

/// `tf` with the arguments of this process: its exit status.
pub fn main() -> ExitCode {
    match complete::answer(Arguments::command) {
        Ok(false) => {}
        Ok(true) => return Exit::Ok.into(),
        Err(e) => e.exit(),
    }
    let Arguments {
        connection,
        output,
        command,
    } = match arguments::read() {
        Ok(arguments) => arguments,
        Err(e) => e.exit(),
    };
    crate::tf::cipher::cycle::make_table_on_need();
    let done = Directory::read(connection).and_then(|directory| {
        let cancel = directory.cancel.clone();
        if let Err(e) = interrupt::follow(cancel.clone()) {
            output::complain!("tf: Ctrl-C can't be caught: {e}");
        }
        let mut context = Context::new(directory, output);
        let done = match command {
            Command::Shell(arguments) => shell::open(arguments, context),
            command => {
                let done = command.run(&mut context);
                done.and(context.end())
            }
        };
        done.map_err(|failure| match cancel.is_cancelled() {
            true => Failure::Client(ClientError::Interrupted),
            false => failure,
        })
    });
    done.map_or_else(|failure| failure.report(), |()| Exit::Ok as u8)
        .into()
}
