//! DNS questions for the servers of a pool, SRV and then addresses, and what
//! name servers answer: bytes only. The format is read by simple-dns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::config::is_service_name;
use simple_dns::rdata::{RData, SRV};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// The longest chain of aliases that is followed.
const MAX_ALIASES: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The servers of a service.
    Srv,
    /// IPv4 addresses of a host.
    A,
    /// IPv6 addresses of a host.
    Aaaa,
}

impl Kind {
    fn record_type(self) -> TYPE {
        match self {
            Kind::Srv => TYPE::SRV,
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
        }
    }
}

/// A question to a name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// By which its answer is known; to be random.
    pub id: u16,
    /// The absolute name, with or without a dot at its end.
    pub name: String,
    /// What is asked for.
    pub kind: Kind,
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The lowest number comes first.
    pub priority: u16,
    /// The share among records of the same priority.
    pub weight: u16,
    /// TCP and UDP port, not 0.
    pub port: u16,
    /// The host, in lower case, without a dot at its end.
    pub target: String,
}

impl Record {
    /// A record that names a service; one without a port says that there is none.
    fn of(srv: &SRV<'_>) -> Option<Record> {
        let target = text(&srv.target);
        (srv.port != 0 && is_service_name(&target)).then_some(Record {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target,
        })
    }
}

/// What a name server knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// It did not fit: ask again by TCP. Nothing else is given then.
    pub truncated: bool,
    /// Of a question for SRV.
    pub records: Vec<Record>,
    /// Addresses by host, in lower case; of a question for SRV those that came
    /// along.
    pub addresses: Vec<(String, IpAddr)>,
    /// How long all of it holds; `None` when there is nothing.
    pub ttl: Option<Duration>,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The answer may still come.
    #[error("not about this question")]
    Unrelated,
    /// Another name server may know.
    #[error("the name server failed or refused")]
    Refused,
    /// Another name server may do better.
    #[error("the name server's answer is malformed")]
    Malformed,
}

impl Question {
    /// The message, as UDP carries it; `None` when the name can't be asked for.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut packet = Packet::new_query(self.id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let kind = QTYPE::TYPE(self.kind.record_type());
        let name = Name::new(&self.name).ok()?;
        packet.questions.push(simple_dns::Question::new(
            name,
            kind,
            CLASS::IN.into(),
            false,
        ));
        packet.build_bytes_vec().ok()
    }

    /// Reads a message that came from the name server. That there is nothing
    /// by this name is an answer, too.
    ///
    /// # Errors
    /// Why it is not an answer to this question.
    pub fn read(&self, bytes: &[u8]) -> Result<Answer, NoAnswer> {
        let counts = counts(bytes).ok_or(NoAnswer::Unrelated)?;
        if bytes[..2] != self.id.to_be_bytes() || bytes[2] & 0x80 == 0 {
            return Err(NoAnswer::Unrelated);
        }
        if bytes[2] & 0x02 != 0 {
            return Ok(Answer {
                truncated: true,
                ..Answer::default()
            });
        }
        if counts > bytes.len() {
            return Err(NoAnswer::Malformed);
        }
        let packet = Packet::parse(bytes).map_err(|_| NoAnswer::Malformed)?;
        let ours = lower(&self.name);
        let kind = self.kind.record_type();
        match packet.questions.as_slice() {
            [q] if q.qtype == QTYPE::TYPE(kind) && text(&q.qname) == ours => {}
            _ => return Err(NoAnswer::Unrelated),
        }
        match packet.rcode() {
            _ if packet.opcode() != OPCODE::StandardQuery => Err(NoAnswer::Malformed),
            RCODE::NoError | RCODE::NameError => Ok(self.gather(&packet, &ours)),
            _ => Err(NoAnswer::Refused),
        }
    }

    fn gather(&self, packet: &Packet<'_>, ours: &str) -> Answer {
        let owner = canonical_name(packet, ours);
        let mut answer = Answer::default();
        let mut used = |record: &ResourceRecord<'_>| {
            let ttl = Duration::from_secs(record.ttl.into());
            answer.ttl = Some(answer.ttl.map_or(ttl, |least| least.min(ttl)));
        };
        for record in packet
            .answers
            .iter()
            .filter(|record| text(&record.name) == owner)
        {
            match (self.kind, &record.rdata, address(&record.rdata)) {
                (Kind::Srv, RData::SRV(srv), _) => {
                    if let Some(server) = Record::of(srv) {
                        answer.records.push(server);
                        used(record);
                    }
                }
                (Kind::A | Kind::Aaaa, _, Some(address)) => {
                    answer.addresses.push((ours.to_owned(), address));
                    used(record);
                }
                _ => {}
            }
        }
        for record in &packet.additional_records {
            let host = text(&record.name);
            if let Some(address) = address(&record.rdata)
                && answer.records.iter().any(|record| record.target == host)
            {
                answer.addresses.push((host, address));
                used(record);
            }
        }
        answer
    }
}

