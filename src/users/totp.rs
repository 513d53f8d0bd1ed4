//! One-time codes by time (RFC 6238): HMAC-SHA-1, six digits, thirty seconds, as
//! every authenticator app makes them. Which codes were used is not known here.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The digits of a code.
pub const DIGITS: usize = 6;

/// How long a code is shown, in seconds.
const PERIOD: u64 = 30;

/// How many periods the clocks may be apart.
const WINDOW: u64 = 1;

/// The bytes of a new secret, and those that one may have.
const NEW: usize = 20;
const LENGTHS: RangeInclusive<usize> = 16..=64;

/// The digits of base32 (RFC 4648).
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What codes are made of.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// One line, when the system has no random bytes.
    pub fn make() -> Result<Secret, String> {
        let mut bytes = Zeroizing::new(vec![0; NEW]);
        getrandom::fill(&mut bytes).map_err(|e| e.to_string())?;
        Ok(Secret(bytes))
    }

    /// The secret in base32, as apps and the users file have it.
    pub fn to_base32(&self) -> Zeroizing<String> {
        // Text that grows would leave copies behind that nobody wipes.
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 8 / 5 + 1));
        for bytes in self.0.chunks(5) {
            let mut word = [0; 8];
            word[3..3 + bytes.len()].copy_from_slice(bytes);
            let word = u64::from_be_bytes(word);
            for digit in 0..(bytes.len() * 8).div_ceil(5) {
                let value = usize::try_from(word >> (35 - 5 * digit) & 31).unwrap_or(0);
                text.push(char::from(ALPHABET[value]));
            }
        }
        text
    }

    /// The code of a period, counted from the epoch.
    pub fn code(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = tag.last().map_or(0, |last| usize::from(last & 15));
        let word = tag[at..].iter().take(4);
        let word = word.fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
        format!("{:0DIGITS$}", (word & 0x7fff_ffff) % 1_000_000)
    }

    /// The period that a code belongs to, of those near a time in seconds.
    pub fn step_of(&self, code: &[u8], now: u64) -> Option<u64> {
        let now = step_at(now);
        let near = now.saturating_sub(WINDOW)..=now.saturating_add(WINDOW);
        let fits = |step: &u64| bool::from(self.code(*step).as_bytes().ct_eq(code));
        near.rev().find(fits)
    }

    /// What an app reads from a QR code.
    pub fn url(&self, name: &str, issuer: &str) -> Zeroizing<String> {
        let (name, issuer) = (escaped(name), escaped(issuer));
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{name}?secret={}&issuer={issuer}&algorithm=SHA1\
             &digits={DIGITS}&period={PERIOD}",
            *self.to_base32()
        ))
    }
}

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Secret, String> {
        let wrong = || "not a secret in base32".to_owned();
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
        let (mut word, mut bits) = (0_u32, 0);
        for digit in text.bytes() {
            let value = ALPHABET.iter().position(|known| *known == digit);
            let value = value.and_then(|value| u32::try_from(value).ok());
            word = (word << 5 | value.ok_or_else(wrong)?) & 0xffff;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push((word >> bits & 0xff).to_be_bytes()[3]);
            }
        }
        let secret = Secret(bytes);
        if !LENGTHS.contains(&secret.0.len()) || *secret.to_base32() != text {
            return Err(wrong());
        }
        Ok(secret)
    }
}

/// The period at a time in seconds.
pub fn step_at(now: u64) -> u64 {
    now / PERIOD
}

/// A password and the code behind it, if six digits end it.
pub fn split(password: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = password.len().checked_sub(DIGITS)?;
    let (password, code) = password.split_at(at);
    code.iter()
        .all(u8::is_ascii_digit)
        .then_some((password, code))
}

/// A text as part of a URL.
fn escaped(text: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let escape = |byte: u8| match is_plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238's appendix B.
    const OF_RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret: Secret = OF_RFC.parse().expect("secret");
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret.code(step_at(time)), code);
            assert_eq!(secret.step_of(code.as_bytes(), time), Some(step_at(time)));
        }
    }

    #[test]
    fn a_code_holds_one_period_before_and_after_its_own() {
        let secret: Secret = OF_RFC.parse().expect("secret");
        let code = secret.code(1000);
        for (time, holds) in [
            (999 * 30 - 1, false),
            (999 * 30, true),
            (1002 * 30 - 1, true),
            (1002 * 30, false),
        ] {
            let step = secret.step_of(code.as_bytes(), time);
            assert_eq!(step, holds.then_some(1000), "{time}");
        }
        assert_eq!(secret.step_of(b"", 30_000), None);
        assert_eq!(secret.step_of(&code.as_bytes()[1..], 30_000), None);
    }

    #[test]
    fn base32_is_read_as_it_is_written_and_nothing_else_is() {
        let secret = Secret::make().expect("secret");
        let text = secret.to_base32();
        assert_eq!((text.len(), text.parse()), (32, Ok(secret.clone())));
        assert_ne!(Secret::make(), Ok(secret));
        for wrong in ["", "GEZD", &OF_RFC.to_lowercase(), &format!("{OF_RFC}=")] {
            assert!(wrong.parse::<Secret>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_url_names_account_and_issuer() {
        let secret: Secret = OF_RFC.parse().expect("secret");
        let url = secret.url("a b@c", "host:1");
        assert_eq!(
            *url,
            format!(
                "otpauth://totp/host%3A1:a%20b%40c?secret={OF_RFC}&issuer=host%3A1\
                 &algorithm=SHA1&digits=6&period=30"
            )
        );
        assert_eq!(split(b"pass 123456"), Some((&b"pass "[..], &b"123456"[..])));
        assert_eq!(split(b"12345"), None);
        assert_eq!(split(b"pass12345x"), None);
    }
}
