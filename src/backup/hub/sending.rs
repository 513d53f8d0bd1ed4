//! Files that go to keepers in a run: a few packs at once, each to as many keepers as it
//! is to have copies, to the next one where one fails. What names packs waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::audit;
use super::client::HubClient;
use super::number::Number;
use super::peers::{Keeper, Peers, send};
use super::reading::{no_space, refused, refused_removal};
use crate::backup::keepers::{Report, held};
use crate::hub::proofs::Statement;
use crate::hub::wire::request::{Bck, Dbu, Del, Dfi, Dst, Fil, Nst, Pix, Put};
use crate::hub::wire::{
    Factor, Flag, Key, Kind, Message, Name, NotStored, Purpose, Reply, Request, RunId, Signature,
    User, Way,
};

/// The most packs under way, whatever the hub allows. As many more wait or are filled.
const MOST: u64 = 2;

/// What a run reserves at first: a pack. The hub looks at each file for itself.
const RESERVED: u64 = 16 << 20;

/// The most copies of a file.
const MOST_COPIES: u8 = 16;

/// How often a file is offered that nobody takes, and how long that waits.
const TRIES: u32 = 4;
const WAIT: Duration = Duration::from_secs(3);

/// How often a copy is given to another keeper, and how often to one whose ticket may have
/// ended.
const MOVES: u32 = 16;
const AGAIN: u32 = 3;

/// What sends.
pub(super) struct Sending {
    client: HubClient,
    peers: Peers,
    report: Arc<Report>,
    state: Mutex<State>,
    changed: Condvar,
    /// Keepers that have signed for a file.
    keepers: Mutex<BTreeMap<User, (Key, Way)>>,
    /// Keepers that have been asked whether they have what they took.
    asked: Mutex<BTreeSet<User>>,
}

#[derive(Default)]
struct State {
    run: Option<RunId>,
    number: Option<Number>,
    factor: Option<Factor>,
    window: u64,
    under_way: u64,
    failed: Option<String>,
}

/// A file that goes out.
struct File {
    name: Name,
    kind: Kind,
    size: u64,
    bytes: Vec<Bytes>,
    factor: Factor,
}

/// How a request to begin was answered.
pub(super) enum Begun {
    Open,
    /// Another run forbids it.
    Closed,
}

