//! The options that all commands of `tf` take.

use std::path::PathBuf;

use clap::Args;

use super::settings::Settings;

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
    #[command(flatten)]
    pub(super) settings: Settings,
    /// How long connecting may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, global = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout: u64,
    /// Take *, ? and [ in remote paths as they are
    #[arg(long, global = true)]
    pub(super) literal: bool,
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
