//! A line between peers from the end that has connected: dialled, introduced, then
//! requests and bytes of files, one after the other.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::introduction::{Parties, is_answered};
use super::signer::Signer;
use super::talk::Talk;
use super::{ALPN, DIAL, LABEL, LOGIN, PeerError, Result, SILENCE, connect, link};
use crate::hub::wire::request::Ds1;
use crate::hub::wire::{Exporter, Id, Key, Line, Message, Purpose, Reply, Request, Token};
use crate::net::Link;
use crate::net::tls::client::Tls;

/// What the listener is called in the handshake; nobody looks at it.
pub const HOST: &str = "tfd-peer";

/// How long one waits for a listener that is only looked for.
const KNOCK: Duration = Duration::from_secs(10);

/// Looks whether a peer is at this address whose certificate has this key, and hangs up.
///
/// # Errors
/// `Unreachable`, `NotPinned` for another key, and others.
pub fn knock(address: SocketAddr, key: &Key) -> Result<()> {
    let until = Instant::now() + KNOCK;
    let (mut link, _) = connect(&[address], DIAL)?;
    link.set_deadline(Some(until))?;
    shake_hands(&mut link, key)?;
    link.close();
    Ok(())
}

/// Shakes hands with a listener whose certificate has this key.
fn shake_hands(link: &mut Link, key: &Key) -> Result<Exporter> {
    let tls = Tls::for_key(key.0).map_err(PeerError::Tls)?;
    let exported = tls.connect_exporting(link, HOST, ALPN, LABEL)?;
    Ok(Exporter(exported))
}

/// A line to a listener.
pub struct PeerLine {
    talk: Talk,
    exporter: Exporter,
}

impl PeerLine {
    /// Connects to the peer at one of these addresses whose certificate has this key.
    ///
    /// # Errors
    /// `Unreachable`, `NotPinned` for another key, and others.
    pub fn dial(addresses: &[SocketAddr], key: &Key) -> Result<PeerLine> {
        PeerLine::begin(connect(addresses, DIAL)?.0, &mut [], key)
    }

    /// The same over the connection that such a peer has made.
    ///
    /// # Errors
    /// As above.
    pub fn called(socket: TcpStream, key: &Key) -> Result<PeerLine> {
        PeerLine::begin(link(socket)?, &mut [], key)
    }

    /// The same by a relay at one of these addresses, which has this token for us. The
    /// listener comes there, too.
    ///
    /// # Errors
    /// As above; the relay ends a line whose token it does not know.
    pub fn meet(addresses: &[SocketAddr], token: Token, key: &Key) -> Result<PeerLine> {
        PeerLine::begin(connect(addresses, DIAL)?.0, &mut token.relay_line(), key)
    }

    /// Says this first, and shakes hands.
    fn begin(mut link: Link, first: &mut [u8], key: &Key) -> Result<PeerLine> {
        link.set_deadline(Some(Instant::now() + LOGIN))?;
        if !first.is_empty() {
            link.write(first)?;
        }
        let exporter = shake_hands(&mut link, key)?;
        Ok(PeerLine {
            talk: Talk::new(link),
            exporter,
        })
    }

    /// States who is here, and hears who is there.
    ///
    /// # Errors
    /// `Refused` with `401` or `506`, and others.
    pub fn introduce(
        &mut self,
        parties: &Parties,
        purpose: Purpose,
        token: Option<Token>,
        signer: &dyn Signer,
    ) -> Result<()> {
        let mut first = parties.introduce(purpose, self.exporter, signer)?;
        first.token = token;
        self.state(&first, &parties.key)
    }

    /// What both ends have exported from TLS, which a statement is to have.
    pub fn exporter(&self) -> Exporter {
        self.exporter
    }

    /// Passes on what somebody else has stated and signed, and hears who is there: who
    /// signs by this key.
    ///
    /// # Errors
    /// As above.
    pub fn state(&mut self, first: &Ds1, key: &Key) -> Result<()> {
        let id = self.talk.request(first.clone())?;
        match self.talk.reply(id)? {
            Reply::DiallerVerified => {}
            reply => return Err(PeerError::Refused(reply)),
        }
        let Line {
            id: Some(id),
            message: Message::Request(Request::Ds2(second)),
        } = self.talk.line()?
        else {
            return Err(PeerError::Broken("no statement of the listener"));
        };
        if !is_answered(&first.plaintext, &second, key) {
            self.talk.answer(id, Reply::PeerNotVerified)?;
            return Err(PeerError::Broken("the listener is somebody else"));
        }
        self.talk.answer(id, Reply::ListenerVerified)?;
        self.talk.link.set_deadline(None)?;
        self.talk.link.set_idle_limit(Some(SILENCE))?;
        self.talk.link.expect_transfers();
        Ok(())
    }

    /// Sends a request; its number.
    ///
    /// # Errors
    /// The line is lost.
    pub fn request(&mut self, request: impl Into<Request>) -> Result<Id> {
        self.talk.request(request)
    }

    /// The reply that comes next, to this request.
    ///
    /// # Errors
    /// The line is lost, or something else comes.
    pub fn reply(&mut self, to: Id) -> Result<Reply> {
        self.talk.reply(to)
    }

