//! `tf trust`: saves the key of a server once a person has compared its
//! fingerprint.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::prelude::*;
use crate::cli::place::{is_entry_name, with_port};
use crate::cli::secrets::first_line;
use crate::cli::servers::keep;
use crate::cli::settings::{Addresses, ConnectionOptions, Settings};
use crate::client::{ClientError, PublicKey, Transport, check_certificate, fetch_certificate_via};
use crate::handover::{self, Handover};

/// Save a server and its key in the configuration
#[derive(Args)]
#[command(
    after_help = "Examples:\n  ssh files.example.org sudo tfd show-client | tf trust files --from -\n  \
                  tf trust files.example.org:10346\n  \
                  tf trust files --server files.example.org:10345 --key public.pem --user ann\n\n\
                  With --from, address, hash and key come from the server's administrator in one file.\n\
                  Otherwise, over TLS the key is that of the server's certificate. Without TLS it comes\n\
                  from the administrator, --key: the protocol does not send it. The fingerprint is the one\n\
                  that tfd setup printed. --server, --hash-file, --user, --jail, --password-file,\n\
                  --token-file, --protocol-version, --tls-ca, --cert and --cert-key are saved in the\n\
                  entry, too. Before it saves the entry, tf connects with it."
)]
pub(crate) struct Trust {
    /// Take address, hash and key from a file that tfd show-client wrote; - for
    /// standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The fingerprint the key must have; tf does not ask then
    #[arg(long, value_name = "SHA256:…")]
    fingerprint: Option<String>,
    /// Replace the trusted key
    #[arg(long)]
    replace: bool,
    /// Save the entry without connecting
    #[arg(long)]
    offline: bool,
    /// A name for the server, or its HOST[:PORT] [default with --from: the
    /// name in the file]
    #[arg(value_name = "NAME|HOST", required_unless_present = "from")]
    name: Option<String>,
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
    pub(super) fn run(mut self, context: &mut Context) -> Result<()> {
        let mut options = context.directory.options().clone();
        if let Some(file) = self.from.take() {
            self.accept(handed_over(&file)?, &mut options)?;
        }
        let servers = &context.directory.servers;
        let (name, address) = self.name_and_address(options.server.as_deref())?;
        let known = servers.entries.get(&name);
        let is_named = options.server.is_none() && self.name.as_ref() == Some(&name);
        let kept = known
            .filter(|_| is_named)
            .and_then(|entry| entry.addresses().next());
        let is_new = kept.is_none();
        let address = kept.unwrap_or(address);
        let identity = self.identity(&options, &address)?;
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
        let mut entry = Settings {
            address: if is_new {
                Addresses::One(address.clone())
            } else {
                Addresses::default()
            },
            key: identity.key.map(|key| key.to_pem().into()),
            tls_pin,
            hash,
            hash_file: None,
            lock: None,
            ..given
        };
        entry.resolve(&std::env::current_dir().map_err(Failure::local("."))?);
        let with = identity
            .fingerprint
            .map(|print| format!(" with key {print}"));
        let with = with.unwrap_or_default();
        let tried = self.try_entry(context, &name, &address, &mut entry)?;
        let file = &context.directory.servers.file;
        keep(file, &name, &entry)?;
        complain!("saved {name} in {}{with}", file.display());
        tried.report(&name);
        Ok(())
    }

    /// Takes what the options leave open from a file of the server's
    /// administrator.
    fn accept(&mut self, from: Handover, options: &mut ConnectionOptions) -> Result<()> {
        let own = &mut options.settings;
        if own.key.is_some() || own.is_over_tls() || own.hash.is_some() || own.hash_file.is_some() {
            let text = "--from has hash and key: leave --key, --tls, --tls-pin, --tls-ca, --hash and --hash-file out";
            return Err(Failure::usage(text));
        }
        let tf = from.tf.unwrap_or_default();
        let bbftp = from.bbftp.unwrap_or_default();
        let wanted = options.server.as_deref().map(with_port);
        let of_bbftp = bbftp.tls_address.filter(|_| tf.hash.is_empty());
        let over_tls = tf.tls_address.or(of_bbftp);
        let is_wanted = |address: &String| wanted.as_ref().is_none_or(|wanted| wanted == address);
        let plain = tf.address.filter(|_| !tf.key.is_empty());
        let (address, over_tls) = match (over_tls.filter(is_wanted), plain.filter(is_wanted)) {
            (Some(address), _) => (address, true),
            (None, Some(address)) => (address, false),
            (None, None) => {
                return Err(Failure::usage(match wanted {
                    Some(wanted) => format!("--from does not have the address {wanted}"),
                    None => "--from has no server that needs an entry".to_owned(),
                }));
            }
        };
        match (over_tls, from.tls_pin) {
            (true, Some(pin)) => own.tls_pin = Some(pin),
            (true, None) => own.tls = true,
            (false, _) => own.key = Some(tf.key.into()),
        }
        // The person who handed the file over has vouched for the key in it.
        self.fingerprint = self.fingerprint.take().or(match over_tls {
            true => own.tls_pin.clone(),
            false => Some(tf.fingerprint),
        });
        own.hash = Some(tf.hash).filter(|hash| !hash.is_empty());
        own.version = own
            .version
            .take()
            .or(Some(tf.version))
            .filter(|it| !it.is_empty());
        own.user = own.user.take().or(from.user);
        self.name.get_or_insert(from.name);
        options.server = Some(address);
        Ok(())
    }

