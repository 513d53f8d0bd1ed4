//! The keeper: whatever a gate asks, it learns no more than one session key,
//! has one handshake of TLS signed at most, and passes with the hash alone.
//!
//! The first byte says whether the gate speaks TLS, and whether its protocol has
//! keys for logins in place of a hash. The rest is a stream of messages with a length
//! of two bytes. A question to decrypt that has no block gets a good one.

use std::io::ErrorKind;
use std::sync::LazyLock;

use crate::peer::KEY;
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use tfd::daemon::helpers::keeper;
use tfd::daemon::helpers::keeper::{LoginKeys, NewGate, Outcome, Secrets};
use tfd::ipc::channel::{Channel, pair};
use tfd::ipc::codec::Decode;
use tfd::ipc::orders::Tag;
use tfd::ipc::{Pipe, pipe};
use tfd::net::tls::certificate::self_signed;
use tfd::net::tls::secrets::TlsSecrets;
use tfd::session::keeper::Reply;
use tfd::session::protocol;
use tfd::tf::gate::KEY_LENGTHS;
use zeroize::Zeroizing;

const HASH: &[u8] = b"testhash";
const TAG: Tag = Tag { slot: 3, mark: 9 };
const DECRYPT: u8 = 1;
const MOST: usize = 8;

/// A certificate and its key, in PEM.
static TLS: LazyLock<(Vec<u8>, Zeroizing<Vec<u8>>)> =
    LazyLock::new(|| self_signed(&["localhost".to_owned()]).expect("certificate"));

/// Shorter than one to be served with: the keeper takes any, and is faster.
static PEM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    Rsa::generate(1024)
        .and_then(|key| key.private_key_to_pem())
        .expect("key")
});

/// One keeper for all inputs: its threads end with the process.
static DAEMON: LazyLock<Pipe<Option<NewGate>, Outcome>> = LazyLock::new(|| {
    let secrets = Secrets {
        of_protocols: vec![Some(protocol::Secrets {
            key: key(),
            key_lengths: KEY_LENGTHS,
            shared: Zeroizing::new(HASH.to_vec()),
        })],
        tls: Some(TlsSecrets::new(&TLS.1, &TLS.0).expect("secrets")),
        has_steps: true,
        has_login_keys: true,
    };
    let login_keys = LoginKeys::start().expect("keys");
    let (daemon, keepers) = pipe::pair().expect("pair");
    std::thread::spawn(move || {
        keeper::run(secrets, Some(login_keys), keepers).expect("the keeper goes on")
    });
    daemon
});

/// Takes one input.
pub fn run(data: &[u8]) {
    let key = key();
    let mut block = vec![0; key.size() as usize];
    key.public_encrypt(KEY, &mut block, Padding::PKCS1_OAEP)
        .expect("block");
    let Some((tls, data)) = data.split_first() else {
        return;
    };
    let (speaks_tls, is_open) = (tls & 1 == 1, tls & 2 == 2);
    let (gate, theirs) = pair().expect("pair");
    let mut asked = Vec::new();
    for message in messages(data).take(MOST) {
        let message = if message == [DECRYPT] {
            [message, &block].concat()
        } else {
            message.into()
        };
        gate.send(&question(&message), &[]).expect("send");
        asked.push(message);
    }
    rustix::net::shutdown(&gate, rustix::net::Shutdown::Write).expect("shutdown");
    let new = NewGate {
        tag: TAG,
        tls: speaks_tls,
        protocol: u8::from(is_open),
        is_open,
        has_login_key: is_open,
        channel: theirs.into(),
    };
    DAEMON.send(&Some(new)).expect("send");
    let answers = received(&gate);
    let admitted = admitted();

    if is_open {
        return check_open(&asked, &answers);
    }
    if speaks_tls {
        return check_tls(&asked, &answers);
    }
    assert!(answers.len() <= 2 && answers.len() <= asked.len());
    if let Some(answer) = answers.first() {
        assert_eq!(asked[0][0], DECRYPT);
        match answer {
            Reply::Refused => {}
            Reply::Granted(key) => assert!(key[..] == *KEY && asked[0][1..] == block),
            Reply::Passed(_) => panic!("a block is not a hash"),
        }
    }
    let has_passed = answers.get(1).is_some_and(|answer| {
        let fits = matches!(&asked[1][..], [2, hash @ ..]
            if hash == HASH || hash.strip_suffix(&[0]) == Some(HASH));
        let has_passed = matches!(answer, Reply::Passed(_));
        assert_eq!(has_passed, fits);
        assert!(has_passed || matches!(answer, Reply::Refused));
        has_passed
    });
    assert_eq!(admitted, if has_passed { vec![TAG] } else { Vec::new() });
}

