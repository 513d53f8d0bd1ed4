//! `tfd check`: prints every problem, or what would be served.

mod stores;

use std::fs;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use nix::unistd::geteuid;

use crate::admin::status::{fail, say, serving};
use crate::admin::unit;
use crate::config::{
    self, Config, Holder, LISTEN_KEY, Local, Mode, PasswordLogins, Problem, Protocol, VaultDialect,
};
use crate::daemon::helpers::pam;
use crate::daemon::world::check_world;
use crate::net::listen::{Listener, not_listening};
use crate::net::tls::certificate;
use crate::tf::pool::file as pool;
use crate::tf::pool::file::{MAX_FILE, Pool};
use crate::trusted;
use crate::users::Identity;
use crate::users::identity::HELPER;

/// Prints every problem of a configuration to standard error, or a summary
/// to standard output. The exit code is 0 without problems, else 1.
pub fn report(path: &Path) -> ExitCode {
    let problems = match Config::load(path) {
        Err(problems) => problems,
        Ok(config) => {
            let mut problems = check_world(&config);
            problems.extend(check_listen(&config));
            problems.extend(stores::problems(&config));
            if problems.is_empty() {
                return report_pool(&config);
            }
            problems.extend(check_pool(&config));
            problems
        }
    };
    print(&problems, "tfd would not start")
}

/// The end of a check that found no other problem.
fn report_pool(config: &Config) -> ExitCode {
    let problems = check_pool(config);
    for warning in warnings(config) {
        eprintln!("tfd: warning: {warning}");
    }
    if problems.is_empty() {
        return say(&format!("{}\n", summary(config)));
    }
    print(
        &problems,
        "tfd would start without these servers of the pool",
    )
}

fn print(problems: &[Problem], outcome: &str) -> ExitCode {
    for problem in problems {
        eprintln!("tfd: {problem}");
    }
    let s = if problems.len() == 1 { "" } else { "s" };
    fail(format!("{} problem{s}, {outcome}", problems.len()))
}

fn summary(config: &Config) -> String {
    let mut listen = Vec::new();
    for listener in config.listeners() {
        let with = if listener.tls { " (TLS)" } else { "" };
        listen.push(format!("{}{with}", listener.address));
    }
    if let Some(proxy) = config.proxy() {
        return format!(
            "configuration ok: proxy to {} on {}",
            proxy.backend,
            listen.join(" ")
        );
    }
    if config.has_own_accounts_alone() {
        let vault = config.vault.as_ref();
        let vault = vault.map(|vault| ("vault", &vault.data, &vault.user));
        let hub = config.hub.as_ref().map(|hub| ("hub", &hub.data, &hub.user));
        let holder = config.holder.as_ref();
        let user = |holder: &Holder| match &holder.user {
            Some(user) if geteuid().is_root() => user.clone(),
            _ => "the user who starts tfd".to_owned(),
        };
        let holder = holder.map(|it| format!("keeper in {}, as {}", it.store.display(), user(it)));
        let both = vault.into_iter().chain(hub);
        let both = both.map(|(what, data, user)| format!("{what} {}, as {user}", data.display()));
        let both = both.chain(holder);
        return format!(
            "configuration ok: {} on {}",
            both.collect::<Vec<_>>().join("; "),
            listen.join(" "),
        );
    }
    let mode = match config.server.mode {
        Mode::SingleUser => "single-user",
        Mode::MultiUser => "multi-user",
    };
    let served_as = match config.server.mode {
        Mode::SingleUser => config
            .server
            .user
            .as_deref()
            .unwrap_or("the user who starts tfd"),
        Mode::MultiUser => "the system user of each account",
    };
    let jail = if config.server.jail { ", in jails" } else { "" };
    format!(
        "configuration ok: {} on {}, {mode}{jail}, as {served_as}",
        config.server.root.display(),
        listen.join(" "),
    )
}

/// A hash shorter than this can be guessed, in bytes.
const SHORT_HASH: usize = 16;

