//! The arguments of `tf` that all commands take.

use std::ffi::OsString;
use std::io::{IsTerminal, stdin, stdout};
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser};

use super::access::Directory;
use super::command::Command;
use super::command::shell::names_server;

/// Files on a TF server, there and back.
#[derive(Parser)]
#[command(
    name = "tf",
    version,
    after_help = "A remote path is NAME:path for a server of the configuration (see tf trust), \
                  tf://[user@]host[:port]/path, or path on the default server, which is that of \
                  --server, TF_SERVER or the configuration.\n\
                  Options count before a server's entry, and that before TF_KEY, TF_HASH, \
                  TF_VERSION, TF_USER and TF_JAIL.\n\
                  See tf(1) for exit statuses, and tf help COMMAND for examples."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) connection: ConnectionArguments,
    #[command(flatten)]
    pub(super) output: OutputArguments,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How to reach the server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub(super) struct ConnectionArguments {
    /// The default server: HOST[:PORT], tf://USER@HOST:PORT, or a name of the
    /// configuration
    #[arg(long, global = true)]
    pub(super) server: Option<String>,
    /// The configuration [default: ~/.config/tf/config.toml]
    #[arg(long, value_name = "FILE", env = "TF_CONFIG", global = true)]
    pub(super) config: Option<PathBuf>,
    /// The server's public key, PEM
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) key: Option<PathBuf>,
    #[command(flatten)]
    pub(super) tls: TlsArguments,
    /// The server's hash; others on this machine can see it here, so prefer
    /// --hash-file, the configuration or TF_HASH
    #[arg(long, global = true)]
    pub(super) hash: Option<String>,
    /// A file whose first line is the server's hash
    #[arg(long, value_name = "FILE", conflicts_with = "hash", global = true)]
    pub(super) hash_file: Option<PathBuf>,
    /// The version string the server is configured with [default: 0.0]
    #[arg(long, value_name = "TEXT", global = true)]
    pub(super) protocol_version: Option<String>,
    /// How long connecting may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, global = true)]
    pub(super) timeout: u64,
    /// The account to log in with, where the server asks for one
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) user: Option<String>,
    /// A file whose first line is its password [default: ask]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) password_file: Option<PathBuf>,
    /// An open file descriptor to read its password from
    #[arg(long, value_name = "N", conflicts_with = "password_file", global = true)]
    pub(super) password_fd: Option<u32>,
    /// The directory to be jailed in, where the server asks for one
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) jail: Option<String>,
    /// A file whose first line is its token [default: ask]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) token_file: Option<PathBuf>,
    /// An open file descriptor to read its token from
    #[arg(long, value_name = "N", conflicts_with = "token_file", global = true)]
    pub(super) token_fd: Option<u32>,
    /// Take *, ? and [ in remote paths as they are
    #[arg(long, global = true)]
    pub(super) literal: bool,
    /// Leave directories alone in which an entry of this name stands
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) honour_lock: Option<String>,
}

/// How to speak TLS with it.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TlsArguments {
    /// Connect with TLS; the system's authorities vouch for the server
    #[arg(long, global = true)]
    pub(super) tls: bool,
    /// Connect with TLS to the server whose certificate has this public key
    #[arg(long, value_name = "SHA256:…", conflicts_with = "tls_ca", global = true)]
    pub(super) tls_pin: Option<String>,
    /// Connect with TLS; one of these certificates, PEM, vouches for the server
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) tls_ca: Option<PathBuf>,
    /// A certificate of your own, PEM, that logs you in over TLS
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) cert_key: Option<PathBuf>,
}

/// How much to say, and in which form.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// Show no progress bar
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// The arguments of this process. `tf SERVER`, and on a terminal `tf` where a
/// default server is known, open a shell; commands go before servers of their
/// name.
///
/// # Errors
/// What is wrong with them, or the help that was asked for.
pub(super) fn read() -> Result<Arguments, clap::Error> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    Arguments::try_parse_from(&arguments)
        .map_err(|e| (shell_instead(&arguments, &e), e))
        .or_else(|(shell, e)| shell.ok_or(e))
}

/// The same arguments with `shell` in its place, where that is what they mean.
fn shell_instead(arguments: &[OsString], error: &clap::Error) -> Option<Arguments> {
    let with_shell = |at: usize| {
        let mut arguments = arguments.to_vec();
        arguments.insert(at, "shell".into());
        let arguments = Arguments::try_parse_from(arguments).ok()?;
        let directory = Directory::read(arguments.connection.clone()).ok()?;
        Some((arguments, directory))
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
                return None;
            };
            let at = (1..arguments.len()).filter(|at| arguments[*at] == **word);
            let (arguments, directory) = at.into_iter().find_map(with_shell)?;
            names_server(word, &directory.servers).then_some(arguments)
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let (arguments, directory) = with_shell(arguments.len())?;
            let meant = stdin().is_terminal() && stdout().is_terminal();
            (meant && directory.default_server().is_ok()).then_some(arguments)
        }
        _ => None,
    }
}
