//! `tf-backup`, backups to disks: see tf-backup(1).

use std::process::ExitCode;

fn main() -> ExitCode {
    tfd::run_tf_backup()
}
