use crate::daemon::helpers::keeper::*;
use crate::ipc::pipe;
use crate::net::tls::certificate::self_signed;
use crate::net::tls::server::Keyholder;
use crate::session::keeper::Keeper;
use openssl::rsa::Rsa;

const TAG: Tag = Tag { slot: 3, mark: 9 };

type Daemon = Pipe<Option<NewGate>, Outcome>;

fn keeper_thread() -> (Daemon, Rsa<openssl::pkey::Public>) {
    let key = Rsa::generate(2048).expect("key");
    let public = Rsa::public_key_from_pem(&key.public_key_to_pem().expect("pem")).expect("key");
    let (ours, theirs) = pipe::pair().expect("pair");
    let (certificate, tls_key) = self_signed(&["localhost".to_owned()]).expect("certificate");
    let secrets = Secrets {
        of_protocols: vec![Some(protocol::Secrets {
            key,
            key_lengths: 16..=214,
            shared: Zeroizing::new(b"testhash".to_vec()),
        })],
        tls: Some(TlsSecrets::new(&tls_key, &certificate).expect("secrets")),
        has_steps: true,
        has_login_keys: true,
    };
    let login_keys = LoginKeys::start().expect("keys");
    login_keys.wait_until_full();
    std::thread::spawn(move || run(secrets, Some(login_keys), theirs));
    (ours, public)
}

fn client() -> SocketAddr {
    "192.0.2.1:7".parse().expect("address")
}

fn gate(daemon: &Daemon) -> Keeper {
    gate_of(daemon, false)
}

fn gate_of(daemon: &Daemon, tls: bool) -> Keeper {
    gate_with(daemon, tls, false)
}

fn gate_with(daemon: &Daemon, tls: bool, is_open: bool) -> Keeper {
    let (ours, theirs) = crate::ipc::channel::pair().expect("pair");
    let gate = NewGate {
        tag: TAG,
        tls,
        protocol: u8::from(is_open),
        is_open,
        has_login_key: is_open,
        channel: theirs.into(),
    };
    daemon.send(&Some(gate)).expect("send");
    Keeper::new(ours, client())
}

fn expect_admitted(daemon: &Daemon) {
    let outcome = daemon.receive().expect("outcome").expect("one");
    let admitted = outcome.expect("admission");
    assert_eq!((admitted.tag, admitted.client), (TAG, client()));
}

/// What a server signs, in shape.
fn handshake() -> Vec<u8> {
    [
        &[b' '; 64][..],
        b"TLS 1.3, server CertificateVerify\0",
        &[7; 32],
    ]
    .concat()
}

#[test]
fn a_gate_with_tls_has_one_handshake_signed_and_a_plain_one_none() {
    const ECDSA: u16 = 0x0403;
    let (daemon, _) = keeper_thread();
    let one = gate_of(&daemon, true);
    assert!(one.sign(ECDSA, &handshake()).is_some());
    assert!(one.sign(ECDSA, &handshake()).is_none(), "twice");
    let other = gate_of(&daemon, true);
    let client = [
        &[b' '; 64][..],
        b"TLS 1.3, client CertificateVerify\0",
        &[7; 32],
    ]
    .concat();
    assert!(other.sign(ECDSA, &client).is_none(), "other content");
    assert!(other.sign(ECDSA, &handshake()).is_none(), "a second try");
    let plain = gate(&daemon);
    assert!(plain.sign(ECDSA, &handshake()).is_none());
    assert!(plain.decrypt(b"x").is_err(), "its channel is closed");
    let plain = gate(&daemon);
    assert!(plain.seal(b"session").is_none() && plain.compare(b"testhash").is_err());
}

#[test]
fn tickets_of_one_gate_are_opened_for_another_but_not_without_end() {
    let (daemon, _) = keeper_thread();
    let one = gate_of(&daemon, true);
    let ticket = one.seal(b"session").expect("ticket");
    assert!(one.seal(b"session").is_none(), "one a connection");
    let other = gate_of(&daemon, true);
    for _ in 0..MAX_OPENED {
        assert_eq!(other.open(&ticket).as_deref(), Some(&b"session"[..]));
    }
    assert!(other.open(&ticket).is_none());
}

#[test]
fn over_tls_the_hash_may_come_without_a_block_and_then_no_block_follows() {
    let (daemon, public) = keeper_thread();
    let one = gate_of(&daemon, true);
    assert!(one.compare(b"testhash").expect("keeper").is_some());
    assert!(one.decrypt(&block(&public, &[1; 16])).is_err());
    let other = gate_of(&daemon, true);
    assert!(
        other
            .decrypt(&block(&public, &[1; 16]))
            .expect("keeper")
            .is_some()
    );
    assert!(other.compare(b"testhash").expect("keeper").is_some());
}

fn block(public: &Rsa<openssl::pkey::Public>, key: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 256];
    public
        .public_encrypt(key, &mut block, Padding::PKCS1_OAEP)
        .expect("encrypt");
    block
}

#[test]
fn session_keys_of_16_to_214_bytes_are_told_and_no_others() {
    let (daemon, public) = keeper_thread();
    for (len, fine) in [(15, false), (16, true), (214, true)] {
        let key = vec![9; len];
        let answer = gate(&daemon)
            .decrypt(&block(&public, &key))
            .expect("keeper");
        assert_eq!(answer.map(|k| k.to_vec()), fine.then_some(key));
    }
    for bad in [
        vec![],
        vec![0; 255],
        vec![7; 256],
        vec![7; 257],
        vec![7; 600],
    ] {
        assert!(gate(&daemon).decrypt(&bad).expect("keeper").is_none());
    }
}

