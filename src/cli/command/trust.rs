//! `tf trust`: keeps a server's public key, once a person has compared its
//! fingerprint.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::Exit;
use crate::cli::context::Context;
use crate::cli::entries::{Addition, keep};
use crate::cli::failure::{Failure, Result};
use crate::cli::place::{is_entry_name, with_port};
use crate::client::{ClientError, PublicKey};

/// Keep a server and its public key in the configuration
#[derive(Args)]
#[command(after_help = "Examples:\n  tf trust files.example.org --key public.pem\n  \
                  tf trust files --server files.example.org:10345 --key public.pem --user ann\n  \
                  ssh admin@files.example.org cat /etc/tfd/public.pem | tf trust files.example.org \\\n    \
                  --key - --hash-file hash --fingerprint SHA256:…\n\n\
                  The key comes from the server's administrator, who sees its fingerprint by\n\
                  tfd keygen: the protocol does not send it. --server, --hash-file, --user, --jail,\n\
                  --password-file, --token-file and --protocol-version go into the entry, too.")]
pub(crate) struct Trust {
    /// The fingerprint the key must have; nothing is asked then
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,
    /// Put another key in the place of the one that is trusted
    #[arg(long)]
    replace: bool,
    /// A name for the server, or its HOST[:PORT]
    #[arg(value_name = "NAME|HOST")]
    name: String,
}

impl Trust {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let options = context.directory.options().clone();
        let (name, address) = self.name_and_address(options.server.as_deref())?;
        let servers = &context.directory.servers;
        let known = servers.entries.get(&name);
        let Some(path) = &options.key else {
            return Err(Failure::Usage(
                "give the server's public key, which its administrator has: --key public.pem"
                    .to_owned(),
            ));
        };
        let key = read_key(path)?;
        let fingerprint = format!("SHA256:{}", key.fingerprint());
        let trusted = match known {
            Some(entry) => entry.key(servers)?.map(|key| format!("SHA256:{}", key.fingerprint())),
            None => None,
        };
        match trusted {
            Some(old) if old != fingerprint && !self.replace => {
                changed(&name, &old, &fingerprint);
                return Err(Failure::Told(Exit::NotLetIn));
            }
            Some(old) if old == fingerprint => {}
            _ => self.confirm(&name, &fingerprint, path)?,
        }
        let hash = match (&options.hash, &options.hash_file) {
            (Some(hash), _) => Some(hash.clone()),
            (None, Some(file)) => {
                Some(crate::cli::secrets::first_line(file).map_err(Failure::Usage)?.to_string())
            }
            (None, None) => None,
        };
        let has_hash =
            hash.is_some() || known.is_some_and(|entry| entry.hash(servers) != (None, None));
        let addition = Addition {
            name: &name,
            address: address.filter(|_| known.is_none() || options.server.is_some()),
            key: key.to_pem(),
            hash,
            version: options.protocol_version.clone(),
            user: options.user.clone(),
            password_file: absolute(options.password_file.as_deref())?,
            jail: options.jail.clone(),
            token_file: absolute(options.token_file.as_deref())?,
        };
        keep(&servers.file, &addition)?;
        eprintln!("{name} is in {} with key {fingerprint}", servers.file.display());
        if !has_hash {
            eprintln!("its hash is not: give --hash-file, or set TF_HASH");
        }
        eprintln!("try: tf ls {name}:");
        Ok(())
    }

    /// The name of the entry and, unless it is there already, the address.
    fn name_and_address(&self, server: Option<&str>) -> Result<(String, Option<String>)> {
        let given = self.name.strip_prefix("tf://").unwrap_or(&self.name).trim_end_matches('/');
        let (name, address) = match server {
            Some(server) => (given, with_port(server)),
            None => (given.rsplit_once(':').map_or(given, |(host, _)| host), with_port(given)),
        };
        if !is_entry_name(name) {
            let text = format!("\"{name}\" is no name for an entry: write NAME --server HOST:PORT");
            return Err(Failure::Usage(text));
        }
        Ok((name.to_owned(), Some(address)))
    }

    /// Has a person say that the key is the right one.
    fn confirm(&self, name: &str, fingerprint: &str, key: &Path) -> Result<()> {
        if let Some(expected) = &self.fingerprint {
            let expected = expected.trim().trim_end_matches('=');
            if expected.strip_prefix("SHA256:").unwrap_or(expected)
                == &fingerprint["SHA256:".len()..]
            {
                return Ok(());
            }
            eprintln!("tf: {} has another fingerprint:", key.display());
            eprintln!("tf:   expected SHA256:{}", expected.trim_start_matches("SHA256:"));
            eprintln!("tf:   found    {fingerprint}");
            return Err(Failure::Told(Exit::NotLetIn));
        }
        let input = std::io::stdin();
        if key == Path::new("-") || !input.is_terminal() {
            return Err(Failure::Usage(format!(
                "nobody can be asked here whether {fingerprint} is right: give --fingerprint"
            )));
        }
        eprintln!("The key of {name} has the fingerprint");
        eprintln!("  {fingerprint}");
        eprintln!("Its administrator sees the same text from tfd keygen.");
        loop {
            eprint!("Is it the same? (yes/no) ");
            let _ = std::io::stderr().flush();
            let mut answer = String::new();
            let read = input.lock().read_line(&mut answer);
            match (read, answer.trim()) {
                (Ok(1..), "yes") => return Ok(()),
                (Ok(1..), "no") | (Ok(0) | Err(_), _) => {
                    eprintln!("tf: nothing was kept");
                    return Err(Failure::Told(Exit::NotLetIn));
                }
                _ => {}
            }
        }
    }
}

fn read_key(path: &Path) -> Result<PublicKey> {
    if path != Path::new("-") {
        return Ok(PublicKey::from_file(path)?);
    }
    let mut text = String::new();
    let told = |source| ClientError::Local { path: "standard input".into(), source };
    std::io::stdin().read_to_string(&mut text).map_err(told)?;
    Ok(PublicKey::from_text(&text, "standard input".as_ref())?)
}

fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>> {
    let Some(path) = path else { return Ok(None) };
    let told = |source| ClientError::Local { path: path.to_owned(), source };
    Ok(std::path::absolute(path).map(Some).map_err(told)?)
}

fn changed(name: &str, old: &str, new: &str) {
    eprintln!("@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@");
    eprintln!("@ THIS IS NOT THE KEY THAT YOU TRUST                      @");
    eprintln!("@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@");
    eprintln!("tf: {name} is trusted with {old}");
    eprintln!("tf: the key given has      {new}");
    eprintln!("tf: ask the server's administrator, by another way than this network, whether it");
    eprintln!(
        "tf: was changed. If so, give the same command with --replace. Nothing was changed now."
    );
}
