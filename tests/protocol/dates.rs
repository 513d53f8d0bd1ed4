//! The clock and dates.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{Client, Server};

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("clock")
        .as_secs()
}

/// Whether what a request gives is the time at which it was made.
fn tells_now(client: &mut Client, request: &str, read: fn(&mut Client, &str) -> String) -> bool {
    let before = now();
    let text = data(client, request);
    let after = now();
    let told = read(client, &text).parse().expect("seconds");
    (before..=after).contains(&told)
}

fn data(client: &mut Client, request: &str) -> String {
    let reply = client.ask(request);
    reply
        .strip_prefix("OK ")
        .unwrap_or_else(|| panic!("{request}: {reply}"))
        .to_owned()
}

#[test]
fn the_clock_in_four_forms() {
    let server = Server::start();
    let mut client = server.connect();
    assert!(tells_now(&mut client, "DATE", |_, text| text.to_owned()));
    for (request, digits) in [("UDATE", 6), ("NDATE", 9)] {
        for _ in 0..50 {
            let text = data(&mut client, request);
            assert!(
                text.split_once('.')
                    .is_some_and(|(_, rest)| rest.len() == digits),
                "{text}"
            );
            assert!(tells_now(&mut client, request, |_, text| {
                text.split('.').next().unwrap_or_default().to_owned()
            }));
        }
    }
    let date = data(&mut client, "DATEF");
    assert_eq!(date.len(), "yyyy-mm-dd HH:MM:SS".len());
    assert!(tells_now(&mut client, "DATEF", |client, date| data(
        client,
        &format!("FTOD {date}")
    )));
}

#[test]
fn dates_and_timestamps_convert_both_ways() {
    let server = Server::start();
    let mut client = server.connect();
    for (timestamp, date) in [
        ("0", "1970-01-01 00:00:00"),
        ("1600000000", "2020-09-13 12:26:40"),
        ("-1", "1969-12-31 23:59:59"),
        ("951782400", "2000-02-29 00:00:00"),
        ("4102444800", "2100-01-01 00:00:00"),
        ("253402300799", "9999-12-31 23:59:59"),
        ("-62167219200", "0000-01-01 00:00:00"),
    ] {
        assert_eq!(data(&mut client, &format!("DTOF {timestamp}")), date);
        assert_eq!(data(&mut client, &format!("FTOD {date}")), timestamp);
    }
}

#[test]
fn dates_are_read_as_the_public_clients_write_them() {
    let server = Server::start();
    let mut client = server.connect();
    for (date, timestamp) in [
        ("1999-12-10 12:12:0", "944827920"),
        ("1999-12-10 12:12", "944827920"),
        ("1999-12-10 12:12:00 ", "944827920"),
        ("1999-12-10 12:12:00 UTC", "944827920"),
        ("1999-12-10", "944784000"),
        ("2001-2-3 4:5:6", "981173106"),
        ("2016-12-31 23:59:60", "1483228800"),
    ] {
        assert_eq!(data(&mut client, &format!("FTOD {date}")), timestamp);
    }
    let date = data(&mut client, "DTOF 1795334633.031");
    assert_eq!(date, data(&mut client, "DTOF 1795334633"));
}

#[test]
fn what_is_no_date_is_26() {
    let server = Server::start();
    let mut client = server.connect();
    client.expect_all(&[
        ("DTOF", 16),
        ("DTOF abc", 26),
        ("DTOF 1.", 26),
        ("DTOF .5", 26),
        ("DTOF 1.5s", 26),
        ("DTOF 253402300800", 26),
        ("DTOF 99999999999999999999", 26),
        ("DTOF 9223372036854775807", 26),
        ("FTOD", 16),
        ("FTOD abc", 26),
        ("FTOD 2020-13-45 00:00:00", 26),
        ("FTOD 2021-02-29 00:00:00", 26),
        ("FTOD 2020-01-01 25:00:00", 26),
        ("FTOD 2020-01-01 00:00:00 and more", 26),
    ]);
}
