//! A channel between two of tfd's processes: messages that keep their borders,
//! with descriptors next to them. A peer may send any bytes: the reader checks the
//! length and every field of a message.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg,
    sendmsg, socketpair,
};
use zeroize::Zeroizing;

use super::codec::{Decode, Encode, Reader, Writer};

/// The most descriptors in one message.
pub const MAX_HANDLES: usize = 7;

/// One end of a channel.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// Two connected ends.
pub fn pair() -> io::Result<(Channel, Channel)> {
    let (a, b) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((Channel(a), Channel(b)))
}

impl Channel {
    /// The channel behind a descriptor that came over another one.
    pub fn from_handle(handle: OwnedFd) -> Channel {
        Channel(handle)
    }

    /// The descriptor, for handing the channel on.
    pub fn into_handle(self) -> OwnedFd {
        self.0
    }

    /// Sends one message, waiting for room.
    ///
    /// # Errors
    /// The system's; `BrokenPipe` when the other end is closed.
    pub fn send(&self, message: &[u8], handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(message, handles, SendFlags::NOSIGNAL)
    }

    /// Sends one message, or fails with `WouldBlock` if the queue is full.
    pub fn try_send(&self, message: &[u8], handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(message, handles, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send_with(
        &self,
        message: &[u8],
        handles: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDLES))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !handles.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(handles)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            let parts = [IoSlice::new(message)];
            match retry_on_intr(|| sendmsg(&self.0, &parts, &mut beside, flags)) {
                // Another process with the same end may have made it one that
                // does not wait.
                Err(Errno::AGAIN) if !flags.contains(SendFlags::DONTWAIT) => {
                    let mut fds = [PollFd::new(&self.0, PollFlags::OUT)];
                    retry_on_intr(|| poll(&mut fds, None))?;
                }
                other => return Ok(other.map(drop)?),
            }
        }
    }

    /// Whether the other end is closed. An empty message does not mean that if the
    /// peer may send one.
    pub fn is_over(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::empty())];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    }

    /// Receives one message into `buffer`, waiting for it. Returns its length,
    /// 0 when the other end is closed, and its descriptors.
    ///
    /// # Errors
    /// The system's; `InvalidData` for a message longer than the buffer or
    /// with more than [`MAX_HANDLES`] descriptors.
    #[cfg(any(test, feature = "testing"))]
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.receive_with(buffer, RecvFlags::CMSG_CLOEXEC)
    }

    /// As [`Channel::receive`], into memory of the message's own length, which
    /// is wiped after use: most messages are much shorter than they may be.
    ///
    /// # Errors
    /// `InvalidData` for a message longer than `longest`, which is dropped.
    pub fn receive_whole(&self, longest: usize) -> io::Result<(Zeroizing<Vec<u8>>, Vec<OwnedFd>)> {
        self.receive_whole_with(longest, RecvFlags::CMSG_CLOEXEC)
    }

    /// The same, or fails with `WouldBlock` if there is none.
    pub fn try_receive_whole(
        &self,
        longest: usize,
    ) -> io::Result<(Zeroizing<Vec<u8>>, Vec<OwnedFd>)> {
        self.receive_whole_with(longest, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    }

    fn receive_whole_with(
        &self,
        longest: usize,
        flags: RecvFlags,
    ) -> io::Result<(Zeroizing<Vec<u8>>, Vec<OwnedFd>)> {
        let look = RecvFlags::PEEK | RecvFlags::TRUNC | (flags & RecvFlags::DONTWAIT);
        let (_, len) = retry_on_intr(|| recv(&self.0, &mut [0; 0], look))?;
        // What does not fit into one byte is dropped whole.
        let room = if len > longest { 1 } else { len };
        let mut message = Zeroizing::new(vec![0; room]);
        let (len, handles) = self.receive_with(&mut message, flags)?;
        message.truncate(len);
        Ok((message, handles))
    }

    fn receive_with(
        &self,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_HANDLES))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = retry_on_intr(|| recvmsg(&self.0, &mut parts, &mut beside, flags))?;
        let mut handles = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                handles.extend(rights);
            }
        }
        if received
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((received.bytes, handles))
    }
}

