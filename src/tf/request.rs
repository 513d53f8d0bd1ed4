//! From a message body to a typed request (document, "The command
//! interface"): the functions that read the arguments of each command of the
//! table. All syntax errors end here; nothing here touches a file.

pub use super::command::Request;
use super::env::POLICY;
pub use super::extension::attributes::Attributes;
pub use super::extension::link::Link;
pub use super::extension::list::Flags;
use super::status::{Reply, Status};
use crate::store::RootPath;

/// The longest command word that is looked up.
const MAX_WORD: usize = 31;

/// The longest name of a file.
const MAX_NAME: usize = 255;

/// The separator of two paths of one command.
const BAR: &[u8] = b" | ";

/// The separator of a directory and the file for its list (LSV2, LSRV2).
const INTO: &[u8] = b"@||@";

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

/// The command word of a message, upper-cased: up to the first space or NUL.
pub fn word(body: &[u8]) -> Vec<u8> {
    let end = body
        .iter()
        .position(|c| matches!(c, b' ' | 0))
        .unwrap_or(body.len());
    body[..end].to_ascii_uppercase()
}

impl Request {
    /// Reads a message body.
    ///
    /// # Errors
    /// The reply to give instead: `UNKNOWN`, or a status for arguments that
    /// are missing or name what no client may name.
    pub fn parse(body: &[u8]) -> Result<Request, Reply> {
        let word = word(body);
        if word.len() > MAX_WORD {
            return Err(Reply::Unknown);
        }
        let raw = body[word.len()..].strip_prefix(b" ").unwrap_or_default();
        Request::read(
            std::str::from_utf8(&word).unwrap_or_default(),
            Arguments(raw),
        )
    }
}

/// What follows a command word.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    /// As text, which a NUL ends.
    fn text(self) -> &'a [u8] {
        self.0.split(|c| *c == 0).next().unwrap_or_default()
    }
}

type Read<T> = Result<T, Status>;

pub(super) fn nothing(_: Arguments<'_>) -> Read<()> {
    Ok(())
}

pub(super) fn any_text(arguments: Arguments<'_>) -> Read<Vec<u8>> {
    Ok(arguments.text().to_vec())
}

/// The bytes as they are, with any NUL.
pub(super) fn any_bytes(arguments: Arguments<'_>) -> Read<Vec<u8>> {
    Ok(arguments.0.to_vec())
}

pub(super) fn some_text(arguments: Arguments<'_>) -> Read<Vec<u8>> {
    filled(arguments.text()).map(<[u8]>::to_vec)
}

pub(super) fn one_number(arguments: Arguments<'_>) -> Read<i64> {
    Ok(number(arguments.text()))
}

pub(super) fn path(arguments: Arguments<'_>) -> Read<RootPath> {
    parse_path(arguments.text())
}

pub(super) fn named_path(arguments: Arguments<'_>) -> Read<RootPath> {
    parse_path(filled(arguments.text())?)
}

pub(super) fn raw_path(arguments: Arguments<'_>) -> Read<RawPath> {
    Ok(path(arguments))
}

pub(super) fn two_paths(arguments: Arguments<'_>) -> Read<(RootPath, RootPath)> {
    let (from, to) = split(arguments.text(), BAR)?;
    let (from, to) = (filled(from)?, filled(to)?);
    Ok((parse_path(from)?, parse_path(to)?))
}

/// `directory@||@file` of LSV2 and LSRV2.
pub(super) fn path_and_list(arguments: Arguments<'_>) -> Read<(RootPath, RootPath)> {
    let (directory, file) = split(arguments.text(), INTO)?;
    Ok((parse_path(directory)?, parse_path(file)?))
}

pub(super) fn path_and_pattern(arguments: Arguments<'_>) -> Read<(RootPath, RootPath)> {
    let (start, pattern) = split(arguments.text(), b" ")?;
    Ok((parse_path(start)?, parse_path(pattern)?))
}

