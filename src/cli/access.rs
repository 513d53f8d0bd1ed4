//! From what a person wrote to the way to a session: options count before the
//! server's entry, and that before the environment.

use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Failure, Result};
use super::options::{ConnectionOptions, environment};
use super::place::ServerName;
use super::secrets::{Source, descriptor, first_line};
use super::servers::{Entry, Servers};
use super::transport::transport;
use crate::client::{Access, Cancel, Secret, Target};

/// All that is known of servers.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    options: ConnectionOptions,
    /// The servers of the configuration.
    pub(crate) servers: Servers,
    /// Breaks off whatever waits for a server.
    pub(crate) cancel: Cancel,
    silent: bool,
}

/// A server that was found: its addresses, its entry, the account named.
struct Found<'a> {
    addresses: Vec<String>,
    entry: Option<&'a Entry>,
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

    /// Asks nobody for a password from now on.
    pub(super) fn be_silent(&mut self) {
        self.silent = true;
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
        let Found {
            addresses,
            entry,
            user,
        } = self.find(server)?;
        let mut addresses = addresses.into_iter();
        let address = addresses.next().unwrap_or_default();
        let hash = self.hash(entry, &address)?;
        let key = self.options.key.as_deref();
        let transport = transport(&self.options.tls, key, entry, &self.servers, &address)?;
        let mut target = Target::over(&address, transport, &hash);
        let version = self.options.protocol_version.clone();
        let version = version
            .or_else(|| entry?.version.clone())
            .or_else(|| environment("TF_VERSION"));
        if let Some(version) = version {
            target.version = version;
        }
        target.cancel = self.cancel.clone();
        target.timeout = Duration::from_secs(self.options.timeout.max(1));
        let mut access = Access::new(target);
        access.login = self.login(entry, user, &address)?;
        access.jail = self.jail(entry)?;
        access.lock = self
            .options
            .honour_lock
            .clone()
            .or_else(|| entry?.lock.clone());
        access.others = addresses.collect();
        access.balance = entry.is_some_and(|entry| entry.balance);
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
        let given = self
            .options
            .server
            .clone()
            .or_else(|| environment("TF_SERVER"));
        if let Some(text) = given {
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

    fn hash(&self, entry: Option<&Entry>, address: &str) -> Result<String> {
        let (text, file) = entry
            .map(|entry| entry.hash(&self.servers))
            .unwrap_or_default();
        let read = |path: PathBuf| match first_line(&path) {
            Ok(line) => Ok(line.to_string()),
            Err(text) => Err(Failure::Usage(text)),
        };
        match (&self.options.hash, self.options.hash_file.clone(), text, file) {
            (Some(hash), ..) => Ok(hash.clone()),
            (None, Some(path), ..) => read(path),
            (None, None, Some(hash), _) => Ok(hash),
            (None, None, None, Some(path)) => read(path),
            (None, None, None, None) => environment("TF_HASH").ok_or_else(|| {
                Failure::Usage(format!(
                    "no hash for {address}: give --hash-file, set TF_HASH, or write hash into its entry"
                ))
            }),
        }
    }

    fn login(
        &self,
        entry: Option<&Entry>,
        user: Option<String>,
        address: &str,
    ) -> Result<Option<Secret>> {
        let own = entry.and_then(|entry| entry.user.clone());
        let user = user.or_else(|| self.options.user.clone()).or(own.clone());
        let Some(user) = user.or_else(|| environment("TF_USER")) else {
            return Ok(None);
        };
        let given = self.options.password_file.clone();
        let given = given.or_else(|| self.options.password_fd.map(descriptor));
        // The password of the entry is that of its account.
        let kept = entry.filter(|_| own.as_ref() == Some(&user));
        let file = given.or_else(|| kept?.password_file(&self.servers));
        let password = self.secret(file, entry, &format!("Password for {user} at {address}: "))?;
        Ok(Some((user, password)))
    }

    fn jail(&self, entry: Option<&Entry>) -> Result<Option<Secret>> {
        let own = entry.and_then(|entry| entry.jail.clone());
        let jail = self.options.jail.clone().or(own.clone());
        let Some(jail) = jail.or_else(|| environment("TF_JAIL")) else {
            return Ok(None);
        };
        let given = self.options.token_file.clone();
        let given = given.or_else(|| self.options.token_fd.map(descriptor));
        let kept = entry.filter(|_| own.as_ref() == Some(&jail));
        let file = given.or_else(|| kept?.token_file(&self.servers));
        let token = self.secret(file, entry, &format!("Token for {jail}: "))?;
        Ok(Some((jail, token)))
    }

    fn secret(
        &self,
        file: Option<PathBuf>,
        entry: Option<&Entry>,
        prompt: &str,
    ) -> Result<zeroize::Zeroizing<String>> {
        let askpass = entry.and_then(|entry| entry.askpass(&self.servers));
        Source {
            file,
            askpass,
            silent: self.silent,
        }
        .get(prompt)
        .map_err(Failure::Usage)
    }
}