/// A message with the process that has sent it, as the kernel knows it.
#[derive(Clone, Copy, Debug)]
pub struct Stamped {
    /// The sender's process.
    pub pid: i32,
    /// Its uid.
    pub uid: u32,
    /// The length in the buffer.
    pub len: usize,
    /// Whether the message was longer than the buffer.
    pub is_cut: bool,
}

impl Channel {
    /// Receives one message into `buffer` on a channel with SO_PASSCRED; `None` when
    /// no sender is left. Descriptors next to it are closed.
    pub fn receive_stamped(
        &self,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> io::Result<Option<Stamped>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(buffer)];
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = retry_on_intr(|| recvmsg(&self.0, parts, &mut beside, flags))?;
        let sender = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender),
            _ => None,
        });
        Ok(sender.map(|sender| Stamped {
            pid: sender.pid.as_raw_nonzero().get(),
            uid: sender.uid.as_raw(),
            len: received.bytes,
            is_cut: received.flags.contains(ReturnFlags::TRUNC),
        }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Itself a field of messages.
impl Encode for Channel {
    fn encode<'a>(&'a self, out: &mut Writer<'a>) {
        out.handles.push(self.as_fd());
    }
}

impl Decode for Channel {
    fn decode(from: &mut Reader<'_>) -> Option<Channel> {
        OwnedFd::decode(from).map(Channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_borders_and_their_descriptors() {
        let (a, b) = pair().expect("pair");
        let (x, _y) = pair().expect("pair");
        a.send(b"one", &[]).expect("send");
        a.send(b"two", &[x.as_fd()]).expect("send");
        let mut buffer = [0; 8];
        assert_eq!(b.receive(&mut buffer).expect("receive").0, 3);
        let (len, handles) = b.receive(&mut buffer).expect("receive");
        assert_eq!((&buffer[..len], handles.len()), (&b"two"[..], 1));
        assert!(matches!(b.try_receive_whole(8),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock));
        drop(a);
        assert_eq!(b.receive(&mut buffer).expect("receive").0, 0);
    }

    #[test]
    fn who_shares_an_end_can_not_make_the_others_fail() {
        let (a, b) = pair().expect("pair");
        let other = Channel(a.0.try_clone().expect("the same end"));
        rustix::io::ioctl_fionbio(&other, true).expect("no waiting");
        let sender = std::thread::spawn(move || {
            (0..2000_u16).try_for_each(|number| a.send(&number.to_be_bytes(), &[]))
        });
        let mut buffer = [0; 2];
        for number in 0..2000_u16 {
            b.receive(&mut buffer).expect("receive");
            assert_eq!(u16::from_be_bytes(buffer), number);
        }
        sender.join().expect("thread").expect("all sent");
        assert!(!b.is_over());
        other.send(&[], &[]).expect("an empty message");
        assert_eq!(b.receive(&mut buffer).expect("receive").0, 0);
        assert!(!b.is_over());
        drop(other);
        assert!(b.is_over());
    }

    #[test]
    fn a_message_of_any_length_is_received_whole_up_to_the_longest() {
        let (a, b) = pair().expect("pair");
        let (x, _y) = pair().expect("pair");
        for len in [1, 9, 4096] {
            a.send(&vec![7; len], &[x.as_fd()]).expect("send");
            let (message, handles) = b.receive_whole(4096).expect("receive");
            assert_eq!((&*message, handles.len()), (&vec![7; len], 1));
        }
        a.send(&[7; 9], &[]).expect("send");
        assert!(matches!(b.receive_whole(8), Err(e) if e.kind() == io::ErrorKind::InvalidData));
        drop(a);
        assert!(b.receive_whole(8).expect("receive").0.is_empty());
    }

    #[test]
    fn a_message_longer_than_the_buffer_is_an_error_not_a_part() {
        let (a, b) = pair().expect("pair");
        a.send(&[1; 9], &[]).expect("send");
        assert!(matches!(b.receive(&mut [0; 8]),
            Err(e) if e.kind() == io::ErrorKind::InvalidData));
    }
}
