//! The greeting with the server's key, and the login that answers it.

use zeroize::Zeroizing;

use super::error::{Result, WireError};
use super::field::Fields;

/// The method of a greeting and of a login: RSA with OAEP.
const RSA: u32 = 2;

/// The method of a login in clear.
const CLEAR: u32 = 0;

/// The length of a login.
pub const LOGIN_BYTES: usize = 276;

/// A login's room for the name, and for the password.
const SLOT_BYTES: usize = MAX_BLOCK as usize;

/// The same as a number of the wire.
const MAX_BLOCK: u32 = 128;

/// The longest modulus or exponent that is read.
const MAX_NUMBER_BYTES: u32 = 1024;

/// The server's key for logins (CRYPT): two numbers, big-endian, without zeros
/// before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The modulus.
    pub modulus: Vec<u8>,
    /// The public exponent.
    pub exponent: Vec<u8>,
}

impl Greeting {
    /// The payload, 152 bytes for a key of 1024 bits with the exponent 65537.
    pub fn encode(&self) -> Vec<u8> {
        let (modulus, exponent) = (mpi(&self.modulus), mpi(&self.exponent));
        let mut payload = RSA.to_be_bytes().to_vec();
        for block in [&modulus, &exponent] {
            let len = u32::try_from(block.len()).unwrap_or(u32::MAX);
            payload.extend_from_slice(&len.to_be_bytes());
        }
        payload.extend_from_slice(&modulus);
        payload.extend_from_slice(&exponent);
        payload
    }

    /// # Errors
    /// `Field` where the server does not offer RSA, or a number is none.
    pub fn decode(payload: &[u8]) -> Result<Greeting> {
        let mut fields = Fields::new(payload);
        if fields.u32("method")? & RSA == 0 {
            return Err(WireError::Field("method"));
        }
        let modulus = fields.count(MAX_NUMBER_BYTES + 4, "modulus")?;
        let exponent = fields.count(MAX_NUMBER_BYTES + 4, "exponent")?;
        Ok(Greeting {
            modulus: number(fields.bytes(modulus as usize, "modulus")?, "modulus")?,
            exponent: number(fields.bytes(exponent as usize, "exponent")?, "exponent")?,
        })
    }
}

/// A number as OpenSSL writes it (MPI): its length, its bytes, and before them a
/// zero where they would begin with a one bit, the sign.
fn mpi(number: &[u8]) -> Vec<u8> {
    let zero: &[u8] = match number.first() {
        Some(0x80..) => &[0],
        _ => &[],
    };
    let len = u32::try_from(zero.len() + number.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), zero, number].concat()
}

/// Reads such a number, which is above 0.
fn number(block: &[u8], name: &'static str) -> Result<Vec<u8>> {
    let mut fields = Fields::new(block);
    let len = fields.count(MAX_NUMBER_BYTES, name)?;
    let bytes = fields.bytes(len as usize, name)?;
    fields.end(name)?;
    match bytes.iter().position(|byte| *byte != 0) {
        Some(first) if bytes[0] < 0x80 => Ok(bytes[first..].to_vec()),
        _ => Err(WireError::Field(name)),
    }
}

/// What is secret of a login in clear.
pub type Clear = Zeroizing<Vec<u8>>;

/// A name and a password (LOG).
#[derive(Debug, PartialEq, Eq)]
pub enum Login {
    /// Each encrypted by itself with the key of the greeting.
    Encrypted {
        /// The name's block.
        user: Vec<u8>,
        /// The password's.
        password: Vec<u8>,
    },
    /// As they are.
    Clear {
        /// The name.
        user: Vec<u8>,
        /// The password.
        password: Clear,
    },
}

impl Login {
    /// The payload.
    ///
    /// # Errors
    /// `Field` where one of them is longer than 128 bytes.
    pub fn encode(&self) -> Result<Clear> {
        let (method, user, password) = match self {
            Login::Encrypted { user, password } => (RSA, &user[..], &password[..]),
            Login::Clear { user, password } => (CLEAR, &user[..], &password[..]),
        };
        let mut payload = Zeroizing::new(vec![0; LOGIN_BYTES]);
        payload[..4].copy_from_slice(&method.to_be_bytes());
        for (slot, content) in [user, password].into_iter().enumerate() {
            let len = match u32::try_from(content.len()) {
                Ok(len) if content.len() <= SLOT_BYTES => len,
                _ => return Err(WireError::Field("length of a name or password")),
            };
            let at = 12 + slot * SLOT_BYTES;
            payload[at..at + content.len()].copy_from_slice(content);
            let at = 12 + 2 * SLOT_BYTES + slot * 4;
            payload[at..at + 4].copy_from_slice(&len.to_be_bytes());
        }
        Ok(payload)
    }

    /// # Errors
    /// `Field` for another method or length, or one of a block that is none.
    pub fn decode(payload: &[u8]) -> Result<Login> {
        let mut fields = Fields::new(payload);
        let method = fields.u32("method")?;
        // What a client's memory held: nobody sets them.
        fields.bytes(8, "login")?;
        let user: [u8; SLOT_BYTES] = fields.array("user")?;
        let password = Zeroizing::new(fields.array::<SLOT_BYTES>("password")?);
        let lengths = [
            fields.count(MAX_BLOCK, "length of the user")?,
            fields.count(MAX_BLOCK, "length of the password")?,
        ];
        fields.end("login")?;
        let [user, password] = [(&user, lengths[0]), (&*password, lengths[1])]
            .map(|(slot, len)| &slot[..len as usize]);
        match method {
            RSA => Ok(Login::Encrypted {
                user: user.to_vec(),
                password: password.to_vec(),
            }),
            CLEAR => Ok(Login::Clear {
                user: before_nul(user).to_vec(),
                password: Zeroizing::new(before_nul(password).to_vec()),
            }),
            _ => Err(WireError::Field("method")),
        }
    }
}

pub(super) fn before_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
