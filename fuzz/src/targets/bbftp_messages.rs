//! The messages of BBFTP, both sides: what can be read is written as it was
//! read, and nothing is read past what a message announces.
//!
//! The input is a stream of messages. Each payload is given to all that reads
//! payloads.

use std::net::Ipv4Addr;

use crate::peer::connection_with;
use tfd::bbftp::wire::extension::{
    MAX_SMALL_FILE, Offer, RetrFrom, SmallFile, SmallStore, StoreFrom, TransOkFrom,
};
use tfd::bbftp::wire::{
    Code, Control, Greeting, Login, MAX_OLD_STREAMS, MAX_PATH, MAX_STREAMS, OldTransfer, Transfer,
    Versions, WireError, decode_listing, decode_names, decode_number, decode_path, decode_ports,
    decode_with_options, encode_listing, encode_names, encode_ports, encode_with_options,
};
use tfd::net::Link;

/// The longest payload that is read.
const MOST: usize = 4096;

/// Takes one input.
pub fn run(data: &[u8]) {
    let (_peer, ours) = connection_with(data);
    let mut control = Control::new(Link::new(ours).expect("link"));
    let mut left = data.len();
    loop {
        let header = match control.read_header() {
            Ok(header) => header,
            Err(WireError::Closed) => break assert_eq!(left, 0),
            Err(_) => break,
        };
        left -= 8;
        assert!(i32::try_from(header.len).is_ok());
        if let Ok(code) = Code::try_from(header.code) {
            assert_eq!(code.number(), header.code);
        }
        match control.read_payload(&header, MOST) {
            Ok(payload) => {
                left -= payload.len();
                logins(&payload);
                transfers(&payload);
                lists(&payload);
                extensions(&payload);
            }
            Err(WireError::Length { .. }) => {
                assert!(header.len as usize > MOST);
                break;
            }
            Err(_) => break,
        }
    }
}

fn logins(payload: &[u8]) {
    if let Ok(greeting) = Greeting::decode(payload) {
        assert!(greeting.modulus[0] != 0 && greeting.exponent[0] != 0);
        let again = Greeting::decode(&greeting.encode()).expect("greeting");
        assert_eq!(again, greeting);
    }
    if let Ok(login) = Login::decode(payload) {
        let encoded = login.encode().expect("login");
        assert_eq!(Login::decode(&encoded).expect("login"), login);
    }
    if let Ok(versions) = Versions::decode(payload) {
        assert_eq!(versions.encode(), payload);
    }
    if let Ok(number) = decode_number(payload) {
        assert_eq!(number.to_be_bytes(), payload);
    }
    let _ = Offer::from_text(payload);
}

fn transfers(payload: &[u8]) {
    if let Ok(transfer) = Transfer::decode(payload) {
        check(&transfer);
        let again = Transfer::decode(&transfer.encode()).expect("transfer");
        assert_eq!(again, transfer);
    }
    if let Ok(transfer) = OldTransfer::decode(payload) {
        assert!(i64::try_from(transfer.size).is_ok());
        assert!((1..=MAX_OLD_STREAMS as usize).contains(&transfer.ports.len()));
        assert!((1..=499).contains(&transfer.name.len()));
        let encoded = transfer.encode(Ipv4Addr::LOCALHOST).expect("transfer");
        let again = OldTransfer::decode(&encoded).expect("transfer");
        assert_eq!(again, transfer);
    }
    if let Ok(ports) = decode_ports(payload) {
        assert!(!ports.contains(&0));
        assert_eq!(encode_ports(&ports), payload);
    }
}

fn check(transfer: &Transfer) {
    assert!(i64::try_from(transfer.size).is_ok() && transfer.buffer > 0);
    assert!(transfer.mode <= 0o7777);
    assert!(transfer.streams > 0 || transfer.size == 0);
}

fn lists(payload: &[u8]) {
    if let Ok(names) = decode_names(payload) {
        assert_eq!(encode_names(names.iter().map(Vec::as_slice)), payload);
    }
    if let Ok(entries) = decode_listing(payload) {
        assert_eq!(encode_listing(&entries), payload);
    }
    if let Ok(path) = decode_path(payload) {
        check_path(path);
    }
    if let Ok((options, path)) = decode_with_options(payload) {
        check_path(path);
        assert!(payload.starts_with(&encode_with_options(options, path)));
    }
}

fn check_path(path: &[u8]) {
    assert!(!path.is_empty() && path.len() <= MAX_PATH && !path.contains(&0));
}

fn extensions(payload: &[u8]) {
    if let Ok(store) = SmallStore::decode(payload) {
        check_path(store.name);
        assert!(store.content.len() <= MAX_SMALL_FILE);
        let encoded = store.encode();
        assert_eq!(SmallStore::decode(&encoded).expect("store"), store);
    }
    if let Ok(file) = SmallFile::decode(payload) {
        assert_eq!(file.transfer.size, file.content.len() as u64);
        let encoded = file.encode();
        assert_eq!(SmallFile::decode(&encoded).expect("file"), file);
    }
    if let Ok(request) = RetrFrom::decode(payload) {
        check_path(request.name);
        let size = request.transfer.size;
        let ends = |m: &tfd::bbftp::wire::extension::Missing| m.begin + m.len <= size;
        assert!(request.missing.iter().all(ends));
        assert!((1..=MAX_STREAMS as usize).contains(&request.missing.len()));
        let encoded = request.encode();
        assert_eq!(RetrFrom::decode(&encoded).expect("request"), request);
    }
    if let Ok(request) = StoreFrom::decode(payload) {
        check_path(request.name);
        let encoded = request.encode();
        assert_eq!(StoreFrom::decode(&encoded).expect("request"), request);
    }
    if let Ok(answer) = TransOkFrom::decode(payload) {
        assert!(answer.streams.len() <= MAX_STREAMS as usize);
        let encoded = answer.encode();
        assert_eq!(TransOkFrom::decode(&encoded).expect("answer"), answer);
    }
}
