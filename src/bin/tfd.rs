//! `tfd`: arguments only, see tfd(8).

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tfd::admin::setup::Setup;
use tfd::admin::status;
use tfd::admin::user as admin;
use tfd::admin::user::Addition;
use tfd::config::Config;
use tfd::daemon::helpers::control::request::{Request, Whom};

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
        /// The configuration, see tfd.toml(5)
        #[arg(long, value_name = "FILE", default_value = "/etc/tfd/tfd.toml")]
        config: PathBuf,
    },
    /// Print every problem of a configuration: exit status 0 for none, else 1
    #[command(after_help = "Example:\n  tfd check --config /etc/tfd/tfd.toml")]
    Check {
        /// The configuration, see tfd.toml(5)
        #[arg(long, value_name = "FILE", default_value = "/etc/tfd/tfd.toml")]
        config: PathBuf,
    },
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
    /// An interrupted upload leaves the old file.
    #[command(after_help = "Examples:\n  sudo tfd kick --user ann\n  \
        sudo tfd kick --address 192.0.2.7")]
    Kick {
        #[command(flatten)]
        whom: Kicked,
        /// The control socket of the running tfd
        #[arg(long, value_name = "PATH", default_value = "/run/tfd/control")]
        control: PathBuf,
    },
    /// Set up a server: system user, keys, certificate, configuration
    ///
    /// Prints what clients need. The configuration gets a hash of its own and
    /// serves TLS on the next port. Existing files are never changed.
    #[command(
        after_help = "Examples:\n  sudo tfd setup --name files.example.org\n  \
        sudo tfd setup --root /home/shared --multi-user --port 20345"
    )]
    Setup {
        /// The directory for configuration and keys
        #[arg(long, value_name = "DIR", default_value = "/etc/tfd")]
        dir: PathBuf,
        /// The directory that clients see
        #[arg(long, value_name = "DIR", default_value = "/srv/tfd")]
        root: PathBuf,
        /// The system user that clients act as, made when missing
        #[arg(long, value_name = "USER", default_value = "tfd")]
        user: String,
        /// A name or an address by which clients reach the server [default: the host's name]
        #[arg(long, value_name = "NAME")]
        name: Vec<String>,
        /// An address to listen on
        #[arg(long, value_name = "IP", default_values = ["0.0.0.0", "::"])]
        address: Vec<IpAddr>,
        /// The port; TLS has the next one
        #[arg(long, default_value_t = 10345, value_parser = clap::value_parser!(u16).range(..65535))]
        port: u16,
        /// Let clients log in, each as its own system user
        #[arg(long)]
        multi_user: bool,
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
        file: UsersFile,
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  tfd completions bash > /etc/bash_completion.d/tfd")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Kicked {
    /// The session of this slot
    #[arg(long)]
    slot: Option<u32>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    user: Option<String>,
    /// All sessions from this address
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// All sessions
    #[arg(long)]
    all: bool,
}

impl Kicked {
    fn whom(self) -> Whom {
        match self {
            Kicked {
                slot: Some(slot), ..
            } => Whom::Slot(slot),
            Kicked {
                user: Some(user), ..
            } => Whom::User(user),
            Kicked {
                address: Some(address),
                ..
            } => Whom::Address(address),
            _ => Whom::All,
        }
    }
}

fn one_line(text: &str) -> Result<String, &'static str> {
    if text.contains('\n') {
        Err("a name cannot have two lines")
    } else {
        Ok(text.to_owned())
    }
}