/// Warnings: the server starts, but clients will be refused, or too few of them.
fn warnings(config: &Config) -> Vec<Problem> {
    let serving = config.tf.as_ref().filter(|tf| tf.proxy.is_none());
    let short = serving.filter(|tf| tf.hash.len() < SHORT_HASH).map(|_| {
        let text = "tf.hash is shorter than 16 bytes: it can be guessed, so use what openssl \
                    rand -hex 16 prints";
        Problem::new(&config.path, text.to_owned())
    });
    let warnings = short.into_iter().chain(no_helper_user(config));
    let warnings = warnings.chain(password_logins(config));
    let warnings = warnings.chain(unit::warning(config));
    let warnings = warnings.chain(missing_service(config));
    let warnings = warnings.chain(config.unused.iter().cloned());
    let warnings = warnings.chain(vault_dialects(config));
    let warnings = warnings.chain(hub_without_tls(config));
    let warnings = warnings.chain(plain_state(config));
    let warnings = warnings.chain(stores::warnings(config));
    warnings.chain(expiry_warning(config)).collect()
}

/// That the password of the shared state can be read on its way.
fn plain_state(config: &Config) -> Option<Problem> {
    let shared = config.server.shared_state.as_ref();
    let plain = shared.filter(|shared| !shared.tls && !shared.is_here())?;
    let text = format!(
        "server.shared_state: nothing protects what goes to {plain}, and a password: use rediss://"
    );
    Some(Problem::new(&config.path, text))
}

/// That PAM does not know the service.
fn missing_service(config: &Config) -> Option<Problem> {
    let text = pam::missing_service(&config.server.pam.as_ref()?.service)?;
    Some(Problem::new(
        &config.path,
        format!("server.pam_service: {text}"),
    ))
}

/// What the dialects of the vault are worth.
fn vault_dialects(config: &Config) -> Vec<Problem> {
    let listeners = config.listeners();
    let mut of_vault = listeners.iter().filter(|it| it.protocol == Protocol::Vault);
    let has_them = of_vault.any(|listener| !listener.tls);
    let dialects = config.vault.iter().filter(|_| has_them);
    let dialects = dialects.flat_map(|vault| &vault.dialects);
    let problem = |dialect: &VaultDialect| {
        let text = format!("vault.dialects: \"{dialect:?}\": {}", dialect.worth());
        Problem::new(&config.path, text)
    };
    dialects.map(problem).collect()
}

/// That lines of version 1.0 of the hub are open to other machines.
fn hub_without_tls(config: &Config) -> Option<Problem> {
    let listeners = config.listeners();
    let mut of_hub = listeners.iter().filter(|it| it.protocol == Protocol::Hub);
    let is_open = |it: &config::Listener| it.key == LISTEN_KEY && !it.address.ip().is_loopback();
    let listener = of_hub.find(|it| is_open(it))?;
    let text = format!(
        "{}: {}: version 1.0 has no TLS: anybody between hub and peers reads and changes what \
         they say",
        listener.full_key(),
        listener.address
    );
    Some(Problem::new(&config.path, text))
}

/// That passwords of BBFTP come with little protection, or can't come at all.
fn password_logins(config: &Config) -> Option<Problem> {
    let bbftp = config.bbftp.as_ref()?;
    let mut listeners = config.listeners();
    listeners.retain(|listener| listener.protocol == Protocol::Bbftp);
    let text = match bbftp.password_logins {
        PasswordLogins::Rsa if listeners.iter().any(|listener| !listener.tls) => {
            "bbftp.password_logins: \"rsa\" protects passwords by a key of 1024 bits that nothing \
             certifies, and files not at all: an attacker between client and server can read and \
             change them"
        }
        PasswordLogins::Tls if listeners.iter().all(|listener| !listener.tls) => {
            "bbftp.password_logins: \"tls\" without bbftp.tls_listen: nobody can log in"
        }
        _ => return None,
    };
    Some(Problem::new(&config.path, text))
}

/// That helpers have no system user.
fn no_helper_user(config: &Config) -> Option<Problem> {
    let named = config.server.helper_user.as_deref();
    let helpers = geteuid().is_root().then(|| Identity::of_helpers(named));
    let helpers = helpers?.ok().filter(Identity::is_unnamed)?;
    let text = format!(
        "server.helper_user: there is no system user {HELPER}: helper processes run as {}, \
         which no other program should have: make it (useradd --system {HELPER})",
        helpers.name
    );
    Some(Problem::new(&config.path, text))
}

