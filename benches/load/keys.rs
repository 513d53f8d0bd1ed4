//! Session keys whose chains are known, and a handshake with one of them: so
//! that the two parts of a stream, before and on a cycle, are measured apart.

use std::collections::HashSet;

use openssl::rsa::{Padding, Rsa};
use tfd::client::{ClientError, Connection};
use tfd::tf::cipher::cycle::CYCLES;
use tfd::tf::wire::Wire;

use crate::Figure;
use crate::server::{failure, local, variable};

/// The chain of this key computes its first 400 million seeds: it meets no
/// cycle before.
const LONG_WAY: &[u8; 32] = b"the first 256 MiB of a stream...";
const LONG_WAY_STEPS: usize = 400_000_000;

/// Steps between two remembered seeds of a cycle, about.
const SPARSE: u64 = 1 << 14;

/// One step of the seed recurrence.
pub(crate) fn step(seed: u64) -> u64 {
    seed.wrapping_mul((seed >> 8) & 0xffff_ffff)
        .wrapping_add((seed >> 40) & 0xffff)
}

/// A key whose chain meets no cycle for 256 MiB and more.
pub(crate) fn long_way() -> Vec<u8> {
    LONG_WAY.to_vec()
}

/// A key whose chain begins on the cycle that most chains reach.
pub(crate) fn on_cycle() -> Vec<u8> {
    let mut key = LONG_WAY.to_vec();
    key[..8].copy_from_slice(&CYCLES[0].0.to_le_bytes());
    key
}

/// The first seed of a key.
fn first_seed(key: &[u8]) -> u64 {
    key[..8]
        .iter()
        .rev()
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// Walks the chain of [`long_way`] and looks for a seed of a cycle.
pub(crate) fn check() -> Figure {
    let mut remembered = HashSet::new();
    for (first, len) in CYCLES {
        let mut seed = first;
        for _ in 0..len {
            if seed >> 20 & (SPARSE - 1) == 0 {
                remembered.insert(seed);
            }
            seed = step(seed);
        }
    }
    let mut seed = first_seed(LONG_WAY);
    for steps in 0..LONG_WAY_STEPS {
        if seed >> 20 & (SPARSE - 1) == 0 && remembered.contains(&seed) {
            return Err(failure(&format!(
                "the chain is on a cycle after {steps} steps"
            )));
        }
        seed = step(seed);
    }
    Ok(format!("no cycle within {LONG_WAY_STEPS} steps"))
}

/// A session with a session key of our choice, without TLS.
pub(crate) fn enter_with(key: &[u8]) -> Result<Connection, ClientError> {
    let mut wire = knock_with(key)?;
    wire.encipher_receiving(key);
    let mut body = Vec::new();
    wire.read_message(&mut body)?;
    if body != b"OK" {
        return Err(failure("the server did not let us in"));
    }
    Ok(Connection::from_wire(wire))
}

/// The same up to the last reply, the first one that is enciphered. The wire
/// receives bytes as they come.
pub(crate) fn knock_with(key: &[u8]) -> Result<Wire, ClientError> {
    let socket = std::net::TcpStream::connect(variable("TF_SERVER")).map_err(local("TCP"))?;
    let mut wire = Wire::new(socket).map_err(local("TCP"))?;
    wire.expect_transfers();
    let block = rsa_block(key).ok_or_else(|| failure("no RSA block with TF_KEY"))?;
    wire.write_message_later(b"0.0");
    wire.write_message_later(&block);
    wire.encipher_sending(key);
    wire.write_message(variable("TF_HASH").as_bytes())?;
    let mut body = Vec::new();
    for _ in 0..2 {
        wire.read_message(&mut body)?;
        if body != b"OK" {
            return Err(failure("the server did not let us in"));
        }
    }
    Ok(wire)
}

fn rsa_block(key: &[u8]) -> Option<Vec<u8>> {
    let pem = std::fs::read(variable("TF_KEY")).ok()?;
    let rsa = Rsa::public_key_from_pem(&pem).ok()?;
    let mut block = vec![0; rsa.size() as usize];
    rsa.public_encrypt(key, &mut block, Padding::PKCS1_OAEP)
        .ok()?;
    Some(block)
}
