//! What a client asks, from the text of an encrypted packet. A name of a parameter
//! is compared whole; a value is what stands between its first and its second
//! exclamation mark. Nothing here touches an entry or an account.

use zeroize::Zeroizing;

use super::Dialect;

/// What stands between the parameters and the local id in the first dialect.
const UNIT: char = '\u{1f}';

/// The columns of an entry that a client sets, in the order of replies.
pub const COLUMNS: [&str; 8] = [
    "host", "url", "uname", "password", "email", "notes", "icon", "datetime",
];

/// An entry's values, in the order of [`COLUMNS`]; `None` for those not sent.
pub type Values = [Option<Zeroizing<String>>; COLUMNS.len()];

/// Why a text is not a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers it.
    Ignored,
    /// The client is sent away.
    SubId,
    /// An error: number, code, text.
    Error(u8, &'static str, &'static str),
}

const TOO_FEW: Fault = Fault::Error(15, "ICMD", "TOO_FEW_ARGUMENTS");
const TOO_MANY: Fault = Fault::Error(15, "ICMD", "TOO_MANY_ARGUMENTS");
const FORMATTING: Fault = Fault::Error(15, "ICMD", "INVALID_FORMATTING");
const NO_LOCAL_ID: Fault = Fault::Error(15, "ICMD", "TOO_FEW_PARAMETERS");
const MODE: Fault = Fault::Error(15, "ICMD", "INVALID_MODE");
const PARAMETERS: Fault = Fault::Error(9, "ISQP", "INVALID_SQL_QUERY_PARAMETERS");
const FETCH_MODE: Fault = Fault::Error(9, "ISQP", "INVALID_MODE");
const NO_HID: Fault = Fault::Error(0, "UNKN", "HID is None");

/// What a code from the operator is for, that a client asks for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Another password.
    Password,
    /// The end of the account.
    Deletion,
}

/// A secret text.
pub type Secret = Zeroizing<String>;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// The test of the keys, in the middle of a session.
    Test { nonce: String },
    /// A new entry.
    Insert {
        local_id: String,
        values: Box<Values>,
    },
    /// New values of an entry; the local id in the first dialect.
    Update {
        hid: String,
        local_id: Option<String>,
        values: Box<Values>,
    },
    /// Entries by their ids.
    Select { hids: Vec<String> },
    /// The end of entries; the list as it was sent.
    Delete { hids: Vec<String>, list: String },
    /// The ids of all entries and of those that are deleted.
    Sync,
    /// All entries.
    Dump,
    /// A name for a device.
    Cookie,
    /// Whether there is this one.
    HasCookie { cookie: String },
    /// What device has it.
    Authorize { cookie: String, device: String },
    /// A new account.
    Register {
        user: String,
        password: Secret,
        email: String,
        nickname: String,
        cookie: String,
    },
    /// The code of a new account.
    Verify { user: String, code: Secret },
    /// The login; with a code that of a new device.
    LogIn {
        user: String,
        password: Secret,
        cookie: String,
        code: Option<Secret>,
    },
    /// The end of the login.
    LogOut,
    /// Whether a name and a password match.
    Check { user: String, password: Secret },
    /// All devices of the account.
    Devices,
    /// The end of one of them.
    Unlink { cookie: String },
    /// A code.
    Schedule(Purpose),
    /// Another password.
    SetPassword { password: Secret, code: Secret },
    /// The end of the account.
    DeleteAccount { code: Secret },
    /// Another address for an account that is not active yet.
    SetEmail {
        user: String,
        cookie: String,
        email: String,
    },
    /// Another code in place of one that is not used yet.
    Resend { user: String, email: String },
    /// Another name to be greeted by.
    Rename { name: String },
    /// Address and name, if they have changed since.
    Details { since: i64 },
    /// What has happened to the account.
    Events,
    /// What nobody may ask here: the operator's commands, a password's hash.
    Forbidden,
    /// The end of the connection.
    Leave,
}

