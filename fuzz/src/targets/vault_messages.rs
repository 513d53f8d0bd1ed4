//! Messages of the vault's own dialect, of clients and of servers.

use tfd::ipc::codec::{Decode, Encode};
use tfd::vault::own::message::{Reply, Request};

/// Takes one input.
pub fn run(bytes: &[u8]) {
    if let Some(request) = Request::from_bytes(bytes) {
        assert_eq!(&*request.to_bytes(), bytes);
    }
    if let Some(reply) = Reply::from_bytes(bytes) {
        assert_eq!(&*reply.to_bytes(), bytes);
    }
}
