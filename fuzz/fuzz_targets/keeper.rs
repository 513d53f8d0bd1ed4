//! The keeper: whatever a gate asks, it learns no more than one session key,
//! and passes with the hash alone.
//!
//! The stream is one of messages with a length of two bytes. A question to
//! decrypt that has no block gets a good one.
#![no_main]

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use openssl::rsa::{Padding, Rsa};
use tfd::daemon::channel::{Channel, pair};
use tfd::daemon::keeper::{self, Extras, RETIRE, Secrets, gate_message, read_admission};
use tfd_fuzz::KEY;
use zeroize::Zeroizing;

const HASH: &[u8] = b"testhash";
const SLOT: u32 = 3;
const DECRYPT: u8 = 1;
const MOST: usize = 8;

/// Shorter than one to be served with: the keeper takes any, and is faster.
static PEM: LazyLock<Vec<u8>> =
    LazyLock::new(|| Rsa::generate(1024).and_then(|key| key.private_key_to_pem()).expect("key"));

fuzz_target!(|data: &[u8]| {
    let key = Rsa::private_key_from_pem(&PEM).expect("key");
    let mut block = vec![0; key.size() as usize];
    key.public_encrypt(KEY, &mut block, Padding::PKCS1_OAEP).expect("block");
    let secrets = Secrets {
        key,
        hash: Zeroizing::new(HASH.to_vec()),
        granted: Vec::new(),
        extras: Extras::default(),
    };

    let (daemon, keepers) = pair().expect("pair");
    let (gate, theirs) = pair().expect("pair");
    daemon.send(&gate_message(SLOT), &[theirs.as_fd()]).expect("send");
    daemon.send(RETIRE, &[]).expect("send");
    drop(theirs);
    let mut asked = Vec::new();
    for message in messages(data).take(MOST) {
        let message =
            if message == [DECRYPT] { [message, &block].concat() } else { message.into() };
        gate.send(&message, &[]).expect("send");
        asked.push(message);
    }
    rustix::net::shutdown(&gate, rustix::net::Shutdown::Write).expect("shutdown");
    keeper::run(&secrets, &keepers).expect("the keeper goes on");
    drop(keepers);

    let answers = received(&gate);
    assert!(answers.len() <= 2 && answers.len() <= asked.len());
    if let Some((answer, _)) = answers.first() {
        assert_eq!(asked[0][0], DECRYPT);
        assert!(answer == &[0] || answer[1..] == *KEY && asked[0][1..] == block);
    }
    if let Some((answer, handles)) = answers.get(1) {
        let fits = matches!(&asked[1][..], [2, hash @ ..]
            if hash == HASH || hash.strip_suffix(&[0]) == Some(HASH));
        let expected: &[u8] = if fits { &[1, 0] } else { &[0] };
        assert_eq!((answer.as_slice(), *handles), (expected, usize::from(fits)));
    }
    let admitted = received(&daemon);
    assert_eq!(admitted.len(), answers.get(1).map_or(0, |(_, handles)| *handles));
    assert!(
        admitted
            .iter()
            .all(|(message, handles)| { (read_admission(message), *handles) == (Some(SLOT), 1) })
    );
});

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
    let mut buffer = [0; 1024];
    let mut all = Vec::new();
    loop {
        match channel.try_receive(&mut buffer) {
            Ok((len @ 1.., handles)) => all.push((buffer[..len].to_vec(), handles.len())),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
            _ => return all,
        }
    }
}
