//! `tf put`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::context::Context;
use crate::cli::failure::Result;
use crate::cli::names::shown;
use crate::cli::place::{Remote, ServerName};
use crate::cli::progress::Bar;
use crate::client::{ClientError, Kind};

/// Send a file; it is in place only when it is whole and verified
#[derive(Args)]
#[command(after_help = "Example:\n  tf put may.pdf reports/")]
pub(crate) struct Put {
    /// A file, or - for standard input
    local: PathBuf,
    /// The remote file or directory
    #[arg(required_if_eq("local", "-"))]
    remote: Option<Remote>,
}

impl Put {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let Put { local, remote } = self;
        let told = |source| ClientError::Local { path: local.clone(), source };
        let quiet = context.output.quiet;
        let remote = remote.unwrap_or_else(|| Remote::new(ServerName::Default, ""));
        let connection = context.connection(&remote.server)?;
        let remote = remote.path;
        let name = local.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = match remote {
            remote if remote.is_empty() || remote.ends_with('/') => format!("{remote}{name}"),
            remote => match connection.stat(&remote) {
                Ok(stat) if stat.kind == Kind::Directory => format!("{remote}/{name}"),
                _ => remote,
            },
        };
        if local == Path::new("-") {
            let bar = Bar::new(quiet, shown(target.as_bytes()), None);
            let mut input = io::stdin().lock();
            return Ok(connection.upload(&local, &mut input, &target, &mut |bytes| bar.set(bytes))?);
        }
        let mut file = File::open(&local).map_err(told)?;
        let metadata = file.metadata().map_err(told)?;
        if metadata.is_dir() {
            return Err(told(io::ErrorKind::IsADirectory.into()).into());
        }
        let bar = Bar::new(quiet, shown(target.as_bytes()), Some(metadata.len()));
        Ok(connection.upload(&local, &mut file, &target, &mut |bytes| bar.set(bytes))?)
    }
}
