//! Payloads of a few numbers: versions, ports, a mask, options before a path.

use super::error::{Result, WireError};
use super::field::{Fields, path};
use super::transfer::Options;

/// The versions a server speaks (PROT_ANS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: u32,
    /// The highest.
    pub max: u32,
}

impl Versions {
    /// As the server states them.
    pub fn encode(self) -> [u8; 8] {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&self.min.to_be_bytes());
        payload[4..].copy_from_slice(&self.max.to_be_bytes());
        payload
    }

    /// # Errors
    /// `Field` unless there are two versions in order.
    pub fn decode(payload: &[u8]) -> Result<Versions> {
        let mut fields = Fields::new(payload);
        let (min, max) = (fields.u32("version")?, fields.u32("version")?);
        fields.end("version")?;
        match min <= max {
            true => Ok(Versions { min, max }),
            false => Err(WireError::Field("version")),
        }
    }
}

/// The one number of a payload: the version a client has chosen, a mask, a class
/// of service, the port of ssh's side connection.
///
/// # Errors
/// `Field` for any other length.
pub fn decode_number(payload: &[u8]) -> Result<u32> {
    let mut fields = Fields::new(payload);
    let number = fields.u32("number")?;
    fields.end("number")?;
    Ok(number)
}

/// Ports, one a stream.
pub fn encode_ports(ports: &[u16]) -> Vec<u8> {
    ports
        .iter()
        .flat_map(|port| u32::from(*port).to_be_bytes())
        .collect()
}

/// # Errors
/// `Field` for a port that is none.
pub fn decode_ports(payload: &[u8]) -> Result<Vec<u16>> {
    if !payload.len().is_multiple_of(4) {
        return Err(WireError::Field("port"));
    }
    let mut fields = Fields::new(payload);
    (0..payload.len() / 4).map(|_| fields.port()).collect()
}

/// The path of FILENAME, SHA256, and of version 1's commands: not empty, no longer
/// than [`super::MAX_PATH`], and without NUL but for some at its end.
///
/// # Errors
/// `Field` for anything else.
pub fn decode_path(payload: &[u8]) -> Result<&[u8]> {
    path(payload)
}

/// A path behind its options (MKDIR_V2, CHDIR_V2, LIST_V2, RM, STAT, DF,
/// SMALL_RETR).
pub fn encode_with_options(options: Options, path: &[u8]) -> Vec<u8> {
    [&options.bits().to_be_bytes(), path].concat()
}

/// # Errors
/// `Field` for a path that is none.
pub fn decode_with_options(payload: &[u8]) -> Result<(Options, &[u8])> {
    let mut fields = Fields::new(payload);
    let options = Options::from_bits(fields.u32("options")?);
    Ok((options, path(fields.rest())?))
}
