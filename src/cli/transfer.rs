//! What put, get and mirror share: their options, and how a run of them ends.

use clap::Args;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Result};
use super::place::ServerName;
use super::progress::Board;
use crate::client::{ClientError, Options, Summary, Transfers};

/// How files are moved.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Transfer")]
pub(super) struct TransferArguments {
    /// Connections to use at once: for many files, or for a large one
    /// [default: 1, and a second to put hundreds of files or for
    /// the digest of a large one]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    streams: Option<u8>,
    /// How often in a row a lost connection is opened again
    #[arg(long, value_name = "N", default_value_t = 10)]
    retries: u32,
    /// The most bytes a second, with K, M or G
    #[arg(long, value_name = "RATE", value_parser = rate)]
    limit: Option<u64>,
    /// Compare no SHA-256 digests at the end
    #[arg(long)]
    no_verify: bool,
}

impl TransferArguments {
    /// The options they stand for.
    pub(super) fn options(&self) -> Options {
        Options {
            streams: self.streams.map(usize::from),
            retries: self.retries,
            verify: !self.no_verify,
            limit: self.limit,
            ..Options::default()
        }
    }
}

/// Reads a rate in bytes a second.
fn rate(text: &str) -> std::result::Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "a number with K, M or G behind it".to_owned())?;
    number
        .checked_mul(unit)
        .filter(|rate| *rate >= 1024)
        .ok_or("1K or more".to_owned())
}

/// Runs transfers with a server, shows how they go, and tells how they ended.
///
/// # Errors
/// Why the run ended before its end, or that something in it failed.
pub(super) fn run(
    context: &mut Context,
    server: &ServerName,
    options: &Options,
    act: impl FnOnce(&Transfers<'_>) -> crate::client::Result<Summary>,
) -> Result<()> {
    let board = Board::new(&context.output);
    let access = context.access(server)?.clone();
    let transfers = Transfers::new(&access, options, &board).with(context.take(server)?);
    let ended = act(&transfers);
    context.put_back(server, transfers.into_connection())?;
    match ended {
        Ok(summary) => {
            board.sum(&summary);
            match (summary.failures.first(), board.output_failure()) {
                (Some(first), _) => Err(Failure::Told(Exit::of(&first.error))),
                (None, Some(error)) => Err(error.into()),
                (None, None) => Ok(()),
            }
        }
        Err(error) => {
            board.tell_end(&error);
            if matches!(error, ClientError::Lost(_) | ClientError::Interrupted) {
                board.say("what has been moved is kept: the same command goes on from there");
            }
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_have_units() {
        for (text, bytes) in [
            ("1024", 1024),
            ("20K", 20_480),
            ("3m", 3 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for odd in [
            "",
            "K",
            "0",
            "100",
            "-1M",
            "1.5M",
            "1T",
            "99999999999999999999",
            "2é",
        ] {
            assert!(rate(odd).is_err(), "{odd}");
        }
    }
}