/// Answers come in the order of the questions, one for each as far as there are
/// any: what each may be.
fn check_tls(asked: &[Vec<u8>], answers: &[Reply]) {
    let mut granted = [0; 6];
    for (asked, answer) in asked.iter().zip(answers) {
        let what = usize::from(asked[0]);
        assert!((1..=5).contains(&what), "no other question is answered");
        granted[what] += usize::from(!matches!(answer, Reply::Refused));
        match (what, answer) {
            (2, Reply::Passed(_)) => {
                let hash = asked[1..].strip_suffix(&[0]).unwrap_or(&asked[1..]);
                assert!(hash == HASH);
            }
            (3, Reply::Granted(_)) => {
                let signed = asked[3..].strip_prefix(&[b' '; 64]).expect("padding");
                assert!(signed.starts_with(b"TLS 1.3, server CertificateVerify\0"));
                assert!(signed.len() <= 34 + 48);
            }
            (2, Reply::Granted(_)) => panic!("a hash is not answered with bytes"),
            (_, answer) => assert!(!matches!(answer, Reply::Passed(_))),
        }
    }
    assert!(granted[1] <= 1 && granted[2] <= 1 && granted[3] <= 1 && granted[4] <= 1);
}

/// With a key for logins: the key once, two blocks behind it, and never what the
/// long-lived key or the hash opens.
fn check_open(asked: &[Vec<u8>], answers: &[Reply]) {
    let mut answered = [0; 9];
    for (asked, answer) in asked.iter().zip(answers) {
        let what = usize::from(asked[0]);
        assert!((3..=8).contains(&what), "no other question is answered");
        answered[what] += 1;
        match (what, answer) {
            (6, answer) => assert!(matches!(answer, Reply::Passed(_))),
            (7, Reply::Granted(modulus)) => assert_eq!(modulus.len(), 128),
            (8, _) => assert_eq!(answered[7], 1),
            (_, answer) => assert!(!matches!(answer, Reply::Passed(_))),
        }
    }
    assert!(answered[6] <= 1 && answered[7] <= 1 && answered[8] <= 2);
}

/// A question as the keeper reads it: what is asked, behind a sign its scheme,
/// then the rest with its length. Nothing else is changed.
fn question(message: &[u8]) -> Vec<u8> {
    let head = match message {
        [1 | 2 | 4 | 5 | 8, ..] => 1,
        [3, _, _, ..] => 3,
        _ => return message.to_vec(),
    };
    let (head, rest) = message.split_at(head);
    let len = u32::try_from(rest.len()).expect("a short message");
    [head, &len.to_be_bytes(), rest].concat()
}

fn messages(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = data.split_first_chunk::<2>()?;
        let (message, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*len).into()));
        data = rest;
        (!message.is_empty()).then_some(message)
    })
}

/// All answers until the keeper closes the channel. One that is closed with
/// questions unread says so before the answers.
fn received(gate: &Channel) -> Vec<Reply> {
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    loop {
        match gate.receive(&mut buffer) {
            Ok((len @ 1.., handles)) => {
                all.push(Reply::from_message(&buffer[..len], handles).expect("an answer"));
            }
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            _ => return all,
        }
    }
}

/// The gates that the daemon has heard of.
fn admitted() -> Vec<Tag> {
    let next = || DAEMON.try_receive().ok().flatten();
    let outcomes = std::iter::from_fn(next);
    outcomes.filter_map(|of| Some(of.ok()?.tag)).collect()
}

fn key() -> Rsa<Private> {
    Rsa::private_key_from_pem(&PEM).expect("key")
}
