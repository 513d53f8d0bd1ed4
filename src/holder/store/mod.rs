//! What a holder keeps of others: files on disk, and a database of them.

pub mod catalog;
mod schema;
pub mod shelves;