    /// The next line of any kind.
    ///
    /// # Errors
    /// The line is lost.
    pub fn line(&mut self) -> Result<Line> {
        self.talk.line()
    }

    /// Answers a request of the listener.
    ///
    /// # Errors
    /// The line is lost.
    pub fn answer(&mut self, id: Id, reply: Reply) -> Result<()> {
        self.talk.answer(id, reply)
    }

    /// Sends bytes of a file. They are enciphered in place.
    ///
    /// # Errors
    /// The line is lost.
    pub fn write(&mut self, bytes: &mut [u8]) -> Result<()> {
        Ok(self.talk.link.write(bytes)?)
    }

    /// Reads bytes of a file until `to` is full.
    ///
    /// # Errors
    /// The line is lost.
    pub fn read(&mut self, to: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < to.len() {
            done += self.talk.bytes(&mut to[done..])?;
        }
        Ok(())
    }

    /// Whether the listener has ended the line, which nothing is expected of now.
    pub fn is_over(&mut self) -> bool {
        self.talk.link.has_input()
    }

    /// Ends the line.
    pub fn close(mut self) {
        self.talk.link.close();
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;
    use crate::hub::peer::introduction;
    use crate::hub::peer::signer::Keys;
    use crate::hub::proofs::SigningKey;
    use crate::hub::wire::{LoginKey, User, Value};
    use crate::net::Link;
    use crate::net::tls::certificate::of_ed25519;
    use crate::net::tls::secrets::TlsSecrets;
    use crate::net::tls::server::{Door, Keyholder};

    struct Holder(TlsSecrets);

    impl fmt::Debug for Holder {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Holder")
        }
    }

    impl Keyholder for Holder {
        fn sign(&self, scheme: u16, content: &[u8]) -> Option<Vec<u8>> {
            self.0.sign(scheme, content)
        }

        fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
            self.0.seal(session)
        }

        fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
            self.0.open(ticket)
        }
    }

    fn keys(byte: u8) -> Keys {
        Keys {
            key: SigningKey::new(&[byte; 32]).expect("key"),
            login: LoginKey([0; 32].into()),
        }
    }

    fn user(name: &str) -> User {
        User::read(name).expect("name")
    }

    const BOB: u8 = 2;

    /// Bob, who listens, and lets in who signs by this key.
    fn listen(anna: Key) -> (SocketAddr, std::thread::JoinHandle<Option<Reply>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("address");
        let served = std::thread::spawn(move || {
            let (certificate, key) = of_ed25519("bob", &[BOB; 32]).expect("certificate");
            let holder = Holder(TlsSecrets::new(&key, &certificate).expect("secrets"));
            let door = Door::new(&certificate, None).expect("door");
            let (socket, _) = listener.accept().expect("accept");
            let mut link = Link::new(socket).expect("link");
            let accepted = door.accept_exporting(&mut link, Arc::new(holder), &[ALPN], LABEL);
            let exporter = Exporter(accepted.ok()?.exported.expect("exported"));
            let mut talk = Talk::new(link);
            let Ok(Line {
                id: Some(id),
                message: Message::Request(Request::Ds1(first)),
            }) = talk.line()
            else {
                return None;
            };
            let parties = Parties {
                own: user("bob"),
                other: user("anna"),
                key: anna,
                time: 1000,
            };
            if !parties.is_introduced(&first, &exporter) {
                talk.answer(id, Reply::PeerNotVerified).expect("answer");
                return Some(Reply::PeerNotVerified);
            }
            talk.answer(id, Reply::DiallerVerified).expect("answer");
            let second = introduction::answer(&first.plaintext, &keys(BOB)).expect("DS2");
            let id = talk.request(second).expect("DS2");
            talk.reply(id).ok()
        });
        (address, served)
    }

    fn meet(signer: &Keys, named: &Keys) -> (Result<()>, Option<Reply>) {
        let public = |keys: &Keys| keys.key.public().expect("key");
        let (address, served) = listen(public(&keys(1)));
        let parties = Parties {
            own: user("anna"),
            other: user("bob"),
            key: public(named),
            time: 1000,
        };
        let met = PeerLine::dial(&[address], &parties.key)
            .and_then(|mut line| line.introduce(&parties, Purpose::Backup, None, signer));
        (met, served.join().expect("listener"))
    }

    #[test]
    fn two_peers_know_each_other_by_their_keys() {
        let (met, heard) = meet(&keys(1), &keys(BOB));
        met.expect("introduced");
        assert_eq!(heard, Some(Reply::ListenerVerified));
        let (met, heard) = meet(&keys(3), &keys(BOB));
        assert!(
            matches!(met, Err(PeerError::Refused(Reply::PeerNotVerified))),
            "{met:?}"
        );
        assert_eq!(heard, Some(Reply::PeerNotVerified));
        let (met, heard) = meet(&keys(1), &keys(3));
        assert!(matches!(met, Err(PeerError::NotPinned)), "{met:?}");
        assert_eq!(heard, None);
    }
}
