//! What stands on lines: names, keys, numbers and texts, each in one form. A value
//! that is out of its limits is none.

use super::bytes::{Exporter, Nonce, hex};
use super::words::{Kind, Purpose, Side};
use crate::ipc::codec::{Decode, Encode, Reader, Writer, codec};

/// The most names in a list of trusted holders.
const MAX_TRUSTED: usize = 16;

/// The longest label, in bytes.
const MAX_LABEL: usize = 255;

/// A value of a line, without `%XX`.
pub trait Value: Sized {
    /// Reads it; `None` if it is out of its limits.
    fn read(text: &str) -> Option<Self>;

    /// Prints it.
    fn print(&self, out: &mut String);

    /// The same as a text of its own.
    fn text(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }
}

/// A number: decimal, without sign and leading zeros, below 2^63.
impl Value for u64 {
    fn read(text: &str) -> Option<u64> {
        let is_decimal = text.bytes().all(|c| c.is_ascii_digit());
        let is_shortest = text == "0" || !text.starts_with('0');
        let number: u64 = text.parse().ok()?;
        (is_decimal && is_shortest && i64::try_from(number).is_ok()).then_some(number)
    }

    fn print(&self, out: &mut String) {
        out.push_str(&self.to_string());
    }
}

/// A port, which is never 0.
impl Value for u16 {
    fn read(text: &str) -> Option<u16> {
        let port = u16::try_from(u64::read(text)?).ok()?;
        (port > 0).then_some(port)
    }

    fn print(&self, out: &mut String) {
        out.push_str(&self.to_string());
    }
}

/// The number of a request, which its answers repeat: 1 to 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u32);

impl Id {
    /// The first one of a line.
    pub const FIRST: Id = Id(1);

    /// The one after it; `None` after the last.
    pub fn next(self) -> Option<Id> {
        (self.0 < 1 << 31).then(|| Id(self.0 + 1))
    }
}

impl Value for Id {
    fn read(text: &str) -> Option<Id> {
        let number = u32::try_from(u64::read(text)?).ok()?;
        (1..=1 << 31).contains(&number).then_some(Id(number))
    }

    fn print(&self, out: &mut String) {
        out.push_str(&self.0.to_string());
    }
}

impl Encode for Id {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        self.0.encode(out);
    }
}

impl Decode for Id {
    fn decode(from: &mut Reader<'_>) -> Option<Id> {
        let number = u32::decode(from)?;
        (1..=1 << 31).contains(&number).then_some(Id(number))
    }
}

/// Texts with a limit of their own.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident if $valid:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Its text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Value for $name {
            fn read(text: &str) -> Option<$name> {
                $valid(text).then(|| $name(text.to_owned()))
            }

            fn print(&self, out: &mut String) {
                out.push_str(&self.0);
            }
        }

        impl Encode for $name {
            fn encode<'a>(&'a self, out: &mut Writer<'a>) {
                self.0.encode(out);
            }
        }

        impl Decode for $name {
            fn decode(from: &mut Reader<'_>) -> Option<$name> {
                String::decode(from).filter(|text| $valid(text)).map($name)
            }
        }
    )*};
}

texts! {
    /// The name of a user: 1 to 64 of `a-z 0-9 . _ -`, the first a letter or a digit,
    /// the last not a dot.
    User if is_user;
    /// The name of a hub, a site or a program: 1 to 255 bytes, no control characters.
    Label if is_label;
}

fn is_user(text: &str) -> bool {
    let is_first = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_next = |c: &u8| is_first(c) || b"._-".contains(c);
    let bytes = text.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes.first().is_some_and(is_first)
        && bytes.iter().all(is_next)
        && !text.ends_with('.')
}

fn is_label(text: &str) -> bool {
    (1..=MAX_LABEL).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What is so if it is there: `1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag;

impl Value for Flag {
    fn read(text: &str) -> Option<Flag> {
        (text == "1").then_some(Flag)
    }

    fn print(&self, out: &mut String) {
        out.push('1');
    }
}

/// How many copies a file is to have: 1 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(u8);

impl Factor {
    /// One copy.
    pub const ONE: Factor = Factor(1);

    /// Its number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// That number, as far as it may be.
    pub fn new(number: u8) -> Option<Factor> {
        (1..=16).contains(&number).then_some(Factor(number))
    }
}

impl Value for Factor {
    fn read(text: &str) -> Option<Factor> {
        Factor::new(u8::try_from(u64::read(text)?).ok()?)
    }

    fn print(&self, out: &mut String) {
        out.push_str(&self.0.to_string());
    }
}

impl Encode for Factor {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        self.0.encode(out);
    }
}

impl Decode for Factor {
    fn decode(from: &mut Reader<'_>) -> Option<Factor> {
        Factor::new(u8::decode(from)?)
    }
}

/// Which copy of how many: `1/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyNumber {
    /// The copy, from 1.
    pub number: Factor,
    /// All of them.
    pub of: Factor,
}

codec!(struct CopyNumber { number, of } if CopyNumber::is_valid);

impl CopyNumber {
    fn is_valid(&self) -> bool {
        self.number <= self.of
    }
}

impl Value for CopyNumber {
    fn read(text: &str) -> Option<CopyNumber> {
        let (number, of) = text.split_once('/')?;
        let number = Factor::read(number)?;
        let of = Factor::read(of)?;
        Some(CopyNumber { number, of }).filter(CopyNumber::is_valid)
    }

    fn print(&self, out: &mut String) {
        out.push_str(&format!("{}/{}", self.number.0, self.of.0));
    }
}

/// The version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Another one is another protocol.
    pub major: u16,
    /// A higher one has more parameters and replies.
    pub minor: u16,
}

