//! What a client is answered: the one place with the words and errors of the
//! three dialects. A client waits for some of them by name, so none may change.

use zeroize::Zeroizing;

use super::Dialect;
use super::request::{Fault, Purpose, Values};

/// What separates parts of a log, for which `!` and `;` are too common.
const SECTION: char = '\u{a7}';

/// A value of an entry that was never set, as clients send it themselves.
const UNSET: &str = "\u{1}";

/// An error: number, code, text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure(pub u8, pub &'static str, pub &'static str);

impl Failure {
    pub const CREDENTIALS: Failure = Failure(8, "CRED", "INVALID_CREDENTIALS");
    pub const FORBIDDEN: Failure = Failure(12, "PERM", "INSUFFICIENT_PERMISSIONS");
    pub const NOT_LOGGED_IN: Failure = Failure(13, "NLGI", "NOT_LOGGED_IN");
    pub const NO_DEVICE: Failure = Failure(16, "NFND", "NOT_FOUND");
    pub const NO_SUCH_PAIR: Failure = Failure(17, "SQLE", "SQL_ERROR");
    pub const WRONG_CODE: Failure = Failure(18, "I2FA", "INVALID_2FA_CODE");
    pub const OLD_CODE: Failure = Failure(19, "E2FA", "EXPIRED_2FA_CODE");
    pub const FAILED: Failure = Failure(20, "F2FA", "FAILED_2FA");
    pub const NO_CODE: Failure = Failure(21, "NCES", "NO_CODE_EVENT_SCHEDULED");
    pub const NO_LOGIN_CODE: Failure = Failure(21, "NCES", "NO_NEW_LOGIN_SCHEDULED");
    pub const NO_PASSWORD_CODE: Failure = Failure(21, "NCES", "NO_PASSWORD_CHANGE_SCHEDULED");
    pub const NO_DELETION_CODE: Failure = Failure(21, "NCES", "ACCOUNT_DELETION_NOT_SCHEDULED");
    pub const USER_EXISTS: Failure = Failure(22, "UEXT", "USER_ALREADY_EXISTS");
    pub const NO_COOKIE: Failure = Failure(23, "CDNE", "COOKIE_DOES_NOT_EXIST");
    pub const VERIFY_DEVICE: Failure = Failure(24, "DVFY", "VERIFY_NEW_DEVICE");
    pub const BANNED: Failure = Failure(26, "ACCB", "ACCOUNT_BANNED");
    pub const ACTIVE: Failure = Failure(28, "ACCA", "ACCOUNT_ALREADY_ACTIVATED");
    pub const TOO_MANY_CODES: Failure = Failure(29, "ADEL", "ACCOUNT_DELETED_TOO_MANY_REQUESTS");
    pub const OLD_REQUEST: Failure = Failure(30, "E2RE", "EXPIRED_2FA_REQUEST");
    pub const EMAIL_IN_USE: Failure = Failure(32, "MAIL", "EMAIL_ALREADY_IN_USE");
    pub const INCOMPLETE: Failure = Failure(33, "SQLX", "NOT NULL constraint failed");
    pub const FULL: Failure = Failure(33, "SQLX", "database or disk is full");
    pub const NOT_AUTHORIZED: Failure = Failure(34, "AUTH", "CLIENT_NOT_AUTHORIZED");

    /// As its packet has it.
    pub fn text(self) -> String {
        let Failure(number, code, text) = self;
        format!("INFERRerrno%eq!{number:02}!;code%eq!{code}!;message%eq!{text}!;")
    }

    /// What a fault is answered with, if it is.
    pub fn of(fault: Fault) -> Option<Failure> {
        match fault {
            Fault::Error(number, code, text) => Some(Failure(number, code, text)),
            Fault::Ignored | Fault::SubId => None,
        }
    }
}

/// A word that stands for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    LoggedIn,
    /// By a code.
    DeviceConfirmed,
    AlreadyLoggedIn,
    LoggedOut,
    CookieExists,
    NoCookie,
    DeviceAuthorized,
    Registered,
    Verified,
    NewDevice,
    RightPassword,
    WrongPassword,
    Scheduled(Purpose),
    PasswordChanged,
    AccountDeleted,
    EmailChanged,
    CodeResent,
    NameChanged,
    Unlinked,
    UpToDate,
}

