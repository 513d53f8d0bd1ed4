//! What gates, sessions, carriers and the hub's line say to the stock, and what it says to them.
//! Whose channel it is decides who speaks; nothing in a message does.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::hub::wire::{
    AuditKey, Checksum, Exporter, Id, Key, Kind, Kinds, Line, Name, NotStored, Random, Signature,
    Token, User,
};
use crate::ipc::Pipe;
use crate::ipc::codec::codec;
use crate::ipc::orders::Tag;
use crate::session::login::{AskingGate, GatePipe};

/// The most files of a list in a message.
pub const MOST_LISTED: u32 = 64;

/// What shows that a gate has admitted the peer of a session.
pub type Pass = [u8; 16];

/// Who has a new channel: from the daemon.
#[derive(Debug)]
pub enum NewCaller {
    /// A gate.
    Gate(AskingGate),
    /// A session.
    Session {
        /// Whom it serves.
        user: User,
        /// The channel to it.
        channel: Pipe<ToSession, FromSession>,
    },
    /// The line to the hub.
    Line(Pipe<ToLine, FromLine>),
    /// A carrier, which was asked for.
    Carrier {
        /// The number of its dial.
        number: u64,
        /// The channel to it.
        channel: Pipe<ToCarrier, FromCarrier>,
    },
}

codec!(enum NewCaller {
    1 => Gate(gate),
    2 => Session { user, channel },
    3 => Line(channel),
    4 => Carrier { number, channel },
});

/// What the stock says to the daemon.
#[derive(Debug)]
pub enum ToDaemon {
    /// A gate's peer is in.
    Admitted(Admitted),
    /// A carrier is wanted.
    Dial(Dial),
    /// A caller is.
    Call(Call),
}

codec!(enum ToDaemon { 1 => Admitted(admitted), 2 => Dial(dial), 3 => Call(call) });

/// Where a peer waits for this holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The hub's relay, or the peer itself.
    pub address: SocketAddr,
    /// What the relay knows us by, if it is one.
    pub token: Option<Token>,
}

codec!(struct Call { address, token });

/// A line to another holder that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Dial {
    /// Its number.
    pub number: u64,
    /// Where the other one is.
    pub address: SocketAddr,
    /// What the relay at this address knows us by, if it is one.
    pub token: Option<Token>,
    /// The key of the other one's certificate.
    pub key: Key,
}

codec!(struct Dial { number, address, token, key });

/// A gate whose peer is in.
#[derive(Debug)]
pub struct Admitted {
    /// Its connection.
    pub tag: Tag,
    /// Who is in.
    pub user: User,
    /// The channel to it.
    pub gate: GatePipe,
}

codec!(struct Admitted { tag, user, gate });

/// What a gate asks.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum Ask {
    /// The certificate that peers see, in PEM.
    Certificate,
    /// A signature of the handshake.
    Sign(Vec<u8>),
    /// Whether the peer may come in that states this on a connection with this export.
    Introduce {
        /// `DS1`.
        line: Line,
        /// What both ends have exported from TLS.
        exporter: Exporter,
    },
    /// The session: the peer knows who we are, too.
    Enter,
}

codec!(enum Ask { 1 => Certificate, 2 => Sign(content), 3 => Introduce { line, exporter }, 4 => Enter });

/// What a gate is answered.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum Answer {
    /// The certificate, or a signature.
    Bytes(Vec<u8>),
    /// The peer gets these lines: `204` and `DS2`.
    Verified(Line, Line),
    /// The peer gets this reply.
    Refused(Line),
    /// A session of the peer follows, which shows this.
    Entered(Pass),
}

codec!(enum Answer { 1 => Bytes(bytes), 2 => Verified(reply, statement), 3 => Refused(reply), 4 => Entered(pass) });

/// A file that is to come, as its sender announces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    /// Its name.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// What it is, if the sender says so.
    pub kind: Option<Kind>,
    /// Whose it is, if the sender says so.
    pub owner: Option<User>,
    /// The owner's signature.
    pub sig: Option<Signature>,
}

codec!(struct Coming { name, size, kind, owner, sig });

/// What a session asks.
#[derive(Debug)]
pub enum FromSession {
    /// It serves the peer of this pass from now on.
    Enter(Pass),
    /// May this file come?
    Take(Coming),
    /// All its bytes have come, and are what its name says.
    Whole,
    /// Its bytes were others, or there was no room for them: the part is of no use.
    Spoiled,
    /// This file of that size, or of any.
    Fetch {
        /// Its name.
        name: Name,
        /// Its bytes.
        size: Option<u64>,
    },
    /// A file of another kind than data; without a name the newest snapshot.
    FetchIndex {
        /// Whose.
        user: User,
        /// Its name.
        name: Option<Name>,
    },
    /// What there is of an owner, behind this name.
    List {
        /// Whose.
        user: User,
        /// What of it.
        kinds: Option<Kinds>,
        /// The last name that is known.
        behind: Option<Name>,
    },
}

codec!(enum FromSession {
    1 => Enter(pass),
    2 => Take(coming),
    3 => Whole,
    4 => Spoiled,
    5 => Fetch { name, size },
    6 => FetchIndex { user, name },
    7 => List { user, kinds, behind },
});

/// A file of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// When it came.
    pub time: u64,
    /// What it is.
    pub kind: Kind,
    /// Whether it is in the trash.
    pub is_trash: bool,
}

codec!(struct Listed { name, size, time, kind, is_trash });

