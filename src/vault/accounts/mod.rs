//! Accounts of the vault's clients: what a gate and a session ask of the process
//! that keeps them. A session speaks for one account alone, whose channel it has.

pub mod book;
pub mod codes;
pub mod devices;
pub mod import;
pub mod lists;
pub mod mails;
pub mod own;
pub mod password;
pub mod process;
mod roots;
pub mod tables;
mod users_file;

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::mail::ToMailer;
use super::reply::{Device, Event};
use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::orders::Tag;
use crate::session::failure::Failure;
use crate::session::login::{AskingGate, GatePipe};

/// The longest text of a question but a device's, in bytes, and of that.
pub const MAX_TEXT: usize = 1024;
pub const MAX_ABOUT: usize = 8 * 1024;

/// Bytes of a secret.
pub type Secret = Zeroizing<Vec<u8>>;

/// What is asked. Other bytes end the channel.
#[derive(Debug)]
pub enum Ask {
    /// A new name for a device.
    Cookie,
    /// Whether there is this one.
    HasCookie { cookie: String },
    /// What device has it.
    Authorize { cookie: String, about: String },
    /// A new account.
    Register(NewAccount),
    /// Its code.
    Verify { user: String, code: Secret },
    /// A login, with a code for a new device.
    LogIn(Login),
    /// Whether a name and a password match.
    Check { user: String, password: Secret },
    /// Another address for an account that is not active yet.
    SetEmail {
        user: String,
        cookie: String,
        email: String,
    },
    /// Another code in place of one that is not used yet.
    Resend { user: String, email: String },
    /// Of a session: the device it serves.
    Serve { cookie: String },
    /// Of a session: its client has logged out.
    LoggedOut,
    /// Of a session: all devices.
    Devices,
    /// Of a session: the end of a device.
    Unlink { cookie: String },
    /// Of a session: a code, for another password or for the end of the account.
    Schedule { deletion: bool },
    /// Of a session: another password.
    SetPassword { password: Secret, code: Secret },
    /// Of a session: the end of the account.
    Delete { code: Secret },
    /// Of a session: another name to be greeted by.
    Rename { name: String },
    /// Of a session: when the account has changed, its address and its name.
    Details,
    /// Of a session: what has happened to it.
    Events,
    /// Of the own dialect.
    Own(own::Ask),
    /// Of the daemon: there is another process for those who come.
    Retire,
}

codec!(enum Ask {
    1 => Cookie,
    2 => HasCookie { cookie },
    3 => Authorize { cookie, about },
    4 => Register(new),
    5 => Verify { user, code },
    6 => LogIn(login),
    7 => Check { user, password },
    8 => SetEmail { user, cookie, email },
    9 => Resend { user, email },
    10 => Serve { cookie },
    11 => LoggedOut,
    12 => Devices,
    13 => Unlink { cookie },
    14 => Schedule { deletion },
    15 => SetPassword { password, code },
    16 => Delete { code },
    17 => Rename { name },
    18 => Details,
    19 => Events,
    20 => Own(ask),
    21 => Retire,
});

/// An account to be.
#[derive(Debug)]
pub struct NewAccount {
    pub user: String,
    pub password: Secret,
    pub email: String,
    pub nickname: String,
    pub cookie: String,
}

codec!(struct NewAccount { user, password, email, nickname, cookie });

/// Who wants to log in.
#[derive(Debug)]
pub struct Login {
    pub user: String,
    pub password: Secret,
    pub cookie: String,
    pub code: Option<Secret>,
}

codec!(struct Login { user, password, cookie, code });

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, or it is so.
    Yes,
    /// No, and why.
    No(Refusal),
    /// A new name for a device.
    Cookie(String),
    /// The login is right: a session of the account follows.
    Admitted,
    /// All devices.
    Devices(Vec<Device>),
    /// When the account has changed, its address and its name.
    Details {
        changed: i64,
        email: String,
        name: String,
    },
    /// What has happened to it.
    Events(Vec<Event>),
    /// Of the own dialect.
    Own(own::Answer),
}