impl Sending {
    pub(super) fn new(client: HubClient, report: Arc<Report>) -> Sending {
        Sending {
            client,
            peers: Peers::new(Purpose::Backup),
            report,
            state: Mutex::default(),
            changed: Condvar::new(),
            keepers: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// Keepers that have signed for a file.
    pub(super) fn keepers(&self) -> BTreeMap<User, (Key, Way)> {
        held(&self.keepers).clone()
    }

    /// Begins a run. Where too few keepers are online it is one of fewer copies.
    pub(super) fn begin(&self, is_exclusive: bool) -> io::Result<Begun> {
        held(&self.state).number = None;
        let number = Number::take(&self.client)?;
        let wanted = self.client.account().factor.get();
        for copies in (1..=wanted).rev().filter_map(Factor::new) {
            let mut run = Bck::new(RESERVED, 1, copies);
            run.run = Some(number.id);
            run.exclusive = is_exclusive.then_some(Flag);
            let mut begun = self.client.begin(run.clone())?;
            if matches!(begun, Reply::Later { .. }) {
                Number::end_dead(&self.client)?;
                begun = self.client.begin(run)?;
            }
            match begun {
                Reply::MayBegin { window, .. } => {
                    if copies.get() < wanted {
                        self.report.has_fewer();
                        let what = format!("{} of {wanted} are online", copies.get());
                        self.report.note(&"keepers", &what);
                    }
                    *held(&self.state) = State {
                        run: Some(number.id),
                        number: Some(number),
                        factor: Some(copies),
                        window: window.unwrap_or(1).clamp(1, MOST),
                        ..State::default()
                    };
                    return Ok(Begun::Open);
                }
                Reply::NoHolder { .. } => {}
                Reply::Later { .. } => return Ok(Begun::Closed),
                Reply::NoSpace { hub } => return Err(no_space(hub)),
                reply => return Err(refused(&reply)),
            }
        }
        Err(io::Error::other("no keeper is online"))
    }

    /// Ends the run, once all copies are there.
    pub(super) fn finish(&self) -> io::Result<()> {
        self.barrier()?;
        let mut dbu = Dbu::new();
        dbu.run = held(&self.state).run.take();
        let answer = self.client.ask(dbu)?.pop();
        self.client.end_run();
        match answer {
            Some(Message::Reply(Reply::UpdateDone { .. })) => Ok(()),
            Some(Message::Reply(Reply::NoHolder { missing })) => {
                let what = format!("{} copies are not confirmed", missing.unwrap_or(0));
                self.report.note(&"hub", &what);
                self.report.has_fewer();
                self.abort();
                Ok(())
            }
            Some(Message::Reply(reply)) => Err(refused(&reply)),
            _ => Err(io::Error::other("the hub does not end the run")),
        }
    }

    /// Gives the run up, if it is not over.
    pub(super) fn abort(&self) {
        let run = held(&self.state).run.take();
        if let Some(run) = run {
            self.client.end_run();
            // It dies of itself, later.
            let _ = self.client.abort(run);
        }
    }

    /// Sends a file: a pack as soon as there is room, which this does not wait for; what
    /// names packs once those are there.
    pub(super) fn write(
        self: &Arc<Self>,
        name: Name,
        kind: Kind,
        bytes: &[Bytes],
    ) -> io::Result<()> {
        let size = bytes.iter().map(|part| part.len() as u64).sum();
        let factor = held(&self.state).factor;
        let file = File {
            name,
            kind,
            size,
            bytes: bytes.to_vec(),
            factor: factor.ok_or_else(|| io::Error::other("no run is open"))?,
        };
        if kind != Kind::Data {
            self.barrier()?;
            return self.store(&file);
        }
        let mut state = held(&self.state);
        while state.under_way >= state.window && state.failed.is_none() {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(why) = &state.failed {
            return Err(io::Error::other(why.clone()));
        }
        state.under_way += 1;
        drop(state);
        let sending = Arc::clone(self);
        let sent = thread::Builder::new().spawn(move || {
            let stored = sending.store(&file);
            sending.is_over(stored);
        });
        sent.map(drop).inspect_err(|_| self.is_over(Ok(())))
    }

    /// Sends a book, to as many keepers as may be. One that has it is enough.
    pub(super) fn write_book(&self, name: Name, bytes: Bytes, copies: usize) -> io::Result<()> {
        self.barrier()?;
        let copies = u8::try_from(copies)
            .unwrap_or(u8::MAX)
            .clamp(1, MOST_COPIES);
        let file = File {
            name,
            kind: Kind::Book,
            size: bytes.len() as u64,
            bytes: vec![bytes],
            factor: Factor::new(copies).unwrap_or(Factor::ONE),
        };
        for tries in 0..TRIES {
            if tries > 0 {
                thread::sleep(WAIT);
            }
            if self.place(&file)? > 0 {
                return Ok(());
            }
        }
        Err(io::Error::other("no keeper takes the book"))
    }

    fn is_over(&self, stored: io::Result<()>) {
        let mut state = held(&self.state);
        state.under_way -= 1;
        if let Err(e) = stored {
            self.report.give_up();
            state.failed.get_or_insert(e.to_string());
        }
        self.changed.notify_all();
    }

    /// Waits until all packs are where they belong.
    fn barrier(&self) -> io::Result<()> {
        let mut state = held(&self.state);
        while state.under_way > 0 {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        match &state.failed {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }

    /// Brings a file back that keepers have in their trash: they have its bytes, or get
    /// them.
    pub(super) fn bring_back(
        &self,
        name: Name,
        kind: Kind,
        size: u64,
        bytes: impl FnOnce() -> io::Result<Bytes>,
    ) -> io::Result<()> {
        let factor = held(&self.state).factor;
        let mut file = File {
            name,
            kind,
            size,
            bytes: Vec::new(),
            factor: factor.ok_or_else(|| io::Error::other("no run is open"))?,
        };
        let mut copies = 0;
        if self.ask_places(&file, &mut copies)?.is_empty() && copies > 0 {
            return Ok(());
        }
        file.bytes.push(bytes()?);
        self.store(&file)
    }

    /// Gives a file to its keepers.
    fn store(&self, file: &File) -> io::Result<()> {
        let mut tries = 0;
        loop {
            let copies = self.place(file)?;
            if copies >= file.factor.get().into() {
                return Ok(());
            }
            tries += 1;
            // A keeper may be back soon. Once that was in vain, nothing waits for it.
            let is_last = tries == TRIES || self.report.is_fewer();
            if copies > 0 && is_last {
                self.report.has_fewer();
                let what = format!("{copies} of {} copies", file.factor.get());
                let name = crate::text::hex(&file.name.0[..4]);
                self.report.note(&name, &what);
                return Ok(());
            }
            if tries == TRIES {
                return Err(io::Error::other("no keeper takes it"));
            }
            thread::sleep(WAIT);
        }
    }

    /// Sends copies of a file to all keepers that the hub names; how many are there.
    fn place(&self, file: &File) -> io::Result<u32> {
        let mut copies = 0;
        let mut again: BTreeMap<User, u32> = BTreeMap::new();
        let mut places = self.ask_places(file, &mut copies)?;
        for _ in 0..MOVES {
            let failed = self.send_all(file, &places);
            copies += u32::try_from(places.len() - failed.len()).unwrap_or(0);
            if failed.is_empty() {
                break;
            }
            places.clear();
            let mut is_asked = false;
            for (keeper, reason) in failed {
                // A ticket may have ended with a line: the hub makes another one.
                let may_pass = matches!(reason, NotStored::Refused | NotStored::Timeout);
                let tries = again.entry(keeper.clone()).or_default();
                *tries += 1;
                if may_pass && *tries <= AGAIN {
                    is_asked = true;
                    continue;
                }
                let about = format!("keeper {}", keeper.as_str());
                self.report
                    .note(&about, &format!("does not store: {}", reason.word()));
                places.extend(self.elsewhere(file, keeper, reason, &mut copies)?);
            }
            if is_asked {
                copies = 0;
                let mut asked = self.ask_places(file, &mut copies)?;
                asked.retain(|place| places.iter().all(|it| it.username != place.username));
                places.extend(asked);
            }
        }
        Ok(copies)
    }

    /// Asks where the copies go; `copies` gets how many are there already.
    fn ask_places(&self, file: &File, copies: &mut u32) -> io::Result<Vec<Dst>> {
        let request: Request = match file.kind {
            Kind::Data => Put::new(file.name, file.size).into(),
            kind => {
                let mut pix = Pix::new(file.name, file.size, file.factor);
                pix.kind = Some(kind);
                pix.into()
            }
        };
        let mut places = Vec::new();
        for answer in self.client.ask(request)? {
            match answer {
                Message::Request(Request::Dst(it)) => places.push(it),
                Message::Reply(Reply::TransferCompleted) => *copies += 1,
                Message::Reply(Reply::NoHolder { .. }) => {}
                Message::Reply(Reply::NoSpace { hub }) => return Err(no_space(hub)),
                Message::Reply(reply) => return Err(refused(&reply)),
                Message::Request(_) => return Err(io::Error::other("the hub names no place")),
            }
        }
        Ok(places)
    }

    /// Reports a keeper that has failed; where the copy goes now.
    fn elsewhere(
        &self,
        file: &File,
        keeper: User,
        reason: NotStored,
        copies: &mut u32,
    ) -> io::Result<Option<Dst>> {
        let mut nst = Nst::new(keeper);
        nst.name = Some(file.name);
        nst.reason = Some(reason);
        match self.client.ask(nst)?.pop() {
            Some(Message::Request(Request::Dst(it))) => Ok(Some(it)),
            Some(Message::Reply(Reply::TransferCompleted)) => {
                *copies += 1;
                Ok(None)
            }
            Some(Message::Reply(Reply::NoHolder { .. } | Reply::NoSuchFile)) => Ok(None),
            Some(Message::Reply(reply)) => Err(refused(&reply)),
            _ => Err(io::Error::other("the hub names no place")),
        }
    }

    /// Sends to all of these at once; those that have failed.
    fn send_all(&self, file: &File, places: &[Dst]) -> Vec<(User, NotStored)> {
        let sent: Vec<Result<(), NotStored>> = thread::scope(|scope| {
            let threads: Vec<_> = places
                .iter()
                .map(|place| scope.spawn(move || self.send_one(file, place)))
                .collect();
            let join =
                |it: thread::ScopedJoinHandle<'_, _>| it.join().unwrap_or(Err(NotStored::Refused));
            threads.into_iter().map(join).collect()
        });
        let failed = |(place, sent): (&Dst, Result<(), NotStored>)| {
            let reason = sent.err()?;
            Some((place.username.clone(), reason))
        };
        places.iter().zip(sent).filter_map(failed).collect()
    }

    fn send_one(&self, file: &File, place: &Dst) -> Result<(), NotStored> {
        let keeper = Keeper {
            user: place.username.clone(),
            key: place.key,
            way: place.ip.clone(),
            lan: place.lan,
        };
        let account = self.client.account();
        let statement = Statement::File {
            hub: &account.hub,
            owner: &account.user,
            name: file.name,
            size: file.size,
        };
        let mut fil = Fil::new(file.name, file.size);
        fil.kind = Some(file.kind);
        fil.sig = Some(self.sign(&statement)?);
        let way = || Ok(keeper.clone());
        let receipt = self
            .peers
            .with_lines(&self.client, &keeper.user, way, |line| {
                send(line, &fil, &file.bytes)
            })?;
        let statement = Statement::Receipt {
            hub: &account.hub,
            holder: &keeper.user,
            owner: &account.user,
            name: file.name,
            size: file.size,
        };
        if !statement.is_signed(&keeper.key, &receipt) {
            return Err(NotStored::Key);
        }
        let is_first = held(&self.asked).insert(keeper.user.clone());
        if is_first || audit::is_drawn() {
            self.peers
                .with_lines(&self.client, &keeper.user, way, |line| {
                    audit::has(line, file.name, &file.bytes)
                })?;
        }
        let at = (keeper.key, keeper.lasting_way());
        held(&self.keepers).insert(keeper.user.clone(), at);
        let mut dfi = Dfi::new(file.name, keeper.user);
        dfi.receipt = Some(receipt);
        match self
            .client
            .ask(dfi)
            .ok()
            .and_then(|mut answers| answers.pop())
        {
            Some(Message::Reply(Reply::TransferCompleted)) => Ok(()),
            _ => Err(NotStored::Refused),
        }
    }

    fn sign(&self, statement: &Statement<'_>) -> Result<Signature, NotStored> {
        statement
            .sign(&self.client.keys().key)
            .map_err(|_| NotStored::Key)
    }

    /// Has a file removed from its keepers.
    pub(super) fn remove(&self, name: Name, size: u64) -> io::Result<()> {
        let account = self.client.account();
        let time = self.client.time();
        let statement = Statement::Removal {
            hub: &account.hub,
            owner: &account.user,
            name,
            size,
            time,
        };
        let mut del = Del::new(name);
        del.proof = Some(statement.sign(&self.client.keys().key)?);
        del.time = Some(time);
        match self.client.ask(del)?.pop() {
            Some(Message::Reply(Reply::FileDeleted | Reply::NoSuchFile)) => Ok(()),
            Some(Message::Reply(reply)) => Err(refused_removal(&reply)),
            _ => Err(io::Error::other(
                "the hub does not say whether it is deleted",
            )),
        }
    }
}
