//! The operator's commands of `tfd` and their arguments. They run as the calling
//! user and serve nobody.

pub mod bbftp;
mod blocked;
pub mod check;
mod holder;
pub mod hub;
pub mod import;
pub mod keygen;
mod kick;
mod probe;
pub mod setup;
mod show_client;
pub mod status;
mod unit;
pub mod user;
pub mod vault;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use user::UserCommand;

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
    /// If the configuration has problems, tfd prints them, one a line, and does not
    /// start. The log goes to standard error. SIGHUP reads the configuration
    /// again.
    #[command(after_help = "Example:\n  tfd serve --config /etc/tfd/tfd.toml")]
    Serve {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print every problem of a configuration: exit status 0 for none, else 1
    #[command(after_help = "Example:\n  tfd check --config /etc/tfd/tfd.toml")]
    Check {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Ask a running tfd whether it serves: exit status 0 if all answer, 1 if not
    ///
    /// Asks as a client does, up to the first answer that needs no secret, and prints
    /// a line for each port. Any certificate will do. The exit status is 2 if nothing
    /// could be asked.
    #[command(after_help = "Examples:\n  sudo tfd probe\n  \
        tfd probe files.example.org:10346 --tls --timeout 2\n  \
        tfd probe 192.0.2.7:10347 --protocol hub")]
    Probe(probe::Probe),
    /// Show who is connected to a running tfd and what they do
    ///
    /// Measures for a second, for the rates.
    #[command(after_help = "Example:\n  sudo tfd status")]
    Status {
        /// As JSON, see tfd(8)
        #[arg(long)]
        json: bool,
        /// The control socket of the running tfd
        #[arg(long, value_name = "PATH", default_value = "/run/tfd/control")]
        control: PathBuf,
    },
    /// End sessions of a running tfd: exit status 0 if any matched, else 1
    ///
    /// A session that waits for a request ends at once, any other within a second.
    /// An interrupted upload leaves the old file. Clients may connect again at once,
    /// unless --lock or --for keeps them out.
    #[command(after_help = "Examples:\n  sudo tfd kick --user ann --lock\n  \
        sudo tfd kick --address 192.0.2.7 --for 10m")]
    Kick(kick::Kick),
    /// Show who is blocked after failed logins, or barred, and until when
    #[command(after_help = "Example:\n  sudo tfd blocked")]
    Blocked {
        #[command(flatten)]
        file: user::UsersFile,
        /// As JSON, see tfd(8)
        #[arg(long)]
        json: bool,
    },
    /// Let an address or an account log in again: exit status 1 if it was not blocked
    ///
    /// The failures so far are forgotten. A locked account stays locked.
    #[command(after_help = "Examples:\n  sudo tfd unblock 192.0.2.7\n  sudo tfd unblock ann")]
    Unblock {
        #[command(flatten)]
        file: user::UsersFile,
        /// The address or the account
        #[arg(value_name = "IP|NAME", value_parser = one_line)]
        whom: String,
    },
    /// Set up a server: system user, keys, certificate, configuration
    ///
    /// The configuration gets a hash of its own and serves TLS on the next port.
    /// What clients need is in client.toml next to it. Existing files are never
    /// changed.
    #[command(
        after_help = "Examples:\n  sudo tfd setup --name files.example.org\n  \
        sudo tfd setup --root /home/shared --multi-user --port 20345"
    )]
    Setup(setup::Setup),
    /// Print what clients need: addresses, hash and keys, for tf trust --from
    ///
    /// Anyone who has the hash can connect, so nobody else should see the output.
    /// Which ACCOUNT it is for only says which name tf logs in with; the password is
    /// not in it.
    #[command(after_help = "Examples:\n  \
        ssh files.example.org sudo tfd show-client | tf trust files --from -\n  \
        sudo tfd show-client ann --out ann.toml")]
    ShowClient(show_client::ShowClient),
    /// Print a drop-in for tfd.service that fits the configuration
    ///
    /// With it the service may write to the root and the logs only, and sees no
    /// home directories. tfd setup writes it.
    #[command(
        after_help = "Example:\n  tfd show-unit > /etc/systemd/system/tfd.service.d/tfd-setup.conf"
    )]
    ShowUnit {
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Make an RSA key pair: private.pem for tfd, public.pem for its clients
    ///
    /// With --tls also a self-signed certificate for TLS, tls.pem, and its key,
    /// tls-key.pem; an existing key pair is kept then. Existing files are never
    /// overwritten.
    #[command(after_help = "Examples:\n  tfd keygen --out /etc/tfd\n  \
        tfd keygen --out /etc/tfd --tls files.example.org --tls 192.0.2.7")]
    Keygen {
        /// The directory for both files
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Size of the key, in bits; old clients accept only 2048
        #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(2048..=4096))]
        bits: u32,
        /// A name or an address by which clients reach the server
        #[arg(long, value_name = "NAME")]
        tls: Vec<String>,
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
        /// The new configuration; the key is written next to it
        #[arg(long, value_name = "FILE", default_value = "tfd.toml")]
        out: PathBuf,
    },
    /// Add, change and list the accounts of multi-user mode
    ///
    /// A change applies to the next client of a running tfd; running sessions
    /// continue.
    User {
        #[command(flatten)]
        file: user::UsersFile,
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Codes, accounts and bans of the vault, by root, with a running tfd or without
    Vault {
        #[command(flatten)]
        file: ConfigFile,
        #[command(subcommand)]
        command: vault::VaultCommand,
    },
    /// Users of the backup hub, by root, with a running tfd or without
    Hub {
        #[command(flatten)]
        file: ConfigFile,
        #[command(subcommand)]
        command: hub::HubCommand,
    },
    /// The keeper of a running tfd, which has files of a hub's users
    #[command(subcommand)]
    Holder(holder::HolderCommand),
    /// Serve a BBFTP client that has started this by ssh, as the calling user
    ///
    /// The root is that of the file system, the working directory the home. Needs
    /// no configuration and no root, and serves one client to its end.
    #[command(after_help = "Example:\n  bbftp -E 'tfd bbftp --stdin' -e 'put f' host")]
    Bbftp(bbftp::Bbftp),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  tfd completions bash > /etc/bash_completion.d/tfd")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

// Where the configuration is. No doc comment: clap would show it.
#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration, see tfd.toml(5)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/tfd/tfd.toml",
        global = true
    )]
    config: PathBuf,
}

