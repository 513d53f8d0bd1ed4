use crate::ipc::codec::{Decode, Encode};
use crate::net::tls::records::*;
use proptest::prelude::*;

/// Both ends of a connection.
pub(crate) fn ends(suite: Suite) -> (Records, Records) {
    let (a, b) = ([1; 48], [2; 48]);
    let (a, b) = (&a[..suite.secret_len()], &b[..suite.secret_len()]);
    let end = |rx, tx| Records::new(suite, (rx, 0), (tx, 0), Inbox::default()).expect("records");
    (end(a, b), end(b, a))
}

/// The records that another process makes of the state; `None` where it must not.
fn handed_over(records: &Records) -> Option<Records> {
    let bytes = records.state().expect("state").to_bytes();
    Records::from_state(&RecordsState::from_bytes(&bytes).expect("whole"))
}

/// What one end sends: what is due, then the data in records.
fn sent(from: &mut Records, data: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for part in data.chunks(MAX_CONTENT) {
        wire.extend(from.due().expect("a key").unwrap_or_default());
        let mut part = part.to_vec();
        let (header, behind) = from.seal(&mut part).expect("sealed");
        wire.extend([&header[..], &part, &behind].concat());
    }
    wire
}

/// Puts bytes in as far as there is room, and takes out all data there is.
fn take_all(to: &mut Records, mut wire: &[u8], step: usize) -> Result<Vec<u8>, Fault> {
    let mut data = Vec::new();
    let mut part = vec![0; step];
    loop {
        match to.take(&mut part)? {
            Got::Data(n) => data.extend_from_slice(&part[..n]),
            Got::Closed => return Ok(data),
            Got::More if wire.is_empty() => return Ok(data),
            Got::More => {
                let room = to.inbox.room(step);
                let n = room.len().min(wire.len());
                room[..n].copy_from_slice(&wire[..n]);
                to.inbox.arrived(n);
                wire = &wire[n..];
            }
        }
    }
}

const SUITES: [Suite; 3] = [Suite::Aes128, Suite::Aes256, Suite::ChaCha20];

#[test]
fn keys_change_when_asked_and_before_a_limit() {
    for suite in SUITES {
        let (mut a, mut b) = ends(suite);
        a.change_after = 3;
        let data: Vec<u8> = (0..10 * MAX_CONTENT).map(|i| i as u8).collect();
        let wire = sent(&mut a, &data);
        assert_eq!(
            wire.len(),
            data.len() + 10 * (HEADER + BEHIND) + 3 * (HEADER + BEHIND + 5)
        );
        assert_eq!(take_all(&mut b, &wire, 1000), Ok(data));
        let asks = b.note(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1]).expect("a key");
        b.tx = b.tx.next().expect("keys");
        let wire = [asks, sent(&mut b, b"more")].concat();
        assert_eq!(take_all(&mut a, &wire, 10), Ok(b"more".to_vec()));
        assert!(a.owes_update);
        let wire = sent(&mut a, b"answer");
        assert!(!a.owes_update && a.tx.sequence == 1);
        assert_eq!(take_all(&mut b, &wire, 10), Ok(b"answer".to_vec()));
    }
}

#[test]
fn no_number_of_a_record_comes_twice() {
    let secret = [1; 32];
    let at = |rx, tx| {
        Records::new(
            Suite::Aes128,
            (&secret, rx),
            (&secret, tx),
            Inbox::default(),
        )
    };
    let mut last = at(u64::MAX, u64::MAX).expect("records");
    assert!(last.seal(&mut [0; 8]).is_none() && last.farewell().is_none());
    let record = sent(&mut at(0, 0).expect("records"), b"late");
    assert_eq!(take_all(&mut last, &record, 10), Err(Fault::BAD_RECORD));
    assert!(handed_over(&last).is_none());
    let late = at(u64::MAX, 2 * CHANGE_AFTER).expect("records");
    assert!(handed_over(&late).is_some());
}

#[test]
fn what_the_kernel_seals_is_sealed_by_nobody_else_and_not_for_ever() {
    let (a, _) = ends(Suite::ChaCha20);
    assert!(a.for_kernel().is_none(), "it gets no key of this suite");
    for suite in [Suite::Aes128, Suite::Aes256] {
        let (mut a, mut b) = ends(suite);
        let _ = sent(&mut a, &[0; 3 * MAX_CONTENT]);
        let given = a.for_kernel().expect("a key");
        assert_eq!(
            (given.key.len(), given.next),
            (if suite == Suite::Aes128 { 16 } else { 32 }, 3)
        );
        a.leave_to_kernel();
        assert!(a.for_kernel().is_none());
        assert!(a.seal(&mut [0; 8]).is_none() && a.note(ALERT, &[1, 0]).is_none());
        assert!(matches!(a.farewell(), Some(LastWord::Bare(ALERT, [1, 0]))));
        assert!(a.state().is_none());
        assert_eq!(a.due(), Ok(None));
        let asks = b.note(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1]).expect("a key");
        assert_eq!(take_all(&mut a, &asks, 10), Ok(Vec::new()));
        assert_eq!(a.due(), Err(Fault::KEPT_KEY));
        a.owes_update = false;
        let most = (END_AFTER as usize - 3) / 2;
        (1..most).for_each(|_| a.given_to_kernel(1));
        assert_eq!(a.due(), Ok(None));
        a.given_to_kernel(MAX_CONTENT + 1);
        assert_eq!(a.due(), Err(Fault::KEPT_KEY));
    }
}