/// `new source | pattern` of XCOPY and XCPDIR.
pub(super) fn name_path_and_pattern(
    arguments: Arguments<'_>,
) -> Read<(Vec<u8>, RootPath, RootPath)> {
    let (name, rest) = split(arguments.text(), b" ")?;
    let (from, pattern) = split(rest, BAR)?;
    let name_path = parse_path(filled(name)?)?;
    if name.contains(&b'/') || name_path.is_root() {
        return Err(Status::AccessDenied);
    }
    Ok((name.to_vec(), parse_path(from)?, parse_path(pattern)?))
}

/// `1 path` of SNDFILE and RCVFILE; any other first word is not the flag.
pub(super) fn flag_and_path(arguments: Arguments<'_>) -> Read<(bool, RootPath)> {
    let (flag, name) = split(arguments.text(), b" ")?;
    Ok((flag == b"1", parse_path(name)?))
}

pub(super) fn path_and_token(arguments: Arguments<'_>) -> Read<(RootPath, Vec<u8>)> {
    let (name, token) = split(arguments.text(), b" ")?;
    Ok((parse_path(name)?, token.to_vec()))
}

pub(super) fn number_and_path(arguments: Arguments<'_>) -> Read<(i64, RootPath)> {
    let (first, name) = split(arguments.text(), b" ")?;
    Ok((number(first), parse_path(name)?))
}

pub(super) fn path_and_mode(arguments: Arguments<'_>) -> Read<(RootPath, Vec<u8>)> {
    let (name, mode) = split(arguments.text(), b" ")?;
    Ok((parse_path(name)?, filled(mode)?.to_vec()))
}

/// `rx path` of TFD_LIST.
pub(super) fn flags_and_path(arguments: Arguments<'_>) -> Read<(Flags, RootPath)> {
    let (flags, name) = split(arguments.text(), b" ")?;
    let flags = Flags::parse(flags).ok_or(Status::MissingParameter)?;
    Ok((flags, parse_path(name)?))
}

/// `s 4 text path` of TFD_LINK.
pub(super) fn link_and_path(arguments: Arguments<'_>) -> Read<(Link, RootPath)> {
    let (kind, rest) = split(arguments.text(), b" ")?;
    let (length, rest) = split(rest, b" ")?;
    let length = std::str::from_utf8(length)
        .ok()
        .and_then(|n| n.parse().ok());
    let (text, rest) = length
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(Status::MissingParameter)?;
    let name = rest.strip_prefix(b" ").ok_or(Status::MissingParameter)?;
    let (kind, new) = match kind {
        b"s" | b"h" => (kind, false),
        b"sn" | b"hn" => (&kind[..1], true),
        _ => return Err(Status::MissingParameter),
    };
    let link = match kind {
        b"s" => Link::symbolic(text, new).ok_or(Status::AccessDenied)?,
        _ => Link::hard(parse_path(filled(text)?)?, new),
    };
    Ok((link, parse_path(filled(name)?)?))
}

/// What TFD_STORE stores and where, or the status for it: frames follow in any case.
pub type Store = Result<(Attributes, RootPath), Status>;

/// `mode=0640 path` of TFD_STORE.
pub(super) fn attributes_to_store(arguments: Arguments<'_>) -> Read<Store> {
    let read = || {
        let (attributes, name) = split(arguments.text(), b" ")?;
        let attributes = Attributes::parse_to_store(attributes);
        Ok((
            attributes.ok_or(Status::MissingParameter)?,
            parse_path(name)?,
        ))
    };
    Ok(read())
}

/// `mode=0640 path` of TFD_SET.
pub(super) fn attributes_and_path(arguments: Arguments<'_>) -> Read<(Attributes, RootPath)> {
    let (attributes, name) = split(arguments.text(), b" ")?;
    let attributes = Attributes::parse(attributes).ok_or(Status::MissingParameter)?;
    Ok((attributes, parse_path(name)?))
}

