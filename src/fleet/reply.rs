//! What the store's replies say: bytes of a foreign program, of which nothing is believed
//! that no value of ours could be.

use redis::{Parser, Value};

/// The longest reply, in bytes.
pub const MAX_REPLY: u64 = 1 << 20;

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

/// Whether a reply is that to a ping.
pub fn is_pong(reply: &Value) -> bool {
    matches!(reply, Value::SimpleString(text) if text == "PONG")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
                let _ = (is_done(&reply), is_pong(&reply), accepted(reply));
            }
        }
    }
}
