//! Lines: what the protocol shows is read and printed byte for byte, and what is no
//! line is refused with its reason.

use proptest::prelude::*;

use super::request::{Acs, Bck, Cha, Log, Rsp};
use super::*;

const NAME: &str = "b0fb05b3723e2db06fbcfe30eacb1366e3efb05c45dc2c35c9f34bea514ab7d8";
const ANNA: &str = "_7VHWnIgOUNdsPQxBDR0LBL7OFAEnfgX8PSGVhoyHnY";
const BOB: &str = "N78UC4ahUtSig_Eg5NZKmo8V7MCCDmlJJdRJTzZ5cHU";
const LOGIN: &str = "mASZUlyjBQBsVa8RJ8Ga3IB0ISjMMXlyYTVZOLAL4TQ";
const SIGNED: &str =
    "_0gGm0ryPyWzk4_g1wiVGt9PIrCXz0l6foE0JDIqDOgDQQYlvBPoZve3SusVjQj3Q7CtglKnhPgl4l4CwEQFCA";
const RUN: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const TOKEN: &str = "AAECAwQFBgcICQoLDA0ODw";
const HASH: &str = "973c81106fb88c667a78d638abb901ea5cefa2b7cb162ab19c7b3100b853f429";
const DS1: &str = "1.1,ds1,backup,anna,bob,1795336860,AAECAwQFBgcICQoLDA0ODw,\
                   IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI";

/// The first session of the protocol's examples, and one line of each kind in the
/// ladders, complete.
fn examples() -> Vec<String> {
    let texts = "\
LOG anna 1.1 role=owner id=1
206 Username OK ; id=1 version=1.1 hub=hub.example.org time=1795336800
CHA 1795336800 8f14e45fceea167a5a36dedd4bea2543
RSP {HASH} sig={SIG} id=2
201 Verification client-hub succeeded ; id=2
201 Verification client-hub succeeded ; id=2 replay=1
301 Verification client-hub succeeded, size of share needed
302 Verification client-hub succeeded, key is needed ; id=2
401 User does not exist
402 Verification client-hub did not succeed ; id=2
501 IP-address blocked after failed login attempt ; id=1 after=60
502 User account blocked after failed login attempt ; id=1 after=60
508 Version not supported ; id=1 version=1.1
ACS 1073741824 used=0 reserved=0 share=0 proved=0
BCK 16777216 1 2 run={RUN} id=3
ACS 1040187392 used=0 reserved=33554432 share=0 proved=0
202 OK to begin backup ; id=3 window=8 run={RUN} runs=0
KEY {ANNA} login={LOGIN} proof={SIG} id=4
209 Key received
SHA 107374182400 port=7171 site=attic
208 Share OK
404 Share is smaller than used space ; used=4132
DS1 {DS1} {SIG} token={TOKEN}
204 Verification of Client1 succeeded
213 Verification of Client2 succeeded
506 Verification of client did not succeed
GIP bob
ACC anna key={ANNA} token={TOKEN} purpose=check lan=192.168.1.5:7171
TIP bob 198.51.100.7:7171 key={BOB}
OFF bob
BCK 4294967296 260 2 run={RUN} spread=chain trust=bob,carol exclusive=1
PUT {NAME} 16777216
RCV 192.0.2.1:40000 anna {ANNA} name={NAME} size=16777216 kind=data owner=anna okey={ANNA} purpose=backup token={TOKEN} dial={TOKEN}
211 OK to send file
DST {NAME} 198.51.100.7:7171 bob {BOB} 1/2
DST {NAME} relay:hub.example.org:7172:{TOKEN} carol {BOB} 2/2
DST {NAME} back:{TOKEN} carol {BOB} 16/16 lan=[2001:db8::7]:7171
NST bob name={NAME} reason=unreachable
406 No client online with enough space
STP anna
DFI {NAME} bob receipt={SIG}
212 Transfer completed
505 Requested file does not exist
NFI
NFI credit=8
PIX {NAME} 742133 3 kind=index
DBU run={RUN}
406 No client online with enough space ; missing=2
215 Update done ; time=1795336990
FIL {NAME} 16777216 sig={SIG} kind=data
FIL {NAME} 1048576 off=65536 for=7
211 OK to send file ; from=0
205 File received ; receipt={SIG}
403 Accessible space not sufficient
503 This file is not mine
REQ {NAME} s:{HASH}
REQ {NAME} f:{HASH}
CRC {HASH}
407 Try again later ; after=30
DEL {NAME} proof={SIG} time=1795337000
203 File is deleted
REM anna {NAME} 16777216 proof={SIG} time=1795337000
REM anna {NAME} 16777216 reason=moved
504 Not allowed
REC anna kind=all
REC bob
207 One or more index files exists ; number=3
IDX 3 {NAME} size=152 time=1795336990 kind=config state=trash
LET 192.0.2.1:40000 anna {ANNA} name={NAME} size=5 off=1 len=2 purpose=recover token={TOKEN}
SRC [2001:db8::7]:7171 bob {BOB} name={NAME} size=5
405 User is not online ; until=1795336990
GET {NAME} 16777216 off=65536 len=1048576
GIX anna name={NAME}
GIX anna
ERR anna kind=book
RRC
RRC all=1
SRR {NAME} 198.51.100.7:7171 bob {BOB} size=4132 owner=anna okey={ANNA} kind=data
DFI {NAME} bob size=5 time=1 owner=anna okey={ANNA} sig={SIG} kind=book replay=1
214 Reverse recovery done
ABT run={RUN}
216 Backup/recovery aborted
TRA {NAME} 198.51.100.7:7171 bob {BOB} size=5 owner=anna okey={ANNA} old=carol token={TOKEN}
MOV {NAME} carol bob
WRN bob reason=gone files=812 until=1795336990
OUT
OUT after=5 reason=stopping
500 Command not understood ; id=2147483648";
    let with = |line: &str| {
        let words = [
            ("{DS1}", DS1),
            ("{NAME}", NAME),
            ("{ANNA}", ANNA),
            ("{BOB}", BOB),
            ("{LOGIN}", LOGIN),
            ("{SIG}", SIGNED),
            ("{RUN}", RUN),
            ("{TOKEN}", TOKEN),
            ("{HASH}", HASH),
        ];
        let fill = |line: String, (from, to): (&str, &str)| line.replace(from, to);
        words.into_iter().fold(line.to_owned(), fill)
    };
    let ds2 = format!("DS2 {} {SIGNED}", DS1.replace("ds1", "ds2"));
    texts.lines().map(with).chain([ds2]).collect()
}

