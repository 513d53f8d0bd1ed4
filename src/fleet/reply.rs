//! What the store's replies say: bytes of a foreign program, of which nothing is believed
//! that no value of ours could be.

use redis::{Parser, Value};

use super::message::Kicked;
use crate::store::usage::{Counter, Counts};
use crate::users::account::MAX_NAME;
use crate::users::throttle::shared::{Failures, LoginState};

/// The most failures that count.
const MAX_FAILURES: i64 = 1_000_000_000;

/// The longest reply, in bytes: all counters of quotas.
pub const MAX_REPLY: u64 = 4 << 20;

/// The length of the random part of an order, in hexadecimal digits.
pub const ORDER: usize = 16;

/// Why a reply is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// It is not a reply, or one of another kind.
    #[error("its reply is not one that was asked for")]
    Garbage,
    /// The store refuses: for lack of memory, of rights, or while it loads.
    #[error("it refuses: {0}")]
    Refused(String),
}

/// Reads a reply from a stream, no more than [`MAX_REPLY`] bytes of it.
///
/// # Errors
/// The stream's, or `InvalidData`.
pub fn read(stream: impl std::io::Read) -> std::io::Result<Value> {
    let mut bounded = stream.take(MAX_REPLY);
    Parser::new().parse_value(&mut bounded).map_err(|e| {
        if e.is_io_error() && !e.is_connection_dropped() {
            std::io::ErrorKind::TimedOut.into()
        } else {
            std::io::Error::new(std::io::ErrorKind::InvalidData, ReplyError::Garbage)
        }
    })
}

/// The reply, unless it is a refusal.
///
/// # Errors
/// The refusal, without what a foreign program could make of it.
pub fn accepted(reply: Value) -> Result<Value, ReplyError> {
    let Value::ServerError(error) = reply else {
        return Ok(reply);
    };
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || " '.,:-_".contains(*c);
    let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
    Err(ReplyError::Refused(
        text.chars().filter(is_plain).take(120).collect(),
    ))
}

/// Whether a reply is `OK`.
pub fn is_done(reply: &Value) -> bool {
    *reply == Value::Okay
}

/// What the store knows of a login; `longest` is the longest block, in seconds.
pub fn login(reply: &Value, longest: u64) -> Option<LoginState> {
    let [
        a,
        b,
        c,
        d,
        is_known,
        is_blocked,
        account_freed,
        source_freed,
    ] = numbers(reply)?;
    let failures = |count: i64, left: i64| {
        let count = u32::try_from(count)
            .ok()
            .filter(|_| count <= MAX_FAILURES)?;
        let left = u64::try_from(left).ok().filter(|left| *left <= longest)?;
        Some(Failures { count, left })
    };
    Some(LoginState {
        login: failures(a, b)?,
        source: failures(c, d)?,
        is_known: flag(is_known)?,
        is_blocked: flag(is_blocked)?,
        account_freed: u64::try_from(account_freed).ok(),
        source_freed: u64::try_from(source_freed).ok(),
    })
}

/// A reply that is yes or no.
pub fn yes_or_no(reply: &Value) -> Option<bool> {
    match reply {
        Value::Int(number) => flag(*number),
        _ => None,
    }
}

/// The orders of a reply that can be read, each with its age in milliseconds.
pub fn orders(reply: &Value) -> Option<Vec<(String, u64, Kicked)>> {
    let Value::Array(items) = reply else {
        return None;
    };
    let order = |pair: &[Value]| {
        let [order, Value::Int(age)] = pair else {
            return None;
        };
        let (order, whom) = read_order(text(order)?)?;
        Some((order.to_owned(), u64::try_from(*age).ok()?, whom))
    };
    Some(items.chunks(2).filter_map(order).collect())
}

/// An order as the store has it.
pub fn write_order(random: &str, whom: &Kicked) -> String {
    match whom {
        Kicked::User(name) => format!("{random} user {name}"),
        Kicked::Address(address) => format!("{random} address {address}"),
    }
}

fn read_order(order: &str) -> Option<(&str, Kicked)> {
    let (random, whom) = order.split_once(' ')?;
    let is_digit = |c: u8| c.is_ascii_hexdigit();
    let is_random = random.len() == ORDER && random.bytes().all(is_digit);
    let whom = match whom.split_once(' ').filter(|_| is_random)? {
        ("user", name) if is_name(name) => Kicked::User(name.to_owned()),
        ("address", address) => Kicked::Address(address.parse().ok()?),
        _ => return None,
    };
    Some((order, whom))
}

