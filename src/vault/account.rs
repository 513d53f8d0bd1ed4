//! Requests that concern accounts and devices, answered by the process that keeps
//! them: for a gate those of anybody, for a session those of its account, too.

use std::io;

use zeroize::Zeroizing;

use super::accounts::{Answer, Ask, Asking, Login, NewAccount, Refusal, Secret};
use super::reply::{Failure, Reply, Word};
use super::request::{self, Purpose, Request};

/// Answers a request; `None` for one that is not about accounts.
///
/// # Errors
/// When nobody answers.
pub fn answer(accounts: &Asking, request: Request) -> io::Result<Option<Reply>> {
    let since = match &request {
        Request::Details { since } => *since,
        _ => 0,
    };
    let Some((ask, done)) = ask_of(request) else {
        return Ok(None);
    };
    let no_code = failure_without_code(&ask);
    let reply = match ask_accounts(accounts, &ask)? {
        Answer::Yes => Reply::Done(done),
        Answer::No(Refusal::NoCookie) if done == Word::CookieExists => Reply::Done(Word::NoCookie),
        Answer::No(Refusal::NoCookie) if done == Word::DeviceAuthorized => {
            Reply::Done(Word::NoCookie)
        }
        Answer::No(Refusal::Credentials) if done == Word::RightPassword => {
            Reply::Done(Word::WrongPassword)
        }
        Answer::No(Refusal::NoCode) => Reply::Failed(no_code),
        Answer::No(Refusal::OldCode) if done == Word::CodeResent => {
            Reply::Failed(Failure::OLD_REQUEST)
        }
        Answer::No(Refusal::NotFound) if done == Word::CodeResent => {
            Reply::Failed(Failure::NO_SUCH_PAIR)
        }
        Answer::No(why) => refusal(why),
        Answer::Cookie(cookie) => Reply::Cookie(cookie),
        Answer::Devices(devices) => Reply::Devices(devices),
        Answer::Details { changed, .. } if changed <= since => Reply::Done(Word::UpToDate),
        Answer::Details {
            changed,
            email,
            name,
        } => Reply::Details {
            changed,
            email,
            name,
        },
        Answer::Events(events) => Reply::Events(events),
        Answer::Admitted | Answer::Own(_) => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(Some(reply))
}

/// Asks, and waits for the answer.
///
/// # Errors
/// When nobody answers.
pub fn ask_accounts(accounts: &Asking, ask: &Ask) -> io::Result<Answer> {
    // A question too long for anybody would end the channel.
    if !ask.is_valid() {
        return Ok(Answer::No(Refusal::Forbidden));
    }
    accounts.send(ask)?;
    accounts
        .receive()?
        .ok_or(io::ErrorKind::UnexpectedEof.into())
}

/// A login as it is asked for.
pub fn login(
    user: String,
    password: &request::Secret,
    cookie: String,
    code: Option<request::Secret>,
) -> Login {
    Login {
        user,
        password: bytes(password),
        cookie,
        code: code.as_ref().map(bytes),
    }
}

/// What a client hears of a refusal, whatever it has asked.
pub fn refusal(why: Refusal) -> Reply {
    Reply::Failed(match why {
        Refusal::NewDevice => return Reply::Done(Word::NewDevice),
        Refusal::NotVerified => return Reply::NotVerified,
        Refusal::Credentials => Failure::CREDENTIALS,
        Refusal::NoCookie => Failure::NO_COOKIE,
        Refusal::Banned => Failure::BANNED,
        Refusal::NoCode => Failure::NO_LOGIN_CODE,
        Refusal::WrongCode => Failure::WRONG_CODE,
        Refusal::OldCode => Failure::OLD_CODE,
        Refusal::TooManyCodes => Failure::FAILED,
        Refusal::UserExists => Failure::USER_EXISTS,
        Refusal::EmailInUse => Failure::EMAIL_IN_USE,
        Refusal::Forbidden => Failure::FORBIDDEN,
        Refusal::Active => Failure::ACTIVE,
        Refusal::Deleted => Failure::TOO_MANY_CODES,
        Refusal::NotFound => Failure::NO_DEVICE,
    })
}

/// The question of a request, and the word for yes.
fn ask_of(request: Request) -> Option<(Ask, Word)> {
    Some(match request {
        Request::Cookie => (Ask::Cookie, Word::CookieExists),
        Request::HasCookie { cookie } => (Ask::HasCookie { cookie }, Word::CookieExists),
        Request::Authorize { cookie, device } => {
            // A quotation mark would be an attack to the original.
            let about = about_json(&device);
            (Ask::Authorize { cookie, about }, Word::DeviceAuthorized)
        }
        Request::Register {
            user,
            password,
            email,
            nickname,
            cookie,
        } => {
            let new = NewAccount {
                user,
                password: bytes(&password),
                email,
                nickname,
                cookie,
            };
            (Ask::Register(new), Word::Registered)
        }
        Request::Verify { user, code } => {
            let code = bytes(&code);
            (Ask::Verify { user, code }, Word::Verified)
        }
        Request::Check { user, password } => {
            let password = bytes(&password);
            (Ask::Check { user, password }, Word::RightPassword)
        }
        Request::SetEmail {
            user,
            cookie,
            email,
        } => {
            let ask = Ask::SetEmail {
                user,
                cookie,
                email,
            };
            (ask, Word::EmailChanged)
        }
        Request::Resend { user, email } => (Ask::Resend { user, email }, Word::CodeResent),
        Request::Devices => (Ask::Devices, Word::UpToDate),
        Request::Unlink { cookie } => (Ask::Unlink { cookie }, Word::Unlinked),
        Request::Schedule(purpose) => {
            let deletion = purpose == Purpose::Deletion;
            (Ask::Schedule { deletion }, Word::Scheduled(purpose))
        }
        Request::SetPassword { password, code } => {
            let (password, code) = (bytes(&password), bytes(&code));
            (Ask::SetPassword { password, code }, Word::PasswordChanged)
        }
        Request::DeleteAccount { code } => {
            let code = bytes(&code);
            (Ask::Delete { code }, Word::AccountDeleted)
        }
        Request::Rename { name } => (Ask::Rename { name }, Word::NameChanged),
        Request::Details { .. } => (Ask::Details, Word::UpToDate),
        Request::Events => (Ask::Events, Word::UpToDate),
        _ => return None,
    })
}

/// What a client hears if it asks about something without a code.
fn failure_without_code(ask: &Ask) -> Failure {
    match ask {
        Ask::Verify { .. } | Ask::SetPassword { .. } => Failure::NO_PASSWORD_CODE,
        Ask::Delete { .. } => Failure::NO_DELETION_CODE,
        Ask::LogIn(_) => Failure::NO_LOGIN_CODE,
        _ => Failure::NO_CODE,
    }
}

/// What a device says of itself, in JSON if it is an object of texts; who reads
/// the list of devices parses it.
pub fn about_json(device: &str) -> String {
    let text = device.replace('\u{a7}', "\"");
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
    let value = parsed.unwrap_or_else(|_| serde_json::Value::String(device.to_owned()));
    value.to_string()
}

fn bytes(secret: &request::Secret) -> Secret {
    Zeroizing::new(secret.as_bytes().to_vec())
}
