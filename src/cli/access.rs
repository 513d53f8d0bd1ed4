//! From what a person wrote to the way to a session: options come before the
//! server's entry, and that comes before the environment.

use std::time::Duration;

use super::failure::{Failure, Result};
use super::place::ServerName;
use super::secrets::{Source, first_line};
use super::servers::Servers;
use super::settings::ConnectionOptions;
use super::settings::{Settings, environment};
use crate::client::{Access, Cancel, Secret, Target};

/// All that is known of servers.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    options: ConnectionOptions,
    /// The servers of the configuration.
    pub(crate) servers: Servers,
    /// Breaks off whatever waits for a server.
    pub(crate) cancel: Cancel,
    /// Whether nobody may be asked for a password.
    pub(super) silent: bool,
}

/// A server that was found: its addresses, its entry, the account named.
struct Found<'a> {
    addresses: Vec<String>,
    entry: Option<&'a Settings>,
    user: Option<String>,
}

impl Directory {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `Usage`, with what is wrong in it.
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

    /// The way to a session with a server; asks for passwords where nothing
    /// else has them.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub(crate) fn access(&self, server: &ServerName) -> Result<Access> {
        let found = self.find(server)?;
        let mut settings = self.options.settings.clone();
        settings.user = found.user.or(settings.user);
        if let Some(entry) = found.entry {
            settings.fill(entry.clone());
        }
        settings.fill_from_environment(found.entry);
        let mut addresses = found.addresses.into_iter();
        let address = addresses.next().unwrap_or_default();
        let hash = hash(&settings, &address)?;
        let mut target = Target::over(&address, settings.transport(&address)?, &hash);
        if let Some(version) = &settings.version {
            target.version = version.clone();
        }
        target.cancel = self.cancel.clone();
        target.timeout = Duration::from_secs(self.options.timeout.max(1));
        let mut access = Access::new(target);
        access.login = self.login(&settings, &address)?;
        access.jail = self.jail(&settings)?;
        access.lock = settings.lock;
        access.others = addresses.collect();
        access.balance = settings.balance;
        Ok(access)
    }

    /// The addresses of a server, for what needs no session.
    ///
    /// # Errors
    /// When none is known.
    pub(crate) fn addresses(&self, server: &ServerName) -> Result<Vec<String>> {
        self.find(server).map(|found| found.addresses)
    }

    fn find(&self, server: &ServerName) -> Result<Found<'_>> {
        match server {
            ServerName::Named(name) => {
                let entry = self.servers.entries.get(name).ok_or_else(|| {
                    Failure::Usage(format!(
                        "no server is named {name} in {}: see tf servers; \
                         a path with a colon is written ./{name}:…",
                        self.servers.file.display()
                    ))
                })?;
                Ok(Found {
                    addresses: entry.addresses().collect(),
                    entry: Some(entry),
                    user: None,
                })
            }
            ServerName::At { user, address } => Ok(Found {
                addresses: vec![address.clone()],
                entry: self.servers.at(address, user.as_deref()),
                user: user.clone(),
            }),
        }
    }

    /// The server that is meant where none is named.
    ///
    /// # Errors
    /// `Usage` when none is known.
    pub(crate) fn default_server(&self) -> Result<ServerName> {
        let given = self.options.server.clone();
        if let Some(text) = given.or_else(|| environment("TF_SERVER")) {
            let is_entry = |name: &str| self.servers.entries.contains_key(name);
            return ServerName::read(&text, is_entry).map_err(|e| Failure::Usage(e.to_string()));
        }
        self.servers
            .default
            .clone()
            .map(ServerName::Named)
            .ok_or_else(|| {
                Failure::Usage(format!(
                    "no server: write NAME:path or tf://HOST/path, give --server, set TF_SERVER, \
                     or make an entry in {} by tf trust",
                    self.servers.file.display()
                ))
            })
    }

    fn login(&self, settings: &Settings, address: &str) -> Result<Option<Secret>> {
        let Some(user) = &settings.user else {
            return Ok(None);
        };
        let prompt = format!("Password for {user} at {address}: ");
        let password = self.source(settings.password(), settings).get(&prompt);
        Ok(Some((user.clone(), password.map_err(Failure::Usage)?)))
    }

    fn jail(&self, settings: &Settings) -> Result<Option<Secret>> {
        let Some(jail) = &settings.jail else {
            return Ok(None);
        };
        let token = self.source(settings.token(), settings);
        let token = token.get(&format!("Token for {jail}: "));
        Ok(Some((jail.clone(), token.map_err(Failure::Usage)?)))
    }

    fn source(&self, file: Option<&std::path::PathBuf>, settings: &Settings) -> Source {
        Source {
            file: file.cloned(),
            askpass: settings.askpass.clone(),
            silent: self.silent,
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
            "no hash for {address}: give --hash-file, set TF_HASH, or write hash into its entry"
        ))),
    }
}
