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
            Reply::FailedBare => b"FAILED ".to_vec(),
        }
    }
}

impl From<Status> for Reply {
    fn from(status: Status) -> Reply {
        Reply::Failed(status)
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
            Reply::Failed(status) => Outcome::Failed(Some(status.code().into())),
            Reply::FailedBare | Reply::Unknown => Outcome::Failed(None),
            _ => Outcome::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_run_from_1_to_52_without_a_gap() {
        let codes: Vec<u8> = Status::ALL.iter().map(|s| s.code()).collect();
        assert_eq!(codes, (1..=52).collect::<Vec<u8>>());
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
