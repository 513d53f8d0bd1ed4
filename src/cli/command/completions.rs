//! `tf completions`.

use std::io;

use clap::ValueEnum;
use clap_complete::env::Shells;

use super::prelude::*;
use crate::cli::complete::VARIABLE;
use crate::cli::output::output_error;

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
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// bash takes a colon for the end of a word: this puts the words together
/// again before they are completed, and takes off what bash has already.
const BASH: &str = include_str!("completions/tf.bash");

/// zsh puts a blank behind what it has completed: not behind the colon of a
/// server or the slash of a directory, where more follows.
const ZSH: &str = include_str!("completions/tf.zsh");

impl Completions {
    pub(super) fn run(self, _: &mut Context) -> Result<()> {
        let value = self.shell.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name());
        let shells = Shells::builtins();
        let mut script = Vec::new();
        match (self.shell, shells.completer(name)) {
            (Shell::Zsh, _) | (_, None) => script.extend_from_slice(ZSH.as_bytes()),
            (_, Some(shell)) => shell
                .write_registration(VARIABLE, "tf", "tf", "tf", &mut script)
                .map_err(output_error)?,
        }
        if let Shell::Bash = self.shell {
            script.extend_from_slice(BASH.as_bytes());
        }
        Ok(io::Write::write_all(&mut io::stdout(), &script).map_err(output_error)?)
    }
}