    /// The name of the entry, and the address.
    fn name_and_address(&self, server: Option<&str>) -> Result<(String, String)> {
        let given = self.name.as_deref().unwrap_or_default();
        let given = given
            .strip_prefix("tf://")
            .unwrap_or(given)
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

    /// Connects as the entry will, so that nothing is saved that does not work.
    /// A missing hash is asked for on a terminal.
    fn try_entry(
        &self,
        context: &Context,
        name: &str,
        address: &str,
        entry: &mut Settings,
    ) -> Result<Tried> {
        let directory = &context.directory;
        let mut whole = directory.completed(name, entry);
        if !whole.has_hash() && !self.offline {
            entry.hash = ask_for_hash(name);
            whole.hash.clone_from(&entry.hash);
        }
        let mut tried = Tried {
            hash: whole.has_hash(),
            untried: None,
        };
        if self.offline {
            return Ok(tried);
        }
        // A certificate needs no password, but LOGIN.
        if whole.user.is_some() && !whole.has_password() {
            tried.untried = whole.user.take();
        }
        if tried.untried.is_some() || !whole.has_token() {
            whole.jail = None;
        }
        let done = match tried.hash {
            true => directory
                .access_by(whole, vec![address.to_owned()])
                .and_then(|access| Ok(access.open()?.end()?)),
            false if whole.is_over_tls() => {
                let timeout = Duration::from_secs(directory.options().timeout);
                whole
                    .transport(address)
                    .and_then(|transport| match transport {
                        Transport::Tls(tls, _) => Ok(check_certificate(
                            address,
                            &tls,
                            whole.via.as_ref(),
                            timeout,
                        )?),
                        Transport::Tcp(_) => Ok(()),
                    })
            }
            false => Ok(()),
        };
        done.map(|()| tried).map_err(|failure| {
            let status = failure.report();
            complain!("tf: nothing was saved");
            Failure::Ended(status)
        })
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
        complain!("tfd setup printed the same text for the server's administrator.");
        ask()
    }
}

impl Trust {
    /// What the options name, or the certificate that the server shows.
    fn identity(&self, options: &ConnectionOptions, address: &str) -> Result<Identity> {
        let settings = &options.settings;
        let key = match settings.key.as_deref() {
            Some(path) if path == Path::new("-") => Some(key_from_input()?),
            _ => settings.public_key()?,
        };
        if let Some(key) = key {
            return Ok(Identity {
                fingerprint: Some(format!("SHA256:{}", key.fingerprint())),
                key: Some(key),
                about: None,
            });
        }
        if settings.tls_ca.is_some() || settings.tls {
            return Ok(Identity::default());
        }
        if self.offline {
            let Some(pin) = &settings.tls_pin else {
                let text =
                    "--offline shows no certificate: give --tls-pin, --key, --tls-ca or --from";
                return Err(Failure::usage(text));
            };
            return Ok(Identity {
                fingerprint: Some(normal(pin)),
                ..Identity::default()
            });
        }
        let timeout = Duration::from_secs(options.timeout.max(1));
        match fetch_certificate_via(address, settings.via.as_ref(), timeout) {
            Ok(shown) => Ok(Identity {
                key: None,
                fingerprint: Some(format!("SHA256:{}", shown.fingerprint)),
                about: Some(format!(
                    "Its certificate is for {}, until {}.",
                    shown.subject, shown.expires
                )),
            }),
            Err(
                e @ (ClientError::Handshake(_)
                | ClientError::Tls { .. }
                | ClientError::TlsClosed { .. }
                | ClientError::Lost(_)),
            ) => {
                complain!("tf: {address} shows no certificate: {e}");
                complain!("tf: give its TLS port, or its public key: --key public.pem");
                Err(Failure::Reported(Exit::of(&e)))
            }
            Err(e) => Err(e.into()),
        }
    }
}

impl Identity {
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

/// How far an entry was tried before it was saved.
struct Tried {
    /// Whether its hash is known.
    hash: bool,
    /// The account whose password was not at hand.
    untried: Option<String>,
}

impl Tried {
    /// Says what is missing, and what comes next.
    fn report(&self, name: &str) {
        if !self.hash {
            complain!("its hash is missing: give --hash-file, or set TF_HASH");
        }
        if let Some(user) = &self.untried {
            complain!("the password of {user} was not tried: no file or command gives it");
        }
        complain!("try: tf ls {name}:");
    }
}

/// The hash that a person enters; none without a terminal.
fn ask_for_hash(name: &str) -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let prompt = format!("Hash of {name}, from tfd show-client (empty for none): ");
    let hash = rpassword::prompt_password(prompt).ok()?;
    Some(hash.trim().to_owned()).filter(|hash| !hash.is_empty())
}

/// What tfd show-client wrote to a file.
fn handed_over(file: &Path) -> Result<Handover> {
    let name = match file == Path::new("-") {
        true => Path::new("standard input"),
        false => file,
    };
    let read = match file == Path::new("-") {
        true => read_text(std::io::stdin()),
        false => std::fs::File::open(file).and_then(read_text),
    };
    let text = read.map_err(Failure::local(name))?;
    Handover::from_text(&text).map_err(|e| Failure::Usage(format!("{}: {e}", name.display())))
}

fn read_text(from: impl Read) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    from.take(handover::MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn key_from_input() -> Result<PublicKey> {
    let text = read_text(std::io::stdin()).map_err(Failure::local("standard input"))?;
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
