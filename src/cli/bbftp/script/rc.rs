//! rc files: settings that hold from the start. They have behaviour commands
//! only; others are skipped with a warning.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::words::words;
use crate::cli::bbftp::failure::{Failure, Result, reason, shown_path};
use crate::cli::bbftp::settings::{Number, SWITCHES, Settings, Switch};
use crate::cli::bbftp::speaker::Speaker;
use crate::text::shown;

/// The exit status where an rc file can't be used.
const UNUSABLE: u8 = 1;

/// The file for everybody.
const SYSTEM_FILE: &str = "/etc/bbftp.conf";

/// Reads the settings of the rc file: the one that is named, unless that is
/// `none`, or the user's, or the system's.
pub(in crate::cli::bbftp) fn read(
    named: Option<&Path>,
    settings: &mut Settings,
    speaker: &Speaker,
) -> Result<()> {
    let file = match named {
        Some(file) if file == Path::new("none") => return Ok(()),
        Some(file) => file.to_owned(),
        None => usual_file(),
    };
    match fs::read(&file) {
        Ok(text) => take(&text, settings, speaker),
        Err(e) if named.is_none() && e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => {
            let file = shown_path(&file);
            let text = format!("Error opening file {file} : {}", reason(&e));
            speaker.failed(&Failure::end(200, &*text));
            Err(Failure::end(UNUSABLE, text))
        }
    }
}

fn usual_file() -> PathBuf {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let own = home.map(|home| Path::new(&home).join(".bbftprc"));
    own.filter(|own| own.exists())
        .unwrap_or_else(|| SYSTEM_FILE.into())
}

/// Takes the settings of a text. A value that makes no sense ends the program,
/// once all lines have been read.
fn take(text: &[u8], settings: &mut Settings, speaker: &Speaker) -> Result<()> {
    let mut result = Ok(());
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let mut words = words(line).into_iter();
        let (word, value) = (words.next().unwrap_or_default(), words.next());
        let value = value.unwrap_or_default();
        match (Number::of(&word), word == b"setoption") {
            (Some(number), _) => match number.read(&value) {
                Some(value) => settings.set(number, value),
                None => {
                    let (warning, text) = complaint(number);
                    speaker.warn_always(warning, text);
                    result = Err(Failure::end(UNUSABLE, text));
                }
            },
            (None, true) => option(&value, settings, speaker),
            (None, false) => speaker.warn(
                13,
                &format!(
                    "Skipping Unknown command in .bbftprc file ({})",
                    shown(line)
                ),
            ),
        }
    }
    result
}

/// Sets an option; its name may be cut, as with the public client.
fn option(text: &[u8], settings: &mut Settings, speaker: &Speaker) {
    let (on, name) = match text.strip_prefix(b"no") {
        Some(name) => (false, name),
        None => (true, text),
    };
    let is_meant = |known: &str| !name.is_empty() && known.as_bytes().starts_with(name);
    match SWITCHES.iter().find(|(known, _)| is_meant(known)) {
        Some((_, Switch::LocalRfio)) if on => speaker.warn(
            20,
            "Incorrect command : setoption localrfio (RFIO not supported)",
        ),
        Some((_, switch)) => settings.switch(*switch, on),
        None => speaker.warn(
            13,
            &format!("Unknown option in .bbftprc file ({})", shown(name)),
        ),
    }
}

/// The warning for a value that makes no sense.
fn complaint(number: Number) -> (u8, &'static str) {
    match number {
        Number::Buffer => (5, "Buffersize in bbftprc file must be numeric > 0"),
        Number::Class => (15, "Remote COS in bbftprc file must be numeric"),
        Number::LocalUmask => (16, "Local umask in bbftprc file must be octal numeric"),
        Number::RemoteUmask => (17, "Remote umask in bbftprc file must be octal numeric"),
        Number::SendWindow => (18, "Send window size in bbftprc file must be numeric"),
        Number::ReceiveWindow => (19, "Receive window size in bbftprc file must be numeric"),
        Number::Streams => (
            19,
            "Number of streams in bbftprc file must be numeric and > 0",
        ),
        Number::AckTimeout => (19, "Acknowledge timeout must be numeric and > 0"),
        Number::ControlReceiveTimeout => (19, "Input control timeout must be numeric and > 0"),
        Number::ControlSendTimeout => (19, "Output control timeout must be numeric and > 0"),
        Number::DataTimeout => (19, "Data timeout must be numeric and > 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::bbftp::Options;

    #[test]
    fn settings_come_from_an_rc_file() {
        let text = "# comment\n\n  setbuffersize 64\r\nsetnbstream\t3\nsetoption nokeepm\n\
                    setlocalumask 027\nbogus 1\nsetoption foo\nsetoption gzip\nsetackto 50\n\
                    put a b\nsetremotecos -1\nsetoption resume";
        let mut settings = Settings::default();
        take(text.as_bytes(), &mut settings, &Speaker::default()).expect("settings");
        let expected = Settings {
            buffer: 64,
            streams: 3,
            options: Options::USUAL.without(Options::MODE) | Options::GZIP,
            local_umask: Some(0o27),
            ack_timeout: 50,
            class: Some(-1),
            resume: true,
            ..Settings::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn a_value_that_makes_no_sense_ends_the_program() {
        let mut settings = Settings::default();
        let text = b"setnbstream x\nsetdatato 7";
        let failure = take(text, &mut settings, &Speaker::default()).expect_err("end");
        assert_eq!(failure.code, 1);
        assert_eq!(settings.data_timeout, 7);
    }
}
