//! `tf get`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::cat::to_standard_output;
use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::names::shown;
use crate::cli::place::Remote;
use crate::cli::progress::Bar;
use crate::client::{ClientError, Kind};
use crate::tf::status::Status;

/// Receive a file; it is in place only when it is whole and verified
#[derive(Args)]
#[command(after_help = "Example:\n  tf get reports/may.pdf .")]
pub(crate) struct Get {
    /// The remote file
    remote: Remote,
    /// A file, a directory, or - for standard output
    local: Option<PathBuf>,
}

impl Get {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Get { remote, local } = self;
        if local.as_deref() == Some(Path::new("-")) {
            return to_standard_output(context, &remote);
        }
        let target = match local {
            Some(directory) if directory.is_dir() => directory.join(remote.name()),
            Some(file) => file,
            None => remote.name().into(),
        };
        let quiet = context.output.quiet;
        let connection = context.connection(&remote.server)?;
        let stat = connection.stat(&remote.path)?;
        if stat.kind == Kind::Directory {
            let request = format!("get {}", remote.path);
            return Err(ClientError::Refused { request, status: Status::IsDirectory }.into());
        }
        let bar = Bar::new(quiet, shown(remote.path.as_bytes()), Some(stat.size));
        Ok(connection.download(&remote.path, &target, &mut |bytes| bar.set(bytes))?)
    }
}
