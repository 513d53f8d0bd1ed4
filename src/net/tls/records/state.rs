//! Records as bytes, for the process that takes a session over. Shape: suite
//! (1), then from the peer and to it each the number of the next record (8)
//! and the traffic secret; whether a new key is owed (1); the length (4) and
//! the bytes of what is deciphered; what was received besides.

use zeroize::Zeroizing;

use crate::net::tls::keys::Suite;
use crate::net::tls::records::inbox::SMALL;
use crate::net::tls::records::{CHANGE_AFTER, Inbox, Records};

/// No state is longer.
pub(crate) const MAX_STATE: usize = 1 + 2 * (8 + 48) + 1 + 4 + SMALL;

impl Records {
    /// Appends the state; `None` unless it is a server's between two messages of a
    /// handshake and the kernel has no part of it.
    pub(crate) fn write_state(&self, bytes: &mut Zeroizing<Vec<u8>>) -> Option<()> {
        let (plain, raw) = self.inbox.contents();
        if self.tickets.is_some()
            || self.closed
            || self.by_kernel
            || plain.len() + raw.len() > SMALL
        {
            return None;
        }
        bytes.push(self.rx.suite().to_byte());
        for keys in [&self.rx, &self.tx] {
            bytes.extend_from_slice(&keys.sequence.to_be_bytes());
            bytes.extend_from_slice(keys.secret());
        }
        bytes.push(u8::from(self.owes_update));
        bytes.extend_from_slice(&u32::try_from(plain.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(plain);
        bytes.extend_from_slice(raw);
        Some(())
    }

    /// The records with this state, which takes all bytes; `None` as well for a
    /// key of ours that would have been changed long ago.
    pub(crate) fn read_state(bytes: &[u8]) -> Option<Records> {
        let (suite, mut rest) = bytes.split_first()?;
        let suite = Suite::from_byte(*suite)?;
        let mut direction = || {
            let (sequence, behind) = rest.split_first_chunk::<8>()?;
            let (secret, behind) = behind.split_at_checked(suite.secret_len())?;
            rest = behind;
            Some((secret, u64::from_be_bytes(*sequence)))
        };
        let (rx, tx) = (direction()?, direction()?);
        if tx.1 > 2 * CHANGE_AFTER {
            return None;
        }
        let (owes_update, rest) = rest.split_first().filter(|(owes, _)| **owes <= 1)?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (plain, raw) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        let mut records = Records::new(suite, rx, tx, Inbox::holding(plain, raw)?)?;
        records.owes_update = *owes_update == 1;
        Some(records)
    }
}
