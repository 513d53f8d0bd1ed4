//! The login: name and password for the key of the greeting, or inside TLS as
//! they are.

use openssl::bn::{BigNum, BigNumRef};
use openssl::error::ErrorStack;
use openssl::pkey::Public;
use openssl::rsa::{Padding, Rsa};

use super::error::{
    Error, Fate, KEY, LOGIN_ANSWER, LOGIN_SENDING, METHOD, NO_GREETING, NOT_CRYPT, Result,
};
use crate::bbftp::wire::{Code, Control, Greeting, Login, MAX_TEXT, WireError};

/// The bits of a key: a login has room for this one alone.
const KEY_BITS: i32 = 1024;

/// The longest greeting that is read.
const MAX_GREETING: usize = 4096;

/// Answers the greeting. The text of the server's OK.
///
/// # Errors
/// Which step failed.
pub(super) fn log_in(control: &mut Control, user: &[u8], password: &[u8]) -> Result<Vec<u8>> {
    let greeting = read_greeting(control)?;
    let login = match control.link().is_over_tls() {
        true => Login::Clear {
            user: user.to_vec(),
            password: password.to_vec().into(),
        },
        false => encrypted(&greeting, user, password)?,
    };
    let payload = login
        .encode()
        .map_err(|e| Error::new(KEY, Fate::End, e.to_string()))?;
    control
        .send(Code::Log, &payload)
        .map_err(|e| Error::sending(&e).with_code(LOGIN_SENDING))?;
    let answer = |e: WireError| Error::reading(&e).with_code(LOGIN_ANSWER);
    let header = control.read_header().map_err(answer)?;
    let text = control.read_payload(&header, MAX_TEXT).map_err(answer)?;
    match Code::try_from(header.code) {
        Ok(Code::Ok) => Ok(text),
        Ok(Code::Bad) => Err(Error::server(&text, Fate::Reconnect)),
        Ok(Code::BadNoRetry) => Err(Error::server(&text, Fate::End)),
        _ => Err(Error::unknown(header.code).with_code(LOGIN_ANSWER)),
    }
}

fn read_greeting(control: &mut Control) -> Result<Greeting> {
    let no_greeting = |e: WireError| Error::reading(&e).with_code(NO_GREETING);
    let header = control.read_header().map_err(no_greeting)?;
    if header.code != Code::Crypt.number() {
        // A server that is full may say so.
        let text = control.read_payload(&header, MAX_TEXT).unwrap_or_default();
        return Err(match Code::try_from(header.code) {
            Ok(Code::Bad) => Error::server(&text, Fate::Reconnect),
            Ok(Code::BadNoRetry) => Error::server(&text, Fate::End),
            _ => Error::new(NOT_CRYPT, Fate::End, "No BBFTP server: it sent no key"),
        });
    }
    let payload = control.read_payload(&header, MAX_GREETING);
    let payload = payload.map_err(no_greeting)?;
    Greeting::decode(&payload).map_err(|e| match e {
        WireError::Field("method") => {
            let text = "The server does not encrypt logins with RSA";
            Error::new(METHOD, Fate::End, text)
        }
        e => Error::new(KEY, Fate::End, format!("The server's key is damaged: {e}")),
    })
}

/// Each by itself with the server's key.
fn encrypted(greeting: &Greeting, user: &[u8], password: &[u8]) -> Result<Login> {
    let key = public_key(greeting)?;
    let encrypt = |what: &str, clear: &[u8]| {
        let mut block = vec![0; key.size() as usize];
        match key.public_encrypt(clear, &mut block, Padding::PKCS1_OAEP) {
            Ok(_) => Ok(block),
            Err(_) => {
                let text = format!("The {what} has more than 86 bytes");
                Err(Error::new(KEY, Fate::End, text))
            }
        }
    };
    Ok(Login::Encrypted {
        user: encrypt("user name", user)?,
        password: encrypt("password", password)?,
    })
}

fn public_key(greeting: &Greeting) -> Result<Rsa<Public>> {
    let damaged = |_: ErrorStack| Error::new(KEY, Fate::End, "The server's key is damaged");
    let modulus = BigNum::from_slice(&greeting.modulus).map_err(damaged)?;
    let exponent = BigNum::from_slice(&greeting.exponent).map_err(damaged)?;
    let bits = modulus.num_bits();
    if bits != KEY_BITS {
        let text = format!("The server's key has {bits} bits, a login takes {KEY_BITS}");
        return Err(Error::new(KEY, Fate::End, text));
    }
    let is_odd = |number: &BigNumRef| number.is_bit_set(0);
    if !is_odd(&modulus) || !is_odd(&exponent) || !(2..=64).contains(&exponent.num_bits()) {
        return Err(Error::new(KEY, Fate::End, "The server's key is damaged"));
    }
    Rsa::from_public_components(modulus, exponent).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_a_login_has_room_for_is_used() {
        for (bits, fits) in [(512, false), (1024, true), (2048, false)] {
            let key = Rsa::generate(bits).expect("key");
            let greeting = Greeting {
                modulus: key.n().to_vec(),
                exponent: key.e().to_vec(),
            };
            assert_eq!(
                encrypted(&greeting, b"ann", b"pass").is_ok(),
                fits,
                "{bits}"
            );
            if fits {
                assert!(encrypted(&greeting, b"ann", &[b'x'; 86]).is_ok());
                assert!(encrypted(&greeting, b"ann", &[b'x'; 87]).is_err());
            }
            for exponent in [vec![1], vec![4], vec![0xff; 9]] {
                let odd = Greeting {
                    exponent,
                    ..greeting.clone()
                };
                assert!(encrypted(&odd, b"ann", b"pass").is_err());
            }
        }
        let damaged = Greeting {
            modulus: vec![0xfe; 128],
            exponent: vec![3],
        };
        assert!(encrypted(&damaged, b"ann", b"pass").is_err());
    }
}
