//! Lines to keepers, each for one file at a time: some to a keeper at once, kept while
//! they are good.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::HubClient;
use crate::backup::keepers::held;
use crate::hub::peer::PeerError;
use crate::hub::peer::introduction::Parties;
use crate::hub::peer::peer_line::PeerLine;
use crate::hub::wire::request::{Fil, Get};
use crate::hub::wire::{
    Key, Kind, Line, Message, Name, NotStored, Purpose, Reply, Request, Signature, Token, User, Way,
};

/// The most lines to one keeper.
const MOST: usize = 2;

/// Bytes that are sent or read at once.
const PIECE: usize = 256 * 1024;

/// How long a line that is cut is made again for one file, and the pause before that.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// The pause before a keeper is dialled again that takes no more lines of this owner.
const BUSY: Duration = Duration::from_secs(1);

/// A keeper, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub(super) user: User,
    pub(super) key: Key,
    pub(super) way: Way,
    /// Where it is for who is in the same network.
    pub(super) lan: Option<SocketAddr>,
}

impl Keeper {
    /// The way as a book has it: one that named a token would be another each time.
    pub(super) fn lasting_way(&self) -> Way {
        let mut way = self.way.clone();
        if let Way::Relay { token, .. } = &mut way {
            *token = Token([0; 16]);
        }
        way
    }
}

/// Lines for one purpose.
pub(super) struct Peers {
    purpose: Purpose,
    lines: Mutex<BTreeMap<User, Lines>>,
    freed: Condvar,
}

#[derive(Default)]
struct Lines {
    idle: Vec<PeerLine>,
    /// Idle ones and others.
    open: usize,
}

impl Peers {
    pub(super) fn new(purpose: Purpose) -> Peers {
        Peers {
            purpose,
            lines: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Keepers with a line.
    pub(super) fn open(&self) -> Vec<User> {
        let lines = held(&self.lines);
        let open = lines.iter().filter(|(_, lines)| lines.open > 0);
        open.map(|(user, _)| user.clone()).collect()
    }

    /// Does something on a line to a keeper: on an idle one, or on a new one by the way that
    /// `way` finds. A line on which it fails is not used again.
    pub(super) fn with<T>(
        &self,
        client: &HubClient,
        user: &User,
        mut way: impl FnMut() -> Result<Keeper, NotStored>,
        mut act: impl FnMut(&mut PeerLine) -> Result<T, NotStored>,
    ) -> Result<T, NotStored> {
        let mut line = self.line(client, user, &mut way)?;
        let done = act(&mut line);
        let is_good = match &done {
            Ok(_) | Err(NotStored::Missing | NotStored::Corrupt | NotStored::Full) => true,
            Err(_) => false,
        };
        self.give_back(user, is_good.then_some(line));
        done
    }

    /// The same over as many lines as it takes, where they are cut for a while: `act` goes on
    /// where the last one has ended.
    pub(super) fn with_lines<T>(
        &self,
        client: &HubClient,
        user: &User,
        mut way: impl FnMut() -> Result<Keeper, NotStored>,
        mut act: impl FnMut(&mut PeerLine) -> Result<T, NotStored>,
    ) -> Result<T, NotStored> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.with(client, user, &mut way, &mut act) {
                Err(NotStored::Timeout) if Instant::now() < end => thread::sleep(PAUSE),
                done => return done,
            }
        }
    }

    /// An idle line, or a new one. Where other machines of the owner have all lines that the
    /// keeper gives him, those that are open here have to do, and the first one is waited for.
    fn line(
        &self,
        client: &HubClient,
        user: &User,
        way: &mut impl FnMut() -> Result<Keeper, NotStored>,
    ) -> Result<PeerLine, NotStored> {
        let end = Instant::now() + PATIENCE;
        let mut most = MOST;
        loop {
            let idle = self.take(user, most);
            if let Some(line) = idle.and_then(|mut line| (!line.is_over()).then_some(line)) {
                return Ok(line);
            }
            let dialled = way().and_then(|keeper| match self.has_relayed(&keeper) {
                true => Ok(None),
                false => self.introduce(client, &keeper),
            });
            if let Ok(Some(line)) = dialled {
                return Ok(line);
            }
            most = self.give_back(user, None).max(1);
            dialled?;
            if Instant::now() > end {
                return Err(NotStored::Refused);
            }
            thread::sleep(BUSY);
        }
    }

