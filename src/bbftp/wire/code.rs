//! The codes of all messages.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a message is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl TryFrom<u32> for Code {
            type Error = u32;

            /// Fails with the number, where nothing has it.
            fn try_from(number: u32) -> Result<Code, u32> {
                match number {
                    $($number => Ok(Code::$name),)*
                    other => Err(other),
                }
            }
        }
    };
}

codes! {
    /// Done; a text, which may be empty.
    Ok = 0,
    /// Name and password.
    Log = 1,
    /// Version 1: a file to the server.
    Store = 2,
    /// Failed, and may be tried again; a text.
    Bad = 3,
    /// On a data connection: all bytes have arrived.
    Ack = 4,
    /// Version 1: the same as `Store`, compressed.
    StoreC = 5,
    /// The server's key; from a client, that it asks for a login in clear.
    Crypt = 6,
    /// Version 1: a file from the server.
    Retr = 7,
    /// Version 1: the same, compressed.
    RetrC = 8,
    /// Version 1: the size of the file.
    RetrOk = 9,
    /// Version 1: a file from the server's RFIO.
    RetrRfio = 10,
    /// Version 1: the same, compressed.
    RetrRfioC = 11,
    /// Version 1: the server may connect and send.
    RetrStart = 12,
    /// Version 1: no transfer.
    Abr = 13,
    /// Failed for good; a text.
    BadNoRetry = 14,
    /// Version 1: makes a directory.
    MkDir = 15,
    /// Version 1: changes the working directory.
    ChDir = 16,
    /// Version 1: the names that match a pattern.
    List = 17,
    /// Version 1: these names.
    ListRepl = 18,
    /// The client has made an empty file: nothing is to be sent.
    CreateZero = 19,
    /// A warning at the login with a certificate, and started by ssh the port of
    /// the side connection: [`Code::LOGGED_STDIN`].
    Warn = 20,
    /// Asks for addresses, or states one.
    IpAddr = 21,
    /// The answer to it.
    IpAddrOk = 22,
    /// The client speaks version 2 or later.
    Prot = 23,
    /// From the server the versions it speaks, from the client the one it chose.
    ProtAns = 24,
    /// A file to the server.
    StoreV2 = 25,
    /// A file from the server.
    RetrV2 = 26,
    /// No transfer.
    Abort = 27,
    /// Version 2: the transfer as the server has it.
    TransOkV2 = 28,
    /// Version 2: the server may connect to these ports.
    TransStartV2 = 29,
    /// A warning; may arrive during a transfer.
    Info = 30,
    /// The file of the transfer.
    FileName = 31,
    /// Sets the umask.
    ChUmask = 32,
    /// Makes a directory.
    MkDirV2 = 33,
    /// Changes the working directory.
    ChDirV2 = 34,
    /// The entries that match a pattern.
    ListV2 = 35,
    /// These entries.
    ListReplV2 = 36,
    /// Sets the class of service.
    ChCos = 37,
    /// A client's key for a site's own login.
    PrivLog = 38,
    /// Data of a site's own login.
    PrivData = 39,
    /// The client leaves.
    CloseConn = 40,
    /// A login with a certificate.
    CertLog = 41,
    /// Version 2: as `TransStartV2`, but nothing is sent.
    TransSimul = 42,
    /// Version 3: the client has connected. Announces 4 bytes a stream, has none.
    TransStartV3 = 43,
    /// Version 3: the same, but nothing is sent.
    TransSimulV3 = 44,
    /// Version 3: as `TransOkV2`, and behind it the ports, which it does not
    /// announce.
    TransOkV3 = 45,
    /// Deletes a file.
    Rm = 46,
    /// What stat(2) says.
    Stat = 47,
    /// What statvfs(3) says.
    Df = 48,
    /// Asks for the server's version before a login. Announces 276 bytes, has none.
    ServerStatus = 49,
    /// tfd: a small file to the server, see [`extension`](super::extension).
    SmallStore = 0x7466_0001,
    /// tfd: a small file from the server.
    SmallRetr = 0x7466_0002,
    /// tfd: this file.
    SmallFile = 0x7466_0003,
    /// tfd: the SHA-256 of a file.
    Sha256 = 0x7466_0004,
    /// tfd: what is missing of a file from the server.
    RetrFrom = 0x7466_0005,
    /// tfd: what is missing of a file to the server.
    StoreFrom = 0x7466_0006,
    /// tfd: the transfer of what is missing.
    TransOkFrom = 0x7466_0007,
    /// tfd: asks for the text of the login, where there was none.
    Offer = 0x7466_0008,
}

impl Code {
    /// Started by ssh: the server's port for the side connection.
    pub const LOGGED_STDIN: Code = Code::Warn;

    /// Its number in a message.
    pub const fn number(self) -> u32 {
        self as u32
    }
}
