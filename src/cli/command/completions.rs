//! `tf completions`.

use clap::{Args, CommandFactory};

use crate::cli::Exit;
use crate::cli::arguments::Arguments;

/// Print a completion script for a shell
#[derive(Args)]
#[command(after_help = "Example:\n  tf completions bash > /etc/bash_completion.d/tf")]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints it. No server is needed.
    pub(crate) fn print(&self) -> Exit {
        let mut command = Arguments::command();
        clap_complete::generate(self.shell, &mut command, "tf", &mut std::io::stdout());
        Exit::Ok
    }
}
