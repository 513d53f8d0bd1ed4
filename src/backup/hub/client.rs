//! An owner's line to the hub: one request after the other, each until it is answered,
//! over new lines where the old one is lost. A run goes on with its number.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::backup::account::Account;
use crate::backup::keepers::{Report, held};
use crate::backup::{BackupError, Result};
use crate::hub::peer::PeerError;
use crate::hub::peer::line::{Heard, HubLine, Login, Missing, Place};
use crate::hub::peer::signer::Keys;
use crate::hub::wire::request::{Abt, Acs, Bck, Wrn};
use crate::hub::wire::{Message, Reply, Request, Role, RunId};

/// The pauses between two lines, the first and the longest.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long a hub is out of reach before a person should know.
const WORTH_A_NOTE: Duration = Duration::from_secs(30);

/// The longest time for which a request waits that the hub puts off.
const MAX_LATER: u64 = 60;

/// An owner at a hub.
pub(super) struct HubClient {
    account: Account,
    keys: Arc<Keys>,
    report: Arc<Report>,
    /// How long a hub may be out of reach.
    patience: Duration,
    line: Mutex<Option<HubLine>>,
    run: Mutex<Option<Bck>>,
    /// How far the hub's clock is ahead, in seconds.
    ahead: AtomicI64,
    /// What it has said of the space that is left.
    space: Mutex<Option<Acs>>,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl HubClient {
    pub(super) fn new(
        account: Account,
        keys: Arc<Keys>,
        report: Arc<Report>,
        patience: Duration,
    ) -> HubClient {
        HubClient {
            account,
            keys,
            report,
            patience,
            line: Mutex::default(),
            run: Mutex::default(),
            ahead: AtomicI64::new(0),
            space: Mutex::default(),
        }
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The time of the hub's clock.
    pub(super) fn time(&self) -> u64 {
        now().saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    pub(super) fn space(&self) -> Option<Acs> {
        held(&self.space).clone()
    }

    /// Logs in, at once or not at all.
    pub(super) fn connect(&self) -> Result<()> {
        let line = self.open().map_err(|e| self.explain(&e))?;
        *held(&self.line) = Some(line);
        Ok(())
    }

    /// Why it has no line.
    fn explain(&self, error: &PeerError) -> BackupError {
        let address = &self.account.entrance.address;
        match error {
            PeerError::Refused(Reply::NotVerified) => BackupError::WrongKey(format!(
                "{address}: the hub knows no user {} with this key: tf hub join, or is it another phrase?",
                self.account.user.as_str()
            )),
            PeerError::NotPinned => BackupError::NoHub(format!(
                "{address}: it shows another key than {}: it is another server, or its key is new: \
                 ask who runs it, and tf hub recover with the new one",
                self.account.entrance.pin
            )),
            e => BackupError::NoHub(format!("{address}: {e}")),
        }
    }

    fn open(&self) -> Result<HubLine, PeerError> {
        let entrance = &self.account.entrance;
        let internal = |e: BackupError| PeerError::Unreachable(io::Error::other(e.to_string()));
        let addresses = entrance.addresses().map_err(internal)?;
        let tls = entrance.tls().map_err(internal)?;
        let place = Place {
            addresses: &addresses,
            host: entrance.host(),
            tls: &tls,
            name: Some(&self.account.hub),
        };
        let login = Login {
            user: self.account.user.clone(),
            role: Role::Owner,
            port: None,
        };
        let (line, missing) = HubLine::open(&place, login, &*self.keys)?;
        if missing != Missing::Nothing {
            return Err(PeerError::Broken("the hub has forgotten the key"));
        }
        let ahead = line.time().cast_signed() - now().cast_signed();
        self.ahead.store(ahead, Ordering::Relaxed);
        Ok(line)
    }

    /// Where the hub's relay is at this port: where the hub is, and nowhere else.
    pub(super) fn relays(&self, port: u16) -> Vec<SocketAddr> {
        let hubs = self.account.entrance.addresses().unwrap_or_default();
        let relays = hubs.into_iter();
        relays.map(|hub| SocketAddr::new(hub.ip(), port)).collect()
    }

    /// Begins a run, which later lines resume; the hub's answer.
    pub(super) fn begin(&self, run: Bck) -> io::Result<Reply> {
        let answers = self.ask(run.clone())?;
        let [Message::Reply(reply)] = answers.as_slice() else {
            return Err(io::Error::other("the hub answers a run by a command"));
        };
        if matches!(reply, Reply::MayBegin { .. }) {
            *held(&self.run) = Some(run);
        }
        Ok(reply.clone())
    }

    /// Forgets the run, which is over.
    pub(super) fn end_run(&self) {
        *held(&self.run) = None;
    }

    /// Has the hub give a run up.
    pub(super) fn abort(&self, run: RunId) -> io::Result<()> {
        let mut abt = Abt::new();
        abt.run = Some(run);
        self.ask(abt).map(drop)
    }

    /// Sends a request; all answers to it.
    pub(super) fn ask(&self, request: impl Into<Request>) -> io::Result<Vec<Message>> {
        let request = request.into();
        let is_run = matches!(request, Request::Bck(_));
        let mut line = held(&self.line);
        let end = Instant::now() + self.patience;
        let mut pause = PAUSE;
        let begin = Instant::now();
        loop {
            let was_idle = line.is_some();
            let asked = self.try_ask(&mut line, &request);
            match &asked {
                Ok(_) => self.is_back(begin),
                Err(_) => {
                    self.report.waits_for(Some(self.out_of_reach()));
                }
            }
            let wait = match asked {
                Ok(answers) => match answers.as_slice() {
                    [Message::Reply(Reply::Later { after })] if !is_run => {
                        Duration::from_secs(after.unwrap_or(5).clamp(1, MAX_LATER))
                    }
                    _ => return Ok(answers),
                },
                Err(e) => {
                    *line = None;
                    let after = match e {
                        PeerError::Left(after) => after.map(|it| it.clamp(1, MAX_LATER)),
                        // It may have been cut long ago.
                        _ if is_passing(&e) && was_idle => continue,
                        _ if is_passing(&e) => None,
                        e => return Err(io::Error::other(self.explain(&e).to_string())),
                    };
                    let chance = Duration::from_millis(getrandom::u64().unwrap_or(0) % 1000);
                    let wait = after.map_or(pause, Duration::from_secs) + chance;
                    pause = (pause * 2).min(MAX_PAUSE);
                    wait
                }
            };
            if Instant::now() + wait > end {
                self.report.waits_for(None);
                return Err(io::Error::other(self.out_of_reach()));
            }
            thread::sleep(wait);
        }
    }

    fn out_of_reach(&self) -> String {
        format!("{}: the hub is out of reach", self.account.entrance.address)
    }

    /// The hub has answered, and perhaps again.
    fn is_back(&self, since: Instant) {
        let gone = since.elapsed();
        if self.report.waits_for(None) && gone > WORTH_A_NOTE {
            let what = format!("was out of reach for {} seconds", gone.as_secs());
            let address = &self.account.entrance.address;
            self.report.note(address, &what);
        }
    }

    fn try_ask(
        &self,
        line: &mut Option<HubLine>,
        request: &Request,
    ) -> Result<Vec<Message>, PeerError> {
        let line = match line {
            Some(line) => line,
            None => {
                let mut new = self.open()?;
                let run = held(&self.run).clone();
                if let Some(run) = run {
                    let answers = self.answers(&mut new, run.into())?;
                    let [Message::Reply(Reply::MayBegin { .. })] = answers.as_slice() else {
                        return Err(PeerError::Broken("the hub has given up the run"));
                    };
                }
                line.insert(new)
            }
        };
        self.answers(line, request.clone())
    }

    fn answers(&self, line: &mut HubLine, request: Request) -> Result<Vec<Message>, PeerError> {
        let asked = line.ask(request)?;
        let mut answers = Vec::new();
        loop {
            match line.hear()? {
                Heard::Answer {
                    id,
                    answer,
                    is_last,
                } if id == asked => {
                    answers.push(answer);
                    if is_last {
                        return Ok(answers);
                    }
                }
                Heard::Answer { .. } => {}
                // Nobody dials an owner.
                Heard::Asked(id, _) => line.answer(id, Reply::NoSuchUser)?,
                Heard::Notice(Request::Wrn(it)) => self.warn(&it),
                Heard::Notice(Request::Acs(it)) => *held(&self.space) = Some(it),
                Heard::Notice(_) => {}
            }
        }
    }

    fn warn(&self, it: &Wrn) {
        let reason = it.reason.map_or("unwell", |reason| reason.word());
        let files = it
            .files
            .map_or(String::new(), |files| format!(", {files} files"));
        let name = it.name.map_or(String::new(), |name| {
            format!(", {}", crate::text::hex(&name.0[..4]))
        });
        let about = format!("keeper {}", it.username.as_str());
        self.report
            .note_once(&about, &format!("the hub says: {reason}{files}{name}"));
    }
}

/// Whether another line may do better.
fn is_passing(error: &PeerError) -> bool {
    match error {
        PeerError::Unreachable(_) | PeerError::Link(_) | PeerError::Busy => true,
        PeerError::Refused(reply) => matches!(
            reply,
            Reply::AddressBlocked { .. } | Reply::AccountBlocked { .. } | Reply::Later { .. }
        ),
        _ => false,
    }
}
