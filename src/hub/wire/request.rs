//! Commands: their words, parameters, directions and answers, in one table. A request
//! is of a type that has its parameters, so all errors of form end here.

use std::net::SocketAddr;

use super::address::Way;
use super::bytes::{Checksum, Key, LoginKey, Name, Random, RunId, Signature, Token};
use super::fields::{Fault, Fields, put, put_named};
use super::value::{
    AuditKey, CopyNumber, Factor, Flag, Id, Introduction, Kinds, Label, Trusted, User, Value,
    Version,
};
use super::words::{Kind, Leaving, NotStored, Purpose, Removal, Role, Shelf, Spread, Wrong};

/// Who sends a line, or gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The hub.
    Hub,
    /// An owner.
    Owner,
    /// A holder.
    Holder,
    /// One as well as the other.
    Peer,
}

impl Party {
    #[cfg(feature = "testing")]
    fn covers(self, other: Party) -> bool {
        self == other || (self == Party::Peer && other != Party::Hub)
    }
}

/// What a command is in a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It has a number, and is answered.
    Request,
    /// It answers a request, whose number it has.
    Answer,
    /// It has no number, and is not answered.
    Notice,
}

/// A direction in which a command is sent.
#[derive(Debug)]
pub struct Use {
    /// Who sends it.
    pub from: Party,
    /// Who gets it.
    pub to: Party,
    /// What it is there.
    pub sort: Sort,
    /// The words of what may answer it: commands and codes of replies.
    answers: &'static str,
}

impl Use {
    /// The words of what may answer it: commands and codes of replies. `500` may
    /// answer everything.
    pub fn answers(&self) -> impl Iterator<Item = &'static str> {
        self.answers.split(' ').filter(|word| !word.is_empty())
    }
}

macro_rules! commands {
    ($(
        $(#[$doc:meta])*
        $name:ident = $word:literal ($($value:ident: $value_type:ty),*)
        [$($option:ident: $option_type:ty),*]
        $($from:ident > $to:ident $sort:ident $answers:literal)&+;
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            #[allow(missing_docs, reason = "the parameters of the commands")]
            pub struct $name {
                $(pub $value: $value_type,)*
                $(pub $option: Option<$option_type>,)*
            }

            impl $name {
                /// The one without named parameters.
                #[cfg_attr(
                    not(feature = "testing"),
                    allow(dead_code, reason = "each party sends its own")
                )]
                #[allow(clippy::new_without_default, reason = "most have parameters")]
                pub fn new($($value: $value_type),*) -> $name {
                    $name { $($value,)* $($option: None,)* }
                }

                fn read(fields: &mut Fields<'_>) -> Result<$name, Fault> {
                    Ok($name {
                        $($value: fields.next(stringify!($value))?,)*
                        $($option: fields.named(stringify!($option))?,)*
                    })
                }

                fn values(&self) -> Vec<String> {
                    vec![$(self.$value.text()),*]
                }

                fn print(&self, out: &mut String) {
                    $(put(out, &self.$value);)*
                    $(put_named(out, stringify!($option), self.$option.as_ref());)*
                }
            }

            impl From<$name> for Request {
                fn from(it: $name) -> Request {
                    Request::$name(it)
                }
            }
        )*

        /// The word of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Command {
            $($(#[$doc])* $name,)*
        }

        impl Command {
            /// All of them.
            #[cfg(feature = "testing")]
            pub const ALL: &[Command] = &[$(Command::$name),*];

            /// Its three letters.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Command::$name => $word,)*
                }
            }

            /// The one of these letters.
            pub fn of(word: &str) -> Option<Command> {
                match word {
                    $($word => Some(Command::$name),)*
                    _ => None,
                }
            }

            /// The directions in which it is sent.
            pub const fn uses(self) -> &'static [Use] {
                match self {
                    $(Command::$name => &[$(Use {
                        from: Party::$from,
                        to: Party::$to,
                        sort: Sort::$sort,
                        answers: $answers,
                    }),+],)*
                }
            }

            /// How many parameters it has without a name.
            pub(super) const fn values(self) -> usize {
                match self {
                    $(Command::$name => {
                        const VALUES: &[&str] = &[$(stringify!($value)),*];
                        VALUES.len()
                    })*
                }
            }
        }

        /// A request, a notice or an answer, with its parameters.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request {
            $($(#[$doc])* $name($name),)*
        }

        impl Request {
            /// Its word.
            pub const fn command(&self) -> Command {
                match self {
                    $(Request::$name(_) => Command::$name,)*
                }
            }

            /// Its parameters without a name, in their order.
            pub fn values(&self) -> Vec<String> {
                match self {
                    $(Request::$name(it) => it.values(),)*
                }
            }

            fn read(command: Command, fields: &mut Fields<'_>) -> Result<Request, Fault> {
                match command {
                    $(Command::$name => $name::read(fields).map(Request::$name),)*
                }
            }

            fn put(&self, out: &mut String) {
                match self {
                    $(Request::$name(it) => it.print(out),)*
                }
            }
        }
    };
}

