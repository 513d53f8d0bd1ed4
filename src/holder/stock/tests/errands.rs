//! Files that go to other holders, and files that come back from them.

use std::os::unix::fs::FileExt;

use super::*;
use crate::holder::stock::message::{FromCarrier, ToCarrier};
use crate::hub::peer::introduction::Parties;
use crate::hub::wire::{Exporter, NotStored, Request};

const HERE: Exporter = Exporter([7; 32]);

/// The holder that is dialled.
fn dave() -> Key {
    SigningKey::new(&[4; 32])
        .and_then(|key| key.public())
        .expect("key")
}

impl Shop {
    /// `TRA` of a file to dave, at this address.
    fn transfer(&mut self, content: &[u8], address: &str) -> u16 {
        let (name, size) = (name_of(content).text(), content.len());
        let (dave, anna) = (dave().text(), key().text());
        self.order(&format!(
            "TRA {name} {address} dave {dave} size={size} owner=anna okey={anna} old=carol"
        ))
    }

    /// `SRR` of a file that dave has.
    fn bring(&mut self, content: &[u8]) {
        let (name, size) = (name_of(content).text(), content.len());
        let (dave, anna) = (dave().text(), key().text());
        let text = format!(
            "SRR {name} 198.51.100.9:7272 dave {dave} size={size} owner=anna okey={anna} \
             kind=index"
        );
        let line = Line::parse(text.as_bytes()).expect("line");
        assert!(self.stock.order(line).expect("done").is_none());
    }

    fn carrier(&mut self, number: u64, said: FromCarrier) -> Option<ToCarrier> {
        self.stock.hear_carrier(number, said).expect("heard")
    }

    /// The one line that is to be dialled, with its carrier there.
    #[track_caller]
    fn dialled(&mut self) -> u64 {
        let dials = self.stock.dials();
        assert_eq!(dials.len(), 1, "{dials:?}");
        assert_eq!(dials[0].key, dave());
        assert!(self.stock.has_carrier(dials[0].number));
        dials[0].number
    }

    fn ready(&mut self, is_near: bool) {
        let time = u64::try_from(self.stock.now).expect("time");
        let ready = FromLine::Ready {
            time,
            hub: match is_near {
                true => [10, 0, 0, 1].into(),
                false => [192, 0, 2, 1].into(),
            },
            is_rebuilt: false,
        };
        self.stock.hear_line(ready).expect("heard");
    }
}

#[test]
fn files_go_to_another_holder_over_one_line_and_the_hub_hears_of_each() {
    let mut shop = Shop::new();
    for content in [&b"one"[..], b"two"] {
        shop.store(content);
        assert_eq!(shop.transfer(content, "198.51.100.9:7272"), 211);
        // Asked for twice, it goes once.
        assert_eq!(shop.transfer(content, "198.51.100.9:7272"), 211);
    }
    assert_eq!(shop.transfer(b"three", "198.51.100.9:7272"), 505);
    let number = shop.dialled();
    assert!(shop.stock.dials().is_empty());
    let statement = shop.carrier(number, FromCarrier::Introduce(HERE));
    let Some(ToCarrier::Statement(Line {
        message: Message::Request(Request::Ds1(first)),
        ..
    })) = statement
    else {
        panic!("{statement:?}");
    };
    let at_dave = Parties {
        own: read("dave"),
        other: read("bob"),
        key: keys().key.public().expect("key"),
        time: shop.stock.hub_time(),
    };
    assert!(at_dave.is_introduced(&first, &HERE));
    let Some(ToCarrier::Send(going)) = shop.carrier(number, FromCarrier::Next) else {
        panic!("a file");
    };
    assert_eq!((going.name, going.size), (name_of(b"one"), 3));
    assert_eq!(going.okey, key());
    shop.said();
    let next = shop.carrier(number, FromCarrier::Carried(None));
    assert!(
        matches!(&next, Some(ToCarrier::Send(going)) if going.name == name_of(b"two")),
        "{next:?}"
    );
    let moved = format!("MOV {} bob dave\r\n", name_of(b"one").text());
    assert_eq!(shop.said(), [moved]);
    let full = FromCarrier::Carried(Some(NotStored::Full));
    assert!(matches!(shop.carrier(number, full), Some(ToCarrier::End)));
    let said = shop.said();
    let name = name_of(b"two").text();
    assert_eq!(said, [format!("NST dave name={name} reason=full\r\n")]);
    // It has had what it may have.
    assert!(shop.carrier(number, FromCarrier::Next).is_none());
}

