//! The header of a message: which cipher made it, and whether out-of-band
//! bytes stand before it.

use super::{Cipher, MAX_STRAYS, Result, STRAY_LOOKS, STRAY_PAUSE, Wire, WireError, valid_length};

impl Wire {
    /// Reads the header of a message and checks it.
    pub(super) fn read_length(&mut self) -> Result<usize> {
        let mut header = [0; 4];
        self.read_bytes(&mut header)?;
        self.settle_key(header)?;
        let first = self.announced(header);
        let mut skipped = 0;
        while valid_length(self.announced(header)).is_none() {
            if skipped == MAX_STRAYS || !self.has_strays() {
                return Err(WireError::Length(first));
            }
            header.copy_within(1.., 0);
            self.read_bytes(&mut header[3..])?;
            skipped += 1;
        }
        if let Some(urgent_bytes) = self.urgent_bytes.as_ref().filter(|_| skipped > 0) {
            urgent_bytes.found(skipped);
        }
        if let Some(rx) = &mut self.rx {
            rx.decrypt(&mut header);
        }
        valid_length(i32::from_be_bytes(header)).ok_or(WireError::Length(first))
    }

    /// The length in a header, if it is the next unit.
    fn announced(&self, mut header: [u8; 4]) -> i32 {
        if let Some(rx) = &self.rx {
            rx.preview(&mut header);
        }
        i32::from_be_bytes(header)
    }

    /// Whether what does not make sense may be an out-of-band byte. Of the
    /// last one of a burst the news may be on its way yet.
    fn has_strays(&self) -> bool {
        let Some(urgent_bytes) = &self.urgent_bytes else {
            return false;
        };
        (0..STRAY_LOOKS).any(|look| {
            if look > 0 {
                std::thread::sleep(STRAY_PAUSE);
            }
            urgent_bytes.are_possible()
        })
    }

    /// After NIGMA: which of the two possible ciphers made this header?
    fn settle_key(&mut self, header: [u8; 4]) -> Result<()> {
        let Some((restarted, tx)) = self.restarted.take() else {
            return Ok(());
        };
        let Some(kept) = self.rx.clone() else {
            return Ok(());
        };
        let length_under = |rx: &Cipher| {
            let mut bytes = header;
            rx.preview(&mut bytes);
            valid_length(i32::from_be_bytes(bytes))
        };
        let restart = match (length_under(&kept), length_under(&restarted)) {
            (None, Some(_)) => true,
            (_, None) => false,
            (Some(a), Some(b)) => {
                // Once in 8,000 times both are lengths: the first word tells.
                self.fill_ahead(a.min(b).min(8), false)?;
                let reads_as_word = |mut rx: Cipher, len: usize| {
                    rx.decrypt(&mut header.clone());
                    let from = &self.ahead[self.used..self.filled];
                    let mut word = from[..len.min(from.len()).min(8)].to_vec();
                    rx.decrypt(&mut word);
                    word.first().is_some_and(u8::is_ascii_alphabetic)
                        && word
                            .iter()
                            .take_while(|c| **c != b' ')
                            .all(u8::is_ascii_alphanumeric)
                };
                !reads_as_word(kept, a) && reads_as_word(restarted.clone(), b)
            }
        };
        if restart {
            (self.rx, self.tx) = (Some(restarted), Some(tx));
        }
        Ok(())
    }
}
