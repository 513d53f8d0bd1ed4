//! From what a person wrote to the way to a session: options come before the
//! server's entry, and that comes before the environment.

use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, Result};
use super::place::ServerName;
use super::secrets::{Keyring, Source, first_line};
use super::servers::Servers;
use super::settings::{ConnectionOptions, Settings, environment};
use crate::client::{Access, Cancel, CodeSource, Secret, Target, Via};

/// What is known of servers.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    options: ConnectionOptions,
    /// The servers of the configuration.
    pub(crate) servers: Servers,
    /// Cancels whatever waits for a server.
    pub(crate) cancel: Cancel,
    /// Whether asking for a password is forbidden.
    pub(super) silent: bool,
}

impl Directory {
    /// Reads the configuration.
    pub(super) fn read(options: ConnectionOptions) -> Result<Directory> {
        let servers = Servers::read(options.config.as_deref()).map_err(Failure::Usage)?;
        Ok(Directory {
            options,
            servers,
            cancel: Cancel::default(),
            silent: false,
        })
    }

    /// The options that were given.
    pub(super) fn options(&self) -> &ConnectionOptions {
        &self.options
    }

    /// The way to a session with a server; asks for passwords that nothing
    /// else provides.
    pub(crate) fn access(&self, server: &ServerName) -> Result<Access> {
        let entry = self.entry(server)?;
        let mut settings = self.options.settings.clone();
        if let ServerName::At {
            user: Some(user), ..
        } = server
        {
            settings.user = Some(user.clone());
        }
        if let Some(entry) = entry {
            settings.fill(entry.clone());
        }
        settings.fill_from_environment(entry);
        self.access_by(settings, self.addresses(server)?)
    }

    /// The way to a session with a server of the configuration, for an account
    /// whose password is not taken from its entry.
    pub(crate) fn asking_access(&self, server: &ServerName, user: &str) -> Result<Access> {
        let mut settings = self.options.settings.clone();
        settings.user = Some(user.to_owned());
        let entry = self.entry(server)?;
        let mut known = entry.cloned().unwrap_or_default();
        if known.user.as_deref() == Some(user) {
            known.user = None;
        }
        settings.fill(known);
        settings.password_keyring = false;
        settings.fill_from_environment(entry);
        self.access_by(settings, self.addresses(server)?)
    }

    /// The settings of an entry that is about to be saved, with what the saved one
    /// and the environment add.
    pub(crate) fn completed(&self, name: &str, entry: &Settings) -> Settings {
        let mut settings = entry.clone();
        if let Some(known) = self.servers.entries.get(name) {
            let mut known = known.clone();
            if entry.has_address() && entry.key.is_some() {
                (known.tls, known.tls_pin, known.tls_ca) = (false, None, None);
            }
            settings.fill(known);
        }
        settings.fill_from_environment(Some(entry));
        settings
    }

    /// The way to a session with the server at these addresses, of which the
    /// first comes first.
    pub(crate) fn access_by(&self, settings: Settings, addresses: Vec<String>) -> Result<Access> {
        let mut addresses = addresses.into_iter();
        let address = addresses.next().unwrap_or_default();
        let hash = hash(&settings, &address)?;
        let mut target = Target::over(&address, settings.transport(&address)?, &hash);
        if let Some(version) = &settings.version {
            target.version = version.clone();
        }
        target.via.clone_from(&settings.via);
        target.cancel = self.cancel.clone();
        target.timeout = Duration::from_secs(self.options.timeout.max(1));
        let mut access = Access::new(target);
        access.login = self.login(&settings, &address)?;
        access.code = self.code(&settings, &address);
        access.jail = self.jail(&settings)?;
        access.lock = settings.lock;
        access.others = addresses.collect();
        access.balance = settings.balance;
        Ok(access)
    }

    /// The machine through which a server is reached, if any.
    pub(crate) fn via(&self, server: &ServerName) -> Result<Option<Via>> {
        let own = self.options.settings.via.clone();
        Ok(own.or(self.entry(server)?.and_then(|entry| entry.via.clone())))
    }

    /// The addresses of a server.
    pub(crate) fn addresses(&self, server: &ServerName) -> Result<Vec<String>> {
        if let ServerName::At { address, .. } = server {
            return Ok(vec![address.clone()]);
        }
        let entry = self.entry(server)?;
        Ok(entry.map_or(Vec::new(), |entry| entry.addresses().collect()))
    }

    /// The entry of a server; one that is named must have one.
    fn entry(&self, server: &ServerName) -> Result<Option<&Settings>> {
        let name = match server {
            ServerName::Named(name) => name,
            ServerName::At { user, address } => {
                return Ok(self.servers.at(address, user.as_deref()));
            }
        };
        let entry = self.servers.entries.get(name);
        entry.map(Some).ok_or_else(|| {
            Failure::usage(format!(
                "no server is named {name} in {}: see tf servers; \
                 a path with a colon is written ./{name}:…",
                self.servers.file.display()
            ))
        })
    }

    /// The default server.
    pub(crate) fn default_server(&self) -> Result<ServerName> {
        let given = self.options.server.clone();
        if let Some(text) = given.or_else(|| environment("TF_SERVER")) {
            let is_entry = |name: &str| self.servers.entries.contains_key(name);
            return ServerName::read(&text, is_entry).map_err(Failure::usage);
        }
        let default = self.servers.default.clone().map(ServerName::Named);
        default.ok_or_else(|| {
            Failure::usage(format!(
                "no server: write NAME:path or tf://HOST/path, give --server, set TF_SERVER, \
                 or add one to {} with tf trust",
                self.servers.file.display()
            ))
        })
    }

    fn login(&self, settings: &Settings, address: &str) -> Result<Option<Secret>> {
        let Some(user) = &settings.user else {
            return Ok(None);
        };
        let prompt = format!("Password for {user} at {address}: ");
        let source = Source {
            file: settings.password().cloned(),
            command: settings.password_command.clone(),
            keyring: settings
                .password_keyring
                .then(|| Keyring::of(address, user)),
            ..self.source(settings)
        };
        let password = source.get(&prompt).map_err(Failure::Usage)?;
        Ok(Some((user.clone(), password)))
    }

    /// Asks for a one-time code, where somebody can be asked.
    fn code(&self, settings: &Settings, address: &str) -> Option<CodeSource> {
        let user = settings.user.as_ref()?;
        let prompt = format!("One-time code for {user} at {address}: ");
        let source = self.source(settings);
        Some(CodeSource(Arc::new(move || source.get(&prompt).ok())))
    }

    fn jail(&self, settings: &Settings) -> Result<Option<Secret>> {
        let Some(jail) = &settings.jail else {
            return Ok(None);
        };
        let source = Source {
            file: settings.token().cloned(),
            command: settings.token_command.clone(),
            ..self.source(settings)
        };
        let token = source.get(&format!("Token for {jail}: "));
        Ok(Some((jail.clone(), token.map_err(Failure::Usage)?)))
    }

    /// Who is asked for a secret that nothing else provides.
    fn source(&self, settings: &Settings) -> Source {
        Source {
            askpass: settings.askpass.clone(),
            silent: self.silent,
            ..Source::default()
        }
    }
}

fn hash(settings: &Settings, address: &str) -> Result<String> {
    match (&settings.hash, &settings.hash_file) {
        (Some(hash), _) => Ok(hash.clone()),
        (None, Some(file)) => first_line(file)
            .map(|line| line.to_string())
            .map_err(Failure::Usage),
        (None, None) => Err(Failure::Usage(format!(
            "no hash for {address}: give --hash-file, set TF_HASH, or add hash to its entry"
        ))),
    }
}