#[test]
fn what_was_changed_on_the_way_is_refused() {
    for suite in SUITES {
        let data = vec![7; 40_000];
        for at in [0, 3, 4, 5, 100, 16_388, 16_405, 16_406, 40_000] {
            let (mut a, mut b) = ends(suite);
            let mut wire = sent(&mut a, &data);
            wire[at] ^= 1;
            let got = take_all(&mut b, &wire, 40_000);
            assert!(
                got.is_err() || got.is_ok_and(|data| data.len() < 40_000),
                "{at}"
            );
        }
        let (mut a, mut b) = ends(suite);
        let (first, second) = (sent(&mut a, b"first"), sent(&mut a, b"second"));
        assert_eq!(
            take_all(&mut b, &second, 9),
            Err(Fault::BAD_RECORD),
            "order"
        );
        let (_, mut b) = ends(suite);
        let twice = [&first[..], &first].concat();
        assert_eq!(
            take_all(&mut b, &twice, 9),
            Err(Fault::BAD_RECORD),
            "replay"
        );
    }
}

#[test]
fn records_that_have_no_meaning_end_the_connection() {
    let said = |kind, content: &[u8]| {
        let (mut a, mut b) = ends(Suite::Aes128);
        let wire = a.note(kind, content).expect("a key");
        take_all(&mut b, &wire, 10)
    };
    for (kind, content) in [
        (20, &[1][..]),
        (24, b"x"),
        (HANDSHAKE, b""),
        (HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 2]),
        (HANDSHAKE, &[KEY_UPDATE, 0, 0, 2, 0, 0]),
        (HANDSHAKE, &[KEY_UPDATE, 0, 0]),
        (HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE, 0, 0, 1, 0]),
        (HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 1, 0]),
        (HANDSHAKE, &[1, 255, 255, 255]),
        (ALERT, &[1]),
    ] {
        assert_eq!(
            said(kind, content),
            Err(Fault::UNEXPECTED),
            "{kind} {content:?}"
        );
    }
    assert_eq!(said(ALERT, &[2, 20]), Err(Fault::by_peer(20)));
    assert_eq!(said(0, &[]), Err(Fault::UNEXPECTED));
    let (_, mut b) = ends(Suite::Aes128);
    assert_eq!(
        take_all(&mut b, &[23, 3, 3, 0x41, 1], 10),
        Err(Fault::TOO_LONG)
    );
    assert_eq!(take_all(&mut b, &[], 10), Err(Fault::TOO_LONG));
    let (_, mut b) = ends(Suite::Aes128);
    assert_eq!(
        take_all(&mut b, &[23, 3, 3, 0, 3, 1, 2, 3], 10),
        Err(Fault::BAD_RECORD)
    );
    let (_, mut b) = ends(Suite::Aes128);
    assert_eq!(
        take_all(&mut b, &[21, 3, 3, 0, 2, 1, 0], 10),
        Err(Fault::UNEXPECTED)
    );
}

#[test]
fn a_peer_that_sends_nothing_but_empty_records_is_cut_off() {
    let (mut a, mut b) = ends(Suite::Aes128);
    let wire: Vec<u8> = (0..=MAX_IDLE)
        .flat_map(|_| a.note(DATA, b"").expect("a key"))
        .collect();
    assert_eq!(take_all(&mut b, &wire, 10), Err(Fault::NO_DATA));
}

#[test]
fn after_close_notify_nothing_is_read() {
    let (mut a, mut b) = ends(Suite::ChaCha20);
    let last = sent(&mut a, b"last");
    let Some(LastWord::Sealed(farewell)) = a.farewell() else {
        panic!("no farewell")
    };
    let wire = [last, farewell, sent(&mut a, b"lost")].concat();
    assert_eq!(take_all(&mut b, &wire, 10), Ok(b"last".to_vec()));
    assert!(b.is_closed());
    assert_eq!(b.look(), Ok(Got::Closed));
}

proptest! {
    #[test]
    fn data_arrives_whole_however_it_is_taken_and_handed_over(
        lengths in proptest::collection::vec(1usize..40_000, 1..8),
        step in 1usize..50_000,
        suite in 0usize..3,
        wide in any::<bool>(),
    ) {
        let (mut a, mut b) = ends(SUITES[suite]);
        if wide {
            b.inbox.let_grow();
        }
        for (round, len) in lengths.into_iter().enumerate() {
            let data: Vec<u8> = (0..len).map(|i| (i + round) as u8).collect();
            let wire = sent(&mut a, &data);
            prop_assert!(take_all(&mut b, &wire, step).as_ref() == Ok(&data));
            b = handed_over(&b).expect("records");
        }
    }

    #[test]
    fn any_bytes_are_read_as_a_state_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = RecordsState::from_bytes(&bytes).map(|state| Records::from_state(&state));
    }

    #[test]
    fn any_bytes_are_read_as_records_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = take_all(&mut ends(Suite::Aes128).1, &bytes, 50);
    }
}

#[test]
fn a_state_carries_what_was_read_and_not_yet_used() {
    let (mut a, mut b) = ends(Suite::Aes256);
    let wire = [sent(&mut a, &[5; 10_000]), sent(&mut a, b"next")].concat();
    let room = b.inbox.room(0);
    let n = wire.len() - 3;
    room[..n].copy_from_slice(&wire[..n]);
    b.inbox.arrived(n);
    let mut part = [0; 4000];
    assert_eq!(b.take(&mut part), Ok(Got::Data(4000)));
    let mut taken_over = handed_over(&b).expect("records");
    let rest = take_all(&mut taken_over, &wire[n..], 7000).expect("rest");
    assert_eq!(rest, [vec![5; 6000], b"next".to_vec()].concat());
}