impl Word {
    fn word(self) -> &'static str {
        match self {
            Word::LoggedIn | Word::DeviceConfirmed => "LOGIN_SUCCESSFUL",
            Word::AlreadyLoggedIn => "ALREADY_LOGGED_IN",
            Word::LoggedOut => "LOGGED_OUT",
            Word::CookieExists => "COOKIE_DOES_EXIST",
            Word::NoCookie => "COOKIE_DOES_NOT_EXIST",
            Word::DeviceAuthorized => "DEVICE_AUTHORIZED",
            Word::Registered => "SEND_VERIFICATION_ACTIVATE_ACCOUNT",
            Word::Verified => "ACCOUNT_VERIFIED",
            Word::NewDevice => "SEND_VERIFICATION_NEW_DEVICE",
            Word::RightPassword => "CREDENTIAL_CHECK_SUCCESSFUL",
            Word::WrongPassword => "CREDENTIAL_CHECK_FAILED",
            Word::Scheduled(Purpose::Password) => "SEND_VERIFICATION_CHANGE_PASSWORD",
            Word::Scheduled(Purpose::Deletion) => "SEND_VERIFICATION_DELETE_ACCOUNT",
            Word::PasswordChanged => "PASSWORD_CHANGED",
            Word::AccountDeleted => "ACCOUNT_DELETED_SUCCESSFULLY",
            Word::EmailChanged => "EMAIL_UPDATED",
            Word::CodeResent => "CODE_RESENT",
            Word::NameChanged => "NAME_CHANGED",
            Word::Unlinked => "UNLINK_SUCCESSFUL",
            Word::UpToDate => "AD_UPTODATE",
        }
    }

    /// As the packet of a dialect has it.
    fn text(self, dialect: Dialect) -> String {
        let word = self.word();
        match (dialect, self) {
            (Dialect::G3, _) => format!("INFRETmsg%eq!{word}!;"),
            (Dialect::G1, Word::LoggedIn) | (_, Word::DeviceConfirmed) => format!("INF{word}"),
            (Dialect::G1, Word::Registered | Word::PasswordChanged) => format!("INFACK{word}"),
            (_, Word::Registered | Word::NewDevice | Word::Scheduled(_)) => {
                format!("INFRETtodo%eq!{word}!;")
            }
            (_, Word::CodeResent) => "INFRETtodo%eq!CODE_RESEND!;".to_owned(),
            (_, Word::NameChanged) => format!("INFRETstatus%eq!{word}!;"),
            _ => format!("INFRET{word}"),
        }
    }
}

/// An entry as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its row.
    pub row: i64,
    /// Its id.
    pub hid: String,
    /// Its values, `datetime` included.
    pub values: Values,
}

impl Entry {
    fn value(&self, at: usize) -> &str {
        self.values[at].as_ref().map_or(UNSET, |value| value)
    }
}

/// Where the values are.
const HOST: usize = 0;
const URL: usize = 1;
const UNAME: usize = 2;
const PASSWORD: usize = 3;
const EMAIL: usize = 4;
const NOTES: usize = 5;
const ICON: usize = 6;
/// Where the time of the last change is.
pub const DATETIME: usize = 7;

/// A device of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name on the server.
    pub cookie: String,
    /// What it has said of itself, in JSON.
    pub about: String,
    /// When it was last seen, in seconds; `None` while it is connected.
    pub seen: Option<i64>,
    /// From where.
    pub address: String,
}

/// Something that has happened to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub name: String,
    /// From where.
    pub address: String,
    /// When, in seconds.
    pub time: i64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A word.
    Done(Word),
    /// An error.
    Failed(Failure),
    /// The client has to log in first.
    NotLoggedIn,
    /// The account has to be activated first.
    NotVerified,
    /// The end of a login that there was not.
    WasNotLoggedIn,
    /// The test of the keys.
    Test(String),
    /// A name for a device.
    Cookie(String),
    /// The id of a new entry.
    Inserted { local_id: String, hid: String },
    /// An entry has new values.
    Updated {
        hid: String,
        local_id: Option<String>,
    },
    /// An entry.
    Selected(Box<Entry>),
    /// No entry has this id; the client counts it all the same.
    Gone(String),
    /// The end of the entries.
    SelectEnd,
    /// Entries were deleted; the list as it was sent.
    Deleted(String),
    /// The ids and times of all entries, and the ids of deleted ones.
    Ids {
        entries: Vec<(String, String)>,
        deleted: Vec<String>,
    },
    /// All entries.
    All { entries: Vec<Entry> },
    /// All devices.
    Devices(Vec<Device>),
    /// Address and name of the account.
    Details {
        changed: i64,
        email: String,
        name: String,
    },
    /// What has happened to the account.
    Events(Vec<Event>),
}