#[test]
fn a_gate_may_ask_each_thing_once_and_in_order() {
    let (daemon, public) = keeper_thread();
    let early = gate(&daemon);
    assert!(early.compare(b"testhash").is_err());
    let twice = gate(&daemon);
    assert!(
        twice
            .decrypt(&block(&public, &[1; 16]))
            .expect("keeper")
            .is_some()
    );
    assert!(twice.compare(b"wrong").expect("keeper").is_none());
    assert!(twice.compare(b"testhash").is_err());
    let fine = gate(&daemon);
    assert!(
        fine.decrypt(&block(&public, &[1; 16]))
            .expect("keeper")
            .is_some()
    );
    assert!(fine.compare(b"testhash\0").expect("keeper").is_some());
    let refused = daemon.receive().expect("outcome").expect("one");
    assert_eq!(refused.err(), Some(Refusal::Hash));
    expect_admitted(&daemon);
    assert!(fine.decrypt(&block(&public, &[1; 16])).is_err());
    let odd = gate(&daemon).into_channel();
    odd.send(&[77, b'x'], &[]).expect("send");
    assert!(
        matches!(odd.receive(&mut [0; 1]), Ok((0, _)) | Err(_)),
        "its channel is closed"
    );
}

#[test]
fn a_session_key_of_no_such_length_is_not_taken_from_the_keeper() {
    for (len, fine) in [
        (0, false),
        (7, false),
        (16, true),
        (214, true),
        (215, false),
    ] {
        let (gates, keepers) = crate::ipc::channel::pair().expect("pair");
        let keepers: Pipe<Reply, Question> = keepers.into();
        let key = Zeroizing::new(vec![9; len]);
        keepers.send(&Reply::Granted(key)).expect("send");
        let keeper = Keeper::new(gates, client());
        let answer = keeper.session_key(b"block", &(16..=214)).expect("keeper");
        assert_eq!(answer.is_some(), fine, "{len}");
    }
}

#[test]
fn a_gate_without_a_shared_secret_asks_for_its_login_at_once_and_no_other_does() {
    let (daemon, _) = keeper_thread();
    let open = gate_with(&daemon, false, true);
    assert!(open.enter().expect("keeper").is_some());
    expect_admitted(&daemon);
    assert!(gate(&daemon).enter().is_err(), "its channel is closed");
}

/// What a client sends of a name or a password.
fn login_block(modulus: &[u8], text: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| openssl::bn::BigNum::from_slice(bytes).expect("number");
    let key = Rsa::from_public_components(number(modulus), number(&[1, 0, 1])).expect("key");
    let mut block = vec![0; 128];
    key.public_encrypt(text, &mut block, Padding::PKCS1_OAEP)
        .expect("encrypt");
    block
}

#[test]
fn a_gate_with_a_login_key_has_two_blocks_decrypted_and_no_third() {
    let (daemon, public) = keeper_thread();
    let gate = gate_with(&daemon, false, true);
    let modulus = gate.login_key().expect("keeper").expect("a key");
    assert!(modulus.len() == 128 && modulus[0] >= 0x80, "1024 bits");
    let name = gate.decrypt_login(&login_block(&modulus, b"ann"));
    assert_eq!(name.expect("keeper").expect("name").to_vec(), b"ann");
    let empty = gate.decrypt_login(&login_block(&modulus, b""));
    assert_eq!(empty.expect("keeper").expect("password").to_vec(), b"");
    assert!(gate.decrypt_login(&login_block(&modulus, b"x")).is_err());

    let gate = gate_with(&daemon, false, true);
    let other = gate.login_key().expect("keeper").expect("a key");
    assert_ne!(other, modulus, "each has a key of its own");
    for bad in [login_block(&modulus, b"ann"), vec![1; 127]] {
        assert!(gate.decrypt_login(&bad).expect("keeper").is_none());
    }
    let counted = daemon.receive().expect("outcome").expect("one");
    assert_eq!(counted.err(), Some(Refusal::Key));

    let gate = gate_with(&daemon, false, true);
    assert!(gate.login_key().expect("keeper").is_some());
    assert!(gate.login_key().is_err(), "a second key");
    let gate = gate_with(&daemon, false, true);
    assert!(
        gate.decrypt_login(&[1; 128]).is_err(),
        "before it has a key"
    );
    let gate = gate_with(&daemon, false, true);
    let long_lived = gate.decrypt(&block(&public, &[1; 16]));
    assert!(long_lived.is_err(), "the key of another protocol");
    let gate = gate_with(&daemon, true, true);
    assert!(
        gate.compare(b"testhash").is_err(),
        "the hash of another one"
    );
    let of_tf = gate_of(&daemon, false);
    assert!(of_tf.login_key().is_err());
}

#[test]
fn whoever_comes_when_no_login_key_is_ready_gets_the_spare_one_at_once() {
    let (daemon, _) = keeper_thread();
    let take = |_| {
        let gate = gate_with(&daemon, false, true);
        (gate.login_key().expect("keeper").expect("a key"), gate)
    };
    let taken: Vec<_> = (0..200).map(take).collect();
    let mut different: Vec<_> = taken.iter().map(|(modulus, _)| modulus).collect();
    different.sort();
    different.dedup();
    assert!(different.len() > 16, "those that were ready, and more");
    for (modulus, gate) in &taken {
        let name = gate.decrypt_login(&login_block(modulus, b"ann"));
        assert!(name.expect("keeper").is_some());
    }
}
