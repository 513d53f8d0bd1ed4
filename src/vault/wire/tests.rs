use openssl::rsa::Rsa;

use super::cipher::Keys;
use super::frame::{Frame, Frames, packet};
use super::*;
use crate::vault::Dialect;

const AES: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NONCE: &str = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";

const IV: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Bodies that the programs of the original have made of a text.
const SEALED: [(Dialect, &str, &str); 5] = [
    (
        Dialect::G3,
        "MNGCKI",
        "AAECAwQFBgcICQoLDA0OD7XhhcnDcX0QIl7V2BlGR80=MwsoANoG58gaiTbGYzPkC9JTi/5OTwaD2pPEdzTYlpc=",
    ),
    (
        Dialect::G1,
        "MNGCKI",
        "AAECAwQFBgcICQoLDA0OD1mBYVl6KvW1zpTT/IqlV5FsFRopULAyqQJast7bVrlS",
    ),
    (
        Dialect::G3,
        "INFRETmsg%eq!DEVICE_AUTHORIZED!;",
        "AAECAwQFBgcICQoLDA0OD3Hu/7lH7uirptHwILD3c21/QumnomD7jHAaK/8E0WwWKSyh+BHYzb/OCh92JC/Eg\
         Q==8sSrWIhe/drHSxf4xObKYHPlCeBfhEsPchzrGDJvKf0=",
    ),
    (
        Dialect::G1,
        "INFLOGIN_SUCCESSFUL",
        "AAECAwQFBgcICQoLDA0ODwS+/gDzAz+Bz3iUWcii7Jh7wfGmWTA8F8cwatTcBmY5",
    ),
    (
        Dialect::G2,
        "KEXACKnonce%eq!d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35!;",
        "AAECAwQFBgcICQoLDA0OD8NCHmj84pKgLGzh4RfYu/L1gjRqG13Hf/dXJJM9MT79LACTCaL1zGbkp2PZ7fc0\
         n381sfJasj+mLVm8qz0gxu5N+PDBqV2odrs0N0DCY+HCj103rwYAqcd5n59OlVbCzg==xzvApdGtWl30RO+S\
         kufrxjZhl1EwZozNRpny8Z3ShO8=",
    ),
];

#[test]
fn packets_are_those_of_the_original_byte_for_byte() {
    for nonce in [
        NONCE.to_owned(),
        NONCE.chars().flat_map(|c| [c, '\0']).collect(),
    ] {
        let keys = Keys::new(AES, &nonce);
        for (dialect, text, body) in SEALED {
            assert_eq!(keys.seal(dialect, IV, text).expect("sealed"), body);
            assert_eq!(keys.has_mac(body), dialect != Dialect::G1);
            let opened = keys.open(dialect, body).expect("opened");
            assert_eq!(opened.nonce, IV);
            assert_eq!(opened.text.expect("text").as_str(), text);
        }
    }
}

#[test]
fn texts_of_any_length_come_back_and_a_changed_packet_has_no_mac() {
    let keys = Keys::new(AES, NONCE);
    for len in 0..100 {
        let text = "x".repeat(len);
        for dialect in [Dialect::G1, Dialect::G2] {
            let body = keys.seal(dialect, IV, &text).expect("sealed");
            let opened = keys.open(dialect, &body).expect("opened");
            assert_eq!(opened.text.expect("text").as_str(), text);
        }
    }
    let body = keys.seal(Dialect::G3, IV, "MNGCKI").expect("sealed");
    for at in 0..body.len() {
        let mut changed = body.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(
            !keys.has_mac(str::from_utf8(&changed).expect("text")),
            "{at}"
        );
    }
    for wrong in ["", "x", "AAAA", &"A".repeat(44), &"A".repeat(64)] {
        assert!(!keys.has_mac(wrong));
        assert!(
            keys.open(Dialect::G1, wrong)
                .is_none_or(|it| it.text.is_none())
        );
    }
}

#[test]
fn pieces_are_packets_or_noise_or_the_end() {
    let mut frames = Frames::default();
    frames.add(b"junk\x04junk\x01UFIN\x04\x01\x01UFIN\x04\x01\x04\x04\x01U\xff\x04");
    frames.add(&packet('E', "a body")[..4]);
    let mut read = Vec::new();
    while let Some(frame) = frames.next() {
        read.push(frame);
    }
    let fin = Frame::Packet('U', "FIN".to_owned());
    let (noise, broken) = (Frame::Noise, Frame::Broken);
    assert_eq!(read[0], noise);
    assert_eq!(read[1], fin);
    assert_eq!(read[2..4], [Frame::Noise, Frame::Noise]);
    assert_eq!(read[4..], [Frame::Broken, broken]);
    assert_eq!(frames.rest(), b"\x01Ea ");
    frames.add(&packet('E', "a body")[4..]);
    let body = Frame::Packet('E', "a body".to_owned());
    assert_eq!(frames.next(), Some(body));
    assert_eq!((frames.next(), frames.waiting()), (None, 0));
}

#[test]
fn keys_are_read_in_both_forms_and_weak_ones_are_refused() {
    let key = Rsa::generate(2048).expect("key");
    let pem = String::from_utf8(key.public_key_to_pem().expect("PEM")).expect("text");
    let public = PublicKey::read(Format::Pem, &pem).expect("key");
    assert_eq!(public.write(Format::Pem).as_deref(), Some(pem.trim_end()));
    let xml = public.write(Format::Xml).expect("XML");
    let again = PublicKey::read(Format::Xml, &xml).expect("key");
    assert_eq!(again.write(Format::Pem).as_deref(), Some(pem.trim_end()));
    assert_eq!(again.longest(), 214);
    let short = Rsa::generate(1024).expect("key");
    let short = String::from_utf8(short.public_key_to_pem().expect("PEM")).expect("text");
    assert!(PublicKey::read(Format::Pem, &short).is_none());
    let even = xml.replace(">AQAB<", ">AQAA<");
    let one = xml.replace(">AQAB<", ">AQ==<");
    for wrong in ["", "x", &even, &one, &xml.replace("Modulus", "Other")] {
        assert!(PublicKey::read(Format::Xml, wrong).is_none(), "{wrong}");
    }
}
