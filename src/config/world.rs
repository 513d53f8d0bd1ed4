//! Whether the world is as a configuration says: users, directories, keys,
//! addresses. Reads only.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;
use openssl::pkey::Private;
use openssl::rsa::Rsa;

use super::{Config, Mode, Problem, Tls};
use crate::net::tls::certificate;
use crate::net::tls::login::Authority;
use crate::session::login::Steps;
use crate::trusted;
use crate::users::Identity;

/// The sizes an RSA key may have, in bits.
const KEY_BITS: std::ops::RangeInclusive<u32> = 2048..=4096;

/// Every problem that keeps this configuration from being served, other than
/// addresses in use.
#[must_use]
pub fn check_world(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut tell = |text: String| problems.push(Problem::new(&config.path, text));
    let identity = check_user(config, &mut tell);
    if geteuid().is_root() {
        check_owner(&config.path, &mut tell);
    }
    check_logs(config, &mut tell);
    if config.tf.proxy.is_some() {
        return problems;
    }
    let shared = config.server.login_steps() == Steps::NONE;
    if let Some(identity) = identity {
        check_root(&config.server.root, shared.then_some(&identity), &mut tell);
    }
    if !shared && !geteuid().is_root() {
        tell(
            "server.mode, server.jail: only root can start a server that changes identity or root \
              for its clients"
                .to_owned(),
        );
    } else if let (Mode::MultiUser, Some(users)) = (config.server.mode, &config.server.users) {
        check_accounts(config, users, &mut tell);
    }
    if let Err(text) = read_key(&config.tf.private_key) {
        tell(format!("tf.private_key: {text}"));
    }
    if let Some(tls) = &config.server.tls {
        check_tls(tls, &mut tell);
    }
    problems
}

/// Checks that the logs can be written.
fn check_logs(config: &Config, tell: &mut impl FnMut(String)) {
    for (key, path) in [
        ("log_file", &config.server.log_file),
        ("audit", &config.server.audit),
    ] {
        let Some(path) = path else { continue };
        if let Err(e) = trusted::check_log(path) {
            tell(format!(
                "server.{key}: {}: {e}: name a file in a directory of root",
                path.display()
            ));
        }
    }
}

/// Checks certificate and key, and who vouches for clients.
fn check_tls(tls: &Tls, tell: &mut impl FnMut(String)) {
    let shown = tls.certificate.display();
    let pem = certificate::read_file(&tls.certificate);
    match (&pem, certificate::read_key_file(&tls.key)) {
        (Err(e), _) => tell(format!("server.tls_certificate: {e}")),
        (_, Err(e)) => tell(format!("server.tls_key: {e}")),
        (Ok(pem), Ok(key)) => {
            if let Err(e) = certificate::check_pair(pem, &key) {
                tell(format!("server.tls_certificate: {shown}: {e}"));
            }
        }
    }
    let Some(path) = &tls.client_ca else { return };
    let authority = certificate::read_file(path).and_then(|pem| Authority::from_pem(&pem));
    if let Err(e) = authority {
        tell(format!("server.tls_client_ca: {}: {e}", path.display()));
    }
}

fn check_user(config: &Config, tell: &mut impl FnMut(String)) -> Option<Identity> {
    if !geteuid().is_root() {
        return Some(Identity::own());
    }
    let Some(name) = &config.server.user else {
        tell("server.user is missing: root starts tfd, so name the user it serves as".to_owned());
        return None;
    };
    match Identity::of(name) {
        Ok(identity) if identity.uid.is_root() && !config.server.allow_root_user => {
            tell(format!(
                "server.user: \"{name}\" is root: name an ordinary user \
                 (or set allow_root_user = true)"
            ));
            None
        }
        Ok(identity) => Some(identity),
        Err(e) => {
            tell(format!(
                "server.user: \"{name}\": {e}: make it (useradd --system {name})"
            ));
            None
        }
    }
}