#[derive(Args)]
struct UsersFile {
    /// The users file [default: the one named in the configuration]
    #[arg(long, value_name = "FILE", global = true)]
    users: Option<PathBuf>,
    /// The configuration, see tfd.toml(5)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/tfd/tfd.toml",
        global = true
    )]
    config: PathBuf,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Add an account; asks for its password
    #[command(after_help = "Examples:\n  tfd user add ann\n  \
        tfd user add backup --system-user backup --home backups --options max=4,from=192.0.2.0/24")]
    Add {
        /// The name to log in with
        name: String,
        /// The system user its sessions run as [default: the one of the same name]
        #[arg(long, value_name = "USER")]
        system_user: Option<String>,
        /// Its directory beneath the root [default: the root]
        #[arg(
            long,
            value_name = "DIR",
            default_value = "",
            hide_default_value = true
        )]
        home: String,
        /// Comma-separated: read-only or append-only, max=SESSIONS, rate=BYTES,
        /// quota=BYTES, from=NETWORK
        #[arg(
            long,
            value_name = "LIST",
            default_value = "",
            hide_default_value = true
        )]
        options: String,
        /// The last day to log in, in UTC, such as 2027-12-31
        #[arg(
            long,
            value_name = "DAY",
            default_value = "",
            hide_default_value = true
        )]
        expiry: String,
        /// Let its sessions run as root
        #[arg(long)]
        allow_root: bool,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set the password of an account
    Passwd {
        /// The account
        name: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Lock an account: nobody can log in
    Lock {
        /// The account
        name: String,
    },
    /// Unlock an account
    Unlock {
        /// The account
        name: String,
    },
    /// Delete an account; its files stay
    Del {
        /// The account
        name: String,
    },
    /// Show all accounts
    List,
    /// Add the accounts of the public C server's user file, hashed
    #[command(after_help = "Example:\n  tfd user import /etc/tfproto.users")]
    Import {
        /// The old file: a name, a space and the password in clear on each line
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// Import an account of root, too
        #[arg(long)]
        allow_root: bool,
    },
}

/// `tfd user`: a line or a table to standard output, or what is wrong to
/// standard error.
fn user(file: UsersFile, command: UserCommand) -> Result<String, String> {
    let file = match file.users {
        Some(path) => path,
        None => Config::load(&file.config)
            .map_err(|problems| format!("{} (or name the file with --users)", problems[0]))?
            .server
            .users
            .ok_or_else(|| format!("{} names no server.users", file.config.display()))?,
    };
    match command {
        UserCommand::Add {
            name,
            system_user,
            home,
            options,
            expiry,
            allow_root,
            password_stdin,
        } => {
            let addition = Addition {
                name: &name,
                system_user: system_user.as_deref(),
                home: &home,
                options: &options,
                expiry: &expiry,
                allow_root,
                from_stdin: password_stdin,
            };
            admin::add(&file, &addition)
        }
        UserCommand::Passwd {
            name,
            password_stdin,
        } => admin::set_password(&file, &name, password_stdin),
        UserCommand::Lock { name } => admin::set_locked(&file, &name, true),
        UserCommand::Unlock { name } => admin::set_locked(&file, &name, false),
        UserCommand::Del { name } => admin::delete(&file, &name),
        UserCommand::List => admin::list(&file),
        UserCommand::Import { old, allow_root } => admin::import(&file, &old, allow_root),
    }
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if !matches!(command, Command::Serve { .. }) {
        status::set_modes();
    }
    match command {
        Command::Serve { config } => tfd::daemon::serve(&config),
        Command::Check { config } => tfd::admin::check::report(&config),
        Command::Status { json, control } => status::report(&control, json),
        Command::Kick { whom, control } => status::ask(&control, &Request::Kick(whom.whom())),
        Command::Setup {
            dir,
            root,
            user,
            name,
            address,
            port,
            multi_user,
        } => tfd::admin::setup::run(&Setup {
            directory: dir,
            root,
            user,
            names: name,
            addresses: address,
            port,
            multi_user,
        }),
        Command::Keygen { out, bits, tls } => tfd::admin::keygen::run(&out, bits, &tls),
        Command::Import { old, out } => tfd::admin::import::run(&old, &out),
        Command::User { file, command } => match user(file, command) {
            Ok(text) => status::say(&format!("{text}\n")),
            Err(text) => {
                eprintln!("tfd: {text}");
                ExitCode::FAILURE
            }
        },
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "tfd", &mut script);
            status::say(&String::from_utf8_lossy(&script))
        }
    }
}
