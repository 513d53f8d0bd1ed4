//! `tfd show-unit`: the drop-in with which tfd.service may write to what the
//! configuration names and to nothing else. `tfd setup` writes it, `tfd check`
//! compares it. It never starts or changes a unit.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Config, Local, Problem};

/// Where the drop-in belongs.
pub(super) const PLACE: &str = "/etc/systemd/system/tfd.service.d/tfd-setup.conf";

/// The key of the drop-in that lists what may be written.
const WRITABLE: &str = "ReadWritePaths=";

/// Without this right PAM lets nobody in whom root asks about.
const OF_PAM: &str = "CapabilityBoundingSet=CAP_AUDIT_WRITE";

/// What the unit itself has writable already.
const OF_THE_UNIT: [&str; 4] = ["/etc/tfd", "/run/tfd", "/var/lib/tfd", "/var/log/tfd"];

/// What `ProtectHome` and `PrivateTmp` hide.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
const SCRATCH: [&str; 2] = ["/tmp", "/var/tmp"];

fn is_below(path: &Path, directories: &[&str]) -> bool {
    directories
        .iter()
        .any(|directory| path.starts_with(directory))
}

/// The directories that tfd writes to, beyond those of the unit: the root first.
fn writable(config: &Config) -> Vec<PathBuf> {
    let server = &config.server;
    let parent = |path: &PathBuf| path.parent().map(Path::to_owned);
    let metrics = match &server.metrics {
        Some(Local::Path(path)) => Some(path),
        _ => None,
    };
    let queue = server.on_upload.as_ref().map(|_| &server.on_upload_queue);
    let files = [
        config.vault.as_ref().map(|vault| &vault.data),
        config.hub.as_ref().map(|hub| &hub.data),
        config.holder.as_ref().map(|holder| &holder.store),
        queue,
        server.users.as_ref(),
        server.audit.as_ref(),
        server.log_file.as_ref(),
        server.control.as_ref(),
        metrics,
    ];
    let files = files.into_iter().flatten().filter_map(parent);
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in std::iter::once(server.root.clone()).chain(files) {
        let path = fs::canonicalize(&path).unwrap_or(path);
        if !is_below(&path, &OF_THE_UNIT) && !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.retain(|path| path.is_absolute());
    paths
}

/// All that tfd reads or writes by the configuration.
fn used(config: &Config) -> Vec<PathBuf> {
    let mut paths = writable(config);
    paths.push(config.path.clone());
    paths.extend(config.server.tls.iter().map(|tls| tls.key.clone()));
    paths.extend(config.server.tls.iter().map(|tls| tls.certificate.clone()));
    paths.extend(config.tf.iter().map(|tf| tf.private_key.clone()));
    paths
}

/// A path as systemd reads it; one that does not exist is passed over.
fn quoted(path: &Path) -> Result<String, String> {
    let text = path
        .to_str()
        .filter(|text| !text.contains(char::is_control))
        .ok_or_else(|| format!("{}: systemd cannot name this path", path.display()))?;
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("\"-{}\"", escaped.replace('%', "%%")))
}

/// The drop-in for a configuration.
///
/// # Errors
/// A path that systemd cannot name.
pub(super) fn drop_in(config: &Config) -> Result<String, String> {
    let mut text = String::from(
        "# Written by tfd for its configuration. Repeat this after a change of root,\n\
         # users, auth, audit, log_file, control, metrics, on_upload_queue, data of vault or\n\
         # hub, or the holder's store, then systemctl daemon-reload:\n",
    );
    let _ = write!(
        text,
        "#   tfd show-unit > {PLACE}\n\
         # tfd, and the programs that it starts, may write below these directories only:\n\
         [Service]\nProtectSystem=strict\n"
    );
    for path in writable(config) {
        let _ = writeln!(text, "{WRITABLE}{}", quoted(&path)?);
    }
    let used = used(config);
    let hides = |directories: &[&str]| !used.iter().any(|path| is_below(path, directories));
    for (key, directories) in [("ProtectHome", &HOMES[..]), ("PrivateTmp", &SCRATCH)] {
        let shown = directories.join(", ");
        let _ = match hides(directories) {
            true => writeln!(text, "# Nothing of it is below {shown}.\n{key}=yes"),
            false => writeln!(text, "# Not {key}: it uses files below {shown}."),
        };
    }
    if config.server.pam.is_some() {
        let _ = writeln!(text, "# PAM lets nobody in without it.\n{OF_PAM}");
    }
    Ok(text)
}

