use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::extension::{Missing, Offer, RetrFrom, SmallFile, SmallStore, StoreFrom, TransOkFrom};
use super::login::Clear;
use super::transfer::{MAX_OLD_NAME, OLD_TRANSFER_BYTES};
use super::*;
use crate::net::Link;

fn pair() -> (TcpStream, Control) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let far = TcpStream::connect(listener.local_addr().expect("addr")).expect("connect");
    let (near, _) = listener.accept().expect("accept");
    (far, Control::new(Link::new(near).expect("link")))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16);
    digits
        .chunks(2)
        .map(|pair| byte(pair).expect("digits"))
        .collect()
}

/// Whether a message can't be read, for a field of this name.
#[track_caller]
fn refused<T: std::fmt::Debug>(read: Result<T>, field: &str) {
    match read {
        Err(WireError::Field(name)) => assert_eq!(name, field),
        other => panic!("{field}: {other:?}"),
    }
}

/// These bytes with others at a place.
fn with(bytes: &[u8], at: usize, others: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at..at + others.len()].copy_from_slice(others);
    changed
}

#[test]
fn every_code_has_the_number_of_the_protocol() {
    for number in (0..=49).chain(0x7466_0001..=0x7466_0008) {
        assert_eq!(Code::try_from(number).map(Code::number), Ok(number));
    }
    for number in [50, 0x7466_0000, 0x7466_0009, u32::MAX] {
        assert_eq!(Code::try_from(number), Err(number));
    }
    assert_eq!(Code::LOGGED_STDIN.number(), 20);
}

#[test]
fn messages_go_out_as_the_protocol_has_them_and_held_ones_with_the_next() {
    let (mut far, mut control) = pair();
    control.send(Code::Ack, b"").expect("send");
    control.hold(Code::StoreV2, b"st").expect("hold");
    control.send(Code::FileName, b"/a").expect("send");
    control
        .send_announcing(Code::TransStartV3, 12, b"")
        .expect("send");
    control
        .send_announcing(Code::TransOkV3, 2, b"xyports")
        .expect("send");
    drop(control);
    let mut sent = Vec::new();
    far.read_to_end(&mut sent).expect("read");
    let expected = "00000004 00000000 00000019 00000002 7374 0000001f 00000002 2f61 \
                    0000002b 0000000c 0000002d 00000002 7879 706f727473";
    assert_eq!(sent, hex(expected));
}

#[test]
fn messages_are_read_in_whatever_pieces_they_come() {
    let (mut far, mut control) = pair();
    let sender = std::thread::spawn(move || {
        far.set_nodelay(true).expect("option");
        let messages = hex("00000000 00000000 0000001e 00000003 616263 0000ffff 00000002 7a7a");
        for byte in messages {
            far.write_all(&[byte]).expect("write");
        }
    });
    let header = control.read_header().expect("header");
    assert_eq!(header, Header { code: 0, len: 0 });
    assert_eq!(control.read_payload(&header, 0).expect("payload"), b"");
    let header = control.read_header().expect("header");
    assert_eq!(control.read_payload(&header, 3).expect("payload"), b"abc");
    let header = control.read_header().expect("header");
    assert_eq!(Code::try_from(header.code), Err(0xffff));
    control.discard(header.len).expect("discard");
    assert!(matches!(control.read_header(), Err(WireError::Closed)));
    sender.join().expect("thread");
}

#[test]
fn a_length_that_is_negative_or_too_long_is_refused_before_the_payload() {
    for len in [0x8000_0000_u32, u32::MAX] {
        let (mut far, mut control) = pair();
        let header = Header { code: 2, len }.encode();
        far.write_all(&header).expect("write");
        let read = control.read_header();
        assert!(matches!(read, Err(WireError::Length { code: 2, len: l, .. }) if l == len));
    }
    let (mut far, mut control) = pair();
    let len = i32::MAX as u32;
    far.write_all(&Header { code: 0, len }.encode())
        .expect("write");
    let header = control.read_header().expect("header");
    for most in [0, MAX_TEXT, MAX_LISTING] {
        let read = control.read_payload(&header, most);
        assert!(matches!(read, Err(WireError::Length { most: m, .. }) if m == most));
    }
    assert!(matches!(
        control.discard(len),
        Err(WireError::Length { .. })
    ));
}

