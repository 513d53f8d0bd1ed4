//! `tf backup` and its sisters as a person uses them: real files, real processes, and
//! disks that are directories.
#![allow(unreachable_pub, reason = "shared by the test binaries")]

#[path = "../common/disk.rs"]
mod disk;
#[path = "../common/schema.rs"]
mod schema;

mod browse;
mod cuts;
mod damage;
mod desk;
mod full;
mod json;
mod kept;
mod keys;
mod small;
mod together;
mod trees;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
