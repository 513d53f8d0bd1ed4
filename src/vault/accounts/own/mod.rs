//! Accounts of the own dialect: what its gates and sessions ask of the process that
//! keeps them. A proof is checked here alone, and kept as a digest.

mod book;
mod online;
mod process;

pub use book::{Digest, REGISTRATION};
pub use online::Online;

use crate::ipc::codec::codec;
use crate::vault::own::message::{
    CodeFor, DeviceInfo, Failure, Id, Kdf, LogIn, NewPassword, Over, Proof, Refusal, Register,
    Sealed,
};

/// What is asked.
#[derive(Debug)]
pub enum Ask {
    /// How the keys of this account are made.
    Params { user: String },
    /// A new account.
    Register { user: String, account: Register },
    /// A login.
    LogIn { user: String, login: LogIn },
    /// Of a session: the device it serves.
    Serve { device: Id },
    /// Of a session: news of the account's other sessions, once.
    Listen,
    /// Of a session: it has changed something. Nobody answers.
    Pushed,
    /// Of a session: all devices.
    Devices,
    /// Of a session: the end of a device.
    Unlink { device: Id },
    /// Of a session: another master password.
    SetPassword(NewPassword),
    /// Of a session: the end of the account.
    Delete { proof: Proof },
}

codec!(enum Ask {
    1 => Params { user },
    2 => Register { user, account },
    3 => LogIn { user, login },
    4 => Serve { device },
    5 => Listen,
    6 => Pushed,
    7 => Devices,
    8 => Unlink { device },
    9 => SetPassword(new),
    10 => Delete { proof },
});

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// How the keys are made.
    Params(Kdf),
    /// The client is in: a session of the account follows.
    Admitted { wrapped: Sealed },
    /// A code is wanted.
    CodeWanted { kind: CodeFor, is_mailed: bool },
    /// No.
    Refused(Refusal),
    /// All devices.
    Devices(Vec<DeviceInfo>),
    /// It is done.
    Done,
    /// It is not.
    Failed(Failure),
    /// Unasked: another session has changed something.
    Changed,
    /// Unasked: the session has to end.
    Over(Over),
}

codec!(enum Answer {
    1 => Params(kdf),
    2 => Admitted { wrapped },
    3 => CodeWanted { kind, is_mailed },
    4 => Refused(why),
    5 => Devices(devices),
    6 => Done,
    7 => Failed(why),
    8 => Changed,
    9 => Over(why),
});
