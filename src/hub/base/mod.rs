//! Version 1.0 of the protocol, the document's own, on a line without TLS. Its lines have
//! neither numbers nor named parameters, so each side has one request open at a time, and
//! what a number or a name would say follows from what came before. All of that ends
//! here: the broker knows the lines of one version.

mod files;
mod form;
mod line;
#[cfg(test)]
mod tests;

pub use form::{Heard, print, read};
pub use line::Base;