/// The bytes that the records which a message announces need at least, with its
/// header; `None` when it has no whole header.
fn counts(bytes: &[u8]) -> Option<usize> {
    let (header, _) = bytes.split_first_chunk::<12>()?;
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    Some(header.len() + 5 * count(4) + 11 * (count(6) + count(8) + count(10)))
}

/// The end of the chain of aliases that starts with a name.
fn canonical_name(packet: &Packet<'_>, name: &str) -> String {
    let mut name = name.to_owned();
    for _ in 0..MAX_ALIASES {
        let alias = packet
            .answers
            .iter()
            .find_map(|record| match &record.rdata {
                RData::CNAME(alias) if text(&record.name) == name => Some(text(&alias.0)),
                _ => None,
            });
        match alias {
            Some(alias) => name = alias,
            None => break,
        }
    }
    name
}

/// The address of a record, if it is one that a server can have.
fn address(data: &RData<'_>) -> Option<IpAddr> {
    let address = match data {
        RData::A(a) => IpAddr::V4(Ipv4Addr::from(a.address)),
        RData::AAAA(aaaa) => IpAddr::V6(Ipv6Addr::from(aaaa.address)).to_canonical(),
        _ => return None,
    };
    (!address.is_unspecified() && !address.is_multicast()).then_some(address)
}

fn text(name: &Name<'_>) -> String {
    lower(&name.to_string())
}