impl Request {
    /// Whether a client must have logged in.
    pub fn needs_login(&self) -> bool {
        use Request::{
            Delete, DeleteAccount, Details, Devices, Dump, Events, Insert, Rename, Schedule,
            Select, SetPassword, Sync, Unlink, Update,
        };
        matches!(
            self,
            Insert { .. }
                | Update { .. }
                | Select { .. }
                | Delete { .. }
                | Sync
                | Dump
                | Devices
                | Unlink { .. }
                | Schedule(_)
                | SetPassword { .. }
                | DeleteAccount { .. }
                | Rename { .. }
                | Details { .. }
                | Events
        )
    }

    /// Whether a client of the last dialect must have said what device it is.
    pub fn needs_device(&self) -> bool {
        matches!(self, Request::Register { .. } | Request::LogIn { .. })
    }

    /// Reads the text of an encrypted packet.
    ///
    /// # Errors
    /// Why it is not a request.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Request, Fault> {
        let id = text.get(..3).ok_or(Fault::Ignored)?;
        let (sub, rest) = match text.get(3..6) {
            Some(sub) => (sub, text.get(6..).unwrap_or_default()),
            None => ("", ""),
        };
        match id {
            "REQ" => data(sub, rest, dialect),
            "MNG" => management(sub, rest),
            "KEX" if sub == "ACK" => {
                let mut given = Parameters::read(rest, &["nonce"])?;
                let nonce = given.take("nonce")?;
                Ok(Request::Test { nonce })
            }
            "KEX" => Err(Fault::SubId),
            "INF" if dialect == Dialect::G1 && ["END", "BGN"].contains(&sub) => Err(Fault::Ignored),
            "INF" if dialect == Dialect::G1 => Ok(Request::Leave),
            _ => Err(Fault::Ignored),
        }
    }
}

fn data(sub: &str, rest: &str, dialect: Dialect) -> Result<Request, Fault> {
    match sub {
        "INS" | "UPD" => entry(sub == "INS", rest, dialect),
        "SEL" => {
            let hids = list(rest);
            (!hids.is_empty())
                .then_some(Request::Select { hids })
                .ok_or(PARAMETERS)
        }
        "DEL" => {
            let hids = list(rest);
            let list = rest.to_owned();
            (!hids.is_empty())
                .then_some(Request::Delete { hids, list })
                .ok_or(PARAMETERS)
        }
        "SYN" => {
            let mut given = Parameters::read(rest, &["fetch_mode"]).map_err(|_| PARAMETERS)?;
            match given.take("fetch_mode").map_err(|_| PARAMETERS)?.as_str() {
                "FETCH_SYNC" => Ok(Request::Sync),
                "FETCH_ALL" => Ok(Request::Dump),
                _ => Err(FETCH_MODE),
            }
        }
        _ => Err(Fault::SubId),
    }
}

/// A list of ids.
fn list(rest: &str) -> Vec<String> {
    let ids = rest.split(';').filter(|id| !id.is_empty());
    ids.map(str::to_owned).collect()
}

/// An entry and its ids, among parameters of which unknown ones are left out.
fn entry(is_new: bool, rest: &str, dialect: Dialect) -> Result<Request, Fault> {
    let (pairs, unit_id) = match rest.split_once(UNIT) {
        Some((pairs, id)) => (pairs, Some(id.to_owned())),
        None if dialect == Dialect::G1 => return Err(Fault::Ignored),
        None => (rest, None),
    };
    let mut values = Values::default();
    let (mut local_id, mut hid) = (None, None);
    for (name, value) in pairs.split(';').filter_map(|piece| piece.split_once("%eq")) {
        let value = value.replace('!', "");
        match name {
            "local_id" => local_id = Some(value),
            "hid" => hid = Some(value),
            _ => {
                if let Some(at) = COLUMNS.iter().position(|column| *column == name) {
                    values[at] = Some(Zeroizing::new(value));
                }
            }
        }
    }
    let values = Box::new(values);
    if is_new {
        let local_id = unit_id.or(local_id).ok_or(NO_LOCAL_ID)?;
        let has_any = values.iter().any(Option::is_some);
        return has_any
            .then_some(Request::Insert { local_id, values })
            .ok_or(PARAMETERS);
    }
    let hid = hid.filter(|hid| !hid.is_empty()).ok_or(NO_HID)?;
    Ok(Request::Update {
        hid,
        local_id: unit_id,
        values,
    })
}

