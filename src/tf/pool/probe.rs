//! HOSTCHECK between servers: a question that the public server takes as a plain
//! one, and an answer that has the load if the other server is a tfd.
//!
//! ```text
//! question  00 "TFDL" nonce(8) zeros to 32 bytes
//! answer    01|00 "TFDL" nonce(8) sessions(u32 BE) most sessions(u32 BE)
//! plain     01|00
//! ```
//!
//! 01 is ready, 00 draining or failed. The question is longer than the answer,
//! so that forging the sender does not pay.

/// The mark of our HOSTCHECK.
const MARK: [u8; 4] = *b"TFDL";

/// The length of a question, in bytes.
pub const QUESTION: usize = 32;

/// The length of an answer with a load, in bytes.
pub const ANSWER: usize = 21;

/// How busy a server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Sessions it has.
    pub sessions: u32,
    /// The most sessions it takes; 0 if unlimited.
    pub most: u32,
}

/// What a server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it takes clients.
    pub ready: bool,
    /// The nonce of the question and the load, from a tfd.
    pub report: Option<(u64, Load)>,
}

/// A HOSTCHECK question, to be sent by UDP.
pub fn question(nonce: u64) -> [u8; QUESTION] {
    let mut bytes = [0; QUESTION];
    bytes[1..5].copy_from_slice(&MARK);
    bytes[5..13].copy_from_slice(&nonce.to_be_bytes());
    bytes
}

/// The answer to a HOSTCHECK from anybody: `question` is the whole datagram, of
/// first byte 0 or empty. `draining` means that no more clients are wanted.
/// It is never longer than the question, or one byte.
pub fn answer(question: &[u8], load: Load, draining: bool) -> Vec<u8> {
    let mut bytes = vec![u8::from(!draining)];
    if question.len() >= QUESTION && question[1..5] == MARK {
        bytes.extend_from_slice(&question[1..13]);
        bytes.extend_from_slice(&load.sessions.to_be_bytes());
        bytes.extend_from_slice(&load.most.to_be_bytes());
    }
    bytes
}

/// Reads an answer: a datagram of first byte 0 or 1; `None` for any other.
pub fn read(bytes: &[u8]) -> Option<Answer> {
    let ready = match bytes.first()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(Answer {
        ready,
        report: report(bytes),
    })
}

fn report(bytes: &[u8]) -> Option<(u64, Load)> {
    let bytes: &[u8; ANSWER] = bytes.try_into().ok()?;
    let rest = bytes[1..].strip_prefix(&MARK)?;
    let (nonce, rest) = rest.split_first_chunk::<8>()?;
    let (sessions, most) = rest.split_first_chunk::<4>()?;
    let load = Load {
        sessions: u32::from_be_bytes(*sessions),
        most: u32::from_be_bytes(*most.first_chunk()?),
    };
    Some((u64::from_be_bytes(*nonce), load))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOAD: Load = Load {
        sessions: 3,
        most: 4096,
    };

    #[test]
    fn the_bytes_are_as_told() {
        let question = question(0x0102_0304_0506_0708);
        assert_eq!(&question[..14], b"\0TFDL\x01\x02\x03\x04\x05\x06\x07\x08\0");
        let answer = answer(&question, LOAD, false);
        assert_eq!(
            answer,
            b"\x01TFDL\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x03\0\0\x10\0"
        );
    }

    #[test]
    fn plain_questions_get_plain_answers() {
        for plain in [
            &b""[..],
            b"\0",
            b"\0TFDL",
            &question(1)[..QUESTION - 1],
            &[0; 400],
        ] {
            assert_eq!(answer(plain, LOAD, false), [1]);
            assert_eq!(answer(plain, LOAD, true), [0]);
        }
        assert_eq!(
            read(b"\x01"),
            Some(Answer {
                ready: true,
                report: None
            })
        );
        assert_eq!(
            read(b"\0"),
            Some(Answer {
                ready: false,
                report: None
            })
        );
        assert_eq!((read(b""), read(b"\x02")), (None, None));
    }

    proptest! {
        #[test]
        fn an_answer_is_read_as_it_was_meant(nonce: u64, sessions: u32, most: u32, draining: bool) {
            let load = Load { sessions, most };
            let bytes = answer(&question(nonce), load, draining);
            prop_assert_eq!(bytes.len(), ANSWER);
            let read = read(&bytes);
            prop_assert_eq!(read, Some(Answer { ready: !draining, report: Some((nonce, load)) }));
        }

        #[test]
        fn any_bytes_are_read_and_answers_are_no_longer(bytes: Vec<u8>) {
            let _ = read(&bytes);
            prop_assert!(answer(&bytes, LOAD, false).len() <= bytes.len().max(1));
        }
    }
}
