//! Frames of `tfd-vault/1`, as both ends send them: the length of a message in four
//! bytes, the highest first, then the message. A length out of its limit ends the
//! connection before its bytes are read.

use zeroize::Zeroizing;

use crate::ipc::codec::{Decode, Encode, Writer};
use crate::net::{Link, LinkError};

/// Bytes of a length.
const HEADER: usize = 4;

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer, or the way to it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The peer announces a message longer than it may send.
    #[error("a message of {0} bytes, which is too long")]
    Long(usize),
    /// The bytes are no message, or one out of its limits.
    #[error("not a message of tfd-vault/1")]
    NoMessage,
}

/// Sends a message by one write.
///
/// # Errors
/// When the peer is gone.
pub fn send(link: &mut Link, message: &impl Encode) -> Result<(), LinkError> {
    link.write(&mut framed(message))
}

/// A message in its frame.
pub fn framed(message: &impl Encode) -> Zeroizing<Vec<u8>> {
    let mut out = Writer::default();
    out.put(&[0; HEADER]);
    message.encode(&mut out);
    let mut bytes = std::mem::take(&mut out.bytes);
    // No message has 4 GiB.
    let len = u32::try_from(bytes.len() - HEADER).unwrap_or(u32::MAX);
    bytes[..HEADER].copy_from_slice(&len.to_be_bytes());
    bytes
}

/// Reads the next message, of at most so many bytes.
///
/// # Errors
/// When the peer is gone, or has sent something else: the connection is over.
pub fn receive<T: Decode>(link: &mut Link, longest: usize) -> Result<T, FrameError> {
    let mut header = [0; HEADER];
    link.read_exact(&mut header)?;
    let len = usize::try_from(u32::from_be_bytes(header)).unwrap_or(usize::MAX);
    if len > longest {
        return Err(FrameError::Long(len));
    }
    let mut message = Zeroizing::new(vec![0; len]);
    link.read_exact(&mut message)?;
    T::from_bytes(&message).ok_or(FrameError::NoMessage)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::vault::own::message::{MAX_REPLY, Reply};

    fn link() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (far, _) = listener.accept().expect("accept");
        (Link::new(near).expect("link"), far)
    }

    #[test]
    fn messages_arrive_one_behind_the_other_and_in_pieces() {
        let (mut link, mut far) = link();
        let sent = [
            Reply::Done,
            Reply::Changed { revision: 7 },
            Reply::Versions { versions: vec![] },
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(|it| framed(it).to_vec()).collect();
        let writer = std::thread::spawn(move || {
            bytes.chunks(3).for_each(|piece| {
                far.write_all(piece).expect("write");
            });
            far
        });
        for message in sent {
            let got: Reply = receive(&mut link, MAX_REPLY).expect("message");
            assert_eq!(got, message);
        }
        drop(writer.join().expect("writer"));
        let end = receive::<Reply>(&mut link, MAX_REPLY).expect_err("over");
        assert!(matches!(end, FrameError::Link(LinkError::Closed)), "{end}");
    }

    #[test]
    fn a_frame_that_is_too_long_or_no_message_is_refused() {
        for (bytes, longest, is_long) in [
            (&[0, 0, 0, 9][..], 8, true),
            (&[255; 4], MAX_REPLY, true),
            (&[0; 4], 8, false),
            (&[0, 0, 0, 1, 99], 8, false),
            (&[0, 0, 0, 2, 10, 0], 8, false),
            (&[0, 0, 0, 1, 12], 8, false),
        ] {
            let (mut link, mut far) = link();
            far.write_all(bytes).expect("write");
            let error = receive::<Reply>(&mut link, longest).expect_err("no message");
            let is_right = match error {
                FrameError::Long(_) => is_long,
                FrameError::NoMessage => !is_long,
                FrameError::Link(_) => false,
            };
            assert!(is_right, "{bytes:?}: {error}");
        }
    }
}