impl Reply {
    /// The texts of the packets that say it.
    pub fn texts(&self, dialect: Dialect) -> Vec<Zeroizing<String>> {
        let texts = match (self, dialect) {
            (Reply::Done(Word::NewDevice), Dialect::G1 | Dialect::G2) => {
                vec![Failure::VERIFY_DEVICE.text(), Word::NewDevice.text(dialect)]
            }
            (Reply::Done(word), _) => vec![word.text(dialect)],
            (Reply::Failed(Failure::EMAIL_IN_USE), Dialect::G1 | Dialect::G2) => {
                vec!["INFERREMAIL_ALREADY_IN_USE".to_owned()]
            }
            (Reply::Failed(failure), _) => vec![failure.text()],
            (Reply::NotLoggedIn, _) => {
                let word = error_word("NOT_LOGGED_IN", dialect);
                vec![word, Failure::NOT_LOGGED_IN.text()]
            }
            (Reply::NotVerified, _) => vec![error_word("ACCOUNT_NOT_VERIFIED", dialect)],
            (Reply::WasNotLoggedIn, Dialect::G3) => vec![
                Word::LoggedOut.text(dialect),
                error_word("NOT_LOGGED_IN", dialect),
            ],
            (Reply::WasNotLoggedIn, _) => vec![error_word("NOT_LOGGED_IN", dialect)],
            (Reply::Test(nonce), _) => vec![format!("KEXACKnonce%eq!{nonce}!;")],
            (Reply::Cookie(cookie), _) => vec![format!("DTACKIcookie%eq!{cookie}!;")],
            (Reply::Devices(devices), _) => vec![devices_text(devices)],
            (
                Reply::Details {
                    changed,
                    email,
                    name,
                },
                _,
            ) => vec![format!(
                "INFRETmsg%eq!AD_OUTDATED!;datetime%eq!{changed}!;email%eq!{email}!;name%eq!{name}!;"
            )],
            (Reply::Events(events), _) => vec![events_text(events, dialect)],
            (data, Dialect::G3) => vec![data.data()],
            (data, _) => vec![data.old_data(dialect)],
        };
        texts.into_iter().map(Zeroizing::new).collect()
    }

    /// An answer to a request for entries, in the last dialect.
    fn data(&self) -> String {
        match self {
            Reply::Inserted { local_id, hid } => {
                format!("DTARETmode%eq!INSERT!;local_id%eq!{local_id}!;hashed_id%eq!{hid}!;")
            }
            Reply::Updated { hid, .. } => format!("DTARETmode%eq!UPDATE!;hashed_id%eq!{hid}!;"),
            Reply::Selected(entry) => {
                let order = [HOST, URL, UNAME, PASSWORD, EMAIL, NOTES, ICON];
                let pairs = pairs(entry, &order);
                format!("DTARETmode%eq!SELECT!;{pairs}")
            }
            Reply::Gone(hid) => format!("DTARETmode%eq!SELECT!;hid%eq!{hid}!;"),
            Reply::SelectEnd => "INFRETmsg%eq!SELECT_FINISHED!;".to_owned(),
            Reply::Deleted(list) => format!("DTARETmode%eq!DELETING_COMPLETED!;{list}"),
            Reply::Ids { entries, deleted } => {
                let headers = tuples(entries.iter().map(|(hid, time)| vec![hid, time]));
                let deleted = tuples(deleted.iter().map(|hid| vec![hid]));
                format!(
                    "DTARETmode%eq!FETCH_SYNC!;headers%eq![{headers}]!;deleted%eq![{deleted}]!;"
                )
            }
            Reply::All { entries } => {
                let order = [HOST, URL, UNAME, PASSWORD, EMAIL, NOTES, ICON];
                let rows = rows(entries, &order);
                format!("DTARETmode%eq!FETCH_ALL!;{rows}")
            }
            _ => String::new(),
        }
    }

