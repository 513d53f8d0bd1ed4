//! The command line. Options and their rules are those of the public client,
//! which uses getopt(3): letters in a row, values with or without a blank, an
//! attached value for `-D`, options behind the server. Errors have its numbers, so
//! no library can read it; the long options are ours.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Failure, Result, shown_path};
use super::options::{OPTIONS, Opt, Takes};
use super::settings::{Number, Settings, Switch};
use super::speaker::Manner;
use crate::cli::secrets::descriptor;
use crate::client::bbftp::Options;
use crate::text::shown;

/// What the command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) host: Option<String>,
    pub(super) user: Option<String>,
    /// `-e`.
    pub(super) commands: Option<Vec<u8>>,
    /// `-i`.
    pub(super) input: Option<PathBuf>,
    pub(super) port: Option<u16>,
    /// `-D`: versions that let the server connect, from these ports of ours.
    pub(super) active: Option<Option<(u16, u16)>>,
    pub(super) ssh: Option<Ssh>,
    pub(super) tls: Tls,
    pub(super) password: Option<PathBuf>,
    pub(super) tries: u32,
    pub(super) retry_wait: Duration,
    pub(super) rc_file: Option<PathBuf>,
    pub(super) manner: Manner,
    /// Whether bars may be drawn.
    pub(super) progress: bool,
    /// `-n`.
    pub(super) simulate: bool,
    /// `-b`.
    pub(super) background: bool,
    /// What other options set, to be put above the rc file.
    pub(super) streams: Option<u32>,
    pub(super) bits: Options,
}

/// ssh mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ssh {
    /// `-S`: no questions.
    pub(super) batch: bool,
    /// `-E`.
    pub(super) remote: Option<OsString>,
    /// `-L`.
    pub(super) local: Option<OsString>,
    /// `-I`.
    pub(super) identity: Option<PathBuf>,
}

/// TLS, and who is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) on: bool,
    pub(super) pin: Option<String>,
    pub(super) authorities: Option<PathBuf>,
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments {
            host: None,
            user: None,
            commands: None,
            input: None,
            port: None,
            active: None,
            ssh: None,
            tls: Tls::default(),
            password: None,
            tries: TRIES,
            retry_wait: RETRY_WAIT,
            rc_file: None,
            manner: Manner::default(),
            progress: true,
            simulate: false,
            background: false,
            streams: None,
            bits: Options::from_bits(0),
        }
    }
}

/// How often a command and a connection are tried.
pub(super) const TRIES: u32 = 5;

/// The pause before each further try.
const RETRY_WAIT: Duration = Duration::from_secs(30);

/// What an argument list consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An option, with its value.
    Option(Opt, Option<OsString>),
    /// An option that does not exist, or lacks its value.
    Bad(String),
    /// Anything else: the server.
    Other(OsString),
}

/// The parts of an argument list, as getopt(3) finds them.
pub(super) fn parts(arguments: &[OsString]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_bytes() {
            b"--" => break,
            [b'-', b'-', long @ ..] => parts.push(long_option(long, &mut rest)),
            [b'-', letters @ ..] if !letters.is_empty() => bundle(letters, &mut rest, &mut parts),
            _ => parts.push(Part::Other(argument.clone())),
        }
    }
    parts.extend(rest.cloned().map(Part::Other));
    parts
}

fn long_option<'a>(text: &[u8], rest: &mut impl Iterator<Item = &'a OsString>) -> Part {
    let (name, value) = match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (&text[..at], Some(os(&text[at + 1..]))),
        None => (text, None),
    };
    let bad = || Part::Bad(format!("--{}", shown(name)));
    let found = OPTIONS.iter().find(|spec| spec.long.as_bytes() == name);
    let Some(spec) = found.filter(|spec| !spec.long.is_empty()) else {
        return bad();
    };
    match (spec.takes, value) {
        (Takes::Nothing, None) => Part::Option(spec.opt, None),
        (Takes::Nothing, Some(_)) => bad(),
        (_, Some(value)) => Part::Option(spec.opt, Some(value)),
        (_, None) => match rest.next() {
            Some(value) => Part::Option(spec.opt, Some(value.clone())),
            None => bad(),
        },
    }
}

/// The options of letters in a row; the first that takes a value has the others
/// as its value.
fn bundle<'a>(
    letters: &[u8],
    rest: &mut impl Iterator<Item = &'a OsString>,
    parts: &mut Vec<Part>,
) {
    for (at, letter) in letters.iter().enumerate() {
        let bad = || Part::Bad(format!("-{}", shown(&[*letter])));
        let found = OPTIONS
            .iter()
            .find(|spec| spec.letter.as_bytes() == [*letter]);
        let behind = &letters[at + 1..];
        let value = (!behind.is_empty()).then(|| os(behind));
        match found {
            None => parts.push(bad()),
            Some(spec) if spec.takes == Takes::Nothing => parts.push(Part::Option(spec.opt, None)),
            Some(spec) if spec.takes == Takes::Attached => {
                return parts.push(Part::Option(spec.opt, value));
            }
            Some(spec) => {
                let value = value.or_else(|| rest.next().cloned());
                return parts.push(match value {
                    Some(value) => Part::Option(spec.opt, Some(value)),
                    None => bad(),
                });
            }
        }
    }
}

fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

