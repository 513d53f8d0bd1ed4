//! The peers' own end of a line, against the server.

use std::net::{SocketAddr, ToSocketAddrs};

use openssl::x509::X509;
use tfd::hub::peer::PeerError;
use tfd::hub::peer::line::{Heard, HubLine, Login, Missing, Place};
use tfd::hub::peer::signer::{Keys, Signer};
use tfd::hub::proofs::{SigningKey, Statement, enrolment_key};
use tfd::hub::wire::request::{Bck, Dbu, Dfi, Gip, Put, Rec, Sha};
use tfd::hub::wire::{
    Code, Factor, Kinds, Label, LoginKey, Message, Reply, Request, Role, User, Value,
};
use tfd::net::tls::certificate::fingerprint;
use tfd::net::tls::client::{Tls, Trust};

use crate::peer::{self, GIB, Hub, MIB, file, hub_name};

fn open(
    hub: &Hub,
    name: &Label,
    (user, role): (&User, Role),
    keys: &dyn Signer,
) -> Result<(HubLine, Missing), PeerError> {
    let certificate = std::fs::read(hub.certificate()).expect("certificate");
    let certificate = X509::from_pem(&certificate)
        .expect("PEM")
        .to_der()
        .expect("DER");
    let pin = fingerprint(&certificate).expect("key");
    let tls = Tls::new(&Trust::Pin(pin), None).expect("TLS");
    let addresses: Vec<SocketAddr> = hub
        .tls_address()
        .to_socket_addrs()
        .expect("address")
        .collect();
    let place = Place {
        addresses: &addresses,
        host: "localhost",
        tls: &tls,
        name: Some(name),
    };
    let login = Login {
        user: user.clone(),
        role,
        port: None,
    };
    HubLine::open(&place, login, keys)
}

fn keys(bytes: u8, login: [u8; 32]) -> Keys {
    Keys {
        key: SigningKey::new(&[bytes; 32]).expect("key"),
        login: LoginKey(login.into()),
    }
}

fn reply(answer: Result<Message, PeerError>) -> Code {
    match answer.expect("answer") {
        Message::Reply(reply) => reply.code(),
        message => panic!("{message:?}"),
    }
}

/// An owner and a holder of one user that have logged in for the first time.
fn enrolled(hub: &Hub, name: &str) -> (HubLine, HubLine) {
    let user = User::read(name).expect("name");
    let code = hub.add(name);
    let secret = enrolment_key(&code, &hub_name(), &user)
        .expect("key")
        .expect("a code");
    let (identity, holder) = (keys(1, *secret), keys(2, [7; 32]));
    let (mut owner, missing) =
        open(hub, &hub_name(), (&user, Role::Owner), &identity).expect("owner");
    assert_eq!(missing, Missing::Key);
    let key = identity.key.public().expect("key");
    let login = LoginKey([7; 32].into());
    owner.send_own_key(key, login, &identity).expect("key");
    let (mut kept, missing) =
        open(hub, &hub_name(), (&user, Role::Holder), &holder).expect("holder");
    assert_eq!(missing, Missing::Key);
    let key = holder.key.public().expect("key");
    let statement = Statement::HolderKey {
        hub: &hub_name(),
        user: &user,
        key,
    };
    let proof = identity.sign(&statement).expect("proof");
    kept.send_key(key, None, proof).expect("key");
    assert_eq!(reply(kept.done(Sha::new(10 * GIB))), Code::ShareOk);
    (owner, kept)
}

#[test]
fn a_peer_logs_in_asks_and_answers() {
    let Some(hub) = peer::server("") else {
        return;
    };
    let (mut anna, _) = enrolled(&hub, "anna");
    let (_, mut bob) = enrolled(&hub, "bob");
    let mut begin = Bck::new(MIB, 1, Factor::ONE);
    begin.run = None;
    assert_eq!(reply(anna.done(begin)), Code::MayBegin);
    let put = anna.ask(Put::new(file(1), 1000)).expect("PUT");
    let asked = loop {
        if let Heard::Asked(id, request) = bob.hear().expect("heard") {
            assert!(matches!(request, Request::Rcv(_)));
            break id;
        }
    };
    bob.answer(asked, Reply::MaySend { from: None })
        .expect("211");
    let goes = loop {
        if let Heard::Answer {
            id,
            answer,
            is_last,
        } = anna.hear().expect("heard")
        {
            assert!(id == put && is_last);
            break answer;
        }
    };
    assert!(
        matches!(goes, Message::Request(Request::Dst(_))),
        "{goes:?}"
    );
    let holder = keys(2, [7; 32]);
    let (name, bob_name) = (
        User::read("anna").expect("name"),
        User::read("bob").expect("name"),
    );
    let receipt = holder.sign(&Statement::Receipt {
        hub: &hub_name(),
        holder: &bob_name,
        owner: &name,
        name: file(1),
        size: 1000,
    });
    let mut done = Dfi::new(file(1), bob_name);
    done.receipt = Some(receipt.expect("receipt"));
    assert_eq!(reply(anna.done(done)), Code::TransferCompleted);
    assert_eq!(reply(anna.done(Dbu::new())), Code::UpdateDone);
    let mut list = Rec::new(name);
    list.kind = Some(Kinds::All);
    let list = anna.ask(list).expect("REC");
    let mut heard = Vec::new();
    while heard.len() < 2 {
        if let Heard::Answer {
            id,
            answer,
            is_last,
        } = anna.hear().expect("heard")
        {
            assert_eq!((id, is_last), (list, heard.len() == 1));
            heard.push(answer);
        }
    }
    let Message::Request(Request::Idx(it)) = &heard[1] else {
        panic!("{heard:?}");
    };
    assert_eq!((it.filename, it.size), (file(1), Some(1000)));
}

#[test]
fn a_peer_knows_its_hub_and_the_hub_its_peer() {
    let Some(hub) = peer::server("") else {
        return;
    };
    let (mut anna, _) = enrolled(&hub, "anna");
    assert_eq!(
        reply(anna.done(Gip::new(User::read("nobody").expect("name")))),
        Code::NoSuchUser
    );
    let user = User::read("anna").expect("name");
    let other = Label::read("other.example.org").expect("name");
    let who = (&user, Role::Owner);
    let found = open(&hub, &other, who, &keys(1, [7; 32])).map(drop);
    assert!(matches!(found, Err(PeerError::OtherHub(_))), "{found:?}");
    let found = open(&hub, &hub_name(), who, &keys(1, [8; 32])).map(drop);
    let refused = matches!(found, Err(PeerError::Refused(Reply::NotVerified)));
    assert!(refused, "{found:?}");
    let found = open(&hub, &hub_name(), who, &keys(1, [7; 32])).map(|(_, missing)| missing);
    assert!(matches!(found, Ok(Missing::Nothing)), "{found:?}");
}
