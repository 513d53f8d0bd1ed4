//! Whether the world is as a configuration says: users, directories, keys,
//! addresses. Reads only.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::config::{Config, Mode, Problem, Tls};
use crate::daemon::protocols::Protocols;
use crate::net::tls::certificate;
use crate::net::tls::login::Authority;
use crate::session::login::Steps;
use crate::trusted;
use crate::users::Identity;

/// Every problem that keeps this configuration from being served, other than
/// addresses in use.
pub fn check_world(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_all(config, &mut problems);
    let problem = |text| Problem::new(&config.path, text);
    problems.into_iter().map(problem).collect()
}

fn check_all(config: &Config, problems: &mut Vec<String>) {
    let server = &config.server;
    let identity = check_user(config).map_err(|why| problems.push(why)).ok();
    if geteuid().is_root() {
        problems.extend(check_owner(&config.path).err());
    }
    for (key, path) in [("log_file", &server.log_file), ("audit", &server.audit)] {
        let log = path.as_ref().map(|path| (path, trusted::check_log(path)));
        if let Some((path, Err(e))) = log {
            let remedy = "name a file in a directory of root";
            problems.push(format!("server.{key}: {}: {e}: {remedy}", path.display()));
        }
    }
    if config.tf.proxy.is_some() {
        return;
    }
    let shared = Steps::of(config) == Steps::NONE;
    if let Some(identity) = identity {
        let root = check_root(&server.root, shared.then_some(&identity));
        problems.extend(root.err());
    }
    if !shared && !geteuid().is_root() {
        let text = "server.mode, server.jail: only root can start a server that changes \
                    identity or root for its clients";
        problems.push(text.to_owned());
    } else if let (Mode::MultiUser, Some(users)) = (server.mode, &server.users) {
        check_accounts(config, users, problems);
    }
    let protocols = Protocols::of(config);
    let secrets = protocols.iter().map(|protocol| protocol.secrets(config));
    problems.extend(secrets.filter_map(Result::err));
    if let Some(tls) = &server.tls {
        check_tls(tls, problems);
    }
}

/// Checks certificate and key, and the authorities of client certificates.
fn check_tls(tls: &Tls, problems: &mut Vec<String>) {
    let shown = tls.certificate.display();
    let pem = certificate::read_file(&tls.certificate);
    match (&pem, certificate::read_key_file(&tls.key)) {
        (Err(e), _) => problems.push(format!("server.tls_certificate: {e}")),
        (_, Err(e)) => problems.push(format!("server.tls_key: {e}")),
        (Ok(pem), Ok(key)) => {
            if let Err(e) = certificate::check_pair(pem, &key) {
                problems.push(format!("server.tls_certificate: {shown}: {e}"));
            }
        }
    }
    let Some(path) = &tls.client_ca else { return };
    let authority = certificate::read_file(path).and_then(|pem| Authority::from_pem(&pem));
    if let Err(e) = authority {
        problems.push(format!("server.tls_client_ca: {}: {e}", path.display()));
    }
}

/// The identity that all clients have, or that processes take before a login.
fn check_user(config: &Config) -> Result<Identity, String> {
    if !geteuid().is_root() {
        return Ok(Identity::own());
    }
    let Some(name) = &config.server.user else {
        let text = "server.user is missing: root starts tfd, so name the user it serves as";
        return Err(text.to_owned());
    };
    system_user(config, name, "useradd --system").map_err(|why| format!("server.user: {why}"))
}

/// The identity of a system user, root only if the configuration allows it.
fn system_user(config: &Config, name: &str, useradd: &str) -> Result<Identity, String> {
    match Identity::of(name) {
        Ok(identity) if identity.uid.is_root() && !config.server.allow_root_user => Err(format!(
            "\"{name}\" is root: name an ordinary user (or set allow_root_user = true)"
        )),
        Ok(identity) => Ok(identity),
        Err(e) => Err(format!("\"{name}\": {e}: make it ({useradd} {name})")),
    }
}

/// Checks the users file, its system users, and their directories.
fn check_accounts(config: &Config, users: &Path, problems: &mut Vec<String>) {
    let accounts = match crate::users::file::read(users) {
        Ok(accounts) => accounts,
        Err(found) => {
            let found = found.into_iter();
            return problems.extend(found.map(|problem| format!("server.users: {problem}")));
        }
    };
    let shown = users.display();
    for account in accounts {
        let name = &account.name;
        if let Err(why) = system_user(config, &account.system_user, "useradd") {
            problems.push(format!("server.users: {shown}: {name}: {why}"));
        }
        let home = account.home.trim_start_matches('/');
        let home = config.server.root.join(home);
        if !home.is_dir() {
            problems.push(format!(
                "server.users: {shown}: {name}: {} is not a directory: make it",
                home.display()
            ));
        }
    }
}

/// Checks the root, and that `identity`, if it is the one that all clients have,
/// may work in it.
fn check_root(root: &Path, identity: Option<&Identity>) -> Result<(), String> {
    let shown = root.display();
    let metadata =
        fs::metadata(root).map_err(|e| format!("server.root: {shown}: {e}: make the directory"))?;
    if !metadata.is_dir() {
        return Err(format!("server.root: {shown} is not a directory"));
    }
    if root.canonicalize().is_ok_and(|full| full == Path::new("/")) {
        return Err("server.root: / would serve the whole system: name a directory".to_owned());
    }
    match identity.filter(|identity| !may_use(&metadata, identity)) {
        Some(Identity { name, .. }) => Err(format!(
            "server.root: {name} may not read, write and enter {shown}: \
             chown {name} {shown} && chmod u+rwx {shown}"
        )),
        None => Ok(()),
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

/// Refuses a configuration that others may change: it would give them root.
fn check_owner(path: &Path) -> Result<(), String> {
    let file = trusted::open_to_read(path);
    let metadata = file.and_then(|file| file.metadata());
    let metadata = metadata.map_err(|e| e.to_string())?;
    if metadata.uid() == 0 && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let shown = path.display();
    Err(format!(
        "others than root may change this file: chown root {shown} && chmod go-w {shown}"
    ))
}
