//! `tf backup` and its sisters as a person uses them: real files, real processes, and
//! disks that are directories.

mod browse;
mod cuts;
mod damage;
mod desk;
mod keys;
mod trees;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
