//! `tf`: arguments, and what each command does with them. It reaches servers
//! through [`crate::client`] alone. See tf(1).

mod arguments;
mod command;
mod context;
mod exit;
pub(crate) mod names;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, NoAccess};
use command::Command;
use context::Context;
pub use exit::Exit;

use crate::client::ClientError;
use crate::tf::status::Status;

/// `tf` with the arguments of this process: its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { connection, output, command } = Arguments::parse();
    if let Command::Completions(completions) = command {
        return completions.print().into();
    }
    crate::tf::cipher::cycle::make_table_on_need();
    let access = match connection.access() {
        Ok(access) => access,
        Err(NoAccess::Key(e)) => return report(Err(e)).into(),
        Err(e @ NoAccess::Usage(_)) => {
            eprintln!("tf: {e}");
            return Exit::Usage.into();
        }
    };
    let mut context = Context::new(access, output);
    report(command.run(&mut context).and_then(|()| context.end())).into()
}

/// Shows a failure and turns it into an exit status.
fn report(result: Result<(), ClientError>) -> Exit {
    match result {
        Ok(()) => Exit::Ok,
        // The reader of our output has seen enough.
        Err(ClientError::Local { source, .. })
            if source.kind() == std::io::ErrorKind::BrokenPipe =>
        {
            Exit::Ok
        }
        Err(e) => {
            eprintln!("tf: {e}");
            match e.status() {
                Some(Status::BeforeLogin) => eprintln!("tf: the server asks who you are: --user"),
                Some(Status::BeforeJail) => eprintln!("tf: the server asks for a jail: --jail"),
                _ => {}
            }
            Exit::of(&e)
        }
    }
}
