//! Every status a TF server can answer: the one place with code numbers and
//! their texts (document, "The command interface"; spacing as deployed:
//! `FAILED <n> : <text>`).

use crate::session::audit::Outcome;

macro_rules! statuses {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// A failure that the protocol has a code for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Status {
            $(#[doc = concat!("`FAILED ", $code, " : ", $text, "`")] $name = $code,)*
        }

        impl Status {
            /// Every status, in the order of its code.
            pub const ALL: &'static [Status] = &[$(Status::$name,)*];

            /// The text behind the code, as deployed clients know it.
            pub fn text(self) -> &'static str {
                match self { $(Status::$name => $text,)* }
            }

            /// The status with this code number.
            pub fn from_code(code: u32) -> Option<Status> {
                match code { $($code => Some(Status::$name),)* _ => None }
            }
        }
    };
}

statuses! {
    AccessDenied = 1, "Access denied to location.";
    IncompatibleProtocol = 2, "Incompatible protocol.";
    InvalidHash = 3, "Invalid hash string.";
    DirectoryExists = 4, "Directory already exist.";
    NotifyAdd = 5, "Error adding new notification to listen.";
    NotifyListEmpty = 6, "Notify path list empty.";
    TransferApi = 7, "File transfer API error.";
    IsDirectory = 8, "Requested file is a directory.";
    FileMissing = 9, "File does not exist.";
    DirectoryMissing = 10, "Directory does not exist.";
    TemporaryFile = 11, "Failed to make a temporary file.";
    FileExists = 12, "File already exist.";
    QuotaExceeded = 13, "Quota exceeded.";
    Memory = 14, "Internal memory error.";
    DirectoryRemains = 15, "Directory to remove still exist.";
    MissingParameter = 16, "Missing parameter from command.";
    SourceFileMissing = 17, "Source file does not exist.";
    Copy = 18, "Copy general error.";
    DirectoryCopy = 19, "Directory can't be linked.";
    SourceNotDirectory = 20, "Source path is not a directory.";
    TreeCopy = 21, "Error replicating directory tree.";
    PathMemory = 22, "Memory error while creating space for path.";
    SourceNotFile = 23, "Source path is not a file.";
    FileCreation = 24, "Error creating new file.";
    BadKey = 25, "Bad public rsa encryption key.";
    DateRange = 26, "Date is not representable.";
    TimestampUpdate = 27, "Timestamp updating failed.";
    LockToken = 28, "Invalid characters in lock token.";
    SourcePathMissing = 29, "Source path does not exist.";
    DirectoryLocked = 30, "Directory is locked.";
    Rename = 31, "Invalid renaming operation.";
    Keepalive = 32, "Failed to set TCP keepalive parameters.";
    NoProcessKey = 33, "Process without unique key.";
    HpOpen = 34, "H-P interface failed to open file descriptor.";
    HpSeek = 35, "H-P interface failed to set file position.";
    HpBuffer = 36, "H-P interface failed to allocate the buffer.";
    LoginFailed = 37, "Login failed.";
    BeforeLogin = 38, "Invalid command before login.";
    AlreadyLoggedIn = 39, "The process is already logged.";
    UsersDatabase = 40, "Failed to open users database.";
    ChangeMode = 41, "Failed to change file mode.";
    UserMissing = 42, "System user does not exist.";
    GroupMissing = 43, "System group does not exist.";
    ChangeOwner = 44, "Failed to change file ownership.";
    Sha256 = 45, "Failed to make SHA256 hash.";
    SwapKey = 46, "Failed to swap the session key.";
    SecureDirectory = 47, "Failed removing secure directory.";
    JailFile = 48, "Failed to open ACL file in jail directory.";
    JailToken = 49, "Invalid security token in jail directory.";
    BeforeJail = 50, "Invalid command before in-jail.";
    AlreadyInJail = 51, "The process is already in-jailed.";
    Balance = 52, "Failed to retrieve TLB tuple.";
    Listing = 53, "Failed running LSRV2.";
    FileLock = 54, "Failed to acquire or release NETLOCK.";
    Mutex = 55, "Failed to acquire or release NETMUT.";
    TestAndSet = 62, "Unable to create the requested file.";
    DirectoryChain = 63, "Failed to create directory recursively.";
    Digest = 200, "Content differs from its digest.";
    Attribute = 201, "Failed to set an extended attribute.";
    Link = 202, "Failed to make the link.";
}

impl Status {
    /// The code number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FAILED {} : {}", self.code(), self.text())
    }
}

impl std::error::Error for Status {}

/// A failure of the subsystem XS1, which has numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the texts are below")]
pub enum Xs1 {
    NoHole,
    Open,
    Descriptor,
    TruncateValue,
    Truncate,
    SeekValue,
    Whence,
    Seek,
    LockKind,
    Lock,
    Busy,
    ReadLength,
    Read,
    WriteLength,
    Write,
}

