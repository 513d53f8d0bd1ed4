//! One-time codes by time (RFC 6238) of entries, in each of the forms in which
//! KeePass programs keep what they are made of.

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use zeroize::Zeroizing;

use super::database::field;
use super::xml::Element;

/// What codes are made of.
pub struct Otp {
    secret: Zeroizing<Vec<u8>>,
    digest: MessageDigest,
    digits: u32,
    period: u64,
}

impl Otp {
    /// That of an entry; `None` where it has none.
    ///
    /// # Errors
    /// One line: what is wrong with it.
    pub fn of(entry: &Element) -> Result<Option<Otp>, String> {
        let has = |name| field(entry, name).filter(|text| !text.is_empty());
        if let Some(text) = has("otp") {
            return Otp::parse(text).map(Some);
        }
        if let Some(secret) = has("TimeOtp-Secret-Base32") {
            let mut otp = Otp::with_secret(secret)?;
            otp.set("period", has("TimeOtp-Period").unwrap_or("30"))?;
            otp.set("digits", has("TimeOtp-Length").unwrap_or("6"))?;
            otp.set("algorithm", has("TimeOtp-Algorithm").unwrap_or("SHA1"))?;
            return Ok(Some(otp));
        }
        let Some(secret) = has("TOTP Seed") else {
            return Ok(None);
        };
        let mut otp = Otp::with_secret(secret)?;
        let settings = has("TOTP Settings").unwrap_or("30;6");
        let (period, digits) = settings.split_once(';').unwrap_or((settings, "6"));
        otp.set("period", period)?;
        otp.set("digits", digits)?;
        Ok(Some(otp))
    }

    /// Reads an `otpauth://` address, the parameters of one, or a secret alone.
    ///
    /// # Errors
    /// One line: what is wrong with it.
    pub fn parse(text: &str) -> Result<Otp, String> {
        let query = match text.split_once("://") {
            Some((_, rest)) if rest.starts_with("totp/") => {
                rest.split_once('?').map_or("", |(_, query)| query)
            }
            Some(_) => return Err("not a code by time (otpauth://totp/...)".to_owned()),
            None if text.contains('=') && text.contains("key=") => text,
            None => return Otp::with_secret(text),
        };
        let parameters = || query.split('&').filter_map(|one| one.split_once('='));
        let secret = parameters().find(|(name, _)| matches!(*name, "secret" | "key"));
        let mut otp = Otp::with_secret(secret.ok_or("it has no secret")?.1)?;
        for (name, value) in parameters() {
            otp.set(name, value)?;
        }
        Ok(otp)
    }

    fn with_secret(text: &str) -> Result<Otp, String> {
        Ok(Otp {
            secret: base32(text).ok_or("its secret is not in base32")?,
            digest: MessageDigest::sha1(),
            digits: 6,
            period: 30,
        })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("{name}={value}: not known");
        let number = |range: std::ops::RangeInclusive<u64>| {
            let number = value
                .trim()
                .parse()
                .ok()
                .filter(|number| range.contains(number));
            number.ok_or_else(wrong)
        };
        match name {
            "period" | "step" => self.period = number(1..=86_400)?,
            "digits" | "size" => self.digits = u32::try_from(number(4..=10)?).unwrap_or(6),
            "encoder" => return Err(wrong()),
            "algorithm" | "otpHashMode" => {
                let plain = value
                    .to_ascii_uppercase()
                    .replace(['-', '_'], "")
                    .replace("HMAC", "");
                self.digest = match plain.as_str() {
                    "SHA1" => MessageDigest::sha1(),
                    "SHA256" => MessageDigest::sha256(),
                    "SHA512" => MessageDigest::sha512(),
                    _ => return Err(wrong()),
                };
            }
            _ => {}
        }
        Ok(())
    }

