//! Messages between tfd's processes: each that is read, written again, reads
//! the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tfd::daemon::helpers::control::request::Request;
use tfd::daemon::helpers::{authenticator, keeper};
use tfd::daemon::orders::{Ended, Order};
use tfd::ipc::channel::{address_from_bytes, address_to_bytes};
use tfd::net::tls::login::Proof;
use tfd::session::login::Ask;
use tfd::users::{Identity, Login};

fuzz_target!(|data: &[u8]| {
    if let Some(ask) = Ask::from_bytes(data) {
        let bytes = ask.to_bytes().expect("short parts");
        assert_eq!(Ask::from_bytes(&bytes), Some(ask));
    }
    if let Some(order) = Order::from_bytes(data) {
        assert_eq!(Order::from_bytes(&order.to_bytes()), Some(order));
    }
    if let Some(request) = Request::from_line(data) {
        assert_eq!(
            Request::from_line(request.to_line().as_bytes()),
            Some(request)
        );
    }
    if let Some(ended) = Ended::from_bytes(data) {
        assert_eq!(Ended::from_bytes(&ended.to_bytes()), Some(ended));
    }
    if let Some(login) = Login::from_bytes(data) {
        assert_eq!(Login::from_bytes(&login.to_bytes()), Some(login));
    }
    if let Some(identity) = Identity::from_bytes(data) {
        assert_eq!(Identity::from_bytes(&identity.to_bytes()), Some(identity));
    }
    if let Some(tag) = keeper::read_admission(data) {
        assert_eq!(tag.to_bytes(), *data);
    }
    if let Some(bytes) = Proof::from_bytes(data).and_then(|proof| proof.to_bytes()) {
        assert_eq!(bytes, data);
    }
    if let Some((tag, peer)) = authenticator::read_gate_message(data) {
        let again = authenticator::gate_message(tag, peer);
        assert_eq!(authenticator::read_gate_message(&again), Some((tag, peer)));
    }
    if let Some((tag, account, certificate)) = authenticator::read_admission(data) {
        assert_eq!(authenticator::admission(tag, account, certificate), data);
    }
    if let Some(octets) = data.first_chunk::<16>() {
        let address = address_from_bytes(*octets);
        assert_eq!(address_from_bytes(address_to_bytes(address)), address);
    }
});
