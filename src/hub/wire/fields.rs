//! The parameters of a line: those in their order, and named ones behind them. Every
//! value is checked for its letters before anything looks at it.

use std::borrow::Cow;

use super::value::{Id, Value};

/// Why a line can't be read. All are answered by `500`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It has more bytes than a line may have.
    #[error("line longer than 4096 bytes")]
    TooLong,
    /// A byte that no line has: CR inside it, NUL, one of 0x80 and above.
    #[error("wrong byte in the line")]
    Byte,
    /// It is neither a request nor a reply by its form.
    #[error("wrong form")]
    Form,
    /// No command or reply has this name.
    #[error("unknown command or reply")]
    Unknown,
    /// A parameter is missing.
    #[error("parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter is out of its limits.
    #[error("wrong value of {0}")]
    Value(&'static str),
    /// A named parameter is there twice.
    #[error("a parameter is there twice")]
    Doubled,
}

/// A line that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct Bad {
    /// The request's number, where one can be found, for the answer.
    pub id: Option<Id>,
    /// What is wrong.
    pub fault: Fault,
}

/// The parameters of a line.
pub(super) struct Fields<'a> {
    ordered: std::vec::IntoIter<Cow<'a, str>>,
    /// By their names.
    named: Vec<(&'a str, Cow<'a, str>)>,
}

impl<'a> Fields<'a> {
    /// Those of the rest of a line, of which so many have no name.
    pub fn read(rest: Option<&'a str>, ordered: usize) -> Result<Fields<'a>, Fault> {
        let mut words = rest.into_iter().flat_map(|rest| rest.split(' '));
        let first = words.by_ref().take(ordered).map(decode);
        let first: Vec<_> = first.collect::<Result<_, _>>()?;
        let mut named = words.map(name_and_value).collect::<Result<Vec<_>, _>>()?;
        named.sort_unstable_by_key(|(name, _)| *name);
        if named.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(Fault::Doubled);
        }
        let ordered = first.into_iter();
        Ok(Fields { ordered, named })
    }

    /// The next one without a name, which an error calls by this one.
    pub fn next<T: Value>(&mut self, name: &'static str) -> Result<T, Fault> {
        let value = self.ordered.next().ok_or(Fault::Missing(name))?;
        T::read(&value).ok_or(Fault::Value(name))
    }

    /// The one of this name, where there is one.
    pub fn named<T: Value>(&self, name: &'static str) -> Result<Option<T>, Fault> {
        let name = plain(name);
        let Ok(at) = self.named.binary_search_by_key(&name, |(name, _)| *name) else {
            return Ok(None);
        };
        let value = T::read(&self.named[at].1);
        value.map(Some).ok_or(Fault::Value(name))
    }
}

/// The name of a parameter whose field has the name of a keyword.
fn plain(name: &'static str) -> &'static str {
    name.strip_prefix("r#").unwrap_or(name)
}

fn name_and_value(word: &str) -> Result<(&str, Cow<'_, str>), Fault> {
    let (name, value) = word.split_once('=').ok_or(Fault::Form)?;
    let is_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase());
    if !is_name {
        return Err(Fault::Form);
    }
    Ok((name, decode(value)?))
}

/// Whether a byte stands for itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'%'
}

/// A value with its `%XX` undone.
fn decode(word: &str) -> Result<Cow<'_, str>, Fault> {
    if word.is_empty() {
        return Err(Fault::Form);
    }
    if word.bytes().all(is_plain) {
        return Ok(Cow::Borrowed(word));
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = match *first {
            b'%' => {
                let ([high, low], behind) = behind.split_first_chunk().ok_or(Fault::Form)?;
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                behind
            }
            byte if is_plain(byte) => {
                bytes.push(byte);
                behind
            }
            _ => return Err(Fault::Form),
        };
    }
    let text = String::from_utf8(bytes).map_err(|_| Fault::Form)?;
    Ok(Cow::Owned(text))
}

fn digit(c: u8) -> Result<u8, Fault> {
    match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'A'..=b'F' => Ok(c - b'A' + 10),
        _ => Err(Fault::Form),
    }
}

/// Appends a value behind a space.
pub(super) fn put<T: Value>(out: &mut String, value: &T) {
    out.push(' ');
    let begin = out.len();
    value.print(out);
    if out.as_bytes()[begin..].iter().all(|byte| is_plain(*byte)) {
        return;
    }
    let printed = out.split_off(begin);
    for byte in printed.bytes() {
        match is_plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// Appends a named value, where there is one.
pub(super) fn put_named<T: Value>(out: &mut String, name: &'static str, value: Option<&T>) {
    let Some(value) = value else {
        return;
    };
    let begin = out.len();
    put(out, value);
    out.insert_str(begin + 1, &format!("{}=", plain(name)));
}
