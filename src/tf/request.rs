//! From a message body to a typed request (document, "The command
//! interface"). All syntax errors end here; nothing here touches a file.

use super::status::{Reply, Status};
use crate::store::RootPath;

/// The longest command word looked at.
const MAX_WORD: usize = 31;

/// The longest name of a file.
const MAX_NAME: usize = 255;

/// What stands between two paths of one command.
const BAR: &[u8] = b" | ";

/// A path that a client sent, or `AccessDenied` for one it may not name, for
/// the commands that answer with a raw header instead of a message.
pub type RawPath = Result<RootPath, Status>;

/// `offst` and `bufsz` of PUT and GET, with `canpt` of PUTCAN and GETCAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HpRequest {
    /// The file.
    pub path: RootPath,
    /// Where in the file to begin, in bytes.
    pub offset: u64,
    /// The buffer the client proposes, in bytes.
    pub buffer: i64,
    /// Data frames between two cancellation points; 0 for none.
    pub cancel_point: u64,
}

/// A request of the document, its arguments read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the document's words and the arguments it gives them"
)]
pub enum Request {
    End,
    Echo {
        text: Vec<u8>,
    },
    Mkdir {
        path: RootPath,
    },
    Del {
        path: RootPath,
    },
    Rmdir {
        path: RootPath,
    },
    Copy {
        from: RootPath,
        to: RootPath,
    },
    Touch {
        path: RootPath,
    },
    Date,
    Udate,
    Ndate,
    Datef,
    Dtof {
        timestamp: Vec<u8>,
    },
    Ftod {
        date: Vec<u8>,
    },
    Fstat {
        path: RootPath,
    },
    Fupd {
        path: RootPath,
    },
    Cpdir {
        from: RootPath,
        to: RootPath,
    },
    Xcopy {
        name: Vec<u8>,
        from: RootPath,
        pattern: RootPath,
    },
    Xdel {
        start: RootPath,
        pattern: RootPath,
    },
    Xrmdir {
        start: RootPath,
        pattern: RootPath,
    },
    Xcpdir {
        name: Vec<u8>,
        from: RootPath,
        pattern: RootPath,
    },
    Lock {
        name: Vec<u8>,
    },
    Sndfile {
        overwrite: bool,
        path: RootPath,
    },
    Rcvfile {
        delete: bool,
        path: RootPath,
    },
    Ls {
        path: RootPath,
    },
    Lsr {
        path: RootPath,
    },
    Renam {
        from: RootPath,
        to: RootPath,
    },
    Keepalive {
        on: bool,
        idle: i64,
        interval: i64,
        count: i64,
    },
    Prockey,
    Freesp,
    Put(HpRequest),
    Get(HpRequest),
    Putcan(HpRequest),
    Getcan(HpRequest),
    Login {
        user: Vec<u8>,
        password: Vec<u8>,
    },
    Chmod {
        path: RootPath,
        mode: Vec<u8>,
    },
    Chown {
        path: RootPath,
        user: Vec<u8>,
        group: Vec<u8>,
    },
    Sha256 {
        path: RootPath,
    },
    Nigma {
        length: i64,
    },
    Rmsecdir {
        token: Vec<u8>,
        path: RootPath,
    },
    Injail {
        token: Vec<u8>,
        path: RootPath,
    },
    Tlb,
    Addntfy {
        token: Vec<u8>,
        path: RootPath,
    },
    Startntfy {
        interval: Vec<u8>,
    },
    Sdown {
        path: RawPath,
    },
    Sup {
        path: RawPath,
    },
    Fsize {
        path: RawPath,
    },
    Fsizels {
        path: RawPath,
    },
}

/// The command word of a message, upper-cased: up to the first space or NUL.
#[must_use]
pub fn word(body: &[u8]) -> Vec<u8> {
    let end = body
        .iter()
        .position(|c| matches!(c, b' ' | 0))
        .unwrap_or(body.len());
    body[..end].to_ascii_uppercase()
}