/// Whether a text may be the name of a user.
pub fn is_name(text: &str) -> bool {
    let is_text = |c: char| !c.is_control();
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(is_text)
}

/// The version of what is stored, and if it is another than the one known, the counters
/// that can be read.
pub fn usage(reply: &Value) -> Option<(String, Option<Counts>)> {
    let Value::Array(items) = reply else {
        return None;
    };
    let (version, all) = match items.as_slice() {
        [version] => (version, None),
        [version, Value::Array(all)] => (version, Some(all)),
        _ => return None,
    };
    let version = text(version).filter(|text| text.len() <= 64)?;
    let counter = |pair: &[Value]| {
        let [name, value] = pair else { return None };
        let value: i64 = text(value)?.parse().ok()?;
        Some((
            read_counter(text(name)?)?,
            u64::try_from(value).unwrap_or(0),
        ))
    };
    let all = all.map(|all| all.chunks(2).filter_map(counter).collect());
    Some((version.to_owned(), all))
}

/// The name of a counter in the store.
pub fn write_counter(counter: Counter) -> String {
    match counter {
        Counter::All => "all".to_owned(),
        Counter::User(uid) => format!("uid:{uid}"),
    }
}

fn read_counter(name: &str) -> Option<Counter> {
    match name {
        "all" => Some(Counter::All),
        name => Some(Counter::User(name.strip_prefix("uid:")?.parse().ok()?)),
    }
}

fn numbers<const N: usize>(reply: &Value) -> Option<[i64; N]> {
    let Value::Array(items) = reply else {
        return None;
    };
    let number = |item: &Value| match item {
        Value::Int(number) => Some(*number),
        _ => None,
    };
    let numbers: Option<Vec<i64>> = items.iter().map(number).collect();
    numbers?.try_into().ok()
}

fn flag(number: i64) -> Option<bool> {
    match number {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reply_that_no_script_of_ours_gives_says_nothing() {
        let state = |bytes: &[u8]| login(&read(bytes).expect("reply"), 3600);
        let fine = b"*8\r\n:3\r\n:60\r\n:0\r\n:0\r\n:1\r\n:1\r\n:-1\r\n:5\r\n";
        let read_state = state(fine).expect("state");
        assert_eq!(read_state.login, Failures { count: 3, left: 60 });
        assert_eq!(
            (read_state.account_freed, read_state.source_freed),
            (None, Some(5))
        );
        for wrong in [
            &b"*8\r\n:3\r\n:3601\r\n:0\r\n:0\r\n:1\r\n:1\r\n:-1\r\n:5\r\n"[..],
            b"*8\r\n:-3\r\n:60\r\n:0\r\n:0\r\n:1\r\n:1\r\n:-1\r\n:5\r\n",
            b"*8\r\n:3\r\n:60\r\n:0\r\n:0\r\n:2\r\n:1\r\n:-1\r\n:5\r\n",
            b"*1\r\n:3\r\n",
            b"+OK\r\n",
            b"$-1\r\n",
        ] {
            assert_eq!(state(wrong), None);
        }
    }

    #[test]
    fn orders_and_counters_are_read_as_written_and_others_left_out() {
        let random = "0123456789abcdef";
        for whom in [
            Kicked::User("ann".to_owned()),
            Kicked::Address("2001:db8::1".parse().expect("address")),
        ] {
            let order = write_order(random, &whom);
            assert_eq!(read_order(&order), Some((order.as_str(), whom)));
        }
        for wrong in [
            "",
            "x user ann",
            "0123456789abcdef all",
            "0123456789abcdef user ",
            "0123456789abcdef user a\nb",
        ] {
            assert_eq!(read_order(wrong), None, "{wrong}");
        }
        for counter in [Counter::All, Counter::User(7)] {
            assert_eq!(read_counter(&write_counter(counter)), Some(counter));
        }
    }

    #[test]
    fn a_reply_without_an_end_takes_no_more_than_its_bound() {
        let endless = std::io::repeat(b'x');
        let begin = &b"+"[..];
        assert!(read(std::io::Read::chain(begin, endless)).is_err());
        let bomb = "*1\r\n".repeat(100_000);
        assert!(read(bomb.as_bytes()).is_err());
        assert!(read(&b"$4000000000\r\nx"[..]).is_err());
        assert!(read(&b"*2147483647\r\n"[..]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            if let Ok(reply) = read(&bytes[..]) {
                let _ = (login(&reply, 1), yes_or_no(&reply), orders(&reply), usage(&reply));
            }
        }
    }
}
