//! Messages between tfd's processes: each that is read, written again, reads
//! the same.

use std::net::IpAddr;

use tfd::daemon::helpers::control::End;
use tfd::daemon::helpers::control::request::Request;
use tfd::daemon::helpers::sweeper::Report;
use tfd::ipc::codec::{Decode, Encode};
use tfd::ipc::orders::Tag;
use tfd::ipc::orders::{News, Order};
use tfd::net::tls::login::Proof;
use tfd::session::keeper::{Question, Reply};
use tfd::session::login::{Ask, Verdict};
use tfd::tf::pool::file::Server;
use tfd::users::{Identity, Login};

fn check<T: Encode + Decode>(data: &[u8]) {
    if let Some(message) = T::from_bytes(data) {
        let bytes = message.to_bytes();
        let again = T::from_bytes(&bytes).expect("what was written is read");
        assert_eq!(again.to_bytes(), bytes);
    }
}

/// Takes one input.
pub fn run(data: &[u8]) {
    if let Some(request) = Request::from_line(data) {
        assert_eq!(
            Request::from_line(request.to_line().as_bytes()),
            Some(request)
        );
    }
    check::<Ask>(data);
    check::<Verdict>(data);
    check::<Proof>(data);
    check::<Order>(data);
    check::<News>(data);
    check::<Login>(data);
    check::<Identity>(data);
    check::<Tag>(data);
    check::<End>(data);
    check::<Report>(data);
    check::<Question>(data);
    check::<Reply>(data);
    check::<Vec<Server>>(data);
    check::<IpAddr>(data);
}
