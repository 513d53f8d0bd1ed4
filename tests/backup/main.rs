//! `tf backup` and its sisters as a person uses them: real files, real processes, and
//! disks that are directories.

mod browse;
mod desk;
mod keys;
