//! The messages of `tfd-vault/1`, the vault's own dialect, as vault-protocol(7) has
//! them. A message whose fields are out of their limits is none. Nothing in them is
//! the key of an entry, nor anything that one could be computed from.

use zeroize::Zeroizing;

pub use super::types::*;
use crate::ipc::codec::codec;

/// An account to be, for the name that was in the `Hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// How its keys are made.
    pub kdf: Kdf,
    /// The proof of the master password.
    pub auth: Secret,
    /// The proof of the account secret.
    pub recovery: Secret,
    /// The account secret, sealed by the master password.
    pub wrapped: Sealed,
    /// Where codes are mailed to, if the server mails.
    pub mail: Option<String>,
    /// Its first device.
    pub device: Device,
    /// The code, once one is wanted.
    pub code: Option<Zeroizing<Vec<u8>>>,
}

codec!(struct Register { kdf, auth, recovery, wrapped, mail, device, code } if Register::is_valid);

impl Register {
    fn is_valid(&self) -> bool {
        self.wrapped.0.len() <= MAX_WRAPPED
            && self.mail.as_ref().is_none_or(|it| it.len() <= MAX_MAIL)
            && is_code(self.code.as_ref())
    }
}

fn is_code(code: Option<&Zeroizing<Vec<u8>>>) -> bool {
    code.is_none_or(|code| code.len() <= MAX_CODE)
}

/// What opens an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The proof of the master password. A device that is new needs a code.
    Password(Secret),
    /// The proof of the account secret. It stands for a code, too.
    Recovery(Secret),
}

codec!(enum Proof { 1 => Password(auth), 2 => Recovery(auth) });

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIn {
    /// What opens the account.
    pub proof: Proof,
    /// The device.
    pub device: Device,
    /// The code, once one is wanted.
    pub code: Option<Zeroizing<Vec<u8>>>,
}

codec!(struct LogIn { proof, device, code } if LogIn::is_valid);

impl LogIn {
    fn is_valid(&self) -> bool {
        is_code(self.code.as_ref())
    }
}

/// A change of an entry, or of one to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry.
    pub id: Id,
    /// The revision that the change was made to; 0 for none.
    pub base: u64,
    /// The new content; `None` deletes the entry.
    pub sealed: Option<Sealed>,
}

codec!(struct Change { id, base, sealed } if Change::is_valid);

impl Change {
    fn is_valid(&self) -> bool {
        is_content(self.sealed.as_ref())
    }
}

fn is_content(sealed: Option<&Sealed>) -> bool {
    sealed.is_none_or(|sealed| (1..=MAX_SEALED).contains(&sealed.0.len()))
}

/// A version of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The entry.
    pub id: Id,
    /// The version's revision: higher than all that the account had before.
    pub revision: u64,
    /// The revision that it was made from, as it was pushed: what is sealed is bound
    /// to it.
    pub base: u64,
    /// The content; `None` for an entry that is deleted.
    pub sealed: Option<Sealed>,
}

codec!(struct Item { id, revision, base, sealed } if Item::is_valid);

impl Item {
    fn is_valid(&self) -> bool {
        is_content(self.sealed.as_ref())
    }
}

/// Another master password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPassword {
    /// How its keys are made.
    pub kdf: Kdf,
    /// Its proof.
    pub auth: Secret,
    /// The account secret, sealed by it.
    pub wrapped: Sealed,
}

codec!(struct NewPassword { kdf, auth, wrapped } if NewPassword::is_valid);

impl NewPassword {
    fn is_valid(&self) -> bool {
        self.wrapped.0.len() <= MAX_WRAPPED
    }
}

