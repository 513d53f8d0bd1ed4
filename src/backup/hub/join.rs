//! The first login at a hub, by a code, and the first one of a new machine.

use std::io;

use crate::backup::account::{Account, Entrance};
use crate::backup::seed::Seed;
use crate::backup::{BackupError, Result};
use crate::hub::peer::PeerError;
use crate::hub::peer::holder_key::HolderKey;
use crate::hub::peer::line::{HubLine, Login, Missing, Place};
use crate::hub::peer::signer::{Keys, Signer};
use crate::hub::proofs::{Challenge, Statement, enrolment_key};
use crate::hub::wire::{Checksum, Factor, Label, LoginKey, Reply, Role, Signature, User, Value};

/// Signs for an owner that has a code.
struct Enrolling<'a> {
    keys: &'a Keys,
    code: &'a str,
}

impl Signer for Enrolling<'_> {
    fn respond(&self, challenge: &Challenge<'_>) -> io::Result<(Checksum, Option<Signature>)> {
        let key = enrolment_key(self.code, challenge.hub, challenge.user)?;
        let key = key.ok_or(io::ErrorKind::InvalidInput)?;
        Ok((challenge.response(&key)?, None))
    }

    fn sign(&self, statement: &Statement<'_>) -> io::Result<Signature> {
        self.keys.sign(statement)
    }
}

fn open(entrance: &Entrance, user: &User, signer: &dyn Signer) -> Result<(HubLine, Missing)> {
    let addresses = entrance.addresses()?;
    let tls = entrance.tls()?;
    let place = Place {
        addresses: &addresses,
        host: entrance.host(),
        tls: &tls,
        name: None,
    };
    let login = Login {
        user: user.clone(),
        role: Role::Owner,
        port: None,
    };
    HubLine::open(&place, login, signer).map_err(|e| {
        let address = &entrance.address;
        match e {
            PeerError::Refused(Reply::NotVerified) => BackupError::WrongKey(format!(
                "{address}: no user {} with this code or phrase",
                user.as_str()
            )),
            PeerError::Unsigned(_) => BackupError::Failed(
                "not a code: it has 16 letters and digits, as tfd hub user add prints it"
                    .to_owned(),
            ),
            e => BackupError::NoHub(format!("{address}: {e}")),
        }
    })
}

/// Logs in by a code, and gives the hub the owner's key. Before that `save` is called
/// with what the hub calls itself: nothing may be lost then.
pub(crate) fn enrol(
    entrance: &Entrance,
    user: &User,
    code: &str,
    seed: &Seed,
    save: impl FnOnce(&Label) -> Result<()>,
) -> Result<()> {
    let keys = seed.hub_keys()?;
    let signer = Enrolling { keys: &keys, code };
    let (mut line, missing) = open(entrance, user, &signer)?;
    if missing != Missing::Key {
        let text = format!(
            "{}: the hub knows a key of {} already: tf hub recover, with the phrase",
            entrance.address,
            user.as_str()
        );
        return Err(BackupError::Failed(text));
    }
    let key = keys.key.public()?;
    let hub = line.hub().clone();
    save(&hub)?;
    let sent = line.send_own_key(key, seed.login()?, &signer);
    sent.map_err(|e| BackupError::NoHub(format!("{}: {e}", entrance.address)))?;
    line.close();
    Ok(())
}

/// Logs in with the phrase's keys; what the hub calls itself.
pub(crate) fn is_known(entrance: &Entrance, user: &User, seed: &Seed) -> Result<Label> {
    let keys = seed.hub_keys()?;
    let (line, missing) = open(entrance, user, &keys)?;
    if missing != Missing::Nothing {
        let text = format!("{}: the hub has no key of this user yet", entrance.address);
        return Err(BackupError::Failed(text));
    }
    let hub = line.hub().clone();
    line.close();
    Ok(hub)
}

impl Account {
    /// The key file of this user's own keeper.
    pub(crate) fn holder_key(&self, seed: &Seed) -> Result<HolderKey> {
        let key = seed.holder_key()?;
        let public = Keys {
            key: crate::hub::proofs::SigningKey::new(&key.0)?,
            login: LoginKey([0; 32].into()),
        };
        let statement = Statement::HolderKey {
            hub: &self.hub,
            user: &self.user,
            key: public.key.public()?,
        };
        Ok(HolderKey {
            address: self.entrance.address.clone(),
            hub: self.hub.clone(),
            pin: self.entrance.pin.clone(),
            user: self.user.clone(),
            login: seed.login()?,
            proof: statement.sign(&seed.hub_keys()?.key)?,
            key,
        })
    }
}

/// A user's name.
pub(crate) fn user_of(text: &str) -> Result<User> {
    let wrong = || BackupError::Failed(format!("{text}: no name of a user: a-z 0-9 . _ -"));
    User::read(text).ok_or_else(wrong)
}

/// How many copies.
pub(crate) fn factor_of(number: u8) -> Result<Factor> {
    let wrong = || BackupError::Failed(format!("--factor {number}: 1 to 16 copies"));
    Factor::new(number).ok_or_else(wrong)
}
