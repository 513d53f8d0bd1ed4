//! A channel with types: `Pipe<S, R>` sends `S` and receives `R`, its other end
//! is a `Pipe<R, S>`, and another message does not compile. What the other end
//! really sends is checked all the same.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::channel::{self, Channel};
use super::codec::{Decode, Encode, Reader, Writer};

/// No message is longer, in bytes.
const MAX_MESSAGE: usize = 1024 * 1024;

/// One end of a typed channel.
#[derive(Debug)]
pub struct Pipe<S, R> {
    channel: Channel,
    types: PhantomData<fn(S) -> R>,
}

/// Two connected ends.
pub fn pair<S, R>() -> io::Result<(Pipe<S, R>, Pipe<R, S>)> {
    let (a, b) = channel::pair()?;
    Ok((Pipe::from(a), Pipe::from(b)))
}

impl<S: Encode, R> Pipe<S, R> {
    /// Sends a message, waiting for room.
    pub fn send(&self, message: &S) -> io::Result<()> {
        let mut out = Writer::default();
        message.encode(&mut out);
        self.channel.send(&out.bytes, &out.handles)
    }

    /// Sends a message, or fails with `WouldBlock` if the queue is full.
    pub fn try_send(&self, message: &S) -> io::Result<()> {
        let mut out = Writer::default();
        message.encode(&mut out);
        self.channel.try_send(&out.bytes, &out.handles)
    }
}

impl<S, R: Decode> Pipe<S, R> {
    /// Receives a message, waiting for it; `None` when the other end is closed.
    ///
    /// # Errors
    /// `InvalidData` for what is not an `R`; that message is dropped.
    pub fn receive(&self) -> io::Result<Option<R>> {
        self.read(self.channel.receive_whole(MAX_MESSAGE)?)
    }

    /// The same, or fails with `WouldBlock` if there is none.
    pub fn try_receive(&self) -> io::Result<Option<R>> {
        self.read(self.channel.try_receive_whole(MAX_MESSAGE)?)
    }

    fn read(&self, (bytes, handles): (impl AsRef<[u8]>, Vec<OwnedFd>)) -> io::Result<Option<R>> {
        if bytes.as_ref().is_empty() && self.channel.is_over() {
            return Ok(None);
        }
        let message = R::from_message(bytes.as_ref(), handles);
        message.map(Some).ok_or(io::ErrorKind::InvalidData.into())
    }
}

impl<S, R> Pipe<S, R> {
    /// The channel behind the types, for messages of another kind.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The same end once more.
    pub fn try_clone(&self) -> io::Result<Pipe<S, R>> {
        let handle = self.as_fd().try_clone_to_owned()?;
        Ok(Channel::from_handle(handle).into())
    }

    /// The channel behind the types.
    pub fn into_channel(self) -> Channel {
        self.channel
    }
}

impl<S, R> From<Channel> for Pipe<S, R> {
    fn from(channel: Channel) -> Pipe<S, R> {
        Pipe {
            channel,
            types: PhantomData,
        }
    }
}

impl<S, R> AsFd for Pipe<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Itself a field of messages.
impl<S, R> Encode for Pipe<S, R> {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.handles.push(self.as_fd());
    }
}

impl<S, R> Decode for Pipe<S, R> {
    fn decode(from: &mut Reader<'_>) -> Option<Pipe<S, R>> {
        OwnedFd::decode(from).map(|handle| Pipe::from(Channel::from_handle(handle)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_pipes_travel_and_a_bad_one_is_dropped() {
        let (ours, theirs) = pair::<(u32, Option<Pipe<u8, u8>>), String>().expect("pair");
        let (inner, far) = pair().expect("pair");
        ours.send(&(7, Some(far))).expect("send");
        let (number, far) = theirs.receive().expect("receive").expect("message");
        far.expect("pipe").send(&3).expect("send");
        assert_eq!((number, inner.receive().expect("receive")), (7, Some(3)));

        let raw = theirs.into_channel();
        for bad in [&b"\x00\x00\x00\x01\xff"[..], b"", &[0; 9]] {
            raw.send(bad, &[]).expect("send");
            let error = ours.receive().expect_err("bad").kind();
            assert_eq!(error, io::ErrorKind::InvalidData);
        }
        let none = ours.try_receive().expect_err("nothing").kind();
        assert_eq!(none, io::ErrorKind::WouldBlock);
        drop(raw);
        assert!(ours.receive().expect("end").is_none());
    }
}