#[test]
fn an_end_inside_a_message_is_told_from_one_between_two() {
    for sent in ["00", "0000000000000001", "0000000000000003 6162"] {
        let (mut far, mut control) = pair();
        far.write_all(&hex(sent)).expect("write");
        drop(far);
        let read = control
            .read_header()
            .and_then(|header| control.read_payload(&header, 10));
        assert!(matches!(read, Err(WireError::Cut)), "{sent}: {read:?}");
    }
    let (far, mut control) = pair();
    drop(far);
    assert!(matches!(control.read_header(), Err(WireError::Closed)));
}

#[test]
fn a_deadline_ends_a_slow_peer() {
    let (mut far, mut control) = pair();
    let deadline = Instant::now() + Duration::from_millis(50);
    control
        .link()
        .set_deadline(Some(deadline))
        .expect("deadline");
    far.write_all(&[0, 0]).expect("write");
    assert!(matches!(control.read_header(), Err(WireError::TimedOut)));
}

/// A key of 1024 bits, whose greatest bit is set.
fn greeting() -> Greeting {
    Greeting {
        modulus: (0..128).map(|i| 0xff - i).collect(),
        exponent: vec![1, 0, 1],
    }
}

#[test]
fn a_greeting_is_as_the_public_servers_send_it() {
    let greeting = greeting();
    let payload = greeting.encode();
    assert_eq!(payload.len(), 152);
    assert_eq!(payload[..17], hex("00000002 00000085 00000007 00000081 00"));
    assert_eq!(payload[17..145], greeting.modulus);
    assert_eq!(payload[145..], hex("00000003 010001"));
    assert_eq!(Greeting::decode(&payload).expect("greeting"), greeting);
    let older = Greeting {
        exponent: vec![3],
        ..greeting.clone()
    };
    assert_eq!(older.encode().len(), 150);
    assert_eq!(Greeting::decode(&older.encode()).expect("greeting"), older);
    let several = with(&payload, 0, &[0, 0, 0, 3]);
    assert_eq!(Greeting::decode(&several).expect("greeting"), greeting);
}

#[test]
fn a_greeting_with_a_field_out_of_range_is_refused() {
    let payload = greeting().encode();
    for (at, bytes, field) in [
        (0, "00000000", "method"),
        (0, "00000001", "method"),
        (4, "ffffffff", "modulus"),
        (4, "80000000", "modulus"),
        (4, "00000405", "modulus"),
        (4, "00000000", "modulus"),
        (4, "00000084", "modulus"),
        (8, "7fffffff", "exponent"),
        (8, "00000008", "exponent"),
        (12, "ffffffff", "modulus"),
        (12, "00000000", "modulus"),
        (12, "00000080", "modulus"),
        (16, "80", "modulus"),
        (145, "00000004", "exponent"),
        (149, "000000", "exponent"),
    ] {
        let changed = with(&payload, at, &hex(bytes));
        refused(Greeting::decode(&changed), field);
    }
    for len in 0..payload.len() {
        assert!(Greeting::decode(&payload[..len]).is_err(), "{len}");
    }
}