pub(super) fn path_and_owner(arguments: Arguments<'_>) -> Read<(RootPath, Vec<u8>, Vec<u8>)> {
    let (name, owner) = split(arguments.text(), b" ")?;
    let path = parse_path(name)?;
    let (user, group) = split(owner, b" ")?;
    Ok((path, user.to_vec(), filled(group)?.to_vec()))
}

pub(super) fn user_and_password(arguments: Arguments<'_>) -> Read<(Vec<u8>, Vec<u8>)> {
    let (user, password) = split(arguments.text(), b" ")?;
    Ok((filled(user)?.to_vec(), password.to_vec()))
}

/// `token | path` of RMSECDIR and INJAIL.
pub(super) fn token_and_path(arguments: Arguments<'_>) -> Read<(Vec<u8>, RootPath)> {
    let (token, name) = split(arguments.text(), BAR)?;
    Ok((token.to_vec(), parse_path(name)?))
}

/// `prefix path` of ADDNTFY: the prefix of file names.
pub(super) fn prefix_and_path(arguments: Arguments<'_>) -> Read<(Vec<u8>, RootPath)> {
    let (prefix, name) = split(arguments.text(), b" ").map_err(|_| Status::NotifyAdd)?;
    if matches!(prefix, b"." | b"..") || prefix.contains(&b'/') || prefix.len() > MAX_NAME {
        return Err(Status::NotifyAdd);
    }
    Ok((prefix.to_vec(), parse_path(name)?))
}

/// `on idle | interval | count` of KEEPALIVE.
pub(super) fn keepalive_numbers(arguments: Arguments<'_>) -> Read<(bool, i64, i64, i64)> {
    let (on, rest) = split(arguments.text(), b" ")?;
    let (idle, rest) = split(rest, BAR)?;
    let (interval, count) = split(rest, BAR)?;
    filled(count)?;
    Ok((
        number(on) != 0,
        number(idle),
        number(interval),
        number(count),
    ))
}

pub(super) fn hp_request(arguments: Arguments<'_>) -> Read<HpRequest> {
    let (path, [offset, buffer]) = path_and_numbers(arguments.0)?;
    Ok(HpRequest {
        path,
        offset: u64::from_be_bytes(offset),
        buffer: i64::from_be_bytes(buffer),
        cancel_point: 0,
    })
}

pub(super) fn hp_request_with_windows(arguments: Arguments<'_>) -> Read<HpRequest> {
    let (path, [offset, buffer, cancel_point]) = path_and_numbers(arguments.0)?;
    Ok(HpRequest {
        path,
        offset: u64::from_be_bytes(offset),
        buffer: i64::from_be_bytes(buffer),
        cancel_point: u64::from_be_bytes(cancel_point),
    })
}

fn parse_path(text: &[u8]) -> Read<RootPath> {
    RootPath::parse(text, &POLICY).map_err(|_| Status::AccessDenied)
}

/// A text that must not be empty.
fn filled(text: &[u8]) -> Read<&[u8]> {
    if text.is_empty() {
        return Err(Status::MissingParameter);
    }
    Ok(text)
}

/// Both sides of the first separator.
fn split<'a>(text: &'a [u8], separator: &[u8]) -> Read<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(separator.len())
        .position(|w| w == separator)
        .ok_or(Status::MissingParameter)?;
    Ok((&text[..at], &text[at + separator.len()..]))
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

/// A path, a space and so many binary numbers of 8 bytes at the end.
fn path_and_numbers<const N: usize>(raw: &[u8]) -> Read<(RootPath, [[u8; 8]; N])> {
    let cut = raw.len().checked_sub(8 * N + 1);
    let (name, rest) = raw.split_at(cut.ok_or(Status::MissingParameter)?);
    let numbers = rest.strip_prefix(b" ").ok_or(Status::MissingParameter)?;
    let numbers = numbers.as_chunks().0.try_into();
    Ok((
        parse_path(name)?,
        numbers.map_err(|_| Status::MissingParameter)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root_path(text: &str) -> RootPath {
        RootPath::parse(text.as_bytes(), &POLICY).expect("allowed")
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
