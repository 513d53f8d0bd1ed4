//! Help that fits on a screen: each command shows its own options. The
//! options that all commands share are shown by `tf help connection`.

use std::ffi::OsString;

use clap::{Args, Command};

use super::settings::ConnectionOptions;

/// The heading of the options that all commands share.
pub(super) const SHARED: &str = "Server";

/// What refers to them.
const REFERENCE: &str =
    "To choose a server and log in (--server, --user, --tls, ...): tf help connection";

/// The commands, whose help leaves the shared options out.
pub(super) fn short(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_help_heading() {
        Some(SHARED) => arg.hide(true),
        _ => arg,
    });
    command.mut_subcommands(|command| {
        let examples = command.get_after_help().map(ToString::to_string);
        command.after_help(format!("{}\n\n{REFERENCE}", examples.unwrap_or_default()))
    })
}

/// The text of `tf help connection`, if these arguments, which are no command,
/// are that.
pub(super) fn connection(arguments: &[OsString]) -> Option<String> {
    let is_asked =
        matches!(arguments, [.., help, topic] if help == "help" && topic == "connection");
    let options = || {
        ConnectionOptions::augment_args(Command::new("connection"))
            .about("Options of every command: which server, and how to log in")
            .disable_help_flag(true)
            .help_template("{about}\n\n{options}{after-help}")
            .after_help(
                "Options override the entry of a server, see tf trust and tf servers; the entry \
                 overrides TF_SERVER, TF_KEY, TF_HASH, TF_VERSION, TF_USER and TF_JAIL.\n\n\
                 Example:\n  tf --user ann --tls ls files.example.org:",
            )
            .render_help()
            .to_string()
    };
    is_asked.then(options)
}