commands! {
    /// Give up the run, the recovery, the reverse recovery.
    Abt = "ABT" () [run: RunId]
        Peer > Hub Request "216";
    /// Expect a line of this user, whose key is known or given.
    Acc = "ACC" (username: User) [key: Key, token: Token, purpose: Purpose, lan: SocketAddr]
        Hub > Peer Request "206 401 407";
    /// The bytes that are left to use.
    Acs = "ACS" (size: u64) [used: u64, reserved: u64, share: u64, proved: u64]
        Hub > Peer Notice "";
    /// Begin a run, or resume it.
    Bck = "BCK" (size: u64, number_of_files: u64, factor: Factor)
        [run: RunId, spread: Spread, trust: Trusted, exclusive: Flag]
        Owner > Hub Request "202 403 406 407";
    /// Show that you are this user.
    Cha = "CHA" (time: u64, random: Random) []
        Hub > Peer Notice "";
    /// The checksum that was asked for.
    Crc = "CRC" (checksum: Checksum) []
        Holder > Owner Answer "" & Holder > Hub Answer "";
    /// Has every file of the run its copies?
    Dbu = "DBU" () [run: RunId]
        Owner > Hub Request "215 406";
    /// Delete a file.
    Del = "DEL" (filename: Name) [proof: Signature, time: u64]
        Owner > Hub Request "203 503 504 505";
    /// The holder has the file.
    Dfi = "DFI" (filename: Name, username: User)
        [receipt: Signature, size: u64, time: u64, owner: User, okey: Key, sig: Signature,
         kind: Kind, replay: Flag]
        Peer > Hub Request "212 503 505";
    /// What the dialler of a line between peers states.
    Ds1 = "DS1" (plaintext: Introduction, signature: Signature) [token: Token]
        Peer > Peer Request "204 401 506";
    /// What the listener states.
    Ds2 = "DS2" (plaintext: Introduction, signature: Signature) []
        Peer > Peer Request "213 506";
    /// Where this copy goes.
    Dst = "DST" (filename: Name, ip: Way, username: User, key: Key, factor: CopyNumber)
        [lan: SocketAddr]
        Hub > Owner Answer "";
    /// `ERR`: what have you of mine?
    Inventory = "ERR" (username: User) [kind: Kinds]
        Owner > Holder Request "207 IDX 505";
    /// A file is coming.
    Fil = "FIL" (filename: Name, filesize: u64)
        [off: u64, from: u64, r#for: Id, sig: Signature, kind: Kind, owner: User, okey: Key]
        Peer > Peer Request "211 205 403 503 505";
    /// Send this file, or a range of it. To the hub: who has it?
    Get = "GET" (filename: Name, filesize: u64) [off: u64, len: u64, from: u64]
        Peer > Holder Request "FIL 503 505" & Owner > Hub Request "SRC 405 503 505";
    /// Where is this user?
    Gip = "GIP" (username: User) []
        Peer > Hub Request "TIP OFF 401";
    /// Send, or say who has, this file of any kind but data; without a name the newest
    /// snapshot.
    Gix = "GIX" (username: User) [name: Name]
        Owner > Hub Request "SRC 405 505" & Owner > Holder Request "FIL 505";
    /// A file of a list, whose last one has number 1.
    Idx = "IDX" (number: u64, filename: Name) [size: u64, time: u64, kind: Kind, state: Shelf]
        Hub > Owner Answer "" & Holder > Owner Answer "";
    /// A public key.
    SendKey = "KEY" (key: Key) [login: LoginKey, proof: Signature]
        Peer > Hub Request "209 504 506";
    /// Be ready to send to this user.
    Let = "LET" (ip: Way, username: User, key: Key)
        [name: Name, size: u64, off: u64, len: u64, purpose: Purpose, token: Token, dial: Token,
         lan: SocketAddr]
        Hub > Holder Request "211 407 505";
    /// Log in.
    Log = "LOG" (username: User, version: Version) [role: Role, app: Label, port: u16]
        Peer > Hub Request "206 401 501 502 508";
    /// A copy has moved.
    Mov = "MOV" (filename: Name, old_username: User, new_username: User) []
        Holder > Hub Request "215 503 505" & Hub > Owner Notice "";
    /// So many more files may come; without a number one.
    Nfi = "NFI" () [credit: u64]
        Hub > Owner Notice "";
    /// Not stored by this user, or could not be.
    Nst = "NST" (username: User) [name: Name, reason: NotStored]
        Owner > Hub Request "DST SRC 212 405 406 505" & Holder > Hub Request "212 505";
    /// The user is offline.
    Off = "OFF" (username: User) []
        Hub > Peer Answer "" & Hub > Peer Notice "";
    /// The end of the line; of the hub's, come back after so many seconds.
    Out = "OUT" () [after: u64, reason: Leaving]
        Peer > Hub Notice "" & Hub > Peer Notice "";
    /// Place a file of another kind than data.
    Pix = "PIX" (filename: Name, filesize: u64, factor: Factor) [kind: Kind]
        Owner > Hub Request "DST 212 403 406 407 503";
    /// Place a pack.
    Put = "PUT" (filename: Name, filesize: u64) []
        Owner > Hub Request "DST 212 403 406 407 503";
    /// Be ready to receive from this user.
    Rcv = "RCV" (ip: Way, username: User, key: Key)
        [name: Name, size: u64, kind: Kind, owner: User, okey: Key, purpose: Purpose,
         token: Token, dial: Token, lan: SocketAddr]
        Hub > Holder Request "211 212 403 407";
    /// Recover from this holder. One's own name: what is there?
    Rec = "REC" (username: User) [kind: Kinds]
        Owner > Hub Request "207 IDX SRC 401 405 505";
    /// Remove this user's file.
    Rem = "REM" (username: User, filename: Name, size: u64)
        [proof: Signature, time: u64, reason: Removal]
        Hub > Holder Request "203 503 504 505";
    /// Compute a keyed checksum.
    Req = "REQ" (filename: Name, key: AuditKey) []
        Owner > Holder Request "CRC 407 503 505" & Hub > Holder Request "CRC 407 503 505";
    /// Give back what I have kept and lost; `all` of it.
    Rrc = "RRC" () [all: Flag]
        Holder > Hub Request "214 405 407";
    /// The response to a challenge.
    Rsp = "RSP" (hash_string: Checksum) [sig: Signature]
        Peer > Hub Request "201 301 302 402 501 502 508";
    /// So many bytes are shared.
    Sha = "SHA" (size: u64) [port: u16, site: Label]
        Peer > Hub Request "208 404";
    /// Who has it.
    Src = "SRC" (ip: Way, username: User, key: Key) [name: Name, size: u64, lan: SocketAddr]
        Hub > Owner Answer "";
    /// Fetch this lost file there.
    Srr = "SRR" (filename: Name, ip: Way, username: User, key: Key)
        [size: u64, owner: User, okey: Key, kind: Kind]
        Hub > Holder Notice "";
    /// No more lines of this user.
    Stp = "STP" (username: User) []
        Owner > Hub Notice "" & Hub > Holder Notice "";
    /// The user's address.
    Tip = "TIP" (username: User, ip: Way) [key: Key, lan: SocketAddr]
        Hub > Peer Answer "";
    /// Send this file to that holder.
    Tra = "TRA" (filename: Name, ip: Way, username: User, key: Key)
        [size: u64, owner: User, okey: Key, old: User, token: Token]
        Hub > Holder Request "211 405 407 505";
    /// Something is wrong with this user's copies.
    Wrn = "WRN" (username: User) [reason: Wrong, files: u64, name: Name, until: u64]
        Hub > Peer Notice "" & Holder > Hub Notice "";
}

#[cfg(feature = "testing")]
impl Command {
    /// What it is in this direction; `None` if it is not sent there.
    pub fn between(self, from: Party, to: Party) -> Option<&'static Use> {
        let is_there = |it: &&Use| it.from.covers(from) && it.to.covers(to);
        self.uses().iter().find(is_there)
    }
}

impl Request {
    /// Reads a line that does not begin with a digit.
    pub(super) fn parse(line: &str) -> Result<(Option<Id>, Request), Fault> {
        let (word, rest) = match line.split_once(' ') {
            Some((word, rest)) => (word, Some(rest)),
            None => (line, None),
        };
        let command = Command::of(word).ok_or(Fault::Unknown)?;
        let mut fields = Fields::read(rest, command.values())?;
        let request = Request::read(command, &mut fields)?;
        Ok((fields.named("id")?, request))
    }

    /// Appends it without CR and LF.
    pub(super) fn print(&self, out: &mut String, id: Option<Id>) {
        out.push_str(self.command().word());
        self.put(out);
        put_named(out, "id", id.as_ref());
    }
}