codec!(struct Device { cookie, about, seen, address });
codec!(struct Event { name, address, time });
codec!(enum Answer {
    1 => Yes,
    2 => No(why),
    3 => Cookie(cookie),
    4 => Admitted,
    5 => Devices(devices),
    6 => Details { changed, email, name },
    7 => Events(events),
    8 => Own(answer),
});

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Name and password don't match, or the address has failed too often.
    #[error("wrong name or password")]
    Credentials,
    /// No such cookie.
    #[error("no such cookie")]
    NoCookie,
    /// The account is banned.
    #[error("banned")]
    Banned,
    /// The account is not active yet.
    #[error("not active yet")]
    NotVerified,
    /// The device is new: there is a code for it now.
    #[error("new device")]
    NewDevice,
    /// No code exists for this.
    #[error("no code for this")]
    NoCode,
    /// The code is wrong.
    #[error("wrong code")]
    WrongCode,
    /// The code is too old.
    #[error("code too old")]
    OldCode,
    /// Too many codes were wrong.
    #[error("too many wrong codes")]
    TooManyCodes,
    /// The name is taken.
    #[error("name taken")]
    UserExists,
    /// The address is taken.
    #[error("address taken")]
    EmailInUse,
    /// Nobody may do this here, or so often.
    #[error("not allowed")]
    Forbidden,
    /// The account is active already.
    #[error("active already")]
    Active,
    /// Too many codes were asked for: the account is gone.
    #[error("account deleted: too many codes asked for")]
    Deleted,
    /// No such thing.
    #[error("not found")]
    NotFound,
}

codec!(enum Refusal {
    1 => Credentials,
    2 => NoCookie,
    3 => Banned,
    4 => NotVerified,
    5 => NewDevice,
    6 => NoCode,
    7 => WrongCode,
    8 => OldCode,
    9 => TooManyCodes,
    10 => UserExists,
    11 => EmailInUse,
    12 => Forbidden,
    13 => Active,
    14 => Deleted,
    15 => NotFound,
});

/// A channel to the process, of a gate or a session.
pub type Asking = Pipe<Ask, Answer>;

/// The other end of that.
pub type Asked = Pipe<Answer, Ask>;

impl Ask {
    /// Whether none of its texts is too long.
    pub fn is_valid(&self) -> bool {
        let texts: &[&str] = match self {
            Ask::HasCookie { cookie } | Ask::Serve { cookie } | Ask::Unlink { cookie } => &[cookie],
            Ask::Authorize { cookie, about } => {
                return cookie.len() <= MAX_TEXT && about.len() <= MAX_ABOUT;
            }
            Ask::Register(new) => &[&new.user, &new.email, &new.nickname, &new.cookie],
            Ask::Verify { user, .. } | Ask::Check { user, .. } => &[user],
            Ask::LogIn(login) => &[&login.user, &login.cookie],
            Ask::SetEmail {
                user,
                cookie,
                email,
            } => &[user, cookie, email],
            Ask::Resend { user, email } => &[user, email],
            Ask::Rename { name } => &[name],
            _ => &[],
        };
        texts.iter().all(|text| text.len() <= MAX_TEXT)
    }
}

/// Who may ask from now on: the daemon's message to the process.
#[derive(Debug)]
pub enum NewCaller {
    /// A gate.
    Gate(AskingGate),
    /// A session of an account, by its number, with its client's address.
    Session {
        account: u64,
        peer: IpAddr,
        channel: Asked,
    },
    /// The mailer.
    Mailer(ToMailer),
    /// The daemon itself.
    Daemon { channel: Asked },
}

codec!(enum NewCaller {
    1 => Gate(gate),
    2 => Session { account, peer, channel },
    3 => Mailer(channel),
    4 => Daemon { channel },
});

/// A gate whose client has logged in: the message to the daemon.
#[derive(Debug)]
pub struct Admitted {
    /// The gate's connection.
    pub tag: Tag,
    /// The account's number.
    pub account: u64,
    /// Its name.
    pub name: String,
    /// Whether its sessions take the identity of the account of the users file that
    /// has this name.
    pub of_users_file: bool,
    /// The channel to the gate.
    pub gate: GatePipe,
}

codec!(struct Admitted { tag, account, name, of_users_file, gate });

/// What has come of a login that was right or that counts as failed.
pub type Outcome = Result<Admitted, Failure>;
