//! What a gate is answered: the certificate, a signature of its handshake, whether the
//! peer that states who it is may come in, and a pass for its session.

use std::collections::HashSet;
use std::net::IpAddr;

use super::message::{Answer, Ask, Pass};
use super::orders::reply_of;
use super::peers::Peer;
use super::{Result, Stock, Time};
use crate::hub::peer::introduction::{self, Parties};
use crate::hub::wire::request::Ds1;
use crate::hub::wire::{Code, Exporter, Id, Key, Line, Message, Purpose, Reply, Request, User};
use crate::ipc::Pipe;
use crate::ipc::channel::Channel;
use crate::ipc::orders::Tag;
use crate::net::tls::secrets::TlsSecrets;
use crate::session::login::AskingGate;

/// The most lines of peers, and of one of them.
const MOST_LINES: usize = 64;
const MOST_OF_ONE: usize = 8;

/// How long a pass waits for its session, in seconds.
const PASS: Time = 60;

/// The scheme of TLS that the certificate's key signs by.
const ED25519: u16 = 0x0807;

/// The certificate that peers see, and what signs for it.
pub struct Shown {
    /// In PEM.
    pub certificate: Vec<u8>,
    /// Signs handshakes, and nothing else.
    pub secrets: TlsSecrets,
}

/// A gate.
pub(super) struct Gate {
    pub tag: Tag,
    pub peer: IpAddr,
    pub channel: Pipe<Answer, Ask>,
    /// Whether it has had its signature.
    has_signed: bool,
    /// Who has stated who it is, and was right.
    pub known: Option<Peer>,
    /// Whether a session follows.
    pub is_over: bool,
}

impl From<AskingGate> for Gate {
    fn from(gate: AskingGate) -> Gate {
        let channel: Channel = gate.channel.into_channel();
        Gate {
            tag: gate.tag,
            peer: gate.peer,
            channel: channel.into(),
            has_signed: false,
            known: None,
            is_over: false,
        }
    }
}

impl Stock {
    /// Answers a gate; `None` when it has asked for what it may not have.
    pub(super) fn hear_gate(
        &mut self,
        gate: &mut Gate,
        shown: &Shown,
        ask: Ask,
    ) -> Result<Option<Answer>> {
        Ok(match ask {
            Ask::Certificate => Some(Answer::Bytes(shown.certificate.clone())),
            Ask::Sign(content) => {
                let is_first = !std::mem::replace(&mut gate.has_signed, true);
                let signature = shown.secrets.sign(ED25519, &content);
                signature.filter(|_| is_first).map(Answer::Bytes)
            }
            Ask::Introduce { line, exporter } => match line {
                Line {
                    id: Some(id),
                    message: Message::Request(Request::Ds1(it)),
                } if gate.known.is_none() => Some(self.introduce(gate, id, &it, exporter)?),
                _ => None,
            },
            Ask::Enter => match gate.known.take() {
                Some(peer) => {
                    gate.is_over = true;
                    Some(Answer::Entered(self.pass(peer)?))
                }
                None => None,
            },
        })
    }

    fn introduce(
        &mut self,
        gate: &mut Gate,
        id: Id,
        it: &Ds1,
        exporter: Exporter,
    ) -> Result<Answer> {
        let refused = |code| {
            Answer::Refused(Line {
                id: Some(id),
                message: Message::Reply(reply_of(code)),
            })
        };
        let user = &it.plaintext.from;
        let purpose = it.plaintext.purpose;
        let keys = self.keys_of(user, purpose)?;
        if keys.is_empty() {
            return Ok(refused(Code::NoSuchUser));
        }
        let is_his = |key: &&Key| {
            let parties = Parties {
                own: self.settings.user.clone(),
                other: user.clone(),
                key: **key,
                time: self.hub_time(),
            };
            parties.is_introduced(it, &exporter)
        };
        let Some(key) = keys.iter().find(is_his).copied() else {
            log::warn!(peer:% = gate.peer, user = user.as_str(); "peer is not who it says");
            return Ok(refused(Code::PeerNotVerified));
        };
        let theirs = self.peers.values().filter(|peer| peer.user == *user);
        if self.peers.len() >= MOST_LINES || theirs.count() >= MOST_OF_ONE {
            return Ok(refused(Code::Later));
        }
        let statement = introduction::answer(&it.plaintext, &self.keys);
        let statement = statement.map_err(std::io::Error::other)?;
        gate.known = Some(Peer {
            user: user.clone(),
            key,
            taking: None,
        });
        let verified = Line {
            id: Some(id),
            message: Message::Reply(Reply::DiallerVerified),
        };
        let statement = Line {
            id: Some(Id::FIRST),
            message: Message::Request(statement.into()),
        };
        Ok(Answer::Verified(verified, statement))
    }

    /// The keys by which this user may show who it is: those of its tickets, and for an
    /// emergency the one that was known first.
    fn keys_of(&self, user: &User, purpose: Purpose) -> Result<Vec<Key>> {
        if purpose == Purpose::Emergency {
            let known = self.catalog.owner(user)?;
            return Ok(known.into_iter().map(|owner| owner.key).collect());
        }
        let tickets = self.tickets.of(user);
        let tickets = tickets.filter(|ticket| ticket.purpose == purpose);
        let keys: HashSet<Key> = tickets.map(|ticket| ticket.key).collect();
        Ok(keys.into_iter().collect())
    }

    fn pass(&mut self, peer: Peer) -> Result<Pass> {
        let mut pass = Pass::default();
        getrandom::fill(&mut pass).map_err(std::io::Error::other)?;
        self.passes.insert(pass, (peer, self.now + PASS));
        Ok(pass)
    }

    /// The peer of a pass, of this name, for the session of this number.
    pub(super) fn enter(&mut self, number: u64, user: &User, pass: &Pass) -> bool {
        let is_his = |(peer, until): &(Peer, Time)| peer.user == *user && *until > self.now;
        match self.passes.remove(pass).filter(is_his) {
            Some((peer, _)) => {
                self.peers.insert(number, peer);
                true
            }
            None => false,
        }
    }
}