/// Checks the users file, its system users, and their directories.
fn check_accounts(config: &Config, users: &Path, tell: &mut impl FnMut(String)) {
    let accounts = match crate::users::file::read(users) {
        Ok(accounts) => accounts,
        Err(problems) => {
            return problems
                .into_iter()
                .for_each(|problem| tell(format!("server.users: {problem}")));
        }
    };
    let shown = users.display();
    for account in accounts {
        let (name, system_user) = (&account.name, &account.system_user);
        match Identity::of(system_user) {
            Ok(identity) if identity.uid.is_root() && !config.server.allow_root_user => {
                tell(format!(
                    "server.users: {shown}: {name}: \"{system_user}\" is root: name an ordinary user \
                     (or set allow_root_user = true)"
                ));
            }
            Ok(_) => {}
            Err(e) => tell(format!(
                "server.users: {shown}: {name}: \"{system_user}\": {e}: make it (useradd {system_user})"
            )),
        }
        let home = config
            .server
            .root
            .join(account.home.trim_start_matches('/'));
        if !home.is_dir() {
            tell(format!(
                "server.users: {shown}: {name}: {} is no directory: make it",
                home.display()
            ));
        }
    }
}

/// Checks the root, and that `identity`, if it is the one all clients have,
/// may work in it.
fn check_root(root: &Path, identity: Option<&Identity>, tell: &mut impl FnMut(String)) {
    let shown = root.display();
    let metadata = match fs::metadata(root) {
        Ok(metadata) => metadata,
        Err(e) => return tell(format!("server.root: {shown}: {e}: make the directory")),
    };
    if !metadata.is_dir() {
        return tell(format!("server.root: {shown} is not a directory"));
    }
    if root.canonicalize().is_ok_and(|full| full == Path::new("/")) {
        return tell("server.root: / would serve the whole system: name a directory".to_owned());
    }
    if let Some(identity) = identity.filter(|identity| !may_use(&metadata, identity)) {
        let user = &identity.name;
        tell(format!(
            "server.root: {user} may not read, write and enter {shown}: \
             chown {user} {shown} && chmod u+rwx {shown}"
        ));
    }
}

/// Whether the mode bits let an identity read, write and search.
fn may_use(metadata: &Metadata, identity: &Identity) -> bool {
    let mode = metadata.mode();
    let bits = if metadata.uid() == identity.uid.as_raw() {
        mode >> 6
    } else if identity
        .groups
        .iter()
        .any(|gid| gid.as_raw() == metadata.gid())
        || metadata.gid() == identity.gid.as_raw()
    {
        mode >> 3
    } else {
        mode
    };
    identity.uid.is_root() || bits & 0o7 == 0o7
}

/// A configuration that others may change would give them root.
fn check_owner(path: &Path, tell: &mut impl FnMut(String)) {
    let metadata = match trusted::open_to_read(path).and_then(|file| file.metadata()) {
        Ok(metadata) => metadata,
        Err(e) => return tell(e.to_string()),
    };
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        let shown = path.display();
        tell(format!(
            "others than root may change this file: chown root {shown} && chmod go-w {shown}"
        ));
    }
}

/// Reads the RSA private key and checks that it is one to use.
///
/// # Errors
/// What is wrong with it and what to do.
pub fn read_key(path: &Path) -> Result<Rsa<Private>, String> {
    let shown = path.display();
    let remedy = "make one with tfd keygen";
    let pem = trusted::read_secret(path, remedy)?;
    let key = Rsa::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|_| {
        format!("{shown}: no RSA private key in PEM without a passphrase: {remedy}")
    })?;
    let bits = key.size() * 8;
    if !KEY_BITS.contains(&bits) {
        return Err(format!(
            "{shown}: {bits} bits, allowed are 2048 to 4096: {remedy}"
        ));
    }
    if !key.check_key().unwrap_or(false) {
        return Err(format!("{shown}: the key is damaged: {remedy}"));
    }
    Ok(key)
}
