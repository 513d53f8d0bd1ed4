//! The lines that the program prints, byte for byte those of the public client:
//! scripts read them.

use std::fs::File;
use std::io::{self, Write};

use jiff::Zoned;

use super::failure::{BY_SERVER, Failure};
use super::settings::Settings;
use crate::client::bbftp::Moved;

/// How much to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// `-V`: each command with its answer and speed.
    pub(super) verbose: bool,
    /// `-d`: the settings, too.
    pub(super) debug: bool,
    /// `-W`.
    pub(super) warnings: bool,
    /// `-t`.
    pub(super) timestamps: bool,
    /// `-m`: numbers for programs, and none of the above.
    pub(super) statistics: bool,
}

impl Manner {
    /// The same, as far as `-m` allows.
    pub(super) fn settled(self) -> Manner {
        match self.statistics {
            true => Manner {
                statistics: true,
                ..Manner::default()
            },
            false => self,
        }
    }
}

/// Prints lines. A failure to do so is ignored: transfers go on, and there is no
/// other place to report it.
#[derive(Debug, Default)]
pub(super) struct Speaker {
    pub(super) manner: Manner,
    /// The result file, if there is one.
    pub(super) results: Option<File>,
}

impl Speaker {
    fn stamp(&self) -> String {
        match self.manner.timestamps {
            true => stamp(&Zoned::now()),
            false => String::new(),
        }
    }

    /// A line of `-V`.
    pub(super) fn say(&self, text: &str) {
        if self.manner.verbose {
            out(format!("{}{text}\n", self.stamp()).as_bytes());
        }
    }

    /// A line of `-d`.
    pub(super) fn debug(&self, text: &str) {
        if self.manner.debug {
            out(format!("{}{text}\n", self.stamp()).as_bytes());
        }
    }

    /// A line of `-m`.
    pub(super) fn statistics(&self, text: &str) {
        if self.manner.statistics {
            out(format!("{text}\n").as_bytes());
        }
    }

    /// A failure; with `-V` what the server said is an answer, too.
    pub(super) fn failed(&self, failure: &Failure) {
        let Failure { code, text, .. } = failure;
        err(&format!("{}BBFTP-ERROR-{code:05} : {text}\n", self.stamp()));
        if *code == BY_SERVER {
            self.say(&format!("<< {text}"));
        }
    }

    /// A warning, printed with `-W`.
    pub(super) fn warn(&self, number: u8, text: &str) {
        if self.manner.warnings {
            self.warn_always(number, text);
        }
    }

    /// A warning.
    pub(super) fn warn_always(&self, number: u8, text: &str) {
        err(&format!(
            "{}BBFTP-WARNING-{number:05} : {text}\n",
            self.stamp()
        ));
    }

    /// The result of a command, behind the command as it was written.
    pub(super) fn result(&self, command: &[u8], is_done: bool) {
        let word: &[u8] = if is_done { b" OK\n" } else { b" FAILED\n" };
        let line = [command, word].concat();
        match &self.results {
            Some(file) => {
                let mut file: &File = file;
                let _ = file.write_all(&line);
            }
            None => out(&line),
        }
    }

    /// The speed of a transfer.
    pub(super) fn speed(&self, verb: &str, way: &str, moved: &Moved, settings: &Settings) {
        let seconds = moved.time.as_secs_f64();
        let bytes = moved.bytes;
        let per_second = bytes as f64 / if seconds == 0.0 { 1.0 } else { seconds };
        self.say(&format!(
            "{bytes} bytes {way} in {} secs ({} Kbytes/sec or {} Mbits/s)",
            general(seconds),
            general(per_second / 1024.0),
            general(8.0 * per_second / (1024.0 * 1024.0)),
        ));
        let (buffer, send, receive) = (
            settings.buffer,
            settings.send_window,
            settings.receive_window,
        );
        let streams = moved.streams;
        let gzip = if moved.gzip { "gzip" } else { "nogzip" };
        self.statistics(&format!(
            "{verb} {bytes} {seconds:.3} {buffer} {send} {receive} {streams} {gzip}"
        ));
    }
}

/// Bytes on standard output.
pub(super) fn out(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

fn err(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// What `-t` puts in front of a line.
fn stamp(now: &Zoned) -> String {
    now.strftime("%a %b %d %H:%M:%S (%Z) : ").to_string()
}

/// A number as `%.3g` of printf(3) writes it.
fn general(number: f64) -> String {
    const DIGITS: i32 = 3;
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.*e}", DIGITS as usize - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let places = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
        return without_zeros(&format!("{number:.places$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    let digits = without_zeros(digits);
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A decimal fraction without the zeros at its end.
fn without_zeros(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_printf() {
        for (number, text) in [
            (0.0456, "0.0456"),
            (64_300.0, "6.43e+04"),
            (502.1, "502"),
            (23.44, "23.4"),
            (0.183, "0.183"),
            (0.18, "0.18"),
            (0.043, "0.043"),
            (1.05, "1.05"),
            (23.0, "23"),
            (999.6, "1e+03"),
            (1000.0, "1e+03"),
            (0.000_012_34, "1.23e-05"),
            (0.0, "0"),
            (2.8e3, "2.8e+03"),
        ] {
            assert_eq!(general(number), text);
        }
    }

    #[test]
    fn a_time_is_written_as_the_public_client_does() {
        let time: jiff::Timestamp = "2026-11-20T22:53:36Z".parse().expect("time");
        let time = time.to_zoned(jiff::tz::TimeZone::UTC);
        assert_eq!(stamp(&time), "Fri Nov 20 22:53:36 (UTC) : ");
    }

    #[test]
    fn statistics_are_for_programs_and_go_without_anything_else() {
        let all = Manner {
            verbose: true,
            debug: true,
            warnings: true,
            timestamps: true,
            statistics: true,
        };
        let only = Manner {
            statistics: true,
            ..Manner::default()
        };
        assert_eq!(all.settled(), only);
    }
}