impl Arguments {
    /// What the parts say together.
    pub(super) fn of(parts: Vec<Part>) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        let mut others = Vec::new();
        for part in parts {
            match part {
                Part::Option(opt, value) => arguments.take(opt, value.unwrap_or_default())?,
                Part::Bad(option) => return Err(unsupported(&option)),
                Part::Other(other) => others.push(other),
            }
        }
        if let [host] = &others[..] {
            arguments.host = Some(text(host));
        }
        arguments.manner = arguments.manner.settled();
        Ok(arguments)
    }

    fn ssh(&mut self) -> &mut Ssh {
        self.ssh.get_or_insert_default()
    }

    /// Puts what is set here above the settings of the rc file.
    pub(super) fn apply(&self, settings: &mut Settings) {
        settings.streams = self.streams.unwrap_or(settings.streams);
        settings.switch(Switch::Bits(self.bits), true);
    }

    fn take(&mut self, opt: Opt, value: OsString) -> Result<()> {
        match opt {
            Opt::Background => self.background = true,
            Opt::Compress => self.bits = self.bits | Options::GZIP,
            Opt::Qbss => self.bits = self.bits | Options::QBSS,
            Opt::Simulate => self.simulate = true,
            Opt::Debug => self.manner.debug = true,
            Opt::Statistics => self.manner.statistics = true,
            Opt::Timestamps => self.manner.timestamps = true,
            Opt::Verbose => self.manner.verbose = true,
            Opt::Warnings => self.manner.warnings = true,
            Opt::NoProgress => self.progress = false,
            Opt::Ssh => drop(self.ssh()),
            Opt::SshBatch => self.ssh().batch = true,
            Opt::SshRemote => self.ssh().remote = Some(value),
            Opt::SshLocal => self.ssh().local = Some(value),
            Opt::SshIdentity => {
                self.ssh().identity = Some(existing(value, 5, "SSH identity file")?);
            }
            Opt::Tls => self.tls.on = true,
            Opt::TlsPin => (self.tls.on, self.tls.pin) = (true, Some(text(&value))),
            Opt::TlsCa => (self.tls.on, self.tls.authorities) = (true, Some(value.into())),
            Opt::User => self.user = Some(text(&value)),
            Opt::Commands => self.commands = Some(value.into_vec()),
            Opt::Input => self.input = Some(existing(value, 7, "Input file")?),
            Opt::RcFile => self.rc_file = Some(value.into()),
            Opt::PasswordFile => self.password = Some(value.into()),
            Opt::PasswordDescriptor => self.password = Some(password_descriptor(&value)?),
            Opt::Active => self.active = Some(ports(&value)?),
            Opt::Port => self.port = Some(port(&value)?),
            Opt::Streams => self.streams = Some(streams(&value)?),
            Opt::Tries => self.tries = tries(&value)?,
            Opt::RetryWait => self.retry_wait = retry_wait(&value)?,
            Opt::Private | Opt::Service => {
                return Err(unsupported(opt_name(opt)));
            }
            Opt::Output | Opt::Errors | Opt::Version | Opt::Help | Opt::Completions => {}
        }
        Ok(())
    }
}

fn opt_name(opt: Opt) -> &'static str {
    if opt == Opt::Private { "-P" } else { "-g" }
}

fn unsupported(option: &str) -> Failure {
    let text = format!("Error on command line (unsupported option {option})");
    Failure::end(6, text)
}

fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

/// A number above 0, read as scanf(3) does.
fn positive(value: &OsStr) -> Option<u32> {
    let number = Number::Streams.read(value.as_bytes())?;
    u32::try_from(number).ok()
}

fn streams(value: &OsStr) -> Result<u32> {
    positive(value).ok_or_else(|| Failure::end(3, "Number of streams must be numeric and > 0"))
}

fn tries(value: &OsStr) -> Result<u32> {
    positive(value).ok_or_else(|| Failure::end(4, "Number of tries must be numeric > 0"))
}

fn port(value: &OsStr) -> Result<u16> {
    positive(value)
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| Failure::end(4, "Control port must be numeric"))
}

/// `min:max`, or nothing for any port.
fn ports(value: &OsStr) -> Result<Option<(u16, u16)>> {
    if value.is_empty() {
        return Ok(None);
    }
    let written = text(value);
    let range = written.split_once(':');
    let range = range.and_then(|(min, max)| Some((min.parse().ok()?, max.parse().ok()?)));
    match range.filter(|(min, max)| min <= max) {
        Some(range) => Ok(Some(range)),
        None => Err(Failure::end(
            4,
            format!("Invalid port range : {}", shown(value.as_bytes())),
        )),
    }
}

fn retry_wait(value: &OsStr) -> Result<Duration> {
    let seconds: Option<f64> = value.to_str().and_then(|text| text.parse().ok());
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| Failure::end(4, "Seconds between tries must be numeric"))
}

fn password_descriptor(value: &OsStr) -> Result<PathBuf> {
    let number = value.to_str().unwrap_or_default();
    descriptor(number).map_err(|_| Failure::end(4, "Descriptor of the password must be numeric"))
}

/// The path of an existing file.
fn existing(value: OsString, code: u8, what: &str) -> Result<PathBuf> {
    let path = PathBuf::from(value);
    match path.metadata() {
        Ok(_) => Ok(path),
        Err(_) => {
            let text = format!("{what} ({}) cannot be stated", shown_path(&path));
            Err(Failure::end(code, text))
        }
    }
}

#[cfg(test)]
mod tests;
