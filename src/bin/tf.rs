//! `tf`: arguments only, see tf(1).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use tfd::cli::{self, Exit, Session};
use tfd::client::{Tls, Trust};
use zeroize::Zeroizing;

/// Files on a TF server, there and back.
#[derive(Parser)]
#[command(
    name = "tf",
    version,
    after_help = "Server, key and hash may come from TF_SERVER, TF_KEY and TF_HASH. \
                  See tf(1) for exit statuses and examples."
)]
struct Arguments {
    #[command(flatten)]
    connection: ConnectionArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct ConnectionArguments {
    /// The server
    #[arg(long, value_name = "HOST:PORT", env = "TF_SERVER", global = true)]
    server: Option<String>,
    /// The server's public key, PEM
    #[arg(long, value_name = "FILE", env = "TF_KEY", global = true)]
    key: Option<PathBuf>,
    /// Connect with TLS; the system's authorities vouch for the server
    #[arg(long, global = true)]
    tls: bool,
    /// Connect with TLS to the server whose certificate has this public key, as
    /// tfd keygen prints it
    #[arg(long, value_name = "SHA256", env = "TF_TLS_PIN", global = true)]
    tls_pin: Option<String>,
    /// Connect with TLS; one of these certificates, PEM, vouches for the server
    #[arg(long, value_name = "FILE", env = "TF_TLS_CA", conflicts_with = "tls_pin", global = true)]
    tls_ca: Option<PathBuf>,
    /// A certificate of your own, PEM, that logs you in over TLS
    #[arg(long, value_name = "FILE", env = "TF_CERT", requires = "cert_key", global = true)]
    cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", env = "TF_CERT_KEY", requires = "cert", global = true)]
    cert_key: Option<PathBuf>,
    /// The server's hash; others on this machine can see it here, so prefer
    /// --hash-file or TF_HASH
    #[arg(long, env = "TF_HASH", hide_env_values = true, global = true)]
    hash: Option<String>,
    /// A file whose first line is the server's hash
    #[arg(long, value_name = "FILE", conflicts_with = "hash", global = true)]
    hash_file: Option<PathBuf>,
    /// The version string the server is configured with
    #[arg(long, value_name = "TEXT", env = "TF_VERSION", default_value = "0.0", global = true)]
    protocol_version: String,
    /// How long connecting may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15, global = true)]
    timeout: u64,
    /// Show no progress bar
    #[arg(short, long, global = true)]
    quiet: bool,
    /// The account to log in with, where the server asks for one
    #[arg(long, value_name = "NAME", env = "TF_USER", global = true)]
    user: Option<String>,
    /// A file whose first line is its password [default: ask]
    #[arg(long, value_name = "FILE", requires = "user", global = true)]
    password_file: Option<PathBuf>,
    /// The directory to be jailed in, where the server asks for one
    #[arg(long, value_name = "DIR", env = "TF_JAIL", global = true)]
    jail: Option<String>,
    /// A file whose first line is its token [default: ask]
    #[arg(long, value_name = "FILE", requires = "jail", global = true)]
    token_file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// List a directory
    #[command(after_help = "Example:\n  tf ls -l reports")]
    Ls {
        /// Kind, size and time of each entry
        #[arg(short, long)]
        long: bool,
        /// All beneath it, too
        #[arg(short = 'R', long)]
        recursive: bool,
        /// The directory; the root when left out
        #[arg(default_value = "")]
        path: String,
    },
    /// Receive a file; it is in place only when it is whole and verified
    #[command(after_help = "Example:\n  tf get reports/may.pdf .")]
    Get {
        /// The remote file
        remote: String,
        /// A file, a directory, or - for standard output
        local: Option<PathBuf>,
    },
    /// Send a file; it is in place only when it is whole and verified
    #[command(after_help = "Example:\n  tf put may.pdf reports/")]
    Put {
        /// A file, or - for standard input
        local: PathBuf,
        /// The remote file or directory
        #[arg(required_if_eq("local", "-"))]
        remote: Option<String>,
    },
    /// Delete files
    Rm {
        /// Remove directories with all in them, too
        #[arg(short, long)]
        recursive: bool,
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Make directories
    Mkdir {
        /// Make those on the way, too; one that exists is fine
        #[arg(short, long)]
        parents: bool,
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Rename, or move into a directory
    Mv {
        /// The old path
        from: String,
        /// The new path, or a directory
        to: String,
    },
    /// Show kind, size and times
    Stat {
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Show SHA-256 digests, made by the server
    Sha256 {
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Write files to standard output
    Cat {
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  tf completions bash > /etc/bash_completion.d/tf")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Completions { shell } = arguments.command {
        let mut command = Arguments::command();
        clap_complete::generate(shell, &mut command, "tf", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    tfd::tf::cipher::cycle::make_table_on_need();
    match session(arguments.connection) {
        Ok(session) => cli::report(run(&session, arguments.command)).into(),
        Err(text) => {
            eprintln!("tf: {text}");
            Exit::Usage.into()
        }
    }
}

fn session(arguments: ConnectionArguments) -> Result<Session, String> {
    let hash = match (arguments.hash, arguments.hash_file) {
        (Some(hash), _) => hash,
        (None, Some(path)) => first_line(&path)?.to_string(),
        (None, None) => return Err("no hash: give --hash-file or set TF_HASH".to_owned()),
    };
    let own = (arguments.cert.as_deref(), arguments.cert_key.as_deref());
    let tls = match (arguments.tls_pin, arguments.tls_ca) {
        (Some(pin), _) => Some(Trust::Pin(pin)),
        (None, Some(file)) => Some(Trust::Authorities(content(&file)?)),
        (None, None) if arguments.tls => Some(Trust::System),
        (None, None) => None,
    };
    if tls.is_none() && arguments.key.is_none() {
        return Err("no public key: give --key or set TF_KEY, or connect with --tls".to_owned());
    }
    Ok(Session {
        server: arguments.server.ok_or("no server: give --server or set TF_SERVER")?,
        key: arguments.key,
        tls: tls.map(|trust| speak_tls(&trust, own)).transpose()?,
        hash,
        version: arguments.protocol_version,
        timeout: Duration::from_secs(arguments.timeout.max(1)),
        quiet: arguments.quiet,
        login: secret(arguments.user, arguments.password_file.as_deref(), "Password for")?,
        jail: secret(arguments.jail, arguments.token_file.as_deref(), "Token for")?,
    })
}

/// How TLS is spoken with this trust and a certificate of one's own.
fn speak_tls(trust: &Trust, own: (Option<&Path>, Option<&Path>)) -> Result<Tls, String> {
    let own = match own {
        (Some(certificate), Some(key)) => Some((content(certificate)?, content(key)?)),
        _ => None,
    };
    let own = own.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    Tls::new(trust, own).map_err(|e| format!("TLS: {e}"))
}

fn content(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A name with what only its owner knows: from a file, or asked for.
fn secret(
    name: Option<String>,
    file: Option<&Path>,
    prompt: &str,
) -> Result<Option<(String, Zeroizing<String>)>, String> {
    let Some(name) = name else { return Ok(None) };
    let secret = match file {
        Some(path) => first_line(path)?,
        None => rpassword::prompt_password(format!("{prompt} {name}: "))
            .map(Zeroizing::new)
            .map_err(|e| format!("can't ask for it here ({e}): name a file"))?,
    };
    Ok(Some((name, secret)))
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

fn run(session: &Session, command: Command) -> Result<(), tfd::client::ClientError> {
    let mut connection = session.open()?;
    match command {
        Command::Ls { long, recursive, path } => {
            cli::list(&mut connection, &path, long, recursive)?;
        }
        Command::Get { remote, local } => {
            cli::get(&mut connection, &remote, local.as_deref(), session.quiet)?;
        }
        Command::Put { local, remote } => {
            cli::put(&mut connection, &local, remote.as_deref(), session.quiet)?;
        }
        Command::Rm { recursive, paths } => cli::remove(&mut connection, &paths, recursive)?,
        Command::Mkdir { parents, paths } => {
            cli::make_directories(&mut connection, &paths, parents)?;
        }
        Command::Mv { from, to } => cli::rename(&mut connection, &from, &to)?,
        Command::Stat { paths } => cli::show_stat(&mut connection, &paths)?,
        Command::Sha256 { paths } => cli::show_sha256(&mut connection, &paths)?,
        Command::Cat { paths } => cli::cat(&mut connection, &paths)?,
        Command::Completions { .. } => {}
    }
    connection.end()
}
