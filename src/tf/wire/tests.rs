use super::*;
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

fn pair() -> (Wire, Wire) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(listener.local_addr().expect("addr")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (
        Wire::new(client).expect("wire"),
        Wire::new(server).expect("wire"),
    )
}

fn read(wire: &mut Wire) -> Vec<u8> {
    let mut body = Vec::new();
    wire.read_message(&mut body).expect("message");
    body
}

#[test]
fn messages_and_raw_units_arrive_as_sent() {
    let (mut client, mut server) = pair();
    client.write_message(b"0.0").expect("write");
    assert_eq!(read(&mut server), b"0.0");
    client.encipher(b"0123456789abcdef");
    server.encipher(b"0123456789abcdef");
    let long = vec![7; 100_000];
    let sender = std::thread::spawn(move || {
        client.write_message(b"ECHO a").expect("write");
        client.write_message(b"").expect("write");
        client.write_message(&long).expect("write");
        client.write_i64(-127).expect("write");
        client
    });
    assert_eq!(read(&mut server), b"ECHO a");
    assert_eq!(read(&mut server), b"");
    assert_eq!(read(&mut server), vec![7; 100_000]);
    assert_eq!(server.read_i64().expect("raw"), -127);
    drop(sender.join());
    assert!(matches!(
        server.read_message(&mut Vec::new()),
        Err(WireError::Closed)
    ));
}

#[test]
fn a_length_out_of_bounds_is_refused_before_the_body() {
    for announced in [-1, i32::MIN, MAX_MESSAGE as i32 + 1, i32::MAX] {
        let (client, mut server) = pair();
        client
            .socket()
            .write_all(&announced.to_be_bytes())
            .expect("write");
        let mut body = Vec::new();
        let result = server.read_message(&mut body);
        assert!(matches!(result, Err(WireError::Length(n)) if n == announced));
        assert_eq!(body.capacity(), 0);
    }
}

#[test]
fn of_a_message_that_is_too_long_the_begin_is_kept_and_the_next_one_read() {
    let (mut client, mut server) = pair();
    client.encipher(&[1; 16]);
    server.encipher(&[1; 16]);
    let long: Vec<u8> = (0..10_000_u32).map(|i| i as u8).collect();
    for len in [0, 9, 10, 11, 10_000] {
        client.write_message(&long[..len]).expect("write");
        client.write_message(b"next").expect("write");
        let mut body = Vec::new();
        let whole = server.read_short_message(&mut body, 10).expect("message");
        assert_eq!(
            (whole, body.as_slice()),
            (len <= 10, &long[..len.min(10)]),
            "{len}"
        );
        assert!(body.capacity() < 100);
        assert_eq!(read(&mut server), b"next");
    }
}

#[test]
fn a_deadline_ends_a_slow_peer() {
    let (client, mut server) = pair();
    let deadline = Instant::now() + Duration::from_millis(50);
    server.set_deadline(Some(deadline)).expect("deadline");
    client.socket().write_all(&[0, 0]).expect("write");
    assert!(matches!(
        server.read_message(&mut Vec::new()),
        Err(WireError::TimedOut)
    ));
}

#[test]
fn a_deadline_ends_a_peer_that_reads_nothing() {
    let (_client, mut server) = pair();
    let begin = Instant::now();
    server
        .set_deadline(Some(begin + Duration::from_millis(300)))
        .expect("deadline");
    let ended = (0..100_000).find_map(|_| server.write_message(&[7; 10_000]).err());
    assert!(matches!(ended, Some(WireError::TimedOut)), "{ended:?}");
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    server.set_deadline(None).expect("no deadline");
    assert_eq!(server.socket().write_timeout().expect("socket"), None);
}

#[test]
fn who_takes_a_wire_over_has_none_of_its_time_limits() {
    let (mut client, mut server) = pair();
    client.encipher(&[1; 16]);
    server.encipher(&[1; 16]);
    server
        .set_deadline(Some(Instant::now() + Duration::from_secs(60)))
        .expect("deadline");
    client.write_message(b"LOGIN").expect("write");
    assert_eq!(read(&mut server), b"LOGIN");
    let (socket, state) = server.into_state().expect("state");
    assert!(socket.read_timeout().expect("socket").is_some());
    let taken = Wire::from_state(socket, &state).expect("wire");
    assert_eq!(taken.socket().read_timeout().expect("socket"), None);
    assert_eq!(taken.socket().write_timeout().expect("socket"), None);
}

#[test]
fn a_new_key_is_followed_with_the_seed_kept_or_restarted() {
    for restart in [false, true] {
        for round in 0..50_u8 {
            let (mut client, mut server) = pair();
            let new_key = [round, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
            client.encipher(b"0123456789abcdef");
            server.encipher(b"0123456789abcdef");
            client.write_message(b"NIGMA 12").expect("write");
            assert_eq!(read(&mut server), b"NIGMA 12");
            server.swap_key(&new_key);
            if restart {
                client.encipher(&new_key);
            } else {
                client.follow_key(&new_key);
            }
            client.write_message(b"DATE").expect("write");
            assert_eq!(read(&mut server), b"DATE");
            server.write_message(b"OK 1").expect("write");
            assert_eq!(read(&mut client), b"OK 1");
        }
    }
}