impl Request {
    /// Whether it only adds what is not there, or can be held to that.
    #[must_use]
    pub fn only_adds(&self) -> bool {
        use Request as R;
        matches!(
            self,
            R::Mkdir { .. }
                | R::Touch { .. }
                | R::Copy { .. }
                | R::Cpdir { .. }
                | R::Xcopy { .. }
                | R::Xcpdir { .. }
                | R::Sndfile {
                    overwrite: false,
                    ..
                }
                | R::Sup { .. }
                | R::Put(_)
                | R::Putcan(_)
        )
    }

    /// Whether it may keep a session busy for longer than a few system calls
    /// take.
    #[must_use]
    pub fn may_take_long(&self) -> bool {
        use Request as R;
        !matches!(
            self,
            R::End
                | R::Echo { .. }
                | R::Mkdir { .. }
                | R::Del { .. }
                | R::Touch { .. }
                | R::Date
                | R::Udate
                | R::Ndate
                | R::Datef
                | R::Dtof { .. }
                | R::Ftod { .. }
                | R::Fstat { .. }
                | R::Fupd { .. }
                | R::Lock { .. }
                | R::Renam { .. }
                | R::Keepalive { .. }
                | R::Prockey
                | R::Freesp
                | R::Chmod { .. }
                | R::Chown { .. }
                | R::Fsize { .. }
        )
    }

    /// Whether it changes anything beneath the root.
    #[must_use]
    pub fn changes_files(&self) -> bool {
        use Request as R;
        match self {
            R::Rcvfile { delete, .. } => *delete,
            R::Mkdir { .. }
            | R::Del { .. }
            | R::Rmdir { .. }
            | R::Copy { .. }
            | R::Touch { .. }
            | R::Fupd { .. }
            | R::Cpdir { .. }
            | R::Xcopy { .. }
            | R::Xdel { .. }
            | R::Xrmdir { .. }
            | R::Xcpdir { .. }
            | R::Sndfile { .. }
            | R::Renam { .. }
            | R::Put(_)
            | R::Putcan(_)
            | R::Chmod { .. }
            | R::Chown { .. }
            | R::Rmsecdir { .. }
            | R::Sup { .. } => true,
            R::End
            | R::Echo { .. }
            | R::Date
            | R::Udate
            | R::Ndate
            | R::Datef
            | R::Dtof { .. }
            | R::Ftod { .. }
            | R::Fstat { .. }
            | R::Lock { .. }
            | R::Ls { .. }
            | R::Lsr { .. }
            | R::Keepalive { .. }
            | R::Prockey
            | R::Freesp
            | R::Get(_)
            | R::Getcan(_)
            | R::Login { .. }
            | R::Sha256 { .. }
            | R::Nigma { .. }
            | R::Injail { .. }
            | R::Tlb
            | R::Addntfy { .. }
            | R::Startntfy { .. }
            | R::Sdown { .. }
            | R::Fsize { .. }
            | R::Fsizels { .. } => false,
        }
    }