#[test]
fn a_login_has_two_blocks_and_garbage_that_nobody_reads() {
    let login = Login::Encrypted {
        user: vec![1; 128],
        password: vec![2; 128],
    };
    let payload = login.encode().expect("login");
    assert_eq!(payload.len(), LOGIN_BYTES);
    assert_eq!(payload[..4], hex("00000002"));
    assert_eq!(payload[12..140], [1; 128]);
    assert_eq!(payload[140..268], [2; 128]);
    assert_eq!(payload[268..], hex("00000080 00000080"));
    let from_the_public_client = with(&payload, 4, &[0x0a; 8]);
    let read = Login::decode(&from_the_public_client).expect("login");
    assert_eq!(read, login);
    let clear = Login::Clear {
        user: b"ann".to_vec(),
        password: Clear::new(b"pass".to_vec()),
    };
    let payload = clear.encode().expect("login");
    assert_eq!(payload[268..], hex("00000003 00000004"));
    assert_eq!(Login::decode(&payload).expect("login"), clear);
    let longer = with(&payload, 268, &hex("00000080 00000080"));
    assert_eq!(Login::decode(&longer).expect("login"), clear);
    let long = Login::Encrypted {
        user: vec![1; 129],
        password: vec![],
    };
    refused(long.encode(), "length of a name or password");
}

#[test]
fn a_login_with_a_field_out_of_range_is_refused() {
    let login = Login::Encrypted {
        user: vec![1; 128],
        password: vec![2; 128],
    };
    let payload = login.encode().expect("login");
    for (at, bytes, field) in [
        (0, "00000001", "method"),
        (0, "00000003", "method"),
        (0, "ffffffff", "method"),
        (268, "00000081", "length of the user"),
        (268, "ffffffff", "length of the user"),
        (272, "80000000", "length of the password"),
    ] {
        refused(Login::decode(&with(&payload, at, &hex(bytes))), field);
    }
    for len in 0..payload.len() {
        assert!(Login::decode(&payload[..len]).is_err(), "{len}");
    }
    refused(Login::decode(&[&payload[..], &[0]].concat()), "login");
}

/// The put of 3,000,000 bytes in three streams that was captured.
const CAPTURED: &str = "00000000002dc6c0 0000000f 000001a0 3662303063663238 3361376238333732 \
                        00000100 00000100 00000100 00000003";

#[test]
fn a_transfer_is_as_the_public_client_sends_it() {
    let transfer = Transfer::decode(&hex(CAPTURED)).expect("transfer");
    let expected = Transfer {
        size: 3_000_000,
        options: Options::USUAL,
        mode: 0o640,
        accessed: Some(0x6b00_cf28),
        modified: Some(0x3a7b_8372),
        send_window: 256,
        receive_window: 256,
        buffer: 256,
        streams: 3,
    };
    assert_eq!(transfer, expected);
    assert_eq!(transfer.encode(), hex(CAPTURED)[..]);
    let timeless = Transfer {
        accessed: None,
        modified: None,
        ..transfer
    };
    assert_eq!(timeless.encode()[16..32], [0; 16]);
    let read = Transfer::decode(&timeless.encode()).expect("transfer");
    assert_eq!(read, timeless);
    for odd in ["ffffffff", "20202020", "2d313233", "2b313233"] {
        let bytes = with(&hex(CAPTURED), 16, &hex(odd));
        assert_eq!(Transfer::decode(&bytes).expect("transfer").accessed, None);
    }
    let empty = with(&hex(CAPTURED), 0, &[0; 8]);
    let empty = with(&empty, 44, &[0; 4]);
    assert_eq!(Transfer::decode(&empty).expect("transfer").streams, 0);
}

#[test]
fn a_transfer_with_a_field_out_of_range_is_refused() {
    let bytes = hex(CAPTURED);
    for (at, others, field) in [
        (0, "ffffffffffffffff", "size"),
        (0, "8000000000000000", "size"),
        (32, "80000000", "window"),
        (36, "ffffffff", "window"),
        (40, "ffffffff", "buffer"),
        (40, "00000000", "buffer"),
        (44, "00000000", "streams"),
        (44, "ffffffff", "streams"),
    ] {
        refused(Transfer::decode(&with(&bytes, at, &hex(others))), field);
    }
    for len in 0..bytes.len() {
        assert!(Transfer::decode(&bytes[..len]).is_err(), "{len}");
    }
    refused(Transfer::decode(&[&bytes[..], &[0]].concat()), "transfer");
}

