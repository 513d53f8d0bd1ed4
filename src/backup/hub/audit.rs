//! Proofs that keepers have what they took: a checksum under a key that was drawn just
//! now, a chunk of an old pack, and every copy of every file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use super::inventory::Files;
use super::peers::{reason, refusal};
use super::reading::Reading;
use super::{failed, wire_name};
use crate::backup::Result;
use crate::backup::keepers::{Opens, Report, Sample};
use crate::hub::peer::PeerError;
use crate::hub::peer::peer_line::PeerLine;
use crate::hub::wire::request::Req;
use crate::hub::wire::{
    AuditKey, Checksum, Kind, Kinds, Line, Message, Name, NotStored, Reply, Request, User,
};
use crate::text::hex;

/// Of so many files a keeper is asked about one as it has taken it.
const ONE_IN: u64 = 64;

/// Whether chance draws this file.
pub(super) fn is_drawn() -> bool {
    getrandom::u64().is_ok_and(|it| it.is_multiple_of(ONE_IN))
}

fn checksum(key: &[u8; 32], bytes: &[Bytes]) -> io::Result<Checksum> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    for part in bytes {
        signer.update(part)?;
    }
    let mut sum = [0; 32];
    signer.sign(&mut sum)?;
    Ok(Checksum(sum))
}

/// Asks a keeper for the checksum of these bytes under a new key.
pub(super) fn has(line: &mut PeerLine, name: Name, bytes: &[Bytes]) -> Result<(), NotStored> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|_| NotStored::Refused)?;
    let expected = checksum(&key, bytes).map_err(|_| NotStored::Refused)?;
    let lost = |e: PeerError| reason(&e);
    let asked = line
        .request(Req::new(name, AuditKey::Full(key)))
        .map_err(lost)?;
    let Line { id, message } = line.line().map_err(lost)?;
    match message {
        _ if id != Some(asked) => Err(NotStored::Refused),
        Message::Request(Request::Crc(it)) if it.checksum == expected => Ok(()),
        Message::Request(_) => Err(NotStored::Corrupt),
        // It is busy.
        Message::Reply(Reply::Later { .. }) => Ok(()),
        Message::Reply(reply) => Err(refusal(&reply)),
    }
}

/// Reads a drawn chunk back from each of these keepers: the first of the samples that it
/// has.
pub(super) fn prove(
    reading: &Reading,
    report: &Report,
    keepers: impl Iterator<Item = User>,
    samples: &[Sample],
    opens: &Opens<'_>,
) {
    for user in keepers {
        for sample in samples {
            let Ok(name) = wire_name(&sample.name) else {
                continue;
            };
            match reading.prove(name, &user, sample, opens) {
                Err(NotStored::Missing) => {}
                Err(NotStored::Corrupt) => {
                    give_up(reading, report, name, &user);
                    break;
                }
                _ => break,
            }
        }
    }
}

/// Says to the hub that a copy is none.
fn give_up(reading: &Reading, report: &Report, name: Name, user: &User) {
    let digits = hex(&name.0[..4]);
    let what = format!("{digits} is damaged there; the hub has it copied from another keeper");
    report.note(&format!("keeper {}", user.as_str()), &what);
    reading.give_up(name, user);
}

/// What each of these keepers has, of those that can be asked.
pub(super) fn inventories(
    reading: &Reading,
    report: &Report,
    keepers: BTreeSet<User>,
) -> BTreeMap<User, Files> {
    let mut stores = BTreeMap::new();
    for user in keepers {
        match reading.inventory(&user) {
            Ok(files) => {
                stores.insert(user, files);
            }
            Err(why) => {
                let what = format!("can't be asked what it has: {}", why.word());
                report.note(&format!("keeper {}", user.as_str()), &what);
            }
        }
    }
    stores
}

/// Reads every copy of every file that the hub lists; `lost` gets those without a good
/// one. The number of bad copies of which there is a good one.
pub(super) fn verify(
    reading: &Reading,
    report: &Report,
    keepers: BTreeSet<User>,
    lost: &mut Vec<String>,
) -> Result<u64> {
    let stores = inventories(reading, report, keepers);
    let mut bad = 0;
    for kind in [Kind::Config, Kind::Data, Kind::Index, Kind::Snapshot] {
        let listed = reading.list(Kinds::Only(kind)).map_err(failed)?;
        for name in listed.into_keys() {
            let has_it = |(_, files): &(&User, &Files)| files.contains_key(&name);
            let mut is_good = false;
            let mut damaged = 0;
            for (user, _) in stores.iter().filter(has_it) {
                match reading.read_from(name, user) {
                    Ok(_) => is_good = true,
                    Err(NotStored::Corrupt) => {
                        damaged += 1;
                        give_up(reading, report, name, user);
                    }
                    Err(why) => {
                        let what = format!("{} can't be read: {}", hex(&name.0[..4]), why.word());
                        report.note(&format!("keeper {}", user.as_str()), &what);
                    }
                }
            }
            // A keeper that no book names may have it.
            match is_good || reading.read(name).is_ok() {
                true => bad += damaged,
                false => lost.push(format!("{}: no good copy", hex(&name.0))),
            }
        }
    }
    Ok(bad)
}