/// That an existing drop-in keeps tfd from writing to something, or from asking PAM.
pub(super) fn warning(config: &Config) -> Option<Problem> {
    let lack = lack(config, &fs::read_to_string(PLACE).ok()?)?;
    let text = format!("{lack}: tfd show-unit > {PLACE} && systemctl daemon-reload");
    Some(Problem::new(&config.path, text))
}

/// What a drop-in lacks.
fn lack(config: &Config, drop_in: &str) -> Option<String> {
    let forbidden = forbidden(config, drop_in).map(|path| {
        let path = path.display();
        format!("{path} is not among the directories that tfd.service may write to")
    });
    let has_right = drop_in.lines().any(|line| line == OF_PAM);
    let is_refused = config.server.pam.is_some() && !has_right;
    let by_pam =
        || "tfd.service lacks CAP_AUDIT_WRITE, without which PAM lets nobody in".to_owned();
    forbidden.or_else(|| is_refused.then(by_pam))
}

/// The first directory that tfd writes to and a drop-in does not name.
fn forbidden(config: &Config, drop_in: &str) -> Option<PathBuf> {
    let names = |path: &Path| {
        let line = quoted(path).map(|path| format!("{WRITABLE}{path}"));
        line.is_ok_and(|line| drop_in.lines().any(|own| own == line))
    };
    let mut wanted = writable(config).into_iter();
    wanted.find(|path| !path.ancestors().any(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(root: &str, more: &str) -> Config {
        let text = format!(
            "[server]\nroot = \"{root}\"\nuser = \"nobody\"\n{more}\n[tf]\nlisten = [\"127.0.0.1:1\"]\n\
             version = \"0\"\nhash = \"h\"\nprivate_key = \"/etc/tfd/private.pem\"\n"
        );
        Config::parse(Path::new("/etc/tfd/tfd.toml"), &text).expect("valid")
    }

    #[test]
    fn the_unit_may_write_to_what_the_configuration_names() {
        let text = drop_in(&config(
            "/srv/100% \\\"mine\\\"",
            "audit = \"/srv/audit/log\"",
        ))
        .expect("text");
        assert!(
            text.contains("\nReadWritePaths=\"-/srv/100%% \\\"mine\\\"\"\n"),
            "{text}"
        );
        assert!(
            text.contains("\nReadWritePaths=\"-/srv/audit\"\n"),
            "{text}"
        );
        assert!(text.contains("\nProtectHome=yes\n") && text.contains("\nPrivateTmp=yes\n"));
        let usual =
            drop_in(&config("/srv/tfd", "audit = \"/var/log/tfd/audit.jsonl\"")).expect("text");
        assert_eq!(usual.matches(WRITABLE).count(), 1, "{usual}");
    }

    #[test]
    fn what_a_root_needs_is_not_hidden() {
        let text = drop_in(&config("/home/shared", "")).expect("text");
        assert!(
            !text.contains("ProtectHome=") && text.contains("\nPrivateTmp=yes\n"),
            "{text}"
        );
        let text = drop_in(&config("/var/tmp/x", "")).expect("text");
        assert!(
            text.contains("\nProtectHome=yes\n") && !text.contains("PrivateTmp="),
            "{text}"
        );
    }

    #[test]
    fn pam_has_the_right_that_it_needs_and_nobody_else_has() {
        let by_pam = "mode = \"multi-user\"\nusers = \"/etc/tfd/users\"\nauth = \"pam\"";
        let (file, pam) = (config("/srv/tfd", ""), config("/srv/tfd", by_pam));
        let [without, with] = [&file, &pam].map(|config| drop_in(config).expect("text"));
        assert!(!without.contains(OF_PAM) && with.contains(OF_PAM), "{with}");
        assert_eq!(lack(&pam, &with), None);
        let lacks = lack(&pam, &without).expect("lack");
        assert!(lacks.contains("CAP_AUDIT_WRITE"), "{lacks}");
    }

    #[test]
    fn the_queue_of_on_upload_may_be_elsewhere() {
        let more = "on_upload = [\"/bin/true\"]\non_upload_queue = \"/srv/jobs/queue\"";
        let text = drop_in(&config("/srv/tfd", more)).expect("text");
        assert!(text.contains("\nReadWritePaths=\"-/srv/jobs\"\n"), "{text}");
    }

    #[test]
    fn a_root_that_has_moved_is_noticed() {
        let (old, new) = (config("/srv/old", ""), config("/srv/new", ""));
        let text = drop_in(&old).expect("text");
        assert_eq!(forbidden(&old, &text), None);
        assert_eq!(forbidden(&config("/srv/old/below", ""), &text), None);
        assert_eq!(forbidden(&new, &text), Some("/srv/new".into()));
    }
}