    /// Reads a message body.
    ///
    /// # Errors
    /// The reply to give instead: `UNKNOWN`, or a status for arguments that
    /// are missing or name what no client may name.
    pub fn parse(body: &[u8]) -> Result<Request, Reply> {
        let word = word(body);
        // A NUL ends a message of text: what is behind it is nobody's word.
        let raw = body[word.len()..].strip_prefix(b" ").unwrap_or_default();
        if word.len() > MAX_WORD {
            return Err(Reply::Unknown);
        }
        let text = until_nul(raw);
        let request = match word.as_slice() {
            b"END" => Request::End,
            b"ECHO" => Request::Echo {
                text: text.to_vec(),
            },
            b"MKDIR" => Request::Mkdir { path: path(text)? },
            b"DEL" => Request::Del { path: path(text)? },
            b"RMDIR" => Request::Rmdir { path: path(text)? },
            b"COPY" => {
                let (from, to) = two_paths(text)?;
                Request::Copy { from, to }
            }
            b"TOUCH" => Request::Touch { path: path(text)? },
            b"DATE" => Request::Date,
            b"UDATE" => Request::Udate,
            b"NDATE" => Request::Ndate,
            b"DATEF" => Request::Datef,
            b"DTOF" => Request::Dtof {
                timestamp: filled(text)?.to_vec(),
            },
            b"FTOD" => Request::Ftod {
                date: filled(text)?.to_vec(),
            },
            b"FSTAT" => Request::Fstat {
                path: path(filled(text)?)?,
            },
            b"FUPD" => Request::Fupd {
                path: path(filled(text)?)?,
            },
            b"CPDIR" => {
                let (from, to) = two_paths(text)?;
                Request::Cpdir { from, to }
            }
            b"XCOPY" => {
                let (name, from, pattern) = spread(text)?;
                Request::Xcopy {
                    name,
                    from,
                    pattern,
                }
            }
            b"XCPDIR" => {
                let (name, from, pattern) = spread(text)?;
                Request::Xcpdir {
                    name,
                    from,
                    pattern,
                }
            }
            b"XDEL" => {
                let (start, pattern) = split(text, b" ")?;
                Request::Xdel {
                    start: path(start)?,
                    pattern: path(pattern)?,
                }
            }
            b"XRMDIR" => {
                let (start, pattern) = split(text, b" ")?;
                Request::Xrmdir {
                    start: path(start)?,
                    pattern: path(pattern)?,
                }
            }
            b"LOCK" => Request::Lock {
                name: text.to_vec(),
            },
            b"SNDFILE" => {
                let (flag, name) = split(text, b" ")?;
                Request::Sndfile {
                    overwrite: flag == b"1",
                    path: path(name)?,
                }
            }
            b"RCVFILE" => {
                let (flag, name) = split(text, b" ")?;
                Request::Rcvfile {
                    delete: flag == b"1",
                    path: path(name)?,
                }
            }
            b"LS" => Request::Ls { path: path(text)? },
            b"LSR" => Request::Lsr { path: path(text)? },
            b"RENAM" => {
                let (from, to) = two_paths(text)?;
                Request::Renam { from, to }
            }
            b"KEEPALIVE" => keepalive(text)?,
            b"PROCKEY" => Request::Prockey,
            b"FREESP" => Request::Freesp,
            b"PUT" => Request::Put(hp_request(raw, 16)?),
            b"GET" => Request::Get(hp_request(raw, 16)?),
            b"PUTCAN" => Request::Putcan(hp_request(raw, 24)?),
            b"GETCAN" => Request::Getcan(hp_request(raw, 24)?),
            b"LOGIN" => {
                let (user, password) = split(text, b" ")?;
                Request::Login {
                    user: filled(user)?.to_vec(),
                    password: password.to_vec(),
                }
            }
            b"CHMOD" => {
                let (name, mode) = split(text, b" ")?;
                Request::Chmod {
                    path: path(name)?,
                    mode: filled(mode)?.to_vec(),
                }
            }
            b"CHOWN" => {
                let (name, owner) = split(text, b" ")?;
                let path = path(name)?;
                let (user, group) = split(owner, b" ")?;
                Request::Chown {
                    path,
                    user: user.to_vec(),
                    group: filled(group)?.to_vec(),
                }
            }
            b"SHA256" => Request::Sha256 {
                path: path(filled(text)?)?,
            },
            b"NIGMA" => Request::Nigma {
                length: number(text),
            },
            b"RMSECDIR" => {
                let (token, name) = split(text, BAR)?;
                Request::Rmsecdir {
                    token: token.to_vec(),
                    path: path(name)?,
                }
            }
            b"INJAIL" => {
                let (token, name) = split(text, BAR)?;
                Request::Injail {
                    token: token.to_vec(),
                    path: path(name)?,
                }
            }
            b"TLB" => Request::Tlb,
            b"ADDNTFY" => {
                let (token, name) = notification(text)?;
                Request::Addntfy {
                    token: token.to_vec(),
                    path: path(name)?,
                }
            }
            b"STARTNTFY" => Request::Startntfy {
                interval: text.to_vec(),
            },
            b"SDOWN" => Request::Sdown { path: path(text) },
            b"SUP" => Request::Sup { path: path(text) },
            b"FSIZE" => Request::Fsize { path: path(text) },
            b"FSIZELS" => Request::Fsizels { path: path(text) },
            _ => return Err(Reply::Unknown),
        };
        Ok(request)
    }
}