fn management(sub: &str, rest: &str) -> Result<Request, Fault> {
    let read = |names| Parameters::read(rest, names);
    Ok(match sub {
        "CKI" => Request::Cookie,
        "CCK" | "ULK" => {
            let cookie = read(&["cookie"])?.take("cookie")?;
            match sub {
                "CCK" => Request::HasCookie { cookie },
                _ => Request::Unlink { cookie },
            }
        }
        "ATH" => {
            let mut given = read(&["cookie", "device", "is_mobile", "version"])?;
            given.take("is_mobile")?;
            given.take("version")?;
            Request::Authorize {
                cookie: given.take("cookie")?,
                device: given.take("device")?,
            }
        }
        "REG" => {
            let mut given = read(&["username", "password", "email", "nickname", "cookie"])?;
            Request::Register {
                user: given.take("username")?,
                password: given.secret("password")?,
                email: given.take("email")?,
                nickname: given.take("nickname")?,
                cookie: given.take("cookie")?,
            }
        }
        "VER" => {
            let mut given = read(&["username", "code"])?;
            Request::Verify {
                user: given.take("username")?,
                code: given.secret("code")?,
            }
        }
        "LGI" | "CND" => log_in(
            sub == "CND",
            read(&["username", "password", "cookie", "code"])?,
        )?,
        "LGO" => Request::LogOut,
        "CCR" => {
            let mut given = read(&["username", "password"])?;
            Request::Check {
                user: given.take("username")?,
                password: given.secret("password")?,
            }
        }
        "ADM" | "NAD" | "APR" | "APC" | "LIC" | "KIK" | "BAN" | "BNA" | "BND" | "LOG" | "SHT"
        | "RBT" | "PWH" => Request::Forbidden,
        _ => return account(sub, rest),
    })
}

fn log_in(has_code: bool, mut given: Parameters<'_>) -> Result<Request, Fault> {
    let code = given.secret("code");
    let code = match (has_code, code) {
        (true, code) => Some(code?),
        (false, Ok(_)) => return Err(TOO_MANY),
        (false, Err(_)) => None,
    };
    Ok(Request::LogIn {
        user: given.take("username")?,
        password: given.secret("password")?,
        cookie: given.take("cookie")?,
        code,
    })
}

/// What concerns one's own account.
fn account(sub: &str, rest: &str) -> Result<Request, Fault> {
    let read = |names| Parameters::read(rest, names);
    Ok(match sub {
        "DEV" => Request::Devices,
        "IPC" | "IAD" | "IAC" => purpose(rest)?,
        // The first dialects have three letters more.
        "ACR" => match rest.get(..3) {
            Some("PWC" | "DEL") => purpose(rest.get(3..).unwrap_or_default())?,
            _ => return Err(Fault::SubId),
        },
        "CPC" => {
            let mut given = read(&["password", "code"])?;
            Request::SetPassword {
                password: given.secret("password")?,
                code: given.secret("code")?,
            }
        }
        "CAD" | "DEL" => Request::DeleteAccount {
            code: read(&["code"])?.secret("code")?,
        },
        "CEA" => {
            let mut given = read(&["username", "cookie", "new_email"])?;
            Request::SetEmail {
                user: given.take("username")?,
                cookie: given.take("cookie")?,
                email: given.take("new_email")?,
            }
        }
        "RTC" => {
            let mut given = read(&["username", "email", "name", "nickname"])?;
            Request::Resend {
                user: given.take("username")?,
                email: given.take("email")?,
            }
        }
        "CHN" => Request::Rename {
            name: read(&["new_name"])?.take("new_name")?,
        },
        "GAD" => {
            let since = read(&["datetime"])?.take("datetime")?;
            let since = since.parse().map_err(|_| FORMATTING)?;
            Request::Details { since }
        }
        "GAA" => Request::Events,
        _ => return Err(Fault::SubId),
    })
}

