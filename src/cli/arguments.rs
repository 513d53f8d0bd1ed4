//! The arguments of `tf` that all commands take.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser};
use zeroize::Zeroizing;

use super::command::Command;
use crate::client::{Access, ClientError, PublicKey, Secret, Target};

/// Why arguments tell no way to a session.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAccess {
    /// Something is missing or makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The public key can't be used.
    #[error(transparent)]
    Key(#[from] ClientError),
}

impl From<String> for NoAccess {
    fn from(text: String) -> NoAccess {
        NoAccess::Usage(text)
    }
}

/// Files on a TF server, there and back.
#[derive(Parser)]
#[command(
    name = "tf",
    version,
    after_help = "Server, key and hash may come from TF_SERVER, TF_KEY and TF_HASH. \
                  See tf(1) for exit statuses and examples."
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
#[derive(Args)]
pub(super) struct ConnectionArguments {
    /// The server
    #[arg(long, value_name = "HOST:PORT", env = "TF_SERVER", global = true)]
    server: Option<String>,
    /// The server's public key, PEM
    #[arg(long, value_name = "FILE", env = "TF_KEY", global = true)]
    key: Option<PathBuf>,
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

/// How much to say, and in which form.
#[derive(Args, Clone, Debug)]
pub(super) struct OutputArguments {
    /// Show no progress bar
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

impl ConnectionArguments {
    /// The way to a session that these arguments tell; asks for passwords
    /// where they don't.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub(super) fn access(self) -> Result<Access, NoAccess> {
        let hash = match (self.hash, self.hash_file) {
            (Some(hash), _) => hash,
            (None, Some(path)) => first_line(&path)?.to_string(),
            (None, None) => {
                return Err("no hash: give --hash-file or set TF_HASH".to_owned().into());
            }
        };
        let server =
            self.server.ok_or_else(|| "no server: give --server or set TF_SERVER".to_owned())?;
        let key = self.key.ok_or_else(|| "no public key: give --key or set TF_KEY".to_owned())?;
        let key = PublicKey::from_file(&key)?;
        let mut target = Target::new(&server, key, &hash);
        target.version = self.protocol_version;
        target.timeout = Duration::from_secs(self.timeout.max(1));
        let login = secret(self.user, self.password_file.as_deref(), "Password for")?;
        let jail = secret(self.jail, self.token_file.as_deref(), "Token for")?;
        Ok(Access { target, login, jail })
    }
}

/// A name with its secret: from a file, or asked for.
fn secret(
    name: Option<String>,
    file: Option<&Path>,
    prompt: &str,
) -> Result<Option<Secret>, String> {
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
