//! The configuration file: its keys, their defaults, and errors that name
//! line and key. See tfd.toml(5). Nothing here reads or changes the world but
//! the file itself.

mod check;
mod listener;
mod problem;
mod proxy;
mod server;
mod table;
mod tf;
mod values;

use std::path::{Path, PathBuf};

use crate::trusted;

pub use check::is_service_name;
pub use listener::{Listener, Protocol};
pub use problem::Problem;
pub use proxy::{Backend, Host, Proxy};
pub use server::{DEFAULT_CONTROL, Durability, Local, Mode, Server, Tls};
pub use tf::{Dialect, Tf};
use values::Values;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read from.
    pub path: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[tf]`
    pub tf: Tf,
    listeners: Vec<Listener>,
}

impl Config {
    /// Reads and checks a configuration file. Relative paths in it are
    /// relative to its directory. Fails with every problem found.
    pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
        let text =
            read(path).map_err(|e| vec![Problem::new(path, format!("can't be read: {e}"))])?;
        Config::parse(path, &text)
    }

    /// As [`Config::load`], from a text that was read from `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Config, Vec<Problem>> {
        let mut values = Values::read(path, text)?;
        let has_tls = tf::has_tls(&values);
        listener::check(&mut values);
        server::check(&mut values, ("tf.tls_listen", has_tls));
        tf::check(&mut values);
        if !values.problems.is_empty() {
            values.problems.sort_by_key(Problem::place);
            return Err(values.problems);
        }
        let config = server::build(&values, has_tls).and_then(|server| {
            Some(Config {
                path: path.to_owned(),
                server,
                tf: tf::build(&values)?,
                listeners: listener::build(&values),
            })
        });
        // Every value is checked above: this would be a key without a row.
        config.ok_or_else(|| vec![Problem::new(path, "a key is missing in the table of keys")])
    }
}

/// Reads the text; root does so through no link of an ordinary user.
fn read(path: &Path) -> std::io::Result<String> {
    if nix::unistd::geteuid().is_root() {
        return trusted::open_to_read(path).and_then(std::io::read_to_string);
    }
    std::fs::read_to_string(path)
}

#[cfg(test)]
mod tests;
