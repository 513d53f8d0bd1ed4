//! The numbers of runs. A process holds that of its run by a name that the kernel frees
//! when it dies: who gets the number next knows that the run before is over, and needs not
//! wait until the hub gives it up.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use openssl::sha::Sha256;

use super::client::HubClient;
use crate::hub::wire::RunId;
use crate::text::hex;

/// The most runs of an account on this machine at once.
const MOST: u8 = 8;

/// Where the name of a process is good: this network namespace, until the next start.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
const NAMESPACE: &str = "/proc/self/ns/net";

/// A number that no other process here has.
pub(super) struct Number {
    pub(super) id: RunId,
    _name: UnixDatagram,
}

impl Number {
    /// Takes one, and gives up the run that a process which has died had by it.
    pub(super) fn take(client: &HubClient) -> io::Result<Number> {
        let place = place(client)?;
        for slot in 0..MOST {
            if let Some(number) = Number::of(&place, slot)? {
                client.abort(number.id)?;
                return Ok(number);
            }
        }
        Err(io::Error::other("too many runs at once on this machine"))
    }

    /// Gives up the runs of all processes that have died.
    pub(super) fn end_dead(client: &HubClient) -> io::Result<()> {
        let place = place(client)?;
        for slot in 0..MOST {
            if let Some(number) = Number::of(&place, slot)? {
                client.abort(number.id)?;
            }
        }
        Ok(())
    }

    /// The one of a slot, if no process has it.
    fn of(place: &Sha256, slot: u8) -> io::Result<Option<Number>> {
        let mut of_slot = place.clone();
        of_slot.update(&[slot]);
        let digest = of_slot.finish();
        // Its name is for all to see, the number is not.
        let (id, name) = digest.split_at(16);
        let name = format!("tf-backup-{}", hex(name));
        let bound = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?);
        let name = match bound {
            Ok(socket) => socket,
            Err(e) if e.kind() == ErrorKind::AddrInUse => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut number = Number {
            id: RunId([0; 16]),
            _name: name,
        };
        number.id.0.copy_from_slice(id);
        Ok(Some(number))
    }
}

/// What is the same for all runs of an account on this machine.
fn place(client: &HubClient) -> io::Result<Sha256> {
    let account = client.account();
    let space = fs::metadata(NAMESPACE)?;
    let mut place = Sha256::new();
    place.update(&fs::read(BOOT)?);
    place.update(&space.dev().to_be_bytes());
    place.update(&space.ino().to_be_bytes());
    for word in [
        account.hub.as_str(),
        &account.entrance.pin,
        account.user.as_str(),
    ] {
        place.update(word.as_bytes());
        place.update(b"\n");
    }
    Ok(place)
}