impl Version {
    /// The one that is spoken here.
    pub const SPOKEN: Version = Version { major: 1, minor: 1 };

    /// The one of lines without TLS.
    pub const BASE: Version = Version { major: 1, minor: 0 };
}

impl Value for Version {
    fn read(text: &str) -> Option<Version> {
        let (major, minor) = text.split_once('.')?;
        let number = |text| u16::try_from(u64::read(text)?).ok();
        Some(Version {
            major: number(major)?,
            minor: number(minor)?,
        })
    }

    fn print(&self, out: &mut String) {
        out.push_str(&format!("{}.{}", self.major, self.minor));
    }
}

/// Which kinds of files a list has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// `all`.
    All,
    /// One of them.
    Only(Kind),
}

codec!(enum Kinds { 1 => All, 2 => Only(kind) });

impl Value for Kinds {
    fn read(text: &str) -> Option<Kinds> {
        match text {
            "all" => Some(Kinds::All),
            kind => Kind::read(kind).map(Kinds::Only),
        }
    }

    fn print(&self, out: &mut String) {
        match self {
            Kinds::All => out.push_str("all"),
            Kinds::Only(kind) => kind.print(out),
        }
    }
}

/// The key of a checksum, and what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditKey {
    /// All bytes of the file: `f:` and 64 digits.
    Full([u8; 32]),
    /// Blocks that the key draws: `s:` and 64 digits.
    Spot([u8; 32]),
}

codec!(enum AuditKey { 1 => Full(key), 2 => Spot(key) });

impl Value for AuditKey {
    fn read(text: &str) -> Option<AuditKey> {
        match text.split_once(':')? {
            ("f", key) => hex::read(key).map(AuditKey::Full),
            ("s", key) => hex::read(key).map(AuditKey::Spot),
            _ => None,
        }
    }

    fn print(&self, out: &mut String) {
        let (letter, key) = match self {
            AuditKey::Full(key) => ('f', key),
            AuditKey::Spot(key) => ('s', key),
        };
        out.push(letter);
        out.push(':');
        out.push_str(&hex::text(key));
    }
}

/// Holders whose keys the owner has compared: up to 16, with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// Their names.
    pub holders: Vec<User>,
}

codec!(struct Trusted { holders } if Trusted::is_valid);

impl Trusted {
    fn is_valid(&self) -> bool {
        (1..=MAX_TRUSTED).contains(&self.holders.len())
    }
}

impl Value for Trusted {
    fn read(text: &str) -> Option<Trusted> {
        let users = text.split(',').take(MAX_TRUSTED + 1).map(User::read);
        let holders = users.collect::<Option<Vec<User>>>()?;
        Some(Trusted { holders }).filter(Trusted::is_valid)
    }

    fn print(&self, out: &mut String) {
        let names: Vec<&str> = self.holders.iter().map(User::as_str).collect();
        out.push_str(&names.join(","));
    }
}

/// The plaintext of `DS1` and `DS2`: what an end of a new line between peers states
/// and signs. It has one form only, so that what is signed is what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of the plaintext")]
pub struct Introduction {
    pub version: Version,
    pub side: Side,
    pub purpose: Purpose,
    pub from: User,
    pub to: User,
    /// Seconds since 1970, of the hub's clock.
    pub time: u64,
    pub nonce: Nonce,
    pub exporter: Exporter,
}

impl Value for Introduction {
    fn read(text: &str) -> Option<Introduction> {
        let mut fields = text.split(',');
        let introduction = Introduction {
            version: field(&mut fields)?,
            side: field(&mut fields)?,
            purpose: field(&mut fields)?,
            from: field(&mut fields)?,
            to: field(&mut fields)?,
            time: field(&mut fields)?,
            nonce: field(&mut fields)?,
            exporter: field(&mut fields)?,
        };
        fields.next().is_none().then_some(introduction)
    }

    fn print(&self, out: &mut String) {
        let fields = [
            self.version.text(),
            self.side.text(),
            self.purpose.text(),
            self.from.text(),
            self.to.text(),
            self.time.text(),
            self.nonce.text(),
            self.exporter.text(),
        ];
        out.push_str(&fields.join(","));
    }
}

fn field<T: Value>(fields: &mut std::str::Split<'_, char>) -> Option<T> {
    T::read(fields.next()?)
}
