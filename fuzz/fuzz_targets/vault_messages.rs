//! Messages of the vault's own dialect, of clients and of servers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tfd::ipc::codec::{Decode, Encode};
use tfd::vault::own::message::{Reply, Request};

fuzz_target!(|bytes: &[u8]| {
    if let Some(request) = Request::from_bytes(bytes) {
        assert_eq!(&*request.to_bytes(), bytes);
    }
    if let Some(reply) = Reply::from_bytes(bytes) {
        assert_eq!(&*reply.to_bytes(), bytes);
    }
});