/// What a client asks. Each is answered by one message, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The first one: `Params`, or `Refused`.
    Hello {
        /// [`VERSION`].
        version: u16,
        /// The name of the account.
        user: String,
    },
    /// A new account: `Welcome`, `CodeWanted` or `Refused`.
    Register(Register),
    /// A login: `Welcome`, `CodeWanted` or `Refused`.
    LogIn(LogIn),
    /// The entries that have changed since a revision: `Changes`.
    Pull {
        /// The revision; 0 for all.
        since: u64,
        /// Whether the client goes on with a list of all of them.
        whole: bool,
    },
    /// Changes of entries, each for itself, all in one transaction: `Pushed` or
    /// `Failed`.
    Push {
        /// The changes.
        changes: Vec<Change>,
    },
    /// From now on `Changed` whenever another device has changed something:
    /// `Done`.
    Listen,
    /// The versions of an entry: `Versions`.
    Versions {
        /// The entry.
        id: Id,
    },
    /// One of them: `Version` or `Failed`.
    Version {
        /// The entry.
        id: Id,
        /// The version.
        revision: u64,
    },
    /// All devices: `Devices`.
    Devices,
    /// The end of a device and its sessions: `Done` or `Failed`.
    Unlink {
        /// The device.
        device: Id,
    },
    /// Another master password: `Done`.
    SetPassword(NewPassword),
    /// The end of the account and its entries: `Done` or `Failed`.
    DeleteAccount {
        /// The proof of the master password, or of the account secret.
        proof: Proof,
    },
    /// The end of the connection: `Done`.
    LogOut,
}

codec!(enum Request {
    1 => Hello { version, user },
    2 => Register(account),
    3 => LogIn(login),
    4 => Pull { since, whole },
    5 => Push { changes },
    6 => Listen,
    7 => Versions { id },
    8 => Version { id, revision },
    9 => Devices,
    10 => Unlink { device },
    11 => SetPassword(new),
    12 => DeleteAccount { proof },
    13 => LogOut,
} if Request::is_valid);

impl Request {
    fn is_valid(&self) -> bool {
        match self {
            Request::Hello { user, .. } => (1..=MAX_USER).contains(&user.len()),
            _ => true,
        }
    }
}

/// What a code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFor {
    /// The account.
    Registration,
    /// The device.
    Device,
}

codec!(enum CodeFor { 1 => Registration, 2 => Device });

/// Why a client is not let in. The connection stays; another try may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another version of the messages is asked for.
    #[error("the server speaks another version")]
    Version,
    /// No account has this name and this proof.
    #[error("wrong name or password")]
    Credentials,
    /// Too many failures, for so many seconds.
    #[error("too many failed logins: wait {seconds} s")]
    Blocked {
        /// The rest of the block.
        seconds: u32,
    },
    /// The operator has banned the account, for so many seconds. The proof was right.
    #[error("banned by the operator for {seconds} s")]
    Banned {
        /// The rest of the ban.
        seconds: u32,
    },
    /// The server takes no new accounts.
    #[error("the server takes no new accounts")]
    Closed,
    /// Another account has the name.
    #[error("the name is taken")]
    NameTaken,
    /// No account can have the name.
    #[error("not a name for an account")]
    Name,
    /// The mail address is none, or another account has it.
    #[error("the mail address can't be used")]
    Mail,
    /// The code is wrong.
    #[error("wrong code")]
    CodeWrong,
    /// The code is too old, or there is none: ask without a code for another.
    #[error("no such code, or it is too old")]
    CodeOld,
    /// Too many wrong codes, accounts, devices or sessions.
    #[error("too many codes, accounts, devices or sessions")]
    TooMany,
    /// The server failed.
    #[error("the server failed")]
    Internal,
}

codec!(enum Refusal {
    1 => Version,
    2 => Credentials,
    3 => Blocked { seconds },
    4 => Banned { seconds },
    5 => Closed,
    6 => NameTaken,
    7 => Name,
    8 => Mail,
    9 => CodeWrong,
    10 => CodeOld,
    11 => TooMany,
    12 => Internal,
});

/// Why something is not done. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The account or the disk is full.
    #[error("the account or the server's disk is full")]
    Full,
    /// There is no such version or device.
    #[error("not found")]
    NotFound,
    /// The proof is wrong.
    #[error("wrong password")]
    Credentials,
    /// The server failed.
    #[error("the server failed")]
    Internal,
}

codec!(enum Failure { 1 => Full, 2 => NotFound, 3 => Credentials, 4 => Internal });