fn until_nul(raw: &[u8]) -> &[u8] {
    raw.split(|c| *c == 0).next().unwrap_or_default()
}

fn path(text: &[u8]) -> Result<RootPath, Status> {
    RootPath::parse(text).map_err(|_| Status::AccessDenied)
}

/// A text that must not be empty.
fn filled(text: &[u8]) -> Result<&[u8], Status> {
    if text.is_empty() {
        Err(Status::MissingParameter)
    } else {
        Ok(text)
    }
}

/// Both sides of the first separator.
fn split<'a>(text: &'a [u8], separator: &[u8]) -> Result<(&'a [u8], &'a [u8]), Status> {
    let at = text
        .windows(separator.len())
        .position(|w| w == separator)
        .ok_or(Status::MissingParameter)?;
    Ok((&text[..at], &text[at + separator.len()..]))
}

fn two_paths(text: &[u8]) -> Result<(RootPath, RootPath), Status> {
    let (from, to) = split(text, BAR)?;
    let (from, to) = (filled(from)?, filled(to)?);
    Ok((path(from)?, path(to)?))
}

/// `new source | pattern` of XCOPY and XCPDIR.
fn spread(text: &[u8]) -> Result<(Vec<u8>, RootPath, RootPath), Status> {
    let (name, rest) = split(text, b" ")?;
    let (from, pattern) = split(rest, BAR)?;
    let name_path = path(filled(name)?)?;
    if name.contains(&b'/') || name_path.is_root() {
        return Err(Status::AccessDenied);
    }
    Ok((name.to_vec(), path(from)?, path(pattern)?))
}

/// `token path` of ADDNTFY; the token begins names.
fn notification(text: &[u8]) -> Result<(&[u8], &[u8]), Status> {
    let (token, name) = split(text, b" ").map_err(|_| Status::NotifyAdd)?;
    let odd = matches!(token, b"." | b"..") || token.contains(&b'/') || token.len() > MAX_NAME;
    if odd {
        Err(Status::NotifyAdd)
    } else {
        Ok((token, name))
    }
}

fn keepalive(text: &[u8]) -> Result<Request, Status> {
    let (on, rest) = split(text, b" ")?;
    let (idle, rest) = split(rest, BAR)?;
    let (interval, count) = split(rest, BAR)?;
    filled(count)?;
    Ok(Request::Keepalive {
        on: number(on) != 0,
        idle: number(idle),
        interval: number(interval),
        count: number(count),
    })
}

/// A decimal number at the start of a text; 0 when there is none.
fn number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let signs = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let digits = text[signs..]
        .iter()
        .take_while(|c| c.is_ascii_digit())
        .count();
    let literal = std::str::from_utf8(&text[..signs + digits]).unwrap_or_default();
    match literal.parse::<i64>() {
        Ok(value) => value,
        Err(_) if digits == 0 => 0,
        Err(_) if literal.starts_with('-') => i64::MIN,
        Err(_) => i64::MAX,
    }
}

