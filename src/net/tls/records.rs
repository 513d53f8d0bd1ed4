//! Records after the handshake (RFC 8446, 4.6.3, 5 and 6): application data
//! there and back, KeyUpdate, close_notify. No sockets here. Anything that
//! has no meaning at its place is a [`Fault`], after which nothing is read.

mod inbox;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use zeroize::Zeroizing;

pub(crate) use crate::net::tls::records::inbox::{Inbox, MAX_HELD_BYTES};

use crate::ipc::codec::codec;
use crate::net::tls::keys::{Keys, Suite, TAG};

/// The most content of a record, in bytes.
pub(crate) const MAX_CONTENT: usize = 16 * 1024;

/// Bytes of a record's header.
pub(crate) const HEADER: usize = 5;

/// Bytes behind a record's content: its type, the tag.
pub(crate) const BEHIND: usize = 1 + TAG;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// After so many records our key is changed; AES-GCM is safe for 24 million
/// full ones (RFC 8446, 5.5).
const CHANGE_AFTER: u64 = 1 << 23;

/// The kernel's TLS keeps its key: here it ends, still within what is safe.
const END_AFTER: u64 = 1 << 24;

/// The most records in a row that bring no data.
const MAX_IDLE: u32 = 32;

/// Why records can't go on, as an alert (RFC 8446, 6) and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The alert for the peer, unless it has sent one itself.
    pub(crate) alert: Option<u8>,
    /// What the log says.
    pub(crate) text: &'static str,
}

impl Fault {
    pub(crate) const UNEXPECTED: Fault = Fault {
        alert: Some(10),
        text: "TLS record that has no meaning here",
    };
    pub(crate) const BAD_RECORD: Fault = Fault {
        alert: Some(20),
        text: "TLS record that does not decipher",
    };
    pub(crate) const TOO_LONG: Fault = Fault {
        alert: Some(22),
        text: "TLS record too long",
    };
    pub(crate) const NO_DATA: Fault = Fault {
        alert: Some(10),
        text: "too many TLS records without data",
    };
    pub(crate) const KEPT_KEY: Fault = Fault {
        alert: None,
        text: "TLS: a new key is due, and the kernel keeps the old one",
    };
    pub(crate) const INTERNAL: Fault = Fault {
        alert: Some(80),
        text: "TLS: no key",
    };

    /// The peer's alert.
    fn by_peer(description: u8) -> Fault {
        let text = match description {
            10 => "TLS alert of the peer: unexpected message",
            20 => "TLS alert of the peer: bad record",
            22 => "TLS alert of the peer: record overflow",
            42..=46 => "TLS alert of the peer: it refuses the certificate",
            48 => "TLS alert of the peer: unknown certificate authority",
            80 => "TLS alert of the peer: internal error",
            116 => "TLS alert of the peer: it wants a certificate",
            _ => "TLS alert of the peer",
        };
        Fault { alert: None, text }
    }
}

/// The result of looking for data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes of it.
    Data(usize),
    /// A record is not whole yet.
    More,
    /// The peer has said that it sends no more.
    Closed,
}

/// What a client does with tickets for later connections.
pub(crate) type Tickets = KernelConnection<ClientConnectionData>;

/// Both directions.
pub(crate) struct Records {
    rx: Keys,
    tx: Keys,
    /// What was received and not yet given out.
    pub(crate) inbox: Inbox,
    tickets: Option<Box<Tickets>>,
    /// The peer waits for a new key of ours.
    owes_update: bool,
    closed: bool,
    idle: u32,
    change_after: u64,
    /// Whether the kernel makes our records. Then `tx` makes none, and has a
    /// number no less than the kernel's.
    by_kernel: bool,
}

/// A record of ours that carries no data, enciphered.
pub(crate) type Note = Vec<u8>;

/// The last record of a connection.
pub(crate) enum LastWord {
    /// As it goes over the network.
    Sealed(Note),
    /// Type and content of the record, for the kernel to make it.
    Bare(u8, [u8; 2]),
}

/// A key of AES-GCM, its IV and the number of the next record.
pub(crate) struct ForKernel<'a> {
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) iv: &'a [u8; 12],
    pub(crate) next: u64,
}

/// What the records of so many bytes have on the network.
pub(crate) fn length_sealed(content: usize) -> usize {
    content + content.div_ceil(MAX_CONTENT) * (HEADER + BEHIND)
}

/// The header of an enciphered record with so many bytes of content.
pub(crate) fn header(content: usize) -> [u8; HEADER] {
    let [.., high, low] = (content + BEHIND).to_be_bytes();
    [DATA, 3, 3, high, low]
}

impl Records {
    /// The records of a connection whose handshake is done: its suite; the
    /// traffic secrets and the numbers of the next record, from the peer and
    /// to it; what was read already.
    pub(crate) fn new(
        suite: Suite,
        rx: (&[u8], u64),
        tx: (&[u8], u64),
        inbox: Inbox,
    ) -> Option<Records> {
        Some(Records {
            rx: Keys::new(suite, rx.0, rx.1)?,
            tx: Keys::new(suite, tx.0, tx.1)?,
            inbox,
            tickets: None,
            owes_update: false,
            closed: false,
            idle: 0,
            change_after: CHANGE_AFTER,
            by_kernel: false,
        })
    }

