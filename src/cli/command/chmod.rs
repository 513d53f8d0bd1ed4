//! `tf chmod`.

use clap::Args;

use super::tree::with_all_in_it;
use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::expand::for_each_path;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::RemoteArg;
use crate::client::{Kind, mode_request};

/// Set modes
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf chmod 600 secret.txt\n  tf chmod -R 644 --directories 755 site\n\n\
                  Modes are octal: the protocol tells no mode, so none can be changed in part."
)]
pub(crate) struct Chmod {
    /// All in directories, too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The mode of directories, with -R
    #[arg(long, value_name = "MODE", requires = "recursive")]
    directories: Option<String>,
    /// The mode, octal
    mode: String,
    /// Remote paths or patterns
    #[arg(required = true, add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Chmod {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        for mode in [Some(&self.mode), self.directories.as_ref()]
            .into_iter()
            .flatten()
        {
            if !matches!(u32::from_str_radix(mode, 8), Ok(0..=0o7777)) {
                return Err(Failure::Usage(format!(
                    "{mode}: a mode is octal, 0 to 7777"
                )));
            }
        }
        for_each_path(context, &self.paths, |connection, path| {
            if !self.recursive {
                return Ok(connection.change_mode(path, &self.mode)?);
            }
            with_all_in_it(connection, path, |path, kind| {
                let mode = match &self.directories {
                    Some(mode) if kind == Kind::Directory => mode,
                    _ => &self.mode,
                };
                mode_request(path, mode)
            })
        })
    }
}
