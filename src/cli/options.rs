//! The options of `tf` that all commands take, and the environment that stands
//! behind them. What they mean for a server is said elsewhere; no command is
//! known here.

use std::path::PathBuf;

use clap::Args;

/// How to reach the server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub(super) struct ConnectionOptions {
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
    pub(super) tls: TlsOptions,
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
    #[arg(long, value_name = "SECONDS", default_value_t = 15, global = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout: u64,
    /// The account to log in with, where the server asks for one
    #[arg(long, value_name = "NAME", global = true)]
    pub(super) user: Option<String>,
    /// A file whose first line is its password [default: ask]
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) password_file: Option<PathBuf>,
    /// An open file descriptor to read its password from
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "password_file",
        global = true
    )]
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
pub(super) struct TlsOptions {
    /// Connect with TLS; the system's authorities vouch for the server
    #[arg(long, global = true)]
    pub(super) tls: bool,
    /// Connect with TLS to the server whose certificate has this public key
    #[arg(
        long,
        value_name = "SHA256:…",
        conflicts_with = "tls_ca",
        global = true
    )]
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
pub(crate) struct OutputOptions {
    /// Show no progress bar
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// A variable that is set to something.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