fn old_transfer() -> OldTransfer {
    OldTransfer {
        name: b"/data/file".to_vec(),
        size: 700_000,
        ports: vec![0xe8cf, 0x8dcd, 0xcb6d],
    }
}

#[test]
fn an_old_transfer_is_as_it_was_captured() {
    let transfer = old_transfer();
    let payload = transfer.encode(Ipv4Addr::LOCALHOST).expect("transfer");
    assert_eq!(payload.len(), OLD_TRANSFER_BYTES);
    assert_eq!(&payload[..12], b"/data/file\0\0");
    let captured = "00000000000aae60 00000000 02000000 7f000001 0000000000000000 00000003 \
                    0000e8cf 00008dcd 0000cb6d 00000000";
    if cfg!(target_endian = "little") {
        assert_eq!(payload[504..552], hex(captured));
    }
    assert_eq!(OldTransfer::decode(&payload).expect("transfer"), transfer);
    let mut odd = payload.clone();
    odd[11..504].fill(0xaa);
    odd[512..532].fill(0xbb);
    odd[548..].fill(0xff);
    assert_eq!(OldTransfer::decode(&odd).expect("transfer"), transfer);
}

#[test]
fn an_old_transfer_with_a_field_out_of_range_is_refused() {
    let payload = old_transfer()
        .encode(Ipv4Addr::LOCALHOST)
        .expect("transfer");
    for (at, others, field) in [
        (0, "00", "name"),
        (504, "ffffffffffffffff", "size"),
        (532, "00000000", "streams"),
        (532, "0000000b", "streams"),
        (532, "ffffffff", "streams"),
        (532, "00000004", "port"),
        (536, "00000000", "port"),
        (536, "00010000", "port"),
        (540, "ffffffff", "port"),
    ] {
        let changed = with(&payload, at, &hex(others));
        refused(OldTransfer::decode(&changed), field);
    }
    refused(
        OldTransfer::decode(&with(&payload, 0, &[b'x'; 500])),
        "name",
    );
    for len in [0, 1, 499, 500, 572, 575] {
        assert!(OldTransfer::decode(&payload[..len]).is_err(), "{len}");
    }
    refused(
        OldTransfer::decode(&[&payload[..], &[0]].concat()),
        "transfer",
    );
    let long = |name: &[u8], ports: &[u16]| {
        let (name, ports) = (name.to_vec(), ports.to_vec());
        let transfer = OldTransfer {
            name,
            ports,
            ..old_transfer()
        };
        transfer.encode(Ipv4Addr::LOCALHOST)
    };
    assert!(long(&[b'x'; MAX_OLD_NAME], &[1; 10]).is_ok());
    refused(long(&[b'x'; MAX_OLD_NAME + 1], &[1]), "name");
    refused(long(b"a\0b", &[1]), "name");
    refused(long(b"", &[1]), "name");
    refused(long(b"a", &[]), "streams");
    refused(long(b"a", &[1; 11]), "streams");
}

#[test]
fn options_are_bits() {
    let keeps = Options::ACC | Options::MODE;
    assert_eq!(keeps.bits(), 6);
    assert!(Options::USUAL.has(keeps) && !keeps.has(Options::USUAL));
    assert_eq!(Options::USUAL.without(keeps).bits(), 9);
    let unknown = Options::from_bits(0xffff_ffff);
    assert!(unknown.has(Options::QBSS | Options::RFIO | Options::RFIO_O | Options::GZIP));
    let (options, path) = (Options::DIR | Options::TMP, b"/a b");
    let payload = encode_with_options(options, path);
    assert_eq!(payload, hex("00000009 2f612062"));
    assert_eq!(
        decode_with_options(&payload).expect("read"),
        (options, &path[..])
    );
    assert_eq!(decode_path(b"/a\0\0").expect("path"), b"/a");
    assert_eq!(decode_path(&[b'a'; MAX_PATH]).expect("path").len(), 4096);
    for wrong in [&b""[..], b"\0", b"a\0b", &[b'a'; MAX_PATH + 1]] {
        refused(decode_path(wrong), "path");
        let payload = encode_with_options(options, wrong);
        refused(decode_with_options(&payload), "path");
    }
    refused(decode_with_options(&[0; 3]), "options");
}

