//! What the client reads of a server: replies, listings, headers and frames
//! of any kind end in a result.
//!
//! The first byte chooses what the client asks, the rest is the stream of the
//! server in plain.

#[path = "../../../tests/common/flows.rs"]
mod flows;

use crate::peer::connection_with;
use tfd::client::Connection;
use tfd::tf::wire::Wire;

use self::flows::Flows;

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    let (_peer, ours) = connection_with(stream);
    let mut connection = Connection::from_wire(Wire::new(ours).expect("wire"));
    let mut taken = 0;
    let mut sink = |part: &[u8]| {
        taken += part.len();
        Ok(())
    };
    let mut left = 3;
    let mut source = |buffer: &mut [u8]| {
        let len = left.min(buffer.len());
        left -= len;
        Ok(len)
    };
    match choice % 12 {
        0 => {
            for entry in connection.list("").unwrap_or_default() {
                assert!(!entry.path.is_empty() && !entry.path.contains(&b'\n'));
            }
        }
        1 => drop(connection.stat_all(&["a".to_owned(), "b".to_owned()])),
        2 => {
            if let Ok(digits) = connection.sha256("a") {
                assert!(digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_hexdigit()));
            }
        }
        3 => drop(connection.free_space()),
        4 => drop(connection.file_size("a")),
        5 => drop(connection.swap_key(8)),
        6 => drop(connection.receive_file("a", false, &mut sink)),
        7 => drop(connection.stream_down("a", &mut sink)),
        8 => drop(connection.get("a", 0, &mut sink)),
        9 => drop(connection.put("a", 0, &mut source)),
        10 => drop(connection.send_file("a", false, &mut source)),
        _ => drop(connection.stream_up("a", &mut source)),
    }
    assert!(taken <= stream.len());
}