fn purpose(rest: &str) -> Result<Request, Fault> {
    let mode = Parameters::read(rest, &["mode"])?.take("mode");
    match mode.as_deref() {
        Ok("PASSWORD_CHANGE") => Ok(Request::Schedule(Purpose::Password)),
        Ok("DELETE_ACCOUNT") => Ok(Request::Schedule(Purpose::Deletion)),
        _ => Err(MODE),
    }
}

/// Names and values.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    /// Reads them; each name is one of these, and comes once.
    fn read(text: &'a str, names: &[&str]) -> Result<Parameters<'a>, Fault> {
        let mut given: Vec<(&str, &str)> = Vec::new();
        for piece in text.split(';').filter(|piece| !piece.is_empty()) {
            let (name, rest) = piece.split_once("%eq").ok_or(FORMATTING)?;
            let value = rest.split('!').nth(1).ok_or(FORMATTING)?;
            if !names.contains(&name) || given.iter().any(|(known, _)| *known == name) {
                return Err(TOO_MANY);
            }
            given.push((name, value));
        }
        Ok(Parameters(given))
    }

    /// The value of a name, which an empty one is not.
    fn take(&mut self, name: &str) -> Result<String, Fault> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        let value = found.map(|(_, value)| *value);
        let value = value.filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or(TOO_FEW)
    }

    fn secret(&mut self, name: &str) -> Result<Secret, Fault> {
        self.take(name).map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_compared_whole_and_values_may_hold_names() {
        let text = "MNGREGemail%eq!username@password.x!;cookie%eq!c!;nickname%eq!n!;\
                    password%eq!p!;username%eq!u!";
        let Ok(Request::Register { user, email, .. }) = Request::parse(text, Dialect::G3) else {
            panic!("a request");
        };
        assert_eq!(
            (user.as_str(), email.as_str()),
            ("u", "username@password.x")
        );
        for (text, fault) in [
            ("MNGVERuser%eq!u!;code%eq!c!;", TOO_MANY),
            ("MNGVERusername%eq!u!;username%eq!u!;code%eq!c!;", TOO_MANY),
            ("MNGVERusername%eq!u!;", TOO_FEW),
            ("MNGVERusername", FORMATTING),
            (
                "MNGLGIusername%eq!u!;password%eq!p!;cookie%eq!c!;code%eq!x!;",
                TOO_MANY,
            ),
            ("MNGIPCmode%eq!OTHER!;", MODE),
            ("MNGACRXYZ", Fault::SubId),
            ("REQ", Fault::SubId),
            ("XYZABC", Fault::Ignored),
            ("", Fault::Ignored),
        ] {
            assert_eq!(Request::parse(text, Dialect::G2), Err(fault), "{text}");
        }
    }

    #[test]
    fn the_local_id_of_the_first_dialect_is_behind_the_fields() {
        let text = "REQINShost%eq!h!;\u{1f}12";
        let Ok(Request::Insert { local_id, values }) = Request::parse(text, Dialect::G1) else {
            panic!("a request");
        };
        assert_eq!(local_id, "12");
        assert_eq!(values[0].as_ref().map(|text| text.as_str()), Some("h"));
        let without = Request::parse("REQINShost%eq!h!;", Dialect::G1);
        assert_eq!(without, Err(Fault::Ignored));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(REQ|MNG|KEX|INF)?[A-Z]{0,6}.{0,40}") {
            for dialect in [Dialect::G1, Dialect::G2, Dialect::G3] {
                let _ = Request::parse(&text, dialect);
            }
        }
    }
}