fn one_line(text: &str) -> Result<String, &'static str> {
    if text.contains('\n') {
        Err("a name cannot have two lines")
    } else {
        Ok(text.to_owned())
    }
}

/// Runs the command that the arguments name: the exit code of `tfd`.
pub fn run() -> ExitCode {
    let command = Arguments::parse().command;
    if !matches!(command, Command::Serve { .. } | Command::Bbftp(_)) {
        status::set_modes();
    }
    match command {
        Command::Serve { file } => crate::daemon::serve(&file.config),
        Command::Check { file } => check::report(&file.config),
        Command::Probe(probe) => probe::run(&probe),
        Command::Status { json, control } => status::report(&control, json),
        Command::Kick(kick) => kick::run(kick),
        Command::Blocked { file, json } => blocked::report(file.blocked_beside(), json),
        Command::Unblock { file, whom } => {
            let control = file.control_if_shared();
            blocked::unblock(file.blocked_beside(), &whom, control.as_deref())
        }
        Command::Setup(setup) => setup::run(&setup),
        Command::ShowClient(arguments) => show_client::run(&arguments),
        Command::ShowUnit { file } => show_client::of_config(&file.config, unit::drop_in),
        Command::Keygen { out, bits, tls } => keygen::run(&out, bits, &tls),
        Command::Import { old, out } => import::run(&old, &out),
        Command::User { file, command } => user::run(file, command),
        Command::Vault { file, command } => vault::run(&file, command),
        Command::Hub { file, command } => hub::run(&file, command),
        Command::Holder(command) => holder::run(command),
        Command::Bbftp(arguments) => bbftp::run(&arguments),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "tfd", &mut script);
            status::say(&String::from_utf8_lossy(&script))
        }
    }
}