    /// An idle line; `None` if one more than these may be opened, whose place is taken.
    fn take(&self, user: &User, most: usize) -> Option<PeerLine> {
        let mut lines = held(&self.lines);
        loop {
            let of_user = lines.entry(user.clone()).or_default();
            if let Some(line) = of_user.idle.pop() {
                return Some(line);
            }
            if of_user.open < most {
                of_user.open += 1;
                return None;
            }
            lines = self
                .freed
                .wait(lines)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes a line back, or its place; how many are open.
    fn give_back(&self, user: &User, line: Option<PeerLine>) -> usize {
        let mut lines = held(&self.lines);
        let of_user = lines.entry(user.clone()).or_default();
        match line {
            Some(line) => of_user.idle.push(line),
            None => of_user.open = of_user.open.saturating_sub(1),
        }
        self.freed.notify_all();
        of_user.open
    }

    /// Whether there is a line by the relay to a keeper already, besides the one that is to
    /// be made: a second one would be no faster.
    fn has_relayed(&self, keeper: &Keeper) -> bool {
        let lines = held(&self.lines);
        let open = lines.get(&keeper.user).map_or(0, |lines| lines.open);
        matches!(keeper.way, Way::Relay { .. }) && open > 1
    }

    /// Dials a keeper; `None` if it takes no more lines.
    fn introduce(
        &self,
        client: &HubClient,
        keeper: &Keeper,
    ) -> Result<Option<PeerLine>, NotStored> {
        let parties = Parties {
            own: client.account().user.clone(),
            other: keeper.user.clone(),
            key: keeper.key,
            time: client.time(),
        };
        let dialled = match &keeper.way {
            Way::Direct(address) => {
                let addresses: Vec<_> = keeper.lan.into_iter().chain([*address]).collect();
                PeerLine::dial(&addresses, &keeper.key)
            }
            Way::Relay { port, token, .. } => {
                let addresses = client.relays(*port);
                PeerLine::meet(&addresses, *token, &keeper.key)
            }
            Way::Back(_) => return Err(NotStored::Unreachable),
        };
        let mut line = match dialled {
            Ok(line) => line,
            // A token is good for one line, and the hub for another token.
            Err(PeerError::Link(_) | PeerError::Unreachable(_))
                if matches!(keeper.way, Way::Relay { .. }) =>
            {
                return Err(NotStored::Refused);
            }
            Err(e) => return Err(reason(&e)),
        };
        match line.introduce(&parties, self.purpose, None, client.keys()) {
            Ok(()) => Ok(Some(line)),
            Err(PeerError::Refused(Reply::Later { .. })) => Ok(None),
            Err(e) => Err(reason(&e)),
        }
    }
}

/// What the hub is told of a line that failed.
pub(super) fn reason(error: &PeerError) -> NotStored {
    match error {
        // It was cut as it was made.
        PeerError::Unreachable(e) if e.kind() == ErrorKind::ConnectionReset => NotStored::Timeout,
        PeerError::Unreachable(_) => NotStored::Unreachable,
        PeerError::NotPinned | PeerError::Refused(Reply::PeerNotVerified) => NotStored::Key,
        // Silent for long, or cut.
        PeerError::Link(_) => NotStored::Timeout,
        _ => NotStored::Refused,
    }
}

/// What a keeper's refusal of a file means.
pub(super) fn refusal(reply: &Reply) -> NotStored {
    match reply {
        Reply::NoSpace { .. } => NotStored::Full,
        Reply::NoSuchFile => NotStored::Missing,
        _ => NotStored::Refused,
    }
}

/// Sends a file; what the keeper has signed for it.
pub(super) fn send(
    line: &mut PeerLine,
    file: &Fil,
    bytes: &[Bytes],
) -> Result<Signature, NotStored> {
    let lost = |e: PeerError| reason(&e);
    let id = line.request(file.clone()).map_err(lost)?;
    let mut from = match line.reply(id).map_err(lost)? {
        Reply::MaySend { from } => from.unwrap_or(0),
        reply => return Err(refusal(&reply)),
    };
    let mut piece = Vec::with_capacity(PIECE);
    for part in bytes {
        let skipped = usize::try_from(from).unwrap_or(usize::MAX).min(part.len());
        from -= skipped as u64;
        for some in part[skipped..].chunks(PIECE) {
            piece.clear();
            piece.extend_from_slice(some);
            line.write(&mut piece).map_err(lost)?;
        }
    }
    match line.reply(id).map_err(lost)? {
        Reply::FileReceived {
            receipt: Some(receipt),
        } => Ok(receipt),
        // It got other bytes, or could not keep them.
        Reply::NoSuchFile => Err(NotStored::Corrupt),
        reply => Err(refusal(&reply)),
    }
}

/// Fetches a file, or a part of it: from an offset so many bytes. What an earlier line
/// has brought is in `bytes`, which gets the rest.
pub(super) fn fetch(
    line: &mut PeerLine,
    name: Name,
    size: u64,
    part: Option<(u64, u64)>,
    bytes: &mut Vec<u8>,
) -> Result<(), NotStored> {
    let lost = |e: PeerError| reason(&e);
    let (off, len) = part.unwrap_or((0, size));
    let wanted = len - bytes.len() as u64;
    let mut get = Get::new(name, size);
    if part.is_some() || !bytes.is_empty() {
        get.off = Some(off + bytes.len() as u64);
        get.len = Some(wanted);
    }
    let asked = line.request(get).map_err(lost)?;
    let (id, file) = match line.line().map_err(lost)? {
        Line {
            id: Some(id),
            message: Message::Reply(reply),
        } if id == asked => return Err(refusal(&reply)),
        Line {
            id: Some(id),
            message: Message::Request(Request::Fil(file)),
        } => (id, file),
        _ => return Err(NotStored::Refused),
    };
    let is_it = file.filename == name && file.r#for.is_none_or(|it| it == asked);
    if !is_it || file.filesize != wanted || wanted > Kind::Data.max_size() {
        return Err(NotStored::Refused);
    }
    line.answer(id, Reply::MaySend { from: None })
        .map_err(lost)?;
    let mut left = usize::try_from(wanted).unwrap_or(0);
    while left > 0 {
        let (len, piece) = (bytes.len(), left.min(PIECE));
        bytes.resize(len + piece, 0);
        if let Err(e) = line.read(&mut bytes[len..]) {
            bytes.truncate(len);
            return Err(lost(e));
        }
        left -= piece;
    }
    // They are here, whatever becomes of the line.
    let _ = line.answer(id, Reply::FileReceived { receipt: None });
    Ok(())
}
