//! `tf trust`: saves the key of a server once a person has compared its
//! fingerprint.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use super::prelude::*;
use crate::cli::place::{is_entry_name, with_port};
use crate::cli::secrets::first_line;
use crate::cli::servers::keep;
use crate::cli::settings::{Addresses, ConnectionOptions, Settings};
use crate::client::{ClientError, PublicKey, fetch_certificate};

/// Save a server and its key in the configuration
#[derive(Args)]
#[command(after_help = "Examples:\n  tf trust files.example.org:10346\n  \
                  tf trust files --server files.example.org:10345 --key public.pem --user ann\n  \
                  ssh admin@files.example.org cat /etc/tfd/public.pem | tf trust files.example.org \\\n    \
                  --key - --hash-file hash --fingerprint SHA256:…\n\n\
                  Over TLS the key is that of the server's certificate. Without TLS the key comes from\n\
                  the server's administrator, --key: the protocol does not send it. The fingerprint is\n\
                  the one that tfd keygen printed. --server, --hash-file, --user, --jail,\n\
                  --password-file, --token-file, --protocol-version, --tls-ca, --cert and --cert-key\n\
                  are saved in the entry, too.")]
pub(crate) struct Trust {
    /// The fingerprint the key must have; tf does not ask then
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,
    /// Replace the trusted key
    #[arg(long)]
    replace: bool,
    /// A name for the server, or its HOST[:PORT]
    #[arg(value_name = "NAME|HOST")]
    name: String,
}

/// What identifies the server. Without a fingerprint an authority does.
#[derive(Default)]
struct Identity {
    /// The key that the options name.
    key: Option<PublicKey>,
    /// The fingerprint of that key or of the certificate's.
    fingerprint: Option<String>,
    /// What the certificate says.
    about: Option<String>,
}

impl Trust {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let options = context.directory.options().clone();
        let servers = &context.directory.servers;
        let (name, address) = self.name_and_address(options.server.as_deref())?;
        let known = servers.entries.get(&name);
        let is_named = options.server.is_none() && self.name == name;
        let kept = known
            .filter(|_| is_named)
            .and_then(|entry| entry.addresses().next());
        let (address, is_new) = kept.map_or((address, true), |address| (address, false));
        let identity = Identity::of(&options, &address)?;
        if let Some(fingerprint) = &identity.fingerprint {
            let trusted = known.map_or(Ok(None), |known| identity.trusted(known))?;
            self.compare(&name, fingerprint, trusted.as_deref(), &identity, &options)?;
        }
        let given = options.settings;
        let tls_pin = identity
            .fingerprint
            .clone()
            .filter(|_| identity.key.is_none());
        let hash = match (&given.hash, &given.hash_file) {
            (None, Some(file)) => Some(first_line(file).map_err(Failure::Usage)?.to_string()),
            (hash, _) => hash.clone(),
        };
        let known_hash = known.is_some_and(|it| it.hash.is_some() || it.hash_file.is_some());
        let has_hash = hash.is_some() || known_hash;
        let mut entry = Settings {
            address: if is_new {
                Addresses::One(address)
            } else {
                Addresses::default()
            },
            key: identity.key.map(|key| key.to_pem().into()),
            tls: false,
            tls_pin,
            hash,
            hash_file: None,
            lock: None,
            ..given
        };
        entry.resolve(&std::env::current_dir().map_err(Failure::local("."))?);
        keep(&servers.file, &name, &entry)?;
        let with = identity
            .fingerprint
            .map(|print| format!(" with key {print}"));
        let with = with.unwrap_or_default();
        complain!("saved {name} in {}{with}", servers.file.display());
        if !has_hash {
            complain!("its hash is missing: give --hash-file, or set TF_HASH");
        }
        complain!("try: tf ls {name}:");
        Ok(())
    }

    /// The name of the entry, and the address.
    fn name_and_address(&self, server: Option<&str>) -> Result<(String, String)> {
        let given = self
            .name
            .strip_prefix("tf://")
            .unwrap_or(&self.name)
            .trim_end_matches('/');
        let (name, address) = match server {
            Some(server) => (given, with_port(server)),
            None => (
                given.rsplit_once(':').map_or(given, |(host, _)| host),
                with_port(given),
            ),
        };
        if !is_entry_name(name) {
            let text = format!(
                "\"{name}\" is not a valid name for an entry: write NAME --server HOST:PORT"
            );
            return Err(Failure::Usage(text));
        }
        Ok((name.to_owned(), address))
    }

    /// Makes sure that the key is the right one.
    fn compare(
        &self,
        name: &str,
        fingerprint: &str,
        trusted: Option<&str>,
        identity: &Identity,
        options: &ConnectionOptions,
    ) -> Result<()> {
        if let Some(old) = trusted.filter(|old| *old != fingerprint && !self.replace) {
            changed(name, old, fingerprint);
            return Err(Failure::Reported(Exit::NotLetIn));
        }
        let given = &options.settings;
        if let Some(expected) = self.fingerprint.as_ref().or(given.tls_pin.as_ref()) {
            let expected = normal(expected);
            if expected == fingerprint {
                return Ok(());
            }
            complain!("tf: the key has another fingerprint:");
            complain!("tf:   expected {expected}");
            complain!("tf:   found    {fingerprint}");
            return Err(Failure::Reported(Exit::NotLetIn));
        }
        if trusted == Some(fingerprint) {
            return Ok(());
        }
        let has_input = given.key.as_deref() == Some(Path::new("-"));
        if has_input || !std::io::stdin().is_terminal() {
            return Err(Failure::Usage(format!(
                "can't ask here whether {fingerprint} is right: give --fingerprint"
            )));
        }
        complain!("The key of {name} has the fingerprint");
        complain!("  {fingerprint}");
        if let Some(about) = &identity.about {
            complain!("{about}");
        }
        complain!("tfd keygen has printed the same text for the server's administrator.");
        ask()
    }
}

