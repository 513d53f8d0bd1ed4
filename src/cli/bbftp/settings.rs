//! What behaviour commands, rc files and options set.

use std::time::Duration;

use crate::client::bbftp::Options;

/// How commands are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// What transfers keep and make.
    pub(super) options: Options,
    /// How many streams a transfer gets.
    pub(super) streams: u32,
    /// The buffer of a stream in KiB.
    pub(super) buffer: u32,
    /// The server's window for sending in KiB.
    pub(super) send_window: u32,
    /// The server's window for receiving in KiB.
    pub(super) receive_window: u32,
    /// Seconds to wait for the end of a stream to be confirmed.
    pub(super) ack_timeout: u32,
    /// Seconds to wait for a message of the server.
    pub(super) control_receive_timeout: u32,
    /// Seconds to wait until the server takes a message.
    pub(super) control_send_timeout: u32,
    /// Seconds to wait for bytes of a stream.
    pub(super) data_timeout: u32,
    /// The umask here, once it was set.
    pub(super) local_umask: Option<u32>,
    /// The server's umask, once it was set.
    pub(super) remote_umask: Option<u32>,
    /// The server's class of service, once it was set.
    pub(super) class: Option<i32>,
    /// Whether a transfer that was cut continues where it was.
    pub(super) resume: bool,
    /// Whether SHA-256 of both files is compared.
    pub(super) sha256: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            options: Options::USUAL,
            streams: 1,
            buffer: 256,
            send_window: 256,
            receive_window: 256,
            ack_timeout: 100,
            control_receive_timeout: 180,
            control_send_timeout: 180,
            data_timeout: 300,
            local_umask: None,
            remote_umask: None,
            class: None,
            resume: false,
            sha256: false,
        }
    }
}

/// A number that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Buffer,
    SendWindow,
    ReceiveWindow,
    Streams,
    AckTimeout,
    ControlReceiveTimeout,
    ControlSendTimeout,
    DataTimeout,
    LocalUmask,
    RemoteUmask,
    Class,
}

/// An option that is on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    /// One that the server is told.
    Bits(Options),
    /// Files here are reached by RFIO.
    LocalRfio,
    Resume,
    Sha256,
}

/// The options, in the order in which an abbreviation in an rc file is looked up.
pub(super) const SWITCHES: [(&str, Switch); 10] = [
    ("createdir", Switch::Bits(Options::DIR)),
    ("tmpfile", Switch::Bits(Options::TMP)),
    ("remoterfio", Switch::Bits(Options::RFIO)),
    ("localrfio", Switch::LocalRfio),
    ("keepmode", Switch::Bits(Options::MODE)),
    ("keepaccess", Switch::Bits(Options::ACC)),
    ("gzip", Switch::Bits(Options::GZIP)),
    ("qbss", Switch::Bits(Options::QBSS)),
    ("resume", Switch::Resume),
    ("sha256", Switch::Sha256),
];

impl Number {
    /// The number of a command's word.
    pub(super) fn of(word: &[u8]) -> Option<Number> {
        Some(match word {
            b"setbuffersize" => Number::Buffer,
            b"setsendwinsize" => Number::SendWindow,
            b"setrecvwinsize" => Number::ReceiveWindow,
            b"setnbstream" => Number::Streams,
            b"setackto" => Number::AckTimeout,
            b"setrecvcontrolto" => Number::ControlReceiveTimeout,
            b"setsendcontrolto" => Number::ControlSendTimeout,
            b"setdatato" => Number::DataTimeout,
            b"setlocalumask" => Number::LocalUmask,
            b"setremoteumask" => Number::RemoteUmask,
            b"setremotecos" => Number::Class,
            _ => return None,
        })
    }

    /// Whether it is written in octal digits.
    pub(super) fn is_octal(self) -> bool {
        matches!(self, Number::LocalUmask | Number::RemoteUmask)
    }