    /// The same in the others.
    fn old_data(&self, dialect: Dialect) -> String {
        let order = [HOST, UNAME, PASSWORD, EMAIL, NOTES];
        match (self, dialect) {
            (Reply::Inserted { local_id, hid }, Dialect::G1) => {
                format!("DTARETINS{local_id}\u{1f}{hid}")
            }
            (Reply::Inserted { local_id, hid }, _) => {
                format!("DTARETINSlocal_id%eq!{local_id}!;hashed_id%eq!{hid}!;")
            }
            (
                Reply::Updated {
                    local_id: Some(id), ..
                },
                Dialect::G1,
            ) => format!("DTARETUPD{id}\u{1f}ACK"),
            (Reply::Updated { hid, .. }, _) => format!("DTARETUPDhashed_id%eq!{hid}!;"),
            (Reply::Selected(entry), _) => format!("DTARETSEL{}", pairs(entry, &order)),
            (Reply::Gone(hid), _) => format!("DTARETSELhid%eq!{hid}!;"),
            (Reply::SelectEnd, _) => "INFRETSELACK".to_owned(),
            (Reply::Deleted(list), _) => format!("DTARETDELCONFIRMED{list}"),
            (Reply::Ids { entries, .. }, _) => {
                let entries = entries.iter().map(|(hid, time)| vec![hid, time]);
                format!("DTARETSYN{}", tuples(entries))
            }
            (Reply::All { entries }, _) => {
                let order = [HOST, URL, UNAME, PASSWORD, EMAIL, NOTES];
                format!("DTARETSYN{}", rows(entries, &order))
            }
            _ => String::new(),
        }
    }
}

fn error_word(word: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::G3 => format!("INFERRmsg%eq!{word}!;"),
        Dialect::G1 | Dialect::G2 => format!("INFERR{word}"),
    }
}

/// The values of an entry in this order, then its id and its time.
fn pairs(entry: &Entry, order: &[usize]) -> String {
    let mut text = String::new();
    for at in order {
        let (name, value) = (super::request::COLUMNS[*at], entry.value(*at));
        text += &format!("{name}%eq!{value}!;");
    }
    let (hid, time) = (&entry.hid, entry.value(DATETIME));
    text + &format!("hid%eq!{hid}!;datetime%eq!{time}!;")
}

/// Rows with all columns of the original's table.
fn rows(entries: &[Entry], order: &[usize]) -> String {
    let row = |entry: &Entry| {
        let values = order.iter().map(|at| match &entry.values[*at] {
            Some(value) => quoted(value),
            None => "None".to_owned(),
        });
        let mut cells = vec![entry.row.to_string()];
        cells.extend(values);
        // The number of the account there, which is nobody's business.
        cells.push("1".to_owned());
        cells.push(quoted(&entry.hid));
        cells.push(quoted(entry.value(DATETIME)));
        format!("({})", cells.join(", "))
    };
    let rows: Vec<String> = entries.iter().map(row).collect();
    rows.join(",")
}

/// Tuples of texts, without a blank anywhere.
fn tuples<'a>(all: impl Iterator<Item = Vec<&'a String>>) -> String {
    let tuple = |texts: Vec<&String>| {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        format!("({})", texts.join(","))
    };
    all.map(tuple).collect::<Vec<_>>().join(",")
}

/// A text as Python writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\r' => quoted += "\\r",
            '\t' => quoted += "\\t",
            c if c.is_control() => quoted += &format!("\\x{:02x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "'"
}

fn devices_text(devices: &[Device]) -> String {
    let device = |device: &Device| {
        let Device {
            cookie,
            about,
            seen,
            address,
        } = device;
        let seen = seen.map_or("online".to_owned(), |time| time.to_string());
        quoted(&format!(
            r#"{{"OS":{about},"DeviceId":"{cookie}","LastSeen":"{seen}","IP":"{address}"}}"#
        ))
    };
    let devices: Vec<String> = devices.iter().map(device).collect();
    let list = devices.join(", ").replace('!', ".").replace(';', ",");
    format!("DTADEVdata%eq![{list}]!;")
}

fn events_text(events: &[Event], dialect: Dialect) -> String {
    let event = |event: &Event| {
        let Event {
            name,
            address,
            time,
        } = event;
        format!("('{name}', '{address}', '{time}', '')")
    };
    let events: Vec<String> = events.iter().map(event).collect();
    let list = events.join(", ");
    match dialect {
        Dialect::G3 => format!("DTALOGmode%eq$USER_REQUEST${SECTION}msg%eq$[{list}]${SECTION}"),
        Dialect::G1 | Dialect::G2 => format!("LOGDMP[{list}]"),
    }
}