impl std::fmt::Display for Xs1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (code, text) = match self {
            Xs1::NoHole => (1, "No file descriptor hole available."),
            Xs1::Open => (2, "Failed to open requested file."),
            Xs1::Descriptor => (3, "Invalid file descriptor."),
            Xs1::TruncateValue => (4, "Invalid value for truncation."),
            Xs1::Truncate => (5, "Error while truncating the file."),
            Xs1::SeekValue => (6, "Invalid value for seek."),
            Xs1::Whence => (7, "Invalid whence constant."),
            Xs1::Seek => (8, "Error while seeking in the file."),
            Xs1::LockKind => (9, "Lock type unknown."),
            Xs1::Lock => (10, "Error while locking the file."),
            Xs1::Busy => (11, "Unable to acquire the lock."),
            Xs1::ReadLength => (12, "Invalid length value for read."),
            Xs1::Read => (13, "Error while reading the file."),
            Xs1::WriteLength => (15, "Invalid size value for write."),
            Xs1::Write => (16, "Error while writing the file."),
        };
        write!(f, "XS1 {code} : {text}")
    }
}

/// What is between the text of a status and a reason.
pub(crate) const REASON: &str = " Reason: ";

/// What goes back to the client as one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `OK`
    Ok,
    /// `OK <data>`
    OkWith(Vec<u8>),
    /// The bytes alone (ECHO).
    Text(Vec<u8>),
    /// `UNKNOWN`: no such command.
    Unknown,
    /// `FAILED <n> : <text>`
    Failed(Status),
    /// `FAILED <n> : <text> Reason: <reason>.`
    FailedFor(Status, String),
    /// `FAILED XS1 <n> : <text>`
    FailedXs1(Xs1),
    /// `FAILED ` and nothing behind it: DEL on an error without a code.
    FailedBare,
}

impl Reply {
    /// The bytes of the message, without header.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Reply::Ok => b"OK".to_vec(),
            Reply::OkWith(data) => [b"OK ", data.as_slice()].concat(),
            Reply::Text(text) => text,
            Reply::Unknown => b"UNKNOWN".to_vec(),
            Reply::Failed(status) => status.to_string().into_bytes(),
            Reply::FailedFor(status, reason) => format!("{status}{REASON}{reason}.").into_bytes(),
            Reply::FailedXs1(failure) => format!("FAILED {failure}").into_bytes(),
            Reply::FailedBare => b"FAILED ".to_vec(),
        }
    }
}

impl From<Status> for Reply {
    fn from(status: Status) -> Reply {
        Reply::Failed(status)
    }
}

impl From<Xs1> for Reply {
    fn from(failure: Xs1) -> Reply {
        Reply::FailedXs1(failure)
    }
}

impl From<Result<Reply, Reply>> for Reply {
    fn from(result: Result<Reply, Reply>) -> Reply {
        result.unwrap_or_else(|failure| failure)
    }
}

impl From<Result<Reply, Status>> for Reply {
    fn from(result: Result<Reply, Status>) -> Reply {
        result.unwrap_or_else(Reply::Failed)
    }
}

impl From<&Reply> for Outcome {
    fn from(reply: &Reply) -> Outcome {
        match reply {
            Reply::Failed(status) | Reply::FailedFor(status, _) => {
                Outcome::Failed(Some(status.code().into()))
            }
            Reply::FailedXs1(_) | Reply::FailedBare | Reply::Unknown => Outcome::Failed(None),
            _ => Outcome::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_run_from_1_to_55_without_a_gap_and_few_follow() {
        let codes: Vec<u8> = Status::ALL.iter().map(|s| s.code()).collect();
        assert_eq!(
            codes,
            (1..=55).chain([62, 63, 200, 201, 202]).collect::<Vec<u8>>()
        );
    }

    #[test]
    fn the_manual_page_lists_every_code_that_is_sent() {
        let page = include_str!("../../man/tf-protocol.7");
        let (_, codes) = page.split_once(".Sh CODES").expect("section");
        let (table, _) = codes.split_once(".Ed").expect("table");
        let not_sent = [11, 14, 22, 33, 40];
        let lists = |code: u8| {
            let entry = |line: &str| {
                let right = line.get(34..).unwrap_or_default();
                [line.get(..3), right.get(..3)]
                    .into_iter()
                    .flatten()
                    .any(|number| number.trim() == code.to_string())
            };
            table.lines().any(entry)
        };
        for status in Status::ALL {
            let code = status.code();
            assert_eq!(lists(code), !not_sent.contains(&code), "{code}");
        }
    }

    #[test]
    fn a_failure_reads_as_deployed() {
        assert_eq!(
            Reply::from(Status::DirectoryExists).into_bytes(),
            b"FAILED 4 : Directory already exist."
        );
        assert_eq!(Reply::FailedBare.into_bytes(), b"FAILED ");
    }
}