fn parse(line: &str) -> Result<Line, Bad> {
    Line::parse(line.as_bytes())
}

#[test]
fn the_lines_of_the_protocol_are_read_and_printed_as_they_are() {
    let mut words: Vec<String> = Vec::new();
    for line in examples() {
        let read = parse(&line).unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(read.print(), format!("{line}\r\n"));
        words.push(line[..3].to_owned());
    }
    for command in Command::ALL {
        assert!(
            words.iter().any(|word| word == command.word()),
            "{command:?}"
        );
    }
    for code in Code::ALL {
        let code = code.number().to_string();
        assert!(words.contains(&code), "{code}");
    }
}

#[test]
fn there_are_the_41_commands_and_27_replies_of_the_document_and_five_more() {
    assert_eq!(Command::ALL.len(), 41);
    assert_eq!(Code::ALL.len(), 27 + 5);
    for command in Command::ALL {
        assert_eq!(Command::of(command.word()), Some(*command));
    }
    for code in Code::ALL {
        assert_eq!(Code::of(code.number()), Some(*code));
    }
}

#[test]
fn a_line_has_the_bytes_that_the_protocol_shows() {
    let line = format!("PIX {NAME} 4132 1 kind=book\r\n");
    assert_eq!(line.len(), 87);
    let bytes = parse(line.trim_end()).expect("line").print().into_bytes();
    assert_eq!(bytes[..5], *b"\x50\x49\x58\x20\x62");
    assert_eq!(
        bytes[68..],
        *b"\x20\x34\x31\x33\x32\x20\x31\x20kind=book\x0d\x0a"
    );
}