#[test]
fn versions_ports_and_numbers_are_read_whole_or_not_at_all() {
    let versions = Versions { min: 1, max: 3 };
    assert_eq!(versions.encode(), hex("00000001 00000003")[..]);
    assert_eq!(
        Versions::decode(&versions.encode()).expect("read"),
        versions
    );
    for wrong in ["", "00000001", "00000003 00000001", "00000001 00000003 00"] {
        refused(Versions::decode(&hex(wrong)), "version");
    }
    assert_eq!(decode_number(&hex("0000003f")).expect("read"), 0o77);
    refused(decode_number(&[]), "number");
    refused(decode_number(&[0; 5]), "number");
    let ports = [5000, 1, 65535];
    let payload = encode_ports(&ports);
    assert_eq!(payload, hex("00001388 00000001 0000ffff"));
    assert_eq!(decode_ports(&payload).expect("read"), ports);
    for wrong in ["00", "00000000", "00010000", "ffffffff", "00000001 0000"] {
        refused(decode_ports(&hex(wrong)), "port");
    }
}

#[test]
fn listings_are_read_as_they_are_written() {
    let names: [&[u8]; 2] = [b"/a", b"b \xff"];
    let payload = encode_names(names);
    assert_eq!(payload, b"/a\0b \xff\0");
    assert_eq!(decode_names(&payload).expect("names"), names);
    assert_eq!(decode_names(b"").expect("names"), Vec::<Vec<u8>>::new());
    refused(decode_names(b"/a"), "end of a string");
    refused(decode_names(b"/a\0\0"), "name");
    let entry = |path: &[u8], is_link, kind| Entry {
        path: path.to_vec(),
        is_link,
        kind,
    };
    let entries = [
        entry(b"./d", false, Kind::Directory),
        entry(b"./f", true, Kind::File),
        entry(b"./u", true, Kind::Nothing),
    ];
    let payload = encode_listing(&entries);
    assert_eq!(payload, b"./d\0 d\0./f\0lf\0./u\0lu\0");
    assert_eq!(decode_listing(&payload).expect("entries"), entries);
    assert_eq!(decode_listing(b"").expect("entries"), []);
    for wrong in [
        &b"a\0"[..],
        b"a\0l\0",
        b"a\0 x\0",
        b"a\0xf\0",
        b"a\0 ff\0",
        b"\0 f\0",
        b"a\0 f\0b\0",
    ] {
        refused(decode_listing(wrong), "entry");
    }
    refused(decode_listing(b"a\0 f"), "end of a string");
}

#[test]
fn only_tfd_offers_what_is_beyond_the_protocol() {
    let offer = Offer {
        small: true,
        sha256: true,
        resume: false,
    };
    assert_eq!(offer.words(), " +small +sha256");
    let text = format!("tfd 0.1.0 : OK{}", offer.words());
    assert_eq!(Offer::from_text(text.as_bytes()), offer);
    let all = Offer {
        resume: true,
        ..offer
    };
    assert_eq!(
        Offer::from_text(b"tfd 9 : OK +resume +new +small +sha256"),
        all
    );
    for text in [
        "",
        "bbftpd version 3.3.0 : OK +small",
        "OK +small",
        "tfd 0.1.0 : OK",
    ] {
        assert_eq!(Offer::from_text(text.as_bytes()), Offer::default());
    }
}