    /// Gives the server's tickets to this.
    pub(crate) fn keep_tickets(&mut self, tickets: Tickets) {
        self.tickets = Some(Box::new(tickets));
    }

    /// Whether the peer has said that it sends no more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes data out of what was received, into `to`, which is not empty.
    ///
    /// # Errors
    /// What is wrong with the next record.
    pub(crate) fn take(&mut self, to: &mut [u8]) -> Result<Got, Fault> {
        loop {
            let given = self.inbox.take_plain(to);
            if given > 0 {
                return Ok(Got::Data(given));
            }
            if self.closed {
                return Ok(Got::Closed);
            }
            let Some(len) = self.inbox.whole_record()? else {
                return Ok(Got::More);
            };
            let n = self.open(len, to)?;
            if n > 0 {
                self.idle = 0;
                return Ok(Got::Data(n));
            }
        }
    }

    /// Whether data is there, once whole records are deciphered.
    pub(crate) fn look(&mut self) -> Result<Got, Fault> {
        // Nothing fits into this, so that data stays in the inbox.
        while self.inbox.plain_len() == 0 && !self.closed {
            let Some(len) = self.inbox.whole_record()? else {
                return Ok(Got::More);
            };
            self.open(len, &mut [])?;
        }
        let there = self.inbox.plain_len();
        Ok(if there > 0 {
            Got::Data(there)
        } else {
            Got::Closed
        })
    }

    /// Opens the record at the front of the inbox, of `len` bytes behind its
    /// header. Data goes to `to` if there is room for the whole record, else
    /// it stays in the inbox; how many bytes went to `to`.
    fn open(&mut self, len: usize, to: &mut [u8]) -> Result<usize, Fault> {
        let (header, record) = self.inbox.front(len);
        if header[0] != DATA {
            return Err(Fault::UNEXPECTED);
        }
        let inner = len.checked_sub(TAG).ok_or(Fault::BAD_RECORD)?;
        let direct = to.len() >= inner;
        let plain = if direct {
            let plain = &mut to[..inner];
            self.rx
                .open_into(header, record, plain)
                .ok_or(Fault::BAD_RECORD)?;
            &*plain
        } else {
            self.rx
                .open_in_place(header, record)
                .ok_or(Fault::BAD_RECORD)?;
            &record[..inner]
        };
        // Behind the content stand its type and as many zeros as the peer likes.
        let at = plain
            .iter()
            .rposition(|byte| *byte != 0)
            .ok_or(Fault::UNEXPECTED)?;
        if at > MAX_CONTENT {
            return Err(Fault::TOO_LONG);
        }
        let kind = plain[at];
        if kind == DATA && at > 0 {
            self.inbox.opened(len, if direct { 0 } else { at });
            return Ok(if direct { at } else { 0 });
        }
        self.idle += 1;
        if self.idle > MAX_IDLE {
            return Err(Fault::NO_DATA);
        }
        let content = plain[..at].to_vec();
        self.inbox.opened(len, 0);
        match kind {
            DATA => Ok(0),
            ALERT => self.hear_alert(&content).map(|()| 0),
            HANDSHAKE => self.hear_handshake(&content).map(|()| 0),
            _ => Err(Fault::UNEXPECTED),
        }
    }

    fn hear_alert(&mut self, content: &[u8]) -> Result<(), Fault> {
        match content {
            [_, CLOSE_NOTIFY] => self.closed = true,
            [_, USER_CANCELED] => {}
            [_, description] => return Err(Fault::by_peer(*description)),
            _ => return Err(Fault::UNEXPECTED),
        }
        Ok(())
    }

    fn hear_handshake(&mut self, mut content: &[u8]) -> Result<(), Fault> {
        if content.is_empty() {
            return Err(Fault::UNEXPECTED);
        }
        while let Some((head, rest)) = content.split_first_chunk::<4>() {
            let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
            let (body, behind) = rest.split_at_checked(len).ok_or(Fault::UNEXPECTED)?;
            content = behind;
            match (head[0], body, &mut self.tickets) {
                (KEY_UPDATE, [asked @ (0 | 1)], _) if behind.is_empty() => {
                    self.rx = self.rx.next().ok_or(Fault::INTERNAL)?;
                    self.owes_update |= *asked == 1;
                    return Ok(());
                }
                (NEW_SESSION_TICKET, ticket, Some(tickets)) => {
                    tickets
                        .handle_new_session_ticket(ticket)
                        .map_err(|_| Fault::UNEXPECTED)?;
                }
                _ => return Err(Fault::UNEXPECTED),
            }
        }
        if content.is_empty() {
            Ok(())
        } else {
            Err(Fault::UNEXPECTED)
        }
    }