    /// The code at a time in seconds since 1970, and how many seconds it remains.
    ///
    /// # Errors
    /// One line of the library.
    pub fn code(&self, now: u64) -> Result<(Zeroizing<String>, u64), String> {
        let tag = || {
            let key = PKey::hmac(&self.secret)?;
            let mut signer = Signer::new(self.digest, &key)?;
            signer.update(&(now / self.period).to_be_bytes())?;
            signer.sign_to_vec()
        };
        let tag = Zeroizing::new(tag().map_err(|e: openssl::error::ErrorStack| e.to_string())?);
        let at = tag.last().map_or(0, |last| usize::from(last & 15));
        let word = tag[at..].iter().take(4);
        let word = word.fold(0_u64, |word, byte| word << 8 | u64::from(*byte)) & 0x7fff_ffff;
        let width = usize::try_from(self.digits).unwrap_or(6);
        let code = format!("{:0width$}", word % 10_u64.pow(self.digits));
        Ok((Zeroizing::new(code), self.period - now % self.period))
    }
}

/// The bytes in base32 (RFC 4648), however it is written.
fn base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut word, mut bits) = (0_u32, 0);
    let text = text.trim_end_matches("%3D").trim_end_matches("%3d");
    let is_digit = |c: &u8| !matches!(c, b' ' | b'-' | b'=');
    for digit in text.bytes().filter(is_digit) {
        let value = match digit.to_ascii_uppercase() {
            c @ b'A'..=b'Z' => c - b'A',
            c @ b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        };
        word = (word << 5 | u32::from(value)) & 0xffff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff).to_be_bytes()[3]);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::vault::database::{new_entry, set_field};

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B.
        let seed = |len: usize| -> String {
            let digits = b"1234567890".iter().cycle().take(len);
            let (mut word, mut bits, mut out) = (0_u32, 0, String::new());
            for byte in digits {
                word = word << 8 | u32::from(*byte);
                bits += 8;
                while bits >= 5 {
                    bits -= 5;
                    out.push(char::from(
                        b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(word >> bits & 31) as usize],
                    ));
                }
            }
            if bits > 0 {
                out.push(char::from(
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(word << (5 - bits) & 31) as usize],
                ));
            }
            out
        };
        for (len, algorithm, time, code) in [
            (20, "SHA1", 59, "94287082"),
            (32, "SHA256", 59, "46119246"),
            (64, "SHA512", 59, "90693936"),
            (20, "SHA1", 1_111_111_109, "07081804"),
            (32, "SHA256", 2_000_000_000, "90698825"),
        ] {
            let secret = seed(len);
            let text = format!(
                "otpauth://totp/x:y?secret={secret}&algorithm={algorithm}&digits=8&period=30&issuer=x"
            );
            let otp = Otp::parse(&text).expect("parsed");
            let (made, left) = otp.code(time).expect("code");
            assert_eq!((made.as_str(), left), (code, 30 - time % 30));
        }
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        let code = |fields: &[(&str, &str)]| {
            let mut entry = new_entry(&[1; 16]);
            for (name, value) in fields {
                set_field(&mut entry, name, value, true);
            }
            let otp = Otp::of(&entry)?;
            Ok::<_, String>(otp.map(|otp| otp.code(59).expect("code").0.to_string()))
        };
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let lower = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq";
        let six = Ok(Some("287082".to_owned()));
        assert_eq!(code(&[]), Ok(None));
        assert_eq!(code(&[("otp", lower)]), six);
        assert_eq!(
            code(&[("otp", &format!("key={secret}&size=6&step=30"))]),
            six
        );
        assert_eq!(
            code(&[("TOTP Seed", secret), ("TOTP Settings", "30;6")]),
            six
        );
        let eight = [("TimeOtp-Secret-Base32", secret), ("TimeOtp-Length", "8")];
        assert_eq!(code(&eight), Ok(Some("94287082".to_owned())));
        for wrong in [
            "otpauth://hotp/x?secret=A",
            "otpauth://totp/x",
            "!",
            "otpauth://totp/x?secret=AA&digits=99",
        ] {
            assert!(code(&[("otp", wrong)]).is_err(), "{wrong}");
        }
    }
}
