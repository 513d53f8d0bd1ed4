//! Results on standard output: lines for people, or JSON, one object a line,
//! in the shapes of `conf/tf-output.schema.json`.

use std::io::{self, BufWriter, StdoutLock, Write};

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::client::{ClientError, Details, Kind, Owners, Result, Stat};

/// How much to print, and in which form.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = clap::builder::Resettable::Reset)]
pub(crate) struct OutputOptions {
    /// Show no progress bar
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Print results as JSON, one object per line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Add the server's replies to errors
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

/// One result. The schema of each is a part of what `tf` promises.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum Record<'a> {
    /// A file or directory on a server.
    Entry {
        /// Its path; bytes that are not UTF-8 are U+FFFD.
        path: &'a str,
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        modified: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        accessed: Option<i64>,
        #[serde(flatten)]
        #[serde(skip_serializing_if = "Option::is_none")]
        more: Option<More>,
    },
    /// The digest of a file.
    Digest { path: &'a str, sha256: &'a str },
    /// Whether a file has the expected digest.
    Check { path: &'a str, fits: bool },
    /// Free space.
    Space { server: &'a str, free: u64 },
    /// An attempt to reach a server.
    Ping {
        by: &'static str,
        sequence: u64,
        alive: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        milliseconds: Option<f64>,
    },
    /// The result of all attempts of one way.
    PingSummary {
        by: &'static str,
        sent: u64,
        answered: u64,
    },
    /// The server that a load balancer chooses.
    Where { by: &'static str, address: String },
    /// A server of the configuration.
    Server {
        name: &'a str,
        addresses: Vec<String>,
        default: bool,
        user: Option<&'a str>,
        jail: Option<&'a str>,
        tls: bool,
        fingerprint: Option<String>,
    },
    /// A directory whose name is a secret.
    SecretDirectory { path: &'a str },
    /// A file that has arrived and was processed.
    Arrival {
        path: &'a str,
        /// Where it was saved.
        #[serde(skip_serializing_if = "Option::is_none")]
        local: Option<&'a str>,
        /// Whether the server will delete it.
        deleted: bool,
    },
    /// A reply as it came.
    Reply { text: &'a str, hex: String },
}

/// What a server with the extension says of an entry besides.
#[derive(Serialize)]
pub(super) struct More {
    modified_nanoseconds: u32,
    mode: String,
    user: String,
    group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl More {
    pub(super) fn of(details: &Details, owners: &Owners) -> More {
        let target = || String::from_utf8_lossy(&details.target).into_owned();
        More {
            modified_nanoseconds: details.modified.nanoseconds,
            mode: format!("{:04o}", details.mode),
            user: owners.user(details.uid),
            group: owners.group(details.gid),
            target: details.is_link().then(target),
        }
    }
}

impl<'a> Record<'a> {
    /// An entry, with what is known about it.
    pub(super) fn entry(path: &'a str, kind: Kind, stat: Option<&Stat>) -> Record<'a> {
        Record::Entry {
            path,
            kind: word(kind),
            size: stat.map(|stat| stat.size),
            modified: stat.map(|stat| stat.modified),
            accessed: stat.map(|stat| stat.accessed),
            more: None,
        }
    }

    /// The same with what the extension says besides.
    pub(super) fn with(mut self, what: Option<More>) -> Record<'a> {
        if let Record::Entry { more, .. } = &mut self {
            *more = what;
        }
        self
    }

    /// An entry with details; the time of the last access is not among them.
    pub(super) fn detailed(path: &'a str, details: &Details, owners: &Owners) -> Record<'a> {
        Record::Entry {
            path,
            kind: word(details.kind),
            size: Some(details.size),
            modified: Some(details.modified.seconds),
            accessed: None,
            more: Some(More::of(details, owners)),
        }
    }
}

/// Standard output.
pub(super) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    /// Whether results are JSON.
    pub(super) json: bool,
}

impl Printer {
    /// Standard output, from now on until this is dropped.
    pub(super) fn new(json: bool) -> Printer {
        Printer {
            out: BufWriter::with_capacity(64 * 1024, io::stdout().lock()),
            json,
        }
    }

    /// One result: the record as JSON, or the line.
    pub(super) fn show(
        &mut self,
        record: &impl Serialize,
        line: impl FnOnce() -> String,
    ) -> Result<()> {
        if !self.json {
            return self.line(&line());
        }
        serde_json::to_writer(&mut self.out, record).map_err(|e| output_error(e.into()))?;
        self.bytes(b"\n")
    }

    /// A line.
    pub(super) fn line(&mut self, line: &str) -> Result<()> {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(output_error)
    }

    /// Writes out what is buffered: the result of what was printed.
    pub(super) fn finish<E: From<ClientError>>(
        &mut self,
        done: std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.flush()?;
        done
    }

    /// Writes out what is buffered.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(output_error)
    }
}

/// Prints a line on standard error. A failure to do so is ignored: there is no
/// other place to report it.
macro_rules! complain {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($text)*);
    }};
}
pub(super) use complain;

/// A failure of standard output.
pub(super) fn output_error(source: io::Error) -> ClientError {
    ClientError::local("standard output".as_ref(), source)
}

/// The letter of a kind, as `ls -l` has it.
pub(super) fn letter(kind: Kind) -> char {
    match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Other => '?',
    }
}

/// The word for a kind.
pub(super) fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Other => "other",
    }
}

/// A time for people, in the time zone of the environment.
pub(super) fn local_time(seconds: i64) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => {
            let local = time.to_zoned(TimeZone::system());
            local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
        }
        Err(_) => seconds.to_string(),
    }
}
