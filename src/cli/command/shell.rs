//! `tf shell`, which `tf SERVER` stands for, and `tf completions` for other shells.

use std::io;
use std::path::PathBuf;

use clap_complete::env::Shells;

use super::prelude::*;
use crate::cli::complete::VARIABLE;
use crate::cli::output::output_error;

/// Open a shell on a server: all commands, over one session
#[derive(Args)]
#[command(after_help = "\
Examples:
  tf files                        as tf shell files
  tf shell files:reports
  tf shell -b nightly.tf files
  echo 'put may.pdf' | tf shell files:reports")]
pub(crate) struct Shell {
    /// Run the commands in this file, - for standard input; stop at the first
    /// that fails
    #[arg(short, long, value_name = "FILE")]
    pub(crate) batch: Option<PathBuf>,
    /// Continue after a command that failed
    #[arg(short, long)]
    pub(crate) keep_going: bool,
    /// NAME, NAME:path, HOST:PORT or tf://HOST:PORT/path [default: the default
    /// server]
    #[arg(value_name = "SERVER", add = Names::Server)]
    pub(crate) place: Option<String>,
}

impl Shell {
    /// A shell does not open another.
    pub(super) fn run(self, _: &mut Context) -> Result<()> {
        Err(Failure::usage("this is already a shell: use cd"))
    }
}

/// Print a completion script for a shell
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf completions bash > ~/.local/share/bash-completion/completions/tf\n  \
                  tf completions zsh > ~/.zfunc/_tf\n  \
                  tf completions fish > ~/.config/fish/completions/tf.fish\n\n\
                  It completes names of servers, and remote paths if no password has to be entered."
)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_parser = ["bash", "elvish", "fish", "powershell", "zsh"])]
    shell: String,
}

/// bash takes a colon for the end of a word: this puts the words together
/// again before they are completed, and takes off what bash has already.
const BASH: &str = include_str!("completions/tf.bash");

/// zsh puts a blank behind what it has completed: not behind the colon of a
/// server or the slash of a directory, where more follows.
const ZSH: &str = include_str!("completions/tf.zsh");

impl Completions {
    pub(super) fn run(self, _: &mut Context) -> Result<()> {
        let shells = Shells::builtins();
        let mut script = Vec::new();
        match shells
            .completer(&self.shell)
            .filter(|_| self.shell != "zsh")
        {
            None => script.extend_from_slice(ZSH.as_bytes()),
            Some(shell) => shell
                .write_registration(VARIABLE, "tf", "tf", "tf", &mut script)
                .map_err(output_error)?,
        }
        if self.shell == "bash" {
            script.extend_from_slice(BASH.as_bytes());
        }
        Ok(io::Write::write_all(&mut io::stdout(), &script).map_err(output_error)?)
    }
}