#[test]
fn a_carrier_states_once_who_is_here_and_one_that_fails_is_reported() {
    let mut shop = Shop::new();
    shop.store(b"one");
    for reason in ["key", "refused", "timeout"] {
        assert_eq!(shop.transfer(b"one", "198.51.100.9:7272"), 211);
        let number = shop.dialled();
        let introduce = || FromCarrier::Introduce(HERE);
        assert!(shop.carrier(number, introduce()).is_some());
        assert!(shop.carrier(number, introduce()).is_none());
        shop.said();
        match reason {
            "key" => {
                let failed = FromCarrier::Failed(NotStored::Key);
                assert!(shop.carrier(number, failed).is_none());
            }
            "refused" => {
                // Another one tries once more.
                shop.stock.carrier_ended(number);
                assert!(shop.said().is_empty());
                let number = shop.dialled();
                assert!(shop.carrier(number, introduce()).is_some());
                shop.stock.carrier_ended(number);
                assert!(shop.stock.dials().is_empty());
            }
            _ => {
                shop.stock.now += 601;
                assert_eq!(shop.stock.late_carriers(), [number]);
            }
        }
        let said = shop.said();
        let end = format!(" reason={reason}\r\n");
        assert!(said.len() == 1 && said[0].ends_with(&end), "{said:?}");
        assert!(!shop.stock.has_carrier(number));
    }
}

#[test]
fn few_holders_are_dialled_at_once_and_each_by_one_line() {
    let mut shop = Shop::new();
    shop.store(b"one");
    for port in 1..=10 {
        let address = format!("198.51.100.9:{port}");
        assert_eq!(shop.transfer(b"one", &address), 211);
    }
    let dials = shop.stock.dials();
    assert_eq!(dials.len(), 4);
    assert!(shop.stock.dials().is_empty());
    shop.stock.lost_carrier(dials[2].number, NotStored::Refused);
    assert_eq!(shop.stock.dials().len(), 1);
}

#[test]
fn a_hub_out_there_has_no_neighbour_dialled() {
    let mut shop = Shop::new();
    shop.store(b"one");
    shop.ready(false);
    shop.said();
    for address in [
        "127.0.0.1:22",
        "[::1]:22",
        "10.1.2.3:80",
        "169.254.169.254:80",
    ] {
        assert_eq!(shop.transfer(b"one", address), 211);
        assert!(shop.stock.dials().is_empty(), "{address}");
        let said = shop.said();
        assert!(said[0].contains("reason=unreachable"), "{said:?}");
    }
    shop.ready(true);
    assert_eq!(shop.transfer(b"one", "10.1.2.3:7171"), 211);
    assert_eq!(shop.stock.dials().len(), 1);
}

#[test]
fn a_lost_file_is_fetched_and_only_what_its_owner_has_signed() {
    let mut shop = Shop::new();
    let content = b"lost";
    shop.bring(content);
    let number = shop.dialled();
    let (name, size) = (name_of(content), 4);
    let next = shop.carrier(number, FromCarrier::Next);
    assert!(
        matches!(next, Some(ToCarrier::Fetch { name: of, size: 4 }) if of == name),
        "{next:?}"
    );
    let coming = |sig| Coming {
        name,
        size,
        kind: None,
        owner: None,
        sig,
    };
    let wrong = shop.signature(name, 5);
    for sig in [None, Some(wrong)] {
        let taken = shop.carrier(number, FromCarrier::Take(coming(sig)));
        assert!(matches!(taken, Some(ToCarrier::Refused(_))), "{taken:?}");
    }
    let sig = Some(shop.signature(name, size));
    let taken = shop.carrier(number, FromCarrier::Take(coming(sig)));
    let Some(ToCarrier::Part { part, from: 0 }) = taken else {
        panic!("{taken:?}");
    };
    let written = fs::File::from(part).write_all_at(content, 0);
    written.expect("written");
    let whole = shop.carrier(number, FromCarrier::Whole);
    assert!(matches!(whole, Some(ToCarrier::Done)), "{whole:?}");
    assert!(shop.path("", content).exists());
    let said = shop.said();
    assert!(
        said[0].starts_with("DFI ") && said[0].contains(" bob "),
        "{said:?}"
    );
    let done = shop.carrier(number, FromCarrier::Carried(None));
    assert!(matches!(done, Some(ToCarrier::End)), "{done:?}");
    // What is here already is only reported.
    shop.bring(content);
    assert!(shop.stock.dials().is_empty());
    assert!(shop.said()[0].starts_with("DFI "));
}

#[test]
fn who_has_nothing_left_asks_for_all_and_who_has_something_names_what_is_lost() {
    for keeps_one in [false, true] {
        let mut shop = Shop::new();
        shop.store(b"one");
        if keeps_one {
            shop.store(b"two");
        }
        fs::remove_file(shop.path("", b"one")).expect("removed");
        let mut shop = shop.again();
        shop.said();
        shop.ready(true);
        let said = shop.said();
        let name = name_of(b"one").text();
        let wanted = match keeps_one {
            false => "RRC all=1\r\n".to_owned(),
            true => format!("WRN anna reason=missing name={name}\r\n"),
        };
        assert_eq!(said, [wanted]);
    }
}
