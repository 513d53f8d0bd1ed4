//! The keeper: whatever a gate asks, it learns no more than one session key,
//! has one handshake of TLS signed at most, and passes with the hash alone.
//!
//! The first byte says whether the gate speaks TLS. The rest is a stream of messages with a length of two bytes. A question to
//! decrypt that has no block gets a good one.
#![no_main]

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use openssl::rsa::{Padding, Rsa};
use tfd::daemon::helpers::keeper;
use tfd::daemon::helpers::keeper::{Extras, RETIRE, Secrets, gate_message, read_admission};
use tfd::ipc::channel::{Channel, pair};
use tfd::ipc::tag::Tag;
use tfd::net::tls::certificate::self_signed;
use tfd::net::tls::secrets::TlsSecrets;
use tfd_fuzz::KEY;
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

fuzz_target!(|data: &[u8]| {
    let key = Rsa::private_key_from_pem(&PEM).expect("key");
    let mut block = vec![0; key.size() as usize];
    key.public_encrypt(KEY, &mut block, Padding::PKCS1_OAEP)
        .expect("block");
    let hash = Zeroizing::new(HASH.to_vec());
    let Some((tls, data)) = data.split_first() else {
        return;
    };
    let speaks_tls = tls & 1 == 1;
    let tls = Some(TlsSecrets::new(&TLS.1, &TLS.0).expect("secrets"));
    let secrets = Secrets {
        key,
        tls,
        hash,
        granted: Vec::new(),
        extras: Extras::default(),
    };

    let (daemon, keepers) = pair().expect("pair");
    let (gate, theirs) = pair().expect("pair");
    daemon
        .send(&gate_message(TAG, speaks_tls), &[theirs.as_fd()])
        .expect("send");
    daemon.send(RETIRE, &[]).expect("send");
    drop(theirs);
    let mut asked = Vec::new();
    for message in messages(data).take(MOST) {
        let message = if message == [DECRYPT] {
            [message, &block].concat()
        } else {
            message.into()
        };
        gate.send(&message, &[]).expect("send");
        asked.push(message);
    }
    rustix::net::shutdown(&gate, rustix::net::Shutdown::Write).expect("shutdown");
    keeper::run(&secrets, &keepers).expect("the keeper goes on");
    drop(keepers);

    let answers = received(&gate);
    if speaks_tls {
        return check_tls(&asked, &answers);
    }
    assert!(answers.len() <= 2 && answers.len() <= asked.len());
    if let Some((answer, _)) = answers.first() {
        assert_eq!(asked[0][0], DECRYPT);
        assert!(answer == &[0] || answer[1..] == *KEY && asked[0][1..] == block);
    }
    if let Some((answer, handles)) = answers.get(1) {
        let fits = matches!(&asked[1][..], [2, hash @ ..]
            if hash == HASH || hash.strip_suffix(&[0]) == Some(HASH));
        let told: &[u8] = if fits { &[1, 0] } else { &[0] };
        assert_eq!((answer.as_slice(), *handles), (told, usize::from(fits)));
    }
    let admitted = received(&daemon);
    assert_eq!(
        admitted.len(),
        answers.get(1).map_or(0, |(_, handles)| *handles)
    );
    assert!(
        admitted
            .iter()
            .all(|(message, handles)| { (read_admission(message), *handles) == (Some(TAG), 1) })
    );
});

/// Answers come in the order of the questions, one for each as far as there are
/// any: what each may be.
fn check_tls(asked: &[Vec<u8>], answers: &[(Vec<u8>, usize)]) {
    let mut granted = [0; 6];
    for (question, (answer, handles)) in asked.iter().zip(answers) {
        let what = usize::from(question[0]);
        assert!((1..=5).contains(&what), "no other question is answered");
        granted[what] += usize::from(answer[0] == 1);
        match what {
            2 if answer[0] == 1 => {
                let hash = question[1..].strip_suffix(&[0]).unwrap_or(&question[1..]);
                assert!(hash == HASH && *handles == 1);
            }
            3 if answer[0] == 1 => {
                let signed = question[3..].strip_prefix(&[b' '; 64]).expect("padding");
                assert!(signed.starts_with(b"TLS 1.3, server CertificateVerify\0"));
                assert!(signed.len() <= 34 + 48);
            }
            _ => assert_eq!(*handles, 0),
        }
    }
    assert!(granted[1] <= 1 && granted[2] <= 1 && granted[3] <= 1 && granted[4] <= 1);
}

fn messages(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = data.split_first_chunk::<2>()?;
        let (message, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*len).into()));
        data = rest;
        (!message.is_empty()).then_some(message)
    })
}

/// What has arrived: messages, and how many descriptors beside each. An end
/// that closed with questions unread says so first.
fn received(channel: &Channel) -> Vec<(Vec<u8>, usize)> {
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    loop {
        match channel.try_receive(&mut buffer) {
            Ok((len @ 1.., handles)) => all.push((buffer[..len].to_vec(), handles.len())),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            _ => return all,
        }
    }
}