impl Identity {
    /// What the options name, or the certificate that the server shows.
    fn of(options: &ConnectionOptions, address: &str) -> Result<Identity> {
        if let Some(path) = &options.settings.key {
            let key = read_key(path)?;
            return Ok(Identity {
                fingerprint: Some(format!("SHA256:{}", key.fingerprint())),
                key: Some(key),
                about: None,
            });
        }
        if options.settings.tls_ca.is_some() {
            return Ok(Identity::default());
        }
        let timeout = Duration::from_secs(options.timeout.max(1));
        match fetch_certificate(address, timeout) {
            Ok(shown) => Ok(Identity {
                key: None,
                fingerprint: Some(format!("SHA256:{}", shown.fingerprint)),
                about: Some(format!(
                    "Its certificate is for {}, until {}.",
                    shown.subject, shown.expires
                )),
            }),
            Err(
                e @ (ClientError::Handshake(_) | ClientError::Tls { .. } | ClientError::Lost(_)),
            ) => {
                complain!("tf: {address} shows no certificate: {e}");
                complain!("tf: give its TLS port, or its public key: --key public.pem");
                Err(Failure::Reported(Exit::of(&e)))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The fingerprint that is trusted in its place so far.
    fn trusted(&self, known: &Settings) -> Result<Option<String>> {
        Ok(match self.key {
            Some(_) => known.public_key()?.map(|key| normal(&key.fingerprint())),
            None => known.tls_pin.as_deref().map(normal),
        })
    }
}

/// A fingerprint as it is shown.
fn normal(fingerprint: &str) -> String {
    let text = fingerprint.trim().trim_end_matches('=');
    format!("SHA256:{}", text.strip_prefix("SHA256:").unwrap_or(text))
}

/// Asks a person to say yes.
fn ask() -> Result<()> {
    let input = std::io::stdin();
    loop {
        eprint!("Is it the same? (yes/no) ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = input.lock().read_line(&mut answer);
        match (read, answer.trim()) {
            (Ok(1..), "yes") => return Ok(()),
            (Ok(1..), "no") | (Ok(0) | Err(_), _) => {
                complain!("tf: nothing was saved");
                return Err(Failure::Reported(Exit::NotLetIn));
            }
            _ => {}
        }
    }
}

fn read_key(path: &Path) -> Result<PublicKey> {
    if path != Path::new("-") {
        return Ok(PublicKey::from_file(path)?);
    }
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(Failure::local("standard input"))?;
    Ok(PublicKey::from_text(&text, "standard input".as_ref())?)
}

fn changed(name: &str, old: &str, new: &str) {
    complain!("@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@");
    complain!("@ THIS IS NOT THE KEY THAT YOU TRUST                      @");
    complain!("@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@");
    complain!("tf: {name} is trusted with {old}");
    complain!("tf: this key has           {new}");
    complain!("tf: ask the server's administrator, not over this network, whether it was changed.");
    complain!("tf: If so, repeat the command with --replace. Nothing was saved.");
}
