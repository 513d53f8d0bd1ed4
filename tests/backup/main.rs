//! `tf backup` and its sisters as a person uses them: real files, real processes, and
//! disks that are directories.

mod desk;
mod keys;