    /// The record that has to go out before more data does, if there is one.
    ///
    /// # Errors
    /// When our key has to be changed and the kernel has it.
    pub(crate) fn due(&mut self) -> Result<Option<Note>, Fault> {
        if !self.owes_update && self.tx.sequence < self.change_after {
            return Ok(None);
        }
        if self.by_kernel {
            return Err(Fault::KEPT_KEY);
        }
        let note = self
            .note(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0])
            .ok_or(Fault::INTERNAL)?;
        self.owes_update = false;
        self.tx = self.tx.next().ok_or(Fault::INTERNAL)?;
        Ok(Some(note))
    }

    /// The record that says that we send no more.
    pub(crate) fn farewell(&mut self) -> Option<LastWord> {
        self.alert([1, CLOSE_NOTIFY])
    }

    /// The alert for the peer about a fault.
    pub(crate) fn complaint(&mut self, fault: Fault) -> Option<LastWord> {
        fault.alert.and_then(|alert| self.alert([2, alert]))
    }

    fn alert(&mut self, content: [u8; 2]) -> Option<LastWord> {
        if self.by_kernel {
            return Some(LastWord::Bare(ALERT, content));
        }
        self.note(ALERT, &content).map(LastWord::Sealed)
    }

    /// What the kernel needs to make our records; `None` where it can't.
    pub(crate) fn for_kernel(&self) -> Option<ForKernel<'_>> {
        let (key, iv) = self.tx.raw().filter(|_| !self.by_kernel)?;
        Some(ForKernel {
            key,
            iv,
            next: self.tx.sequence,
        })
    }

    /// From now on the kernel makes our records, and nothing here does.
    pub(crate) fn leave_to_kernel(&mut self) {
        self.by_kernel = true;
        self.change_after = END_AFTER;
    }

    /// Whether the kernel makes our records.
    pub(crate) fn are_by_kernel(&self) -> bool {
        self.by_kernel
    }

    /// Counts bytes that were given to the kernel at once.
    pub(crate) fn given_to_kernel(&mut self, content: usize) {
        let records = content.div_ceil(MAX_CONTENT) as u64 + 1;
        self.tx.sequence = self.tx.sequence.saturating_add(records);
    }

    fn note(&mut self, kind: u8, content: &[u8]) -> Option<Note> {
        if self.by_kernel {
            return None;
        }
        let header = header(content.len());
        let (mut content, mut behind) = (content.to_vec(), [0; BEHIND]);
        self.tx.seal(header, &mut content, kind, &mut behind)?;
        Some([&header[..], &content, &behind].concat())
    }

    /// Enciphers data in place, no more than [`MAX_CONTENT`] bytes of it: what
    /// stands before and behind it on the wire.
    pub(crate) fn seal(&mut self, data: &mut [u8]) -> Option<([u8; HEADER], [u8; BEHIND])> {
        if self.by_kernel {
            return None;
        }
        let (header, mut behind) = (header(data.len()), [0; BEHIND]);
        self.tx.seal(header, data, DATA, &mut behind)?;
        Some((header, behind))
    }
}

/// Records as a message, for the process that takes a session over.
pub(crate) struct RecordsState {
    suite: Suite,
    /// From the peer and to it, the number of the next record and the traffic
    /// secret.
    rx: (u64, Zeroizing<Vec<u8>>),
    tx: (u64, Zeroizing<Vec<u8>>),
    owes_update: bool,
    /// What was received and not yet given out, deciphered and as it came.
    plain: Zeroizing<Vec<u8>>,
    raw: Zeroizing<Vec<u8>>,
}

codec!(struct RecordsState { suite, rx, tx, owes_update, plain, raw });

impl Records {
    /// The state of a server between two messages of a handshake; `None` for
    /// any other, or where the kernel has a part of it.
    pub(crate) fn state(&self) -> Option<RecordsState> {
        if self.tickets.is_some() || self.closed || self.by_kernel {
            return None;
        }
        let (plain, raw) = self.inbox.contents();
        let direction = |keys: &Keys| (keys.sequence, keys.secret().to_vec().into());
        (plain.len() + raw.len() <= MAX_HELD_BYTES).then(|| RecordsState {
            suite: self.rx.suite(),
            rx: direction(&self.rx),
            tx: direction(&self.tx),
            owes_update: self.owes_update,
            plain: plain.to_vec().into(),
            raw: raw.to_vec().into(),
        })
    }

    /// The records with this state; `None` as well for a key of ours that would
    /// have been changed long ago.
    pub(crate) fn from_state(state: &RecordsState) -> Option<Records> {
        let (rx, tx) = (&state.rx, &state.tx);
        if tx.0 > 2 * CHANGE_AFTER {
            return None;
        }
        let inbox = Inbox::holding(&state.plain, &state.raw)?;
        let mut records = Records::new(state.suite, (&rx.1, rx.0), (&tx.1, tx.0), inbox)?;
        records.owes_update = state.owes_update;
        Some(records)
    }
}

#[cfg(test)]
pub(crate) mod tests;
