//! Whether the world is as a configuration says: users, directories, keys,
//! addresses. Reads only.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::config::{Config, LogFormat, Mode, Problem, Tls};
use crate::daemon::helpers::logger::connect_journal;
use crate::daemon::helpers::pam::load as load_pam;
use crate::daemon::protocols::Protocols;
use crate::fleet;
use crate::net::tls::certificate;
use crate::net::tls::login::Authority;
use crate::session::login::Steps;
use crate::trusted;
use crate::users::Identity;
use crate::users::identity::HELPER;

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
    let helpers = check_helper_user(config, identity.as_ref());
    let helpers = helpers.map_err(|why| problems.push(why)).ok();
    if geteuid().is_root() {
        problems.extend(check_owner(&config.path).err());
    }
    if server.log_format == LogFormat::Journal {
        problems.extend(connect_journal().err());
    }
    for (key, path) in [("log_file", &server.log_file), ("audit", &server.audit)] {
        let log = path.as_ref().map(|path| (path, trusted::check_log(path)));
        if let Some((path, Err(e))) = log {
            let remedy = "name a file in a directory of root";
            problems.push(format!("server.{key}: {}: {e}: {remedy}", path.display()));
        }
    }
    if config.proxy().is_some() {
        return;
    }
    problems.extend(check_on_upload(config, identity.as_ref()));
    let shared = server.shared_state.as_ref();
    problems.extend(shared.and_then(|shared| fleet::process::check(shared).err()));
    if server.pam.is_some() {
        problems.extend(load_pam().err());
    }
    let shared = Steps::of(config) == Steps::NONE;
    // Protocols with accounts of their own alone need none.
    let has_root = !server.root.as_os_str().is_empty();
    if let Some(identity) = identity.filter(|_| has_root) {
        let root = check_root(&server.root, shared.then_some(&identity));
        problems.extend(root.err());
    }
    if !shared && !geteuid().is_root() && !config.serves_as_one() {
        let text = "server.mode, server.jail: only root can start a server that changes \
                    identity or root for its clients";
        problems.push(text.to_owned());
    } else if let (Mode::MultiUser, Some(users)) = (server.mode, &server.users) {
        check_accounts(config, users, helpers.as_ref(), problems);
    }
    let protocols = Protocols::of(config);
    let secrets = protocols.iter().map(|protocol| protocol.secrets(config));
    problems.extend(secrets.filter_map(Result::err));
    if let Some(tls) = &server.tls {
        check_tls(tls, problems);
    }
}

/// Checks that the program for uploads can be run.
fn check_on_upload(config: &Config, identity: Option<&Identity>) -> Option<String> {
    let program = config.server.on_upload.as_ref()?.program.first()?;
    let path = Path::new(program);
    let why = match fs::metadata(path) {
        _ if !path.is_absolute() => "name it by its absolute path".to_owned(),
        Err(e) => format!("{e}: name a program that exists"),
        Ok(metadata) if !metadata.is_file() => "not a program".to_owned(),
        Ok(metadata) => {
            let who = identity.filter(|identity| !may(&metadata, identity, 0o1))?;
            format!("{} may not run it: chmod a+x {program}", who.name)
        }
    };
    Some(format!("server.on_upload: {program}: {why}"))
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
        if config.has_own_accounts_alone() {
            // Only gates have it, which reach no file.
            let helpers = Identity::of_helpers(config.server.helper_user.as_deref()).ok();
            let unused = Identity::unused(helpers.as_ref());
            return unused.map_err(|e| format!("server.user: {e}"));
        }
        let text = "server.user is missing: root starts tfd, so name the user it serves as";
        return Err(text.to_owned());
    };
    system_user(config, name, "useradd --system").map_err(|why| format!("server.user: {why}"))
}

/// The identity of helper processes, which no client has.
fn check_helper_user(config: &Config, clients: Option<&Identity>) -> Result<Identity, String> {
    if !geteuid().is_root() {
        return Ok(Identity::own());
    }
    let name = config.server.helper_user.as_deref();
    let helpers = Identity::of_helpers(name).map_err(|e| {
        let name = name.unwrap_or(HELPER);
        format!("server.helper_user: \"{name}\": {e}: make it (useradd --system {name})")
    })?;
    let is_client = clients.is_some_and(|clients| clients.uid == helpers.uid);
    if is_client || helpers.uid.is_root() {
        let text = "name a system user that is neither root nor one of clients";
        return Err(format!("server.helper_user: \"{}\": {text}", helpers.name));
    }
    Ok(helpers)
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
fn check_accounts(
    config: &Config,
    users: &Path,
    helpers: Option<&Identity>,
    problems: &mut Vec<String>,
) {
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
        match system_user(config, &account.system_user, "useradd") {
            Err(why) => problems.push(format!("server.users: {shown}: {name}: {why}")),
            Ok(user) if helpers.is_some_and(|helpers| helpers.uid == user.uid) => {
                let why = format!("\"{}\" is the user of helper processes", user.name);
                problems.push(format!(
                    "server.users: {shown}: {name}: {why}: name another"
                ));
            }
            Ok(_) => {}
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

/// Directories of the system that nobody should serve: these and all below them,
/// and these alone.
const SYSTEM_TREES: &[&str] = &[
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/sys",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
];
const SYSTEM_DIRECTORIES: &[&str] = &[
    "/",
    "/root",
    "/run",
    "/usr",
    "/usr/local",
    "/usr/share",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/spool",
];

/// Whether a directory, by its real path, belongs to the system. A file system in
/// memory at /dev/shm does not.
fn is_of_system(directory: &Path) -> bool {
    let in_memory = directory
        .parent()
        .is_some_and(|above| above.starts_with("/dev/shm"));
    let mut trees = SYSTEM_TREES.iter().filter(|_| !in_memory);
    trees.any(|tree| directory.starts_with(tree))
        || SYSTEM_DIRECTORIES.contains(&directory.to_str().unwrap_or_default())
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
    if root.canonicalize().is_ok_and(|full| is_of_system(&full)) {
        return Err(format!(
            "server.root: {shown} belongs to the system: name a directory of its own, such as \
             /srv/tfd"
        ));
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
    may(metadata, identity, 0o7) || identity.uid.is_root()
}

/// Whether the mode bits give an identity these rights.
fn may(metadata: &Metadata, identity: &Identity, rights: u32) -> bool {
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
    bits & rights == rights
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