/// What the stock sends to a session.
#[derive(Debug)]
pub enum ToSession {
    /// It is known.
    Entered,
    /// The peer gets a reply of this code.
    Refused(u16),
    /// The file may come.
    Take {
        /// Where its bytes go.
        part: OwnedFd,
        /// How many are there already.
        from: u64,
    },
    /// The file is on disk: this is signed for it.
    Receipt(Signature),
    /// The part is gone.
    Dropped,
    /// A file to send, or to check.
    Give {
        /// Its bytes.
        file: OwnedFd,
        /// Its name.
        name: Name,
        /// How many there are; the rest is not the file's.
        size: u64,
        /// What it is.
        kind: Kind,
        /// Its owner's signature.
        sig: Signature,
        /// Its owner.
        owner: User,
    },
    /// A part of a list; empty behind the last.
    Listed(Vec<Listed>),
    /// Not an answer: finish what is under way, and close.
    Stop,
}

codec!(enum ToSession {
    1 => Entered,
    2 => Refused(code),
    3 => Take { part, from },
    4 => Receipt(signature),
    5 => Dropped,
    6 => Give { file, name, size, kind, sig, owner },
    7 => Listed(files),
    8 => Stop,
});

/// What a carrier says.
#[derive(Debug)]
pub enum FromCarrier {
    /// It is connected, and has exported this from TLS: it needs a statement.
    Introduce(Exporter),
    /// The other one knows us; what next?
    Next,
    /// What has come of the file, if it has not got through; what next?
    Carried(Option<NotStored>),
    /// May this file come, which was asked for?
    Take(Coming),
    /// All its bytes have come, and are what its name says.
    Whole,
    /// Its bytes were others, or there was no room for them.
    Spoiled,
    /// The line came to nothing.
    Failed(NotStored),
}

codec!(enum FromCarrier {
    1 => Introduce(exporter),
    2 => Next,
    3 => Carried(reason),
    4 => Take(coming),
    5 => Whole,
    6 => Spoiled,
    7 => Failed(reason),
});

/// A file that goes to another holder.
#[derive(Debug)]
pub struct Going {
    /// Its bytes.
    pub file: OwnedFd,
    /// Its name.
    pub name: Name,
    /// How many bytes there are; the rest is not the file's.
    pub size: u64,
    /// What it is.
    pub kind: Kind,
    /// Its owner's signature.
    pub sig: Signature,
    /// Its owner.
    pub owner: User,
    /// The key that signs for the owner.
    pub okey: Key,
}

codec!(struct Going { file, name, size, kind, sig, owner, okey });

/// What the stock sends to a carrier.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum ToCarrier {
    /// What it states: `DS1`.
    Statement(Line),
    /// Send this file.
    Send(Going),
    /// Fetch this file.
    Fetch {
        /// Its name.
        name: Name,
        /// Its bytes.
        size: u64,
    },
    /// The file may come.
    Part {
        /// Where its bytes go.
        part: OwnedFd,
        /// How many are there already.
        from: u64,
    },
    /// It is done.
    Done,
    /// It is not: for this reason.
    Refused(NotStored),
    /// There is nothing more to do.
    End,
}

codec!(enum ToCarrier {
    1 => Statement(line),
    2 => Send(going),
    3 => Fetch { name, size },
    4 => Part { part, from },
    5 => Done,
    6 => Refused(reason),
    7 => End,
});

/// What the hub's line says.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum FromLine {
    /// The hub asks for a response to this.
    Challenge {
        /// Seconds since 1970.
        time: u64,
        /// What was drawn.
        random: Random,
        /// What both ends have exported from TLS.
        exporter: Exporter,
    },
    /// The hub has let it in.
    Ready {
        /// The hub's time.
        time: u64,
        /// Where the hub is, and its relay.
        hub: IpAddr,
        /// Whether the hub wants to hear of every file.
        is_rebuilt: bool,
    },
    /// The connection is lost.
    Lost,
    /// A request or a notice of the hub.
    Line(Line),
    /// The hub's answer to a request of the stock.
    Answered {
        /// The request.
        tag: u64,
        /// The answer.
        line: Line,
    },
}

codec!(enum FromLine {
    1 => Challenge { time, random, exporter },
    2 => Ready { time, hub, is_rebuilt },
    3 => Lost,
    4 => Line(line),
    5 => Answered { tag, line },
});

/// What the stock sends to the hub's line.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on, one at a time")]
pub enum ToLine {
    /// The response to the challenge.
    Response {
        /// By the login key.
        response: Checksum,
        /// By the holder key.
        sig: Signature,
    },
    /// An answer to a request of the hub, or a notice.
    Line(Line),
    /// A request, without a number.
    Ask {
        /// What the answer is to have.
        tag: u64,
        /// The request.
        line: Line,
    },
}

codec!(enum ToLine { 1 => Response { response, sig }, 2 => Line(line), 3 => Ask { tag, line } });

/// What the slow thread is to do with a file.
#[derive(Debug)]
pub struct Job {
    /// Its bytes.
    pub file: OwnedFd,
    /// How many there are.
    pub size: u64,
    /// What is wanted.
    pub work: Work,
}

codec!(struct Job { file, size, work });

/// What is wanted of a file.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// The checksum that the hub asks for, for its request of this number.
    Checksum {
        /// The request.
        id: Id,
        /// The key.
        key: AuditKey,
    },
    /// What its name should be, read at leisure.
    Name,
}

codec!(enum Work { 1 => Checksum { id, key }, 2 => Name });

/// What has come of a job; `None` when the file can't be read.
#[derive(Debug)]
pub struct Done {
    /// What was wanted.
    pub work: Work,
    /// The checksum, or the name.
    pub found: Option<Checksum>,
}

codec!(struct Done { work, found });