/// `path`, a space and the binary numbers in the last `numbers` bytes.
fn hp_request(raw: &[u8], numbers: usize) -> Result<HpRequest, Status> {
    let cut = raw
        .len()
        .checked_sub(numbers + 1)
        .ok_or(Status::MissingParameter)?;
    if raw[cut] != b' ' {
        return Err(Status::MissingParameter);
    }
    let (name, numbers) = (&raw[..cut], &raw[cut + 1..]);
    let field = |i: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&numbers[8 * i..8 * i + 8]);
        bytes
    };
    Ok(HpRequest {
        path: path(name)?,
        offset: u64::from_be_bytes(field(0)),
        buffer: i64::from_be_bytes(field(1)),
        cancel_point: if numbers.len() > 16 {
            u64::from_be_bytes(field(2))
        } else {
            0
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root_path(text: &str) -> RootPath {
        RootPath::parse(text.as_bytes()).expect("allowed")
    }

    #[test]
    fn words_are_read_without_case_and_arguments_verbatim() {
        assert_eq!(
            Request::parse(b"echo  a b"),
            Ok(Request::Echo {
                text: b" a b".to_vec()
            })
        );
        assert_eq!(Request::parse(b"DATE extra"), Ok(Request::Date));
        assert_eq!(
            Request::parse(b"MKDIR"),
            Ok(Request::Mkdir {
                path: RootPath::root()
            })
        );
        assert_eq!(
            Request::parse(b"LS a\0b"),
            Ok(Request::Ls {
                path: root_path("a")
            })
        );
        assert_eq!(
            Request::parse(b"DEL\0b"),
            Ok(Request::Del {
                path: RootPath::root()
            })
        );
        for unknown in [&b"DATE\n"[..], b"ECHO\tx", b" ECHO x", b"", b"\0", b"FROB"] {
            assert_eq!(Request::parse(unknown), Err(Reply::Unknown), "{unknown:?}");
        }
    }

    #[test]
    fn two_paths_are_split_at_the_first_bar() {
        let copy = |from, to| {
            Ok(Request::Copy {
                from: root_path(from),
                to: root_path(to),
            })
        };
        assert_eq!(Request::parse(b"COPY a b | c | d"), copy("a b", "c | d"));
        for missing in ["COPY a|b", "COPY a |b", "COPY a | ", "COPY  | b", "COPY"] {
            let reply = Request::parse(missing.as_bytes());
            assert_eq!(reply, Err(Status::MissingParameter.into()), "{missing}");
        }
    }

    #[test]
    fn a_new_name_of_xcopy_is_one_name() {
        for name in ["a/b", "..", "/", "."] {
            let reply = Request::parse(format!("XCOPY {name} src | dir").as_bytes());
            assert_eq!(reply, Err(Status::AccessDenied.into()), "{name}");
        }
    }

    #[test]
    fn binary_numbers_stand_behind_the_path() {
        let mut body = b"GET a b ".to_vec();
        body.extend_from_slice(&7u64.to_be_bytes());
        body.extend_from_slice(&(-1i64).to_be_bytes());
        let expected = HpRequest {
            path: root_path("a b"),
            offset: 7,
            buffer: -1,
            cancel_point: 0,
        };
        assert_eq!(Request::parse(&body), Ok(Request::Get(expected)));
        for short in [&b"PUT"[..], b"PUT ", b"PUT a 12345678"] {
            assert_eq!(Request::parse(short), Err(Status::MissingParameter.into()));
        }
    }

    #[test]
    fn keepalive_needs_its_four_fields() {
        let parsed = Request::parse(b"KEEPALIVE 1 5 | 6 | 7");
        assert_eq!(
            parsed,
            Ok(Request::Keepalive {
                on: true,
                idle: 5,
                interval: 6,
                count: 7
            })
        );
        for missing in [
            "KEEPALIVE",
            "KEEPALIVE 1",
            "KEEPALIVE 1 5 | 6",
            "KEEPALIVE 0 1 | 2 | ",
        ] {
            let reply = Request::parse(missing.as_bytes());
            assert_eq!(reply, Err(Status::MissingParameter.into()), "{missing}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_a_panic(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            drop(Request::parse(&body));
        }

        #[test]
        fn any_arguments_of_any_word_parse_without_a_panic(
            word in proptest::sample::select(vec![
                "COPY", "XCOPY", "XDEL", "SNDFILE", "KEEPALIVE", "PUT", "GETCAN", "LOGIN",
                "CHMOD", "CHOWN", "NIGMA", "RMSECDIR", "INJAIL", "FSIZELS", "ADDNTFY",
            ]),
            args in "[ |/.a0-]{0,40}\\PC{0,8}",
        ) {
            drop(Request::parse(format!("{word} {args}").as_bytes()));
        }
    }
}