#[test]
fn values_have_their_types() {
    let line = |message: Request, id: Option<u64>| Line {
        id: id.map(|id| Id::read(&id.to_string()).expect("id")),
        message: Message::Request(message),
    };
    let user = |name| User::read(name).expect("name");
    let mut log = Log::new(user("anna"), Version::SPOKEN);
    log.role = Some(Role::Owner);
    assert_eq!(
        parse("LOG anna 1.1 role=owner id=1"),
        Ok(line(log.into(), Some(1)))
    );
    let random = Random([
        0x8f, 0x14, 0xe4, 0x5f, 0xce, 0xea, 0x16, 0x7a, 0x5a, 0x36, 0xde, 0xdd, 0x4b, 0xea, 0x25,
        0x43,
    ]);
    let challenge = Cha::new(1_795_336_800, random);
    let text = "CHA 1795336800 8f14e45fceea167a5a36dedd4bea2543";
    assert_eq!(parse(text), Ok(line(challenge.into(), None)));
    let mut space = Acs::new(1 << 30);
    space.used = Some(0);
    assert_eq!(parse("ACS 1073741824 used=0"), Ok(line(space.into(), None)));
    let run = Bck::new(16 << 20, 1, Factor::new(2).expect("factor"));
    assert_eq!(
        parse("BCK 16777216 1 2 id=3"),
        Ok(line(run.into(), Some(3)))
    );
    let response = Rsp::new(Checksum::read(HASH).expect("hash"));
    assert_eq!(
        parse(&format!("RSP {HASH}")),
        Ok(line(response.into(), None))
    );
}

#[test]
fn parameters_come_in_any_order_and_unknown_ones_are_ignored() {
    let one = parse("LOG anna 1.1 role=keeper port=7171 id=9 color=blue");
    let other = parse("LOG anna 1.1 id=9 port=7171 color=%25%20 role=keeper");
    assert!(one.is_ok());
    assert_eq!(one, other);
}

#[test]
fn bytes_that_no_value_has_stand_as_two_digits() {
    let line = "SHA 1 site=at%20the%20%C3%BCber%25attic";
    let read = parse(line).expect("line");
    assert_eq!(read.print(), format!("{line}\r\n"));
    let Message::Request(Request::Sha(share)) = read.message else {
        panic!("{line}");
    };
    assert_eq!(share.site.expect("site").as_str(), "at the über%attic");
    // What stands for itself may be written so, too.
    assert_eq!(parse("GIP b%6Fb"), parse("GIP bob"));
}

