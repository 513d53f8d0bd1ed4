//! tfd, a file-exchange daemon that gives every client a process and a Unix
//! identity of its own.
pub mod config;
pub mod store;
pub mod tf;