fn lower(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, AAAA, CNAME};

    use super::*;

    fn question(kind: Kind, name: &str) -> Question {
        Question {
            id: 0x1234,
            name: name.to_owned(),
            kind,
        }
    }

    fn record<'a>(name: &'a str, ttl: u32, data: RData<'a>) -> ResourceRecord<'a> {
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, ttl, data)
    }

    fn srv(priority: u16, port: u16, target: &str) -> RData<'_> {
        let target = Name::new_unchecked(target);
        RData::SRV(SRV {
            priority,
            weight: 5,
            port,
            target,
        })
    }

    fn reply<'a>(question: &Question, answers: Vec<ResourceRecord<'a>>) -> Packet<'a> {
        let bytes = question.to_bytes().expect("question");
        let asked = Packet::parse(&bytes).expect("packet").questions[0]
            .clone()
            .into_owned();
        let mut packet = Packet::new_reply(question.id);
        packet.questions.push(asked);
        packet.answers = answers;
        packet
    }

    fn bytes(packet: &Packet<'_>) -> Vec<u8> {
        packet.build_bytes_vec_compressed().expect("bytes")
    }

    #[test]
    fn a_question_is_as_rfc_1035_has_it() {
        let bytes = question(Kind::Srv, "_tf._tcp.a.org.")
            .to_bytes()
            .expect("bytes");
        assert_eq!(
            bytes,
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03_tf\x04_tcp\x01a\x03org\0\0\x21\0\x01"
        );
    }

    #[test]
    fn names_are_told_from_rubbish() {
        for good in [
            "_tf._tcp.example.org",
            "_tf._tcp.example.org.",
            "a.b",
            "X_1-2.y",
        ] {
            assert!(is_service_name(good), "{good}");
        }
        let long = ["a".repeat(64), "b".to_owned()].join(".");
        for bad in [
            "",
            ".",
            "a",
            "a..b",
            "a b.c",
            "a.b..",
            "\u{e9}.fr",
            "a\\.b.c",
            &long,
        ] {
            assert!(!is_service_name(bad), "{bad}");
        }
        assert!(
            is_service_name(&"a.".repeat(127)) && !is_service_name(&"a.".repeat(128)),
            "253 bytes"
        );
    }

    #[test]
    fn servers_and_the_addresses_that_came_along_are_read() {
        let question = question(Kind::Srv, "_tf._tcp.a.org");
        let answers = vec![
            record("_TF._tcp.A.org", 60, srv(1, 10345, "One.a.org")),
            record("_tf._tcp.a.org", 90, srv(2, 1, "two.a.org")),
            record("_tf._tcp.a.org", 1, srv(2, 0, "port.a.org")),
            record("_tf._tcp.a.org", 1, srv(2, 1, ".")),
            record("other.a.org", 1, srv(2, 1, "three.a.org")),
        ];
        let mut packet = reply(&question, answers);
        packet.additional_records = vec![
            record(
                "one.a.org",
                30,
                RData::A(A {
                    address: 0x0102_0304,
                }),
            ),
            record("one.a.org", 31, RData::AAAA(AAAA { address: 1 })),
            record("evil.org", 1, RData::A(A { address: 1 })),
            record("two.a.org", 1, RData::A(A { address: 0 })),
        ];
        let answer = question.read(&bytes(&packet)).expect("answer");
        let one = |weight| Record {
            priority: 1,
            weight,
            port: 10345,
            target: "one.a.org".into(),
        };
        assert_eq!(answer.records[0], one(5));
        assert_eq!(
            (answer.records.len(), answer.records[1].target.as_str()),
            (2, "two.a.org")
        );
        let of_one = |ip: &str| ("one.a.org".to_owned(), ip.parse().expect("address"));
        assert_eq!(answer.addresses, [of_one("1.2.3.4"), of_one("::1")]);
        assert_eq!(answer.ttl, Some(Duration::from_secs(30)));
    }

    #[test]
    fn aliases_are_followed_and_rings_of_them_end() {
        let question = question(Kind::A, "a.org");
        let alias = |to| RData::CNAME(CNAME(Name::new_unchecked(to)));
        let answers = vec![
            record("a.org", 9, alias("b.org")),
            record("b.org", 9, alias("c.org")),
            record(
                "c.org",
                9,
                RData::A(A {
                    address: 0x7f00_0001,
                }),
            ),
        ];
        let answer = question
            .read(&bytes(&reply(&question, answers)))
            .expect("answer");
        assert_eq!(
            answer.addresses,
            [("a.org".to_owned(), Ipv4Addr::LOCALHOST.into())]
        );
        let ring = vec![
            record("a.org", 9, alias("b.org")),
            record("b.org", 9, alias("a.org")),
        ];
        let answer = question
            .read(&bytes(&reply(&question, ring)))
            .expect("answer");
        assert_eq!(answer, Answer::default());
    }

    #[test]
    fn what_is_no_answer_says_why() {
        let question = question(Kind::Srv, "_tf._tcp.a.org");
        let fine = bytes(&reply(&question, vec![]));
        assert_eq!(question.read(&fine), Ok(Answer::default()));
        let asked = question.to_bytes().expect("bytes");
        let other = Question {
            name: "b.a.org".into(),
            ..question.clone()
        };
        let other_id = Question {
            id: 1,
            ..question.clone()
        };
        for unrelated in [
            &[][..],
            &fine[..11],
            &asked,
            &bytes(&reply(&other, vec![])),
            &bytes(&reply(&other_id, vec![])),
        ] {
            assert_eq!(question.read(unrelated), Err(NoAnswer::Unrelated));
        }
        let with = |at: usize, bits: u8| {
            let mut bytes = fine.clone();
            bytes[at] |= bits;
            question.read(&bytes)
        };
        assert_eq!(with(3, 3), Ok(Answer::default()), "no such name");
        assert_eq!(with(3, 2), Err(NoAnswer::Refused));
        assert_eq!(
            with(6, 0xff),
            Err(NoAnswer::Malformed),
            "records that are not there"
        );
        assert!(with(2, 2).expect("answer").truncated);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(mut bytes: Vec<u8>, ours: bool) {
            let question = question(Kind::Srv, "_tf._tcp.a.org");
            if ours {
                let start = super::tests::bytes(&reply(&question, vec![]));
                bytes.splice(..0, start);
                bytes[7] = 2;
            }
            let _ = question.read(&bytes);
        }
    }
}