#[test]
fn what_is_not_a_line_is_refused_with_its_reason() {
    let long_name = "a".repeat(65);
    let zeros = "0".repeat(64);
    for (line, fault) in [
        ("", Fault::Unknown),
        (" ", Fault::Unknown),
        ("put a 1", Fault::Unknown),
        ("XYZ", Fault::Unknown),
        ("PUTS", Fault::Unknown),
        ("RLY abc", Fault::Unknown),
        ("GIP", Fault::Missing("username")),
        ("GIP  bob", Fault::Form),
        ("GIP bob ", Fault::Form),
        ("GIP bob carol", Fault::Form),
        ("GIP bob =1", Fault::Form),
        ("GIP bob A=1", Fault::Form),
        ("GIP bob a1=1", Fault::Form),
        ("GIP bob a=", Fault::Form),
        ("GIP bob a=1 a=1", Fault::Doubled),
        ("GIP bob id=1 id=1", Fault::Doubled),
        ("GIP bob id=0", Fault::Value("id")),
        ("GIP bob id=01", Fault::Value("id")),
        ("GIP bob id=2147483649", Fault::Value("id")),
        ("GIP b\tb", Fault::Form),
        ("GIP b%6fb", Fault::Form),
        ("GIP bob%", Fault::Form),
        ("GIP bob%6", Fault::Form),
        ("GIP bob%00", Fault::Value("username")),
        ("GIP Bob", Fault::Value("username")),
        ("GIP .bob", Fault::Value("username")),
        ("GIP bob.", Fault::Value("username")),
        ("GIP ../bob", Fault::Value("username")),
        (&format!("GIP {long_name}"), Fault::Value("username")),
        ("GIP bob%FF", Fault::Form),
        ("GIP b\0b", Fault::Byte),
        ("GIP b\rb", Fault::Byte),
        ("GIP bö", Fault::Byte),
        ("SHA -1", Fault::Value("size")),
        ("SHA +1", Fault::Value("size")),
        ("SHA 01", Fault::Value("size")),
        ("SHA 0x1", Fault::Value("size")),
        ("SHA 9223372036854775808", Fault::Value("size")),
        ("SHA 18446744073709551616", Fault::Value("size")),
        ("SHA 1 port=0", Fault::Value("port")),
        ("SHA 1 port=65536", Fault::Value("port")),
        ("SHA 1 site=%0A", Fault::Value("site")),
        ("LOG anna 1", Fault::Value("version")),
        ("LOG anna 01.1", Fault::Value("version")),
        ("LOG anna 1.1 role=king", Fault::Value("role")),
        ("PUT abc 1", Fault::Value("filename")),
        (
            &format!("PUT {} 1", NAME.to_uppercase()),
            Fault::Value("filename"),
        ),
        (&format!("PUT {NAME}00 1"), Fault::Value("filename")),
        ("BCK 1 1 0", Fault::Value("factor")),
        ("BCK 1 1 17", Fault::Value("factor")),
        ("BCK 1 1 1 exclusive=0", Fault::Value("exclusive")),
        ("BCK 1 1 1 trust=a,,b", Fault::Value("trust")),
        (&format!("REQ {NAME} x:{zeros}"), Fault::Value("key")),
        (
            &format!("REQ {NAME} f:{}", &zeros[1..]),
            Fault::Value("key"),
        ),
        (&format!("KEY {}", &ANNA[1..]), Fault::Value("key")),
        (&format!("KEY {}Z", &ANNA[..42]), Fault::Value("key")),
        (&format!("KEY {}=", &ANNA[..42]), Fault::Value("key")),
        (
            &format!("KEY {}", ANNA.replace('_', "/")),
            Fault::Value("key"),
        ),
        (&format!("TIP bob 1.2.3.4:0 key={BOB}"), Fault::Value("ip")),
        ("TIP bob bob.example.org:7171", Fault::Value("ip")),
        ("TIP bob relay:hub:7172:short", Fault::Value("ip")),
        (
            &format!("TIP bob relay:a/b:7172:{TOKEN}"),
            Fault::Value("ip"),
        ),
        (
            &format!("DST {NAME} 1.2.3.4 bob {BOB} 2/1"),
            Fault::Value("factor"),
        ),
        (
            &format!("DST {NAME} 1.2.3.4 bob {BOB} 0/1"),
            Fault::Value("factor"),
        ),
        (&format!("DS1 {DS1},x {SIGNED}"), Fault::Value("plaintext")),
        ("200 OK", Fault::Unknown),
        ("210 Share", Fault::Unknown),
        ("20 OK", Fault::Form),
        ("2010 OK", Fault::Form),
        ("201", Fault::Form),
        ("201 ", Fault::Form),
        ("201 a ;", Fault::Form),
        ("201 a ; ", Fault::Form),
        ("201 a ; b", Fault::Form),
        ("201 a\tb", Fault::Form),
        ("207 a ; number=x", Fault::Value("number")),
    ] {
        let read = parse(line).map_err(|bad| bad.fault);
        assert_eq!(read, Err(fault), "{line:?}");
    }
}

#[test]
fn a_line_that_cannot_be_read_still_has_its_number() {
    for line in ["XYZ a id=7", "GIP id=7", "SHA x id=7", "GIP a b id=7"] {
        let bad = parse(line).expect_err(line);
        assert_eq!(bad.id, Id::read("7"), "{line}");
    }
}

#[test]
fn an_address_without_a_port_means_the_usual_one() {
    for (text, printed) in [
        ("198.51.100.7", "198.51.100.7:7171"),
        ("2001:db8::7", "[2001:db8::7]:7171"),
        ("[2001:db8::7]:9", "[2001:db8::7]:9"),
    ] {
        assert_eq!(Way::read(text).expect(text).text(), printed);
    }
    assert_eq!(Way::read("[fe80::1%3]:7171"), None);
}

