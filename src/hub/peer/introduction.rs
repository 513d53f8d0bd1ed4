//! The statements by which the two ends of a line between peers know each other: `DS1` of
//! who has connected, `DS2` of who has listened. Each fits its connection alone.

use super::signer::Signer;
use super::{PeerError, Result};
use crate::hub::proofs::Statement;
use crate::hub::wire::request::{Ds1, Ds2};
use crate::hub::wire::{
    Exporter, Introduction, Key, Nonce, Purpose, Side, Signature, User, Version,
};

/// How far the clocks of two peers may be from each other, in seconds.
const CLOCKS: u64 = 600;

/// What an end knows before the introductions.
#[derive(Clone, Debug)]
pub struct Parties {
    /// This end's name.
    pub own: User,
    /// The other's.
    pub other: User,
    /// The key that the other one signs by.
    pub key: Key,
    /// The time, in seconds since 1970, of the hub's clock.
    pub time: u64,
}

impl Parties {
    /// The dialler's statement.
    ///
    /// # Errors
    /// The signer's.
    pub fn introduce(
        &self,
        purpose: Purpose,
        exporter: Exporter,
        signer: &dyn Signer,
    ) -> Result<Ds1> {
        let mut nonce = Nonce([0; 16]);
        let drawn = getrandom::fill(&mut nonce.0);
        drawn.map_err(|e| PeerError::Internal(std::io::Error::other(e)))?;
        let plaintext = Introduction {
            version: Version::SPOKEN,
            side: Side::Dialler,
            purpose,
            from: self.own.clone(),
            to: self.other.clone(),
            time: self.time,
            nonce,
            exporter,
        };
        let signature = sign(&plaintext, signer)?;
        Ok(Ds1::new(plaintext, signature))
    }

    /// Whether a dialler's statement is that of the other one, here and now.
    pub fn is_introduced(&self, by: &Ds1, exporter: &Exporter) -> bool {
        let it = &by.plaintext;
        it.side == Side::Dialler
            && it.version.major == Version::SPOKEN.major
            && it.from == self.other
            && it.to == self.own
            && it.time.abs_diff(self.time) <= CLOCKS
            && it.exporter == *exporter
            && Statement::Peer(it).is_signed(&self.key, &by.signature)
    }
}

fn sign(plaintext: &Introduction, signer: &dyn Signer) -> Result<Signature> {
    let signature = signer.sign(&Statement::Peer(plaintext));
    signature.map_err(PeerError::Unsigned)
}

/// What the listener states to a dialler's statement.
fn turned(first: &Introduction) -> Introduction {
    Introduction {
        side: Side::Listener,
        from: first.to.clone(),
        to: first.from.clone(),
        ..first.clone()
    }
}

/// The listener's statement, to a dialler's that it has checked.
///
/// # Errors
/// The signer's.
pub fn answer(first: &Introduction, signer: &dyn Signer) -> Result<Ds2> {
    let plaintext = turned(first);
    let signature = sign(&plaintext, signer)?;
    Ok(Ds2::new(plaintext, signature))
}

/// Whether a listener's statement is by this key, and to the dialler's.
pub fn is_answered(first: &Introduction, by: &Ds2, key: &Key) -> bool {
    by.plaintext == turned(first) && Statement::Peer(&by.plaintext).is_signed(key, &by.signature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::peer::signer::Keys;
    use crate::hub::proofs::SigningKey;
    use crate::hub::wire::{LoginKey, Value};
    use crate::text::unhex;

    const DS1: &str = "1.1,ds1,backup,anna,bob,1795336860,AAECAwQFBgcICQoLDA0ODw,\
                       IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI";
    const DS1_SIGNATURE: &str =
        "c8CMAl9CNHH3C9TK9dWOJiP7Bp2IvZRMnrS2NIn8mtrlDLlMxQ7t9UF8sGQV8omeKBrMPkmVt8S6pzezRFfeDw";
    const DS2_SIGNATURE: &str =
        "An1GMRJTre8NT3FuiQ6wiRZEu29ehB7I-KAYRUsFe_xh_GEtSdF7-KUSa6Av5W07TMZ44kU6H38rubweLO99Ag";
    const ANNA: &str = "_7VHWnIgOUNdsPQxBDR0LBL7OFAEnfgX8PSGVhoyHnY";
    const BOB: &str = "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU";

    fn read<T: Value>(text: &str) -> T {
        T::read(text).unwrap_or_else(|| panic!("{text}"))
    }

    fn keys(digits: &str) -> Keys {
        let bytes = unhex(digits.as_bytes()).expect("digits");
        Keys {
            key: SigningKey::new(&bytes.try_into().expect("32 bytes")).expect("key"),
            login: LoginKey([0; 32].into()),
        }
    }

    fn at_bob() -> Parties {
        Parties {
            own: read("bob"),
            other: read("anna"),
            key: read(ANNA),
            time: 1_795_336_860,
        }
    }

    #[test]
    fn the_statements_of_the_protocol_fit_their_parties_their_time_and_their_connection() {
        let first = Ds1::new(read(DS1), read(DS1_SIGNATURE));
        let here = Exporter([0x22; 32]);
        assert!(at_bob().is_introduced(&first, &here));
        assert!(!at_bob().is_introduced(&first, &Exporter([0x23; 32])));
        for (change, is_fine) in [(600, true), (601, false)] {
            for time in [first.plaintext.time + change, first.plaintext.time - change] {
                let parties = Parties { time, ..at_bob() };
                assert_eq!(parties.is_introduced(&first, &here), is_fine);
            }
        }
        for other in [
            Parties {
                own: read("carol"),
                ..at_bob()
            },
            Parties {
                other: read("carol"),
                ..at_bob()
            },
            Parties {
                key: read(BOB),
                ..at_bob()
            },
        ] {
            assert!(!other.is_introduced(&first, &here));
        }
        let mut second = answer(
            &first.plaintext,
            &keys("976b0b3767263dfb6be01939f12f3222dfc5807f1df7d2bf41fb970a252a6423"),
        )
        .expect("DS2");
        assert_eq!(second.signature.text(), DS2_SIGNATURE);
        assert!(is_answered(&first.plaintext, &second, &read(BOB)));
        assert!(!is_answered(&first.plaintext, &second, &read(ANNA)));
        second.plaintext.nonce.0[0] ^= 1;
        assert!(!is_answered(&first.plaintext, &second, &read(BOB)));
    }

    #[test]
    fn a_statement_that_is_sent_back_is_none() {
        let parties = Parties {
            own: read("anna"),
            other: read("bob"),
            key: read(BOB),
            time: 5,
        };
        let anna = keys("ef44bcb383e0884ac77d99f2e0546df23f2bd77eab2d466ef1cce883f2a774a5");
        let here = Exporter([1; 32]);
        let first = parties
            .introduce(Purpose::Recover, here, &anna)
            .expect("DS1");
        assert!(
            Parties {
                time: 5,
                ..at_bob()
            }
            .is_introduced(&first, &here)
        );
        let back = Ds2::new(first.plaintext.clone(), first.signature);
        assert!(!is_answered(&first.plaintext, &back, &read(ANNA)));
    }
}
