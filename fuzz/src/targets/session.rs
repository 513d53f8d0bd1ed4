//! A session from its first request on, in a directory of its own: every
//! command, with the frames and acknowledgements that follow it. What a client
//! sends leaves nothing outside the root.
//!
//! The first byte chooses dialect and rights, the rest is the stream of the
//! client in plain.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use crate::peer::connection_with;
use crate::place::{Nobody, check, outside};
use tfd::config::{Dialect, Durability};
use tfd::session::shortage::LastShortage;
use tfd::session::uploads::Uploads;
use tfd::store::{Quota, Root};
use tfd::tf::env::{Digests, Env, Files, Lock, Locks, POLICY};
use tfd::tf::session::serve;
use tfd::tf::settings::Settings;
use tfd::tf::wire::Wire;
use tfd::users::{Names, Rights};

/// A client that reads nothing is waited for so long.
const PATIENCE: Duration = Duration::from_millis(100);

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    let outside = outside();
    let root = outside.path().join("root");
    let (_peer, ours) = connection_with(stream);
    let mut wire = Wire::new(ours).expect("wire");
    let settings = Settings {
        dialect: if choice & 1 == 0 {
            Dialect::Deployed
        } else {
            Dialect::Document
        },
        extension: true,
        buffer_limit: 64 * 1024,
        integrity_limit: 64 * 1024,
        idle_limit: Some(PATIENCE),
        durability: Durability::System,
        notify_floor: Duration::from_millis(1),
        kernel_tls: true,
        file_mode: 0o644,
        mode_bits: 0o7777,
        directory_mode: 0o755,
    };
    let rights = match choice >> 1 & 3 {
        0 | 1 => Rights::Full,
        2 => Rights::AppendOnly,
        _ => Rights::ReadOnly,
    };
    let mut env = Env {
        root: Root::open(&root).expect("root").with_policy(POLICY),
        lock: Lock::default(),
        process_key: "key".to_owned(),
        names: Rc::new(Names::default()),
        settings,
        rights,
        quota: Quota::none(),
        shortage: LastShortage::default(),
        target: None,
        uploads: Uploads::default(),
        pool: None,
        watches: Vec::new(),
        locks: Locks::default(),
        files: Files::default(),
        digests: Digests::default(),
    };
    let _ = serve(&mut wire, &mut env, &mut Nobody);
    check(outside.path(), rights);
    remove(&root);
}

/// Removes a tree, also what a client has closed by CHMOD.
fn remove(root: &Path) {
    if fs::remove_dir_all(root).is_err() {
        let opened = Command::new("chmod")
            .args(["-R", "u+rwx"])
            .arg(root)
            .status();
        assert!(opened.expect("chmod").success());
        fs::remove_dir_all(root).expect("removed");
    }
}