/// All lines in these bytes, given in pieces of a size, and how many bytes wait at most.
fn cut(bytes: &[u8], piece: usize) -> Vec<Result<Line, Bad>> {
    let mut lines = Lines::default();
    let mut read = Vec::new();
    for piece in bytes.chunks(piece) {
        lines.add(piece);
        while let Some(line) = lines.line() {
            read.push(line);
        }
    }
    read
}

#[test]
fn lines_end_with_lf_and_come_in_any_pieces() {
    let bytes = b"GIP bob\nGIP carol\r\nGI\rP\r\n\r\nSTP bob";
    let whole = cut(bytes, bytes.len());
    assert_eq!(whole.len(), 4);
    assert_eq!(whole[0], parse("GIP bob"));
    assert_eq!(whole[1], parse("GIP carol"));
    assert!(whole[2].is_err() && whole[3].is_err());
    for piece in 1..bytes.len() {
        assert_eq!(cut(bytes, piece), whole, "{piece}");
    }
}

#[test]
fn a_line_has_at_most_4096_bytes_and_a_longer_one_is_read_past() {
    let of = |len: usize| {
        let name = format!("GIP bob a={}\r\n", "x".repeat(len - 12));
        assert_eq!(name.len(), len);
        name
    };
    let longest = cut(of(MAX_LINE).as_bytes(), 1000);
    assert_eq!(longest, [parse("GIP bob")]);
    for len in [MAX_LINE + 1, 3 * MAX_LINE, 50_000] {
        for piece in [1000, MAX_LINE, 100_000] {
            let bytes = of(len) + "GIP carol\r\n";
            let fault = Fault::TooLong;
            let read = cut(bytes.as_bytes(), piece);
            assert_eq!(read, [Err(Bad { id: None, fault }), parse("GIP carol")]);
        }
    }
}

#[test]
fn bytes_of_a_file_are_taken_between_lines() {
    let mut lines = Lines::default();
    lines.add(b"GIP bob\r\nab\ncdGIP carol\r\n");
    assert_eq!(lines.line(), Some(parse("GIP bob")));
    assert_eq!(lines.take(3), b"ab\n");
    assert_eq!(lines.take(2), b"cd");
    assert_eq!(lines.line(), Some(parse("GIP carol")));
    assert_eq!(lines.take(9), b"");
}

#[test]
fn every_answer_in_the_table_is_a_command_or_a_code() {
    for command in Command::ALL {
        for it in command.uses() {
            for word in it.answers() {
                let code = word.parse().ok().and_then(Code::of);
                assert!(Command::of(word).is_some() || code.is_some(), "{word}");
            }
            let has_answers = it.answers().next().is_some();
            assert_eq!(has_answers, it.sort == Sort::Request, "{command:?}");
        }
    }
    let sort = |command: Command, from, to| command.between(from, to).map(|it| it.sort);
    assert_eq!(
        sort(Command::Put, Party::Owner, Party::Hub),
        Some(Sort::Request)
    );
    assert_eq!(sort(Command::Put, Party::Holder, Party::Hub), None);
    assert_eq!(
        sort(Command::Log, Party::Holder, Party::Hub),
        Some(Sort::Request)
    );
    assert_eq!(sort(Command::Log, Party::Hub, Party::Holder), None);
    assert_eq!(
        sort(Command::Fil, Party::Holder, Party::Owner),
        Some(Sort::Request)
    );
    assert_eq!(
        sort(Command::Mov, Party::Hub, Party::Owner),
        Some(Sort::Notice)
    );
}

#[test]
fn a_login_key_is_in_no_log() {
    let line = format!("KEY {ANNA} login={LOGIN}");
    let shown = format!("{:?}", parse(&line).expect("line"));
    assert!(shown.contains(ANNA) && !shown.contains(LOGIN));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = cut(&bytes, 7);
    }

    #[test]
    fn what_is_read_is_printed_and_read_again(
        at in 0..examples().len(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut line = examples()[at].clone().into_bytes();
        let place = place.index(line.len());
        line[place] = byte;
        if let Ok(read) = Line::parse(&line) {
            let printed = read.print();
            prop_assert!(printed.len() <= MAX_LINE);
            prop_assert_eq!(parse(printed.trim_end()), Ok(read));
        }
    }
}