/// That the certificate ends soon.
fn expiry_warning(config: &Config) -> Option<Problem> {
    let tls = config.server.tls.as_ref()?;
    let pem = certificate::read_file(&tls.certificate).unwrap_or_default();
    let text = certificate::expiry_warning(&pem);
    let in_file = |text| {
        format!(
            "server.tls_certificate: {}: {text}",
            tls.certificate.display()
        )
    };
    text.map(|text| Problem::new(&config.path, in_file(text)))
}

/// Addresses that can't be listened on or connected from now, except those that
/// a tfd with this configuration already listens on.
fn check_listen(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut own = None;
    let mut is_own = |e: &io::Error, address: SocketAddr| {
        e.kind() == io::ErrorKind::AddrInUse
            && own
                .get_or_insert_with(|| listening(config))
                .contains(&address)
    };
    for wanted in config.listeners() {
        let address = wanted.address;
        let Err(e) = Listener::bind(address, wanted.protocol.uses_udp()) else {
            continue;
        };
        if !is_own(&e, address) {
            let text = format!("{}: {address}: {}", wanted.full_key(), not_listening(&e));
            problems.push(Problem::new(&config.path, text));
        }
    }
    if let Some(Local::Address(address)) = config.server.metrics
        && let Err(e) = std::net::TcpListener::bind(address)
        && !is_own(&e, address)
    {
        let text = format!("server.metrics: {address}: {}", not_listening(&e));
        problems.push(Problem::new(&config.path, text));
    }
    for source in config.proxy().iter().flat_map(|proxy| &proxy.from) {
        if let Err(e) = std::net::UdpSocket::bind((*source, 0)) {
            let text = format!("tf.proxy_from: {source}: no address of this machine: {e}");
            problems.push(Problem::new(&config.path, text));
        }
    }
    problems
}

/// What a running tfd with this configuration listens on.
fn listening(config: &Config) -> Vec<SocketAddr> {
    let control = config.server.control.as_ref();
    let Some((addresses, path)) = control.and_then(|path| serving(path)) else {
        return Vec::new();
    };
    match (fs::canonicalize(path), fs::canonicalize(&config.path)) {
        (Ok(theirs), Ok(ours)) if theirs == ours => addresses,
        _ => Vec::new(),
    }
}

/// Reads a pool file, as root through no link of an ordinary user.
/// Fails with the reason and the path.
fn read_pool(path: &Path) -> Result<Pool, String> {
    let failed = |e: io::Error| format!("{}: {e}", path.display());
    let file = trusted::open_to_read(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{}: not a file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{}: larger than {MAX_FILE} bytes", path.display()));
    }
    Ok(pool::parse(&bytes))
}

/// The lines of the pool file that would be skipped.
fn check_pool(config: &Config) -> Vec<Problem> {
    let path = config.tf.as_ref().and_then(|tf| tf.tlb_pool.as_ref());
    let Some(path) = path else {
        return Vec::new();
    };
    match read_pool(path) {
        Ok(pool) => {
            let problem = |(line, text)| Problem::on_line(path, line, text);
            pool.problems.into_iter().map(problem).collect()
        }
        Err(text) => vec![Problem::new(&config.path, format!("tf.tlb_pool: {text}"))],
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_pool_file_is_read_within_bounds_and_what_is_none_is_told() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("pool");
        assert!(read_pool(&path).expect_err("missing").contains("pool: "));
        fs::write(&path, "4 1.1.1.1;1\nx\n").expect("write");
        let pool = read_pool(&path).expect("read");
        assert_eq!((pool.servers.len(), pool.problems[0].0), (1, 2));
        fs::write(&path, vec![b'\n'; (1 << 20) + 1]).expect("write");
        assert!(read_pool(&path).expect_err("large").contains("larger"));
        assert!(
            read_pool(dir.path())
                .expect_err("directory")
                .contains("not a file")
        );
    }
}
