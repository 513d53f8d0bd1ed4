//! `tfd`: arguments only, see tfd(8).

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// A file-exchange daemon that gives every client a process and a Unix
/// identity of its own. It speaks TF Protocol 2.4.1.
#[derive(Parser)]
#[command(name = "tfd", version, after_help = "See tfd(8) and tfd.toml(5).")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve clients in the foreground until SIGTERM or SIGINT
    ///
    /// Problems of the configuration are told one a line, and nothing is
    /// started then. The log goes to standard error. SIGHUP reads the
    /// configuration again.
    #[command(after_help = "Example:\n  tfd serve --config /etc/tfd/tfd.toml")]
    Serve {
        /// The configuration, see tfd.toml(5)
        #[arg(long, value_name = "FILE", default_value = "/etc/tfd/tfd.toml")]
        config: PathBuf,
    },
    /// Tell every problem of a configuration: exit status 0 for none, else 1
    #[command(after_help = "Example:\n  tfd check --config /etc/tfd/tfd.toml")]
    Check {
        /// The configuration, see tfd.toml(5)
        #[arg(long, value_name = "FILE", default_value = "/etc/tfd/tfd.toml")]
        config: PathBuf,
    },
    /// Make an RSA key pair: private.pem for tfd, public.pem for its clients
    ///
    /// Existing files are never overwritten.
    #[command(after_help = "Example:\n  tfd keygen --out /etc/tfd")]
    Keygen {
        /// The directory for both files
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Size of the key, in bits; old clients take 2048 only
        #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2048..=4096))]
        bits: u32,
    },
    /// Write a tfd.toml from a configuration of the public C server
    ///
    /// Its key block goes to a file of its own, readable by its owner only.
    /// Existing files are never overwritten.
    #[command(after_help = "Example:\n  tfd import /etc/tfproto.conf --out /etc/tfd/tfd.toml")]
    Import {
        /// The old configuration
        #[arg(value_name = "OLD.conf")]
        old: PathBuf,
        /// The new configuration; the key is written beside it
        #[arg(long, value_name = "FILE", default_value = "tfd.toml")]
        out: PathBuf,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  tfd completions bash > /etc/bash_completion.d/tfd")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve { config } => tfd::daemon::serve(&config),
        Command::Check { config } => tfd::config::report(&config),
        Command::Keygen { out, bits } => tfd::keygen::run(&out, bits),
        Command::Import { old, out } => tfd::import::run(&old, &out),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "tfd", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}
