//! `tf mirror`.

use clap::Args;
use glob::Pattern;

use crate::cli::complete::Names;
use crate::cli::context::Context;
use crate::cli::failure::{Failure, Result};
use crate::cli::place::Place;
use crate::cli::transfer::{self, TransferArguments};
use crate::client::{Direction, Options};

/// Make one directory like another, on the server or here
#[derive(Args)]
#[command(after_help = "Examples:\n  \
                        tf mirror --delete photos backup:photos\n  \
                        tf mirror --dry-run backup:photos photos\n  \
                        tf mirror --exclude '*.tmp' site :www")]
pub(crate) struct Mirror {
    /// The directory to go by
    #[arg(add = Names::Place)]
    source: Place,
    /// The directory that is made like it; one of the two is remote
    #[arg(add = Names::Place)]
    target: Place,
    /// Compare SHA-256 digests, not times
    #[arg(short, long)]
    checksum: bool,
    /// Delete what is not in the source
    #[arg(long)]
    delete: bool,
    /// Delete nothing when it would be more entries than this
    #[arg(long, value_name = "N", requires = "delete")]
    max_delete: Option<u64>,
    /// Only say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Leave out names that match, or paths from the top; may be given again
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<Pattern>,
    /// Follow local symbolic links, which are left out otherwise
    #[arg(short = 'L', long)]
    follow: bool,
    #[command(flatten)]
    transfer: TransferArguments,
}

impl Mirror {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let (local, remote, direction) = match (self.source, self.target) {
            (Place::Local(local), Place::Remote(remote)) => (local, remote, Direction::Up),
            (Place::Remote(remote), Place::Local(local)) => (local, remote, Direction::Down),
            _ => {
                let text = "one of the two is remote, as NAME:path, or :path on the default server";
                return Err(Failure::Usage(text.to_owned()));
            }
        };
        let how = crate::client::Mirror {
            checksum: self.checksum,
            delete: self.delete,
            max_delete: self.max_delete,
            dry_run: self.dry_run,
        };
        let (exclude, follow) = (self.exclude, self.follow);
        let options = Options {
            exclude,
            follow,
            ..self.transfer.options()
        };
        let remote = context.resolve(&remote)?;
        transfer::run(context, &remote.server, &options, |transfers| {
            transfers.mirror(&local, &remote.path, direction, &how)
        })
    }
}
