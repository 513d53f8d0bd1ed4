//! Replies: their numbers, texts and named parameters, in one table. The texts are the
//! protocol's; readers go by the number.

use super::bytes::{RunId, Signature};
use super::fields::{Fault, Fields, put_named};
use super::value::{Flag, Id, Label, Version};

macro_rules! replies {
    ($(
        $(#[$doc:meta])*
        $name:ident = $code:literal $text:literal $([$($option:ident: $type:ty),+])?;
    )*) => {
        /// The number of a reply.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            #[cfg(feature = "testing")]
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// Its number.
            pub const fn number(self) -> u16 {
                match self {
                    $(Code::$name => $code,)*
                }
            }

            /// The one that has this number.
            pub const fn of(number: u16) -> Option<Code> {
                match number {
                    $($code => Some(Code::$name),)*
                    _ => None,
                }
            }

            /// Whether it says no.
            pub const fn is_refusal(self) -> bool {
                self.number() >= 400
            }

            /// What is sent behind the number.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)*
                }
            }
        }

        /// A reply.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the parameters of the replies")]
        pub enum Reply {
            $($(#[$doc])* $name $({ $($option: Option<$type>),+ })?,)*
        }

        impl Reply {
            /// Its code.
            pub const fn code(&self) -> Code {
                match self {
                    $(Reply::$name $({ $($option: _),+ })? => Code::$name,)*
                }
            }

            fn read(code: Code, fields: &Fields<'_>) -> Result<Reply, Fault> {
                Ok(match code {
                    $(Code::$name => Reply::$name $({
                        $($option: fields.named(stringify!($option))?,)+
                    })?,)*
                })
            }

            fn put_named(&self, out: &mut String) {
                match self {
                    $(Reply::$name $({ $($option),+ })? => {
                        $($(put_named(out, stringify!($option), $option.as_ref());)+)?
                    })*
                }
            }
        }
    };
}

replies! {
    /// The peer is in. `replay`: the hub is rebuilt, and wants to hear of every file.
    LoggedIn = 201 "Verification client-hub succeeded" [replay: Flag];
    /// A run has begun, or goes on. `window`: packs at a time; `runs`: other open runs
    /// of this owner.
    MayBegin = 202 "OK to begin backup" [window: u64, run: RunId, runs: u64];
    /// The file is deleted.
    FileDeleted = 203 "File is deleted";
    /// The dialler of a line between peers is who it says.
    DiallerVerified = 204 "Verification of Client1 succeeded";
    /// The file is on the holder's disk.
    FileReceived = 205 "File received" [receipt: Signature];
    /// The name is known, or may be.
    UsernameOk = 206 "Username OK" [version: Version, hub: Label, time: u64];
    /// So many `IDX` follow.
    FilesExist = 207 "One or more index files exists" [number: u64];
    /// The share is taken.
    ShareOk = 208 "Share OK";
    /// The key is taken.
    KeyReceived = 209 "Key received";
    /// The bytes of the file may come, beginning with the one at `from`.
    MaySend = 211 "OK to send file" [from: u64];
    /// The copy counts.
    TransferCompleted = 212 "Transfer completed";
    /// The listener of a line between peers is who it says.
    ListenerVerified = 213 "Verification of Client2 succeeded";
    /// The holder has back what could be had.
    ReverseRecoveryDone = 214 "Reverse recovery done";
    /// The run is over, or the move is noted.
    UpdateDone = 215 "Update done" [time: u64];
    /// The run or the recovery is given up.
    Aborted = 216 "Backup/recovery aborted";
    /// The peer is in, and has to share first.
    ShareNeeded = 301 "Verification client-hub succeeded, size of share needed";
    /// The peer is in, and has to send its key first.
    KeyNeeded = 302 "Verification client-hub succeeded, key is needed";
    /// No user has this name.
    NoSuchUser = 401 "User does not exist";
    /// The response is wrong.
    NotVerified = 402 "Verification client-hub did not succeed";
    /// The owner's space, or the holder's, does not suffice. `hub`: the hub's own disk is
    /// full.
    NoSpace = 403 "Accessible space not sufficient" [hub: Flag];
    /// Others have `used` bytes in this share.
    ShareTooSmall = 404 "Share is smaller than used space" [used: u64];
    /// The user is offline; last seen at `until`.
    NotOnline = 405 "User is not online" [until: u64];
    /// No holder takes the file. `missing`: copies of the run that are not confirmed.
    NoHolder = 406 "No client online with enough space" [missing: u64];
    /// Not now.
    Later = 407 "Try again later" [after: u64];
    /// The line can't be read, or not in this direction.
    NotUnderstood = 500 "Command not understood";
    /// The address has failed too often.
    AddressBlocked = 501 "IP-address blocked after failed login attempt" [after: u64];
    /// The account has failed too often.
    AccountBlocked = 502 "User account blocked after failed login attempt" [after: u64];
    /// The file is of another owner.
    NotMine = 503 "This file is not mine";
    /// Not in this state or role, or not without a proof.
    NotAllowed = 504 "Not allowed";
    /// The file does not exist.
    NoSuchFile = 505 "Requested file does not exist";
    /// The other peer's statement is wrong.
    PeerNotVerified = 506 "Verification of client did not succeed";
    /// Another version is spoken here.
    WrongVersion = 508 "Version not supported" [version: Version];
}

impl Reply {
    /// Reads a line that begins with a digit.
    pub(super) fn parse(line: &str) -> Result<(Option<Id>, Reply), Fault> {
        let (digits, rest) = line.split_once(' ').ok_or(Fault::Form)?;
        let (text, rest) = match rest.split_once(" ; ") {
            Some((text, rest)) => (text, Some(rest)),
            None => (rest, None),
        };
        let is_text = |c: u8| c == b' ' || c.is_ascii_graphic() && c != b';';
        let is_number = digits.len() == 3 && digits.bytes().all(|c| c.is_ascii_digit());
        if !is_number || text.is_empty() || !text.bytes().all(is_text) {
            return Err(Fault::Form);
        }
        let number = digits.parse().map_err(|_| Fault::Form)?;
        let code = Code::of(number).ok_or(Fault::Unknown)?;
        let fields = Fields::read(rest, 0)?;
        Ok((fields.named("id")?, Reply::read(code, &fields)?))
    }

    /// Appends it without CR and LF.
    pub(super) fn print(&self, out: &mut String, id: Option<Id>) {
        let code = self.code();
        out.push_str(&format!("{} {}", code.number(), code.text()));
        let begin = out.len();
        put_named(out, "id", id.as_ref());
        self.put_named(out);
        if out.len() > begin {
            out.insert_str(begin, " ;");
        }
    }
}