/// Why the server ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// The device was unlinked.
    #[error("this device was unlinked")]
    Unlinked,
    /// The account was deleted.
    #[error("the account was deleted")]
    Deleted,
    /// The server stops, or its operator ends the session.
    #[error("the server ends the session")]
    Stopping,
}

codec!(enum Over { 1 => Unlinked, 2 => Deleted, 3 => Stopping });

/// What a client that is in has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The store of the entries. Another one than before has none of the revisions
    /// that the client knows.
    pub store: Id,
    /// The latest revision. A lower one than before: the store was set back.
    pub revision: u64,
    /// Deletions up to this revision are forgotten.
    pub oldest: u64,
    /// The longest message that the server reads, in bytes.
    pub max_packet: u32,
    /// The account secret, sealed by the master password.
    pub wrapped: Sealed,
}

codec!(struct Welcome { store, revision, oldest, max_packet, wrapped } if Welcome::is_valid);

impl Welcome {
    fn is_valid(&self) -> bool {
        self.wrapped.0.len() <= MAX_WRAPPED
    }
}

/// Entries that have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Them, by revision.
    pub items: Vec<Item>,
    /// The revision that the client knows now.
    pub upto: u64,
    /// Whether there are more, to be pulled since that one.
    pub more: bool,
    /// Whether this is a part of a list of all entries, whatever the client knew:
    /// entries that the whole list does not have are deleted.
    pub whole: bool,
}

codec!(struct Changes { items, upto, more, whole });

/// What has become of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is on disk as this revision.
    Stored {
        /// The revision.
        revision: u64,
    },
    /// The entry has another revision than the one it was made to: this one. `None`
    /// where it has no version, or where the answer is long enough: pull it.
    Stale {
        /// The version.
        current: Option<Item>,
    },
}

codec!(enum Pushed { 1 => Stored { revision }, 2 => Stale { current } });

/// A version in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its revision.
    pub revision: u64,
    /// When the server got it, in seconds since the epoch.
    pub time: i64,
    /// The device it is from.
    pub device: Id,
    /// Whether it is a deletion.
    pub is_deletion: bool,
}

codec!(struct VersionInfo { revision, time, device, is_deletion });

/// A device in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its number.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// When it has logged in first, in seconds since the epoch.
    pub first: i64,
    /// When it has logged in last.
    pub last: i64,
    /// Whether it is connected.
    pub is_online: bool,
    /// Whether it is the one that asks.
    pub is_this: bool,
}

codec!(struct DeviceInfo { id, name, first, last, is_online, is_this });

/// What the server sends: an answer, or one of the last two at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// How the keys of the account are made.
    Params(Kdf),
    /// The client is in.
    Welcome(Welcome),
    /// The same request once more, with a code.
    CodeWanted {
        /// What it is for.
        kind: CodeFor,
        /// Whether it was mailed; else the operator has it.
        is_mailed: bool,
    },
    /// The client is not let in.
    Refused {
        /// Why.
        why: Refusal,
    },
    /// Entries that have changed.
    Changes(Changes),
    /// What has become of the changes, in their order.
    Pushed {
        /// That.
        results: Vec<Pushed>,
    },
    /// Versions, the latest first.
    Versions {
        /// Them.
        versions: Vec<VersionInfo>,
    },
    /// One version.
    Version(Item),
    /// Devices.
    Devices {
        /// Them.
        devices: Vec<DeviceInfo>,
    },
    /// It is done.
    Done,
    /// It is not.
    Failed {
        /// Why.
        why: Failure,
    },
    /// Unasked: there is a revision that another device has made.
    Changed {
        /// The latest one.
        revision: u64,
    },
    /// Unasked: the last message.
    Over {
        /// Why.
        why: Over,
    },
}

codec!(enum Reply {
    1 => Params(kdf),
    2 => Welcome(welcome),
    3 => CodeWanted { kind, is_mailed },
    4 => Refused { why },
    5 => Changes(changes),
    6 => Pushed { results },
    7 => Versions { versions },
    8 => Version(item),
    9 => Devices { devices },
    10 => Done,
    11 => Failed { why },
    12 => Changed { revision },
    13 => Over { why },
});