    /// The value of a text. As with scanf(3), what follows the digits is ignored.
    pub(super) fn read(self, text: &[u8]) -> Option<i32> {
        let (is_negative, digits) = match text.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix(b"+").unwrap_or(text)),
        };
        let radix = if self.is_octal() { 8 } else { 10 };
        let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
        let len = digits.iter().take_while(|byte| is_digit(byte)).count();
        let digits = std::str::from_utf8(&digits[..len]).ok()?;
        let value = i32::from_str_radix(digits, radix).ok()?;
        let value = if is_negative { -value } else { value };
        let is_valid = match self {
            Number::Class => true,
            Number::LocalUmask | Number::RemoteUmask => (0..=0o7777).contains(&value),
            _ => value > 0,
        };
        is_valid.then_some(value)
    }
}

impl Settings {
    /// Sets a number that [`Number::read`] has read.
    pub(super) fn set(&mut self, number: Number, value: i32) {
        let positive = value.unsigned_abs();
        match number {
            Number::Buffer => self.buffer = positive,
            Number::SendWindow => self.send_window = positive,
            Number::ReceiveWindow => self.receive_window = positive,
            Number::Streams => self.streams = positive,
            Number::AckTimeout => self.ack_timeout = positive,
            Number::ControlReceiveTimeout => self.control_receive_timeout = positive,
            Number::ControlSendTimeout => self.control_send_timeout = positive,
            Number::DataTimeout => self.data_timeout = positive,
            Number::LocalUmask => self.local_umask = Some(positive),
            Number::RemoteUmask => self.remote_umask = Some(positive),
            Number::Class => self.class = Some(value),
        }
    }

    /// Sets an option; RFIO here can't be had.
    pub(super) fn switch(&mut self, switch: Switch, on: bool) {
        match switch {
            Switch::Bits(bits) if on => self.options = self.options | bits,
            Switch::Bits(bits) => self.options = self.options.without(bits),
            Switch::LocalRfio => {}
            Switch::Resume => self.resume = on,
            Switch::Sha256 => self.sha256 = on,
        }
    }

    fn is_on(&self, switch: Switch) -> bool {
        match switch {
            Switch::Bits(bits) => self.options.has(bits),
            Switch::LocalRfio => false,
            Switch::Resume => self.resume,
            Switch::Sha256 => self.sha256,
        }
    }

    /// All of them as `-d` prints them, without the umask here.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("number of streams = {}", self.streams),
            format!("remoteumask       = {:03o}", self.remote_umask.unwrap_or(0)),
            format!("remotecos         = {}", self.class.unwrap_or(-1)),
            format!("buffersize        = {} KB", self.buffer),
            format!("sendwinsize       = {} KB", self.send_window),
            format!("recvwinsize       = {} KB", self.receive_window),
            format!("ackto             = {} s", self.ack_timeout),
            format!("recvcontrolto     = {} s", self.control_receive_timeout),
            format!("sendcontrolto     = {} s", self.control_send_timeout),
            format!("datato            = {} s", self.data_timeout),
        ];
        lines.extend(SWITCHES.iter().map(|(name, switch)| {
            let no = if self.is_on(*switch) { "" } else { "no" };
            format!("option {no}{name}")
        }));
        lines
    }
}

/// Seconds as they are set.
pub(super) fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_by_the_public_client_but_checked() {
        for (number, text, value) in [
            (Number::Streams, "12", Some(12)),
            (Number::Streams, "12abc", Some(12)),
            (Number::Streams, "+2", Some(2)),
            (Number::Streams, "-3", None),
            (Number::Streams, "0", None),
            (Number::Streams, "x", None),
            (Number::Streams, "99999999999", None),
            (Number::LocalUmask, "027", Some(0o27)),
            (Number::LocalUmask, "0", Some(0)),
            (Number::LocalUmask, "8", None),
            (Number::Class, "-1", Some(-1)),
        ] {
            assert_eq!(number.read(text.as_bytes()), value, "{number:?} {text}");
        }
    }
}
