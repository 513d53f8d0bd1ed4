//! NIGMA: a new session key, followed by both kinds of client.

use crate::common::{Client, Server};

fn swap(client: &mut Client, length: usize) -> Vec<u8> {
    client.expect(format!("NIGMA {length}"), 0);
    assert_eq!(client.wire.read_i32().expect("length"), length as i32);
    let mut key = vec![0; length];
    client.wire.read_raw(&mut key).expect("key");
    key
}

#[test]
fn a_client_whose_seed_goes_on_is_followed() {
    let server = Server::start();
    let mut client = server.connect();
    let mut keys = Vec::new();
    for length in [8, 16, 32, 256, 4096, 65_536, 8] {
        let key = swap(&mut client, length);
        client.wire.follow_key(&key);
        client.expect_alive();
        client.expect_alive();
        keys.push(key);
    }
    assert_ne!(keys[0], keys[6]);
}

#[test]
fn a_client_that_starts_its_seed_anew_is_followed() {
    let server = Server::start();
    let mut client = server.connect();
    for length in [8, 16, 32, 256, 4096, 16] {
        let key = swap(&mut client, length);
        client.wire.encipher(&key);
        client.expect_alive();
        client.send_file("f", true, &[1; 1000]);
    }
    assert_eq!(server.read("f"), [1; 1000]);
}

#[test]
fn lengths_out_of_bounds_are_refused() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect_all(&[
        ("NIGMA", 46),
        ("NIGMA 0", 46),
        ("NIGMA 4", 46),
        ("NIGMA 7", 46),
        ("NIGMA 9", 46),
        ("NIGMA -8", 46),
        ("NIGMA abc", 46),
        ("NIGMA 65540", 46),
        ("NIGMA 2147483648", 46),
        ("NIGMA 99999999999999999999", 46),
    ]);
    client.expect_alive();
}