#[test]
fn small_files_are_one_message_each() {
    let transfer = |size| Transfer {
        size,
        ..Transfer::decode(&hex(CAPTURED)).expect("transfer")
    };
    let store = SmallStore {
        transfer: transfer(7),
        name: b"/a",
        content: b"content",
    };
    let payload = store.encode();
    assert_eq!(payload[48..], *b"\0\0\0\x02/acontent");
    assert_eq!(SmallStore::decode(&payload).expect("read"), store);
    let long = |len: u32| with(&payload, 48, &len.to_be_bytes());
    for len in [12, u32::MAX, 1 << 31] {
        refused(SmallStore::decode(&long(len)), "length of the name");
    }
    refused(SmallStore::decode(&long(0)), "path");
    refused(SmallStore::decode(&long(3)), "size");
    refused(SmallStore::decode(&payload[..payload.len() - 1]), "size");
    for (len, fits) in [(MAX_SMALL, true), (MAX_SMALL + 1, false)] {
        let file = SmallFile {
            transfer: transfer(len as u64),
            content: &vec![7; len],
        };
        let payload = file.encode();
        match fits {
            true => assert_eq!(SmallFile::decode(&payload).expect("read"), file),
            false => refused(SmallFile::decode(&payload), "size"),
        }
    }
}

const MAX_SMALL: usize = extension::MAX_SMALL_FILE;

#[test]
fn what_is_missing_of_a_file_lies_in_it_and_does_not_overlap() {
    let transfer = Transfer::decode(&hex(CAPTURED)).expect("transfer");
    let missing = |begin, len| Missing { begin, len };
    let read = |missing: &[Missing]| {
        let request = RetrFrom {
            transfer: transfer.clone(),
            missing: missing.to_vec(),
            name: b"/a",
        };
        let payload = request.encode();
        RetrFrom::decode(&payload).map(|read| assert_eq!(read, request))
    };
    read(&[missing(2_000_000, 1_000_000)]).expect("read");
    read(&[missing(10, 5), missing(0, 10), missing(2_999_999, 1)]).expect("read");
    refused(read(&[]), "streams");
    refused(read(&vec![missing(0, 1); 33]), "streams");
    for wrong in [
        missing(0, 0),
        missing(0, 3_000_001),
        missing(3_000_000, 1),
        missing(u64::MAX, 1),
        missing(1 << 62, 1 << 62),
    ] {
        refused(read(&[wrong]), "range");
    }
    refused(read(&[missing(5, 10), missing(0, 6)]), "range");
    let ranges = [missing(0, 1), missing(1, 2_999_999)];
    let mut answer = TransOkFrom {
        transfer: transfer.clone(),
        streams: vec![(5000, ranges[0]), (5001, ranges[1])],
        kept: None,
    };
    let payload = answer.encode();
    answer.transfer.streams = 2;
    assert_eq!(TransOkFrom::decode(&payload).expect("read"), answer);
    refused(TransOkFrom::decode(&with(&payload, 48, &[0; 4])), "port");
    refused(
        TransOkFrom::decode(&with(&payload, 44, &[0xff; 4])),
        "streams",
    );
    refused(TransOkFrom::decode(&with(&payload, 47, &[33])), "streams");
    refused(TransOkFrom::decode(&with(&payload, 47, &[1])), "digest");
    refused(TransOkFrom::decode(&with(&payload, 47, &[3])), "port");
    answer.kept = Some([7; 32]);
    let payload = answer.encode();
    assert_eq!(TransOkFrom::decode(&payload).expect("read"), answer);
    refused(TransOkFrom::decode(&payload[..payload.len() - 1]), "digest");
    answer.transfer.streams = 0;
    answer.streams.clear();
    assert_eq!(TransOkFrom::decode(&answer.encode()).expect("read"), answer);
    let request = StoreFrom {
        transfer,
        name: b"/a",
    };
    assert_eq!(StoreFrom::decode(&request.encode()).expect("read"), request);
    refused(StoreFrom::decode(&request.encode()[..48]), "path");
}
