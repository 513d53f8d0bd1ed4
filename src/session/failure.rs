//! Why logins fail, as the log says it and metrics count it. What the client gets is
//! another matter.

use crate::ipc::codec::codec;

/// Why a login has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No account has the name.
    UnknownUser,
    /// The account has another password.
    WrongPassword,
    /// The account is locked, expired or not for this address.
    ClosedAccount,
    /// The address has failed too often.
    BlockedAddress,
    /// The address has failed too often at this account.
    BlockedUser,
    /// A certificate has opened no account.
    Certificate,
    /// An operator has barred the account or the address.
    Barred,
    /// The password was right, the one-time code was not.
    WrongCode,
    /// PAM has not said whether the password is right.
    Unavailable,
}

codec!(enum Failure {
    1 => UnknownUser,
    2 => WrongPassword,
    3 => ClosedAccount,
    4 => BlockedAddress,
    5 => BlockedUser,
    6 => Certificate,
    7 => Barred,
    8 => WrongCode,
    9 => Unavailable,
});

impl Failure {
    /// All of them, in their order, by the names that metrics have for them.
    pub const ALL: [(Failure, &'static str); 9] = [
        (Failure::UnknownUser, "unknown_user"),
        (Failure::WrongPassword, "wrong_password"),
        (Failure::ClosedAccount, "closed_account"),
        (Failure::BlockedAddress, "blocked_address"),
        (Failure::BlockedUser, "blocked_user"),
        (Failure::Certificate, "certificate"),
        (Failure::Barred, "barred"),
        (Failure::WrongCode, "wrong_code"),
        (Failure::Unavailable, "unavailable"),
    ];

    /// What the log says.
    pub fn reason(self) -> &'static str {
        match self {
            Failure::UnknownUser => "no such user",
            Failure::WrongPassword => "wrong password",
            Failure::ClosedAccount => "closed account",
            Failure::BlockedAddress => "too many failures from this address",
            Failure::BlockedUser => "too many failures of this user from this address",
            Failure::Certificate => "wrong certificate",
            Failure::Barred => "barred by an operator",
            Failure::WrongCode => "wrong one-time code, or one that was used",
            Failure::Unavailable => "no answer from PAM",
        }
    }
}
