//! The table of commands, and one file for each: a function from a request and
//! a root to a reply. A new command is a row here and a file in this folder, or
//! in `transfer/` when it moves more than one reply.

pub(crate) mod chmod;
pub(crate) mod chown;
pub(crate) mod copy;
pub(crate) mod cpdir;
pub(crate) mod date;
pub(crate) mod del;
pub(crate) mod fstat;
pub(crate) mod fupd;
pub(crate) mod keepalive;
pub(crate) mod lock;
pub(crate) mod mkdir;
pub(crate) mod netlock;
pub(crate) mod netmut;
pub(crate) mod renam;
pub(crate) mod rmdir;
pub(crate) mod rmkdir;
pub(crate) mod rmsecdir;
pub(crate) mod server;
pub(crate) mod sha256;
mod spread;
pub(crate) mod touch;
pub(crate) mod xcopy;
pub(crate) mod xcpdir;
pub(crate) mod xdel;
pub(crate) mod xrmdir;
pub(crate) mod xs1;

use std::time::Duration;

use super::env::Env;
use super::extension::{features, fetch, link, list as listing, set, store};
use super::notify;
use super::request::*;
use super::status::{Reply, Status};
use super::transfer::*;
use super::wire::{Result, Wire};
use crate::session::audit::{Outcome, Subject};
use crate::session::effect::Effect;
use crate::session::slots::MAX_COMMAND;
use crate::store::RootPath;

use Effect::{Adds, Changes, Reads};

/// Whether a request may keep a session busy for longer than a few system
/// calls take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    Quick,
    Long,
}
use Time::{Long, Quick};

/// What a command's function returns, to be sent as one message; transfers have
/// sent their replies already.
trait Answer {
    fn send(self, wire: &mut Wire) -> Result<Outcome>;
}

impl<T: Into<Reply>> Answer for T {
    fn send(self, wire: &mut Wire) -> Result<Outcome> {
        let reply = self.into();
        let outcome = Outcome::from(&reply);
        wire.reply(&reply.into_bytes())?;
        Ok(outcome)
    }
}

impl Answer for Result<Outcome> {
    fn send(self, _: &mut Wire) -> Result<Outcome> {
        self
    }
}

/// Makes [`Request`] of rows: the command's word, its variant with the
/// arguments, the function that reads them, its effect, its time, its subject
/// for audit and status, and what runs it.
macro_rules! commands {
    (($wire:ident, $env:ident) $(
        $word:literal $variant:ident
        $({ $($field:ident: $type:ty),* })? $(($tuple:ident: $tuple_type:ty))?
        = $parse:expr, $effect:expr, $time:expr, $subject:expr => $run:expr;
    )*) => {
        /// A request of the document, its arguments read.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the document's words and arguments")]
        pub enum Request {
            $($variant $({ $($field: $type),* })? $(($tuple_type))?,)*
        }

        // The page of a session has room for every word.
        const _: () = { $(assert!($word.len() <= MAX_COMMAND);)* };

        #[allow(unused_variables, unused_parens, reason = "not every column needs the arguments")]
        impl Request {
            /// Reads the arguments of a command.
            pub(super) fn read(word: &str, arguments: Arguments<'_>) -> std::result::Result<Request, Reply> {
                Ok(match word {
                    $($word => {
                        let ($($($field),*)? $($tuple)?) = $parse(arguments)?;
                        Request::$variant $({ $($field),* })? $(($tuple))?
                    })*
                    _ => return Err(Reply::Unknown),
                })
            }

            /// What it does to files.
            pub fn effect(&self) -> Effect {
                match self {
                    $(Request::$variant $({ $($field),* })? $(($tuple))? => $effect,)*
                }
            }

            /// Whether it may keep a session busy for longer than a few system
            /// calls take.
            pub fn may_take_long(&self) -> bool {
                let time = match self {
                    $(Request::$variant $({ $($field),* })? $(($tuple))? => $time,)*
                };
                time == Long
            }

            /// What it is about; `None` where it names no path.
            pub fn subject(&self) -> Option<Subject> {
                let (command, (path, other)) = match self {
                    $(Request::$variant $({ $($field),* })? $(($tuple))? => ($word, $subject?),)*
                };
                let effect = counted_as(command, self.effect());
                Some(Subject { command, path, other, effect })
            }

            /// Carries it out and sends all its replies.
            pub(super) fn run(self, $wire: &mut Wire, $env: &mut Env) -> Result<Outcome> {
                match self {
                    $(Request::$variant $({ $($field),* })? $(($tuple))? => Answer::send($run, $wire),)*
                }
            }
        }
    };
}

commands! { (wire, env)
    "END" End = nothing, Reads, Quick, none()
        => Ok(Outcome::Done);
    "ECHO" Echo { text: Vec<u8> } = any_text, Reads, Quick, none()
        => server::echo(env, text);
    "PROCKEY" Prockey = nothing, Reads, Quick, none()
        => server::prockey(&env.process_key);
    "FREESP" Freesp = nothing, Reads, Quick, none()
        => server::freesp(env);
    "TLB" Tlb = nothing, Reads, Long, none()
        => server::tlb(env);
    "TFD_TARGET" Target { path: RootPath } = path, Reads, Quick, none()
        => server::target(env, path);
    "TFD_WHY" Why = nothing, Reads, Quick, none()
        => server::why(env);
    "LOCK" Lock { name: Vec<u8> } = any_text, Reads, Quick, none()
        => lock::run(env, &name);
    "DATE" Date = nothing, Reads, Quick, none()
        => date::date();
    "UDATE" Udate = nothing, Reads, Quick, none()
        => date::udate();
    "NDATE" Ndate = nothing, Reads, Quick, none()
        => date::ndate();
    "DATEF" Datef = nothing, Reads, Quick, none()
        => date::datef();
    "DTOF" Dtof { timestamp: Vec<u8> } = some_text, Reads, Quick, none()
        => date::dtof(&timestamp);
    "FTOD" Ftod { date: Vec<u8> } = some_text, Reads, Quick, none()
        => date::ftod(&date);
    "KEEPALIVE" Keepalive { on: bool, idle: i64, interval: i64, count: i64 } = keepalive_numbers, Reads, Quick, none()
        => keepalive::run(wire.socket(), on, idle, interval, count);
    "NIGMA" Nigma { length: i64 } = one_number, Reads, Long, none()
        => nigma::run(wire, length);
    "LOGIN" Login { user: Vec<u8>, password: Vec<u8> } = user_and_password, Reads, Long, none()
        => Status::AlreadyLoggedIn;
    "INJAIL" Injail { token: Vec<u8>, path: RootPath } = token_and_path, Reads, Long, none()
        => Status::AlreadyInJail;

    "MKDIR" Mkdir { path: RootPath } = path, Adds, Quick, one(path)
        => mkdir::run(env, &path);
    "TOUCH" Touch { path: RootPath } = path, Adds, Quick, one(path)
        => touch::run(env, &path);
    "DEL" Del { path: RootPath } = path, Changes, Quick, one(path)
        => del::run(env, &path);
    "RMDIR" Rmdir { path: RootPath } = path, Changes, Long, one(path)
        => rmdir::run(env, &path);
    "RMSECDIR" Rmsecdir { token: Vec<u8>, path: RootPath } = token_and_path, Changes, Long, one(path)
        => rmsecdir::run(env, &token, &path);
    "FSTAT" Fstat { path: RootPath } = named_path, Reads, Quick, one(path)
        => fstat::run(env, &path);
    "FUPD" Fupd { path: RootPath } = named_path, Changes, Quick, one(path)
        => fupd::run(env, &path);
    "SHA256" Sha256 { path: RootPath } = named_path, Reads, Long, one(path)
        => sha256::run(env, &path);
    "CHMOD" Chmod { path: RootPath, mode: Vec<u8> } = path_and_mode, Changes, Quick, two(path, mode)
        => chmod::run(env, &path, &mode);
    "CHOWN" Chown { path: RootPath, user: Vec<u8>, group: Vec<u8> } = path_and_owner, Changes, Quick, two(path, &[user, &b" "[..], group].concat())
        => chown::run(env, &path, &user, &group);
    "COPY" Copy { from: RootPath, to: RootPath } = two_paths, Adds, Long, two(from, to.as_bytes())
        => copy::run(env, &from, &to);
    "CPDIR" Cpdir { from: RootPath, to: RootPath } = two_paths, Adds, Long, two(from, to.as_bytes())
        => cpdir::run(env, &from, &to);
    "RENAM" Renam { from: RootPath, to: RootPath } = two_paths, Changes, Quick, two(from, to.as_bytes())
        => renam::run(env, &from, &to);
    "XCOPY" Xcopy { name: Vec<u8>, from: RootPath, pattern: RootPath } = name_path_and_pattern, Adds, Long, two(from, &targets(pattern, name))
        => xcopy::run(env, &name, &from, &pattern);
    "XCPDIR" Xcpdir { name: Vec<u8>, from: RootPath, pattern: RootPath } = name_path_and_pattern, Adds, Long, two(from, &targets(pattern, name))
        => xcpdir::run(env, &name, &from, &pattern);
    "XDEL" Xdel { start: RootPath, pattern: RootPath } = path_and_pattern, Changes, Long, two(start, pattern.as_bytes())
        => xdel::run(env, &start, &pattern);
    "XRMDIR" Xrmdir { start: RootPath, pattern: RootPath } = path_and_pattern, Changes, Long, two(start, pattern.as_bytes())
        => xrmdir::run(env, &start, &pattern);
    "ADDNTFY" Addntfy { token: Vec<u8>, path: RootPath } = prefix_and_path, Reads, Long, two(path, token)
        => notify::add(env, token, path);
    "STARTNTFY" Startntfy { interval: Vec<u8> } = any_text, Reads, Long, none()
        => Status::NotifyListEmpty;

    "LS" Ls { path: RootPath } = path, Reads, Long, one(path)
        => list::run(wire, env, false, &path);
    "LSR" Lsr { path: RootPath } = path, Reads, Long, one(path)
        => list::run(wire, env, true, &path);
    "SNDFILE" Sndfile { overwrite: bool, path: RootPath } = flag_and_path, if *overwrite { Changes } else { Adds }, Long, one(path)
        => sndfile::run(wire, env, overwrite, &path);
    "RCVFILE" Rcvfile { delete: bool, path: RootPath } = flag_and_path, if *delete { Changes } else { Reads }, Long, two(path, if *delete { b"delete" } else { b"" })
        => rcvfile::run(wire, env, delete, &path);
    "PUT" Put(hp: HpRequest) = hp_request, Adds, Long, one(&hp.path)
        => put::run(wire, env, &hp);
    "GET" Get(hp: HpRequest) = hp_request, Reads, Long, one(&hp.path)
        => get::run(wire, env, &hp);
    "PUTCAN" Putcan(hp: HpRequest) = hp_request_with_windows, Adds, Long, one(&hp.path)
        => put::run_with_windows(wire, env, &hp);
    "GETCAN" Getcan(hp: HpRequest) = hp_request_with_windows, Reads, Long, one(&hp.path)
        => get::run_with_windows(wire, env, &hp);
    "SDOWN" Sdown { path: RawPath } = raw_path, Reads, Long, raw(path)
        => sup::run_down(wire, env, &path);
    "SUP" Sup { path: RawPath } = raw_path, Adds, Long, raw(path)
        => sup::run(wire, env, &path);
    "FSIZE" Fsize { path: RawPath } = raw_path, Reads, Quick, raw(path)
        => fsize::run(wire, env, &path);
    "FSIZELS" Fsizels { path: RawPath } = raw_path, Reads, Long, raw(path)
        => fsize::run_list(wire, env, &path);

    "LSV2" Lsv2 { path: RootPath, file: RootPath } = path_and_list, Adds, Long, two(path, file.as_bytes())
        => lsv2::to_file(wire, env, false, &path, &file);
    "LSRV2" Lsrv2 { path: RootPath, file: RootPath } = path_and_list, Adds, Long, two(path, file.as_bytes())
        => lsv2::to_file(wire, env, true, &path, &file);
    "LSV2DOWN" Lsv2down { path: RootPath } = path, Reads, Long, one(path)
        => lsv2::to_client(wire, env, false, &path);
    "LSRV2DOWN" Lsrv2down { path: RootPath } = path, Reads, Long, one(path)
        => lsv2::to_client(wire, env, true, &path);
    "FTYPE" Ftype { path: RawPath } = raw_path, Reads, Quick, raw(path)
        => ftype::run(wire, env, &path);
    "FTYPELS" Ftypels { path: RawPath } = raw_path, Reads, Long, raw(path)
        => ftype::run_list(wire, env, &path);
    "FSTATLS" Fstatls { path: RawPath } = raw_path, Reads, Long, raw(path)
        => ftype::stat_list(wire, env, &path);
    "RMKDIR" Rmkdir { path: RootPath } = path, Adds, Long, one(path)
        => rmkdir::run(env, &path);
    "TASFS" Tasfs { path: RootPath } = path, Adds, Quick, one(path)
        => touch::test_and_set(env, &path);
    "INTREAD" Intread { path: RawPath } = raw_path, Reads, Long, raw(path)
        => integrity::read(wire, env, &path);
    "INTWRITE" Intwrite { path: RawPath } = raw_path, Changes, Long, raw(path)
        => integrity::write(wire, env, &path);
    "NETMUTACQ_TRY" NetmutacqTry { path: RootPath, token: Vec<u8> } = path_and_token, Changes, Long, one(path)
        => netmut::run(wire, env, &path, &token, netmut::Step::Acquire);
    "NETMUTREL" Netmutrel { path: RootPath, token: Vec<u8> } = path_and_token, Changes, Long, one(path)
        => netmut::run(wire, env, &path, &token, netmut::Step::Release);
    "NETLOCK" Netlock { seconds: i64, path: RootPath } = number_and_path, Changes, Long, one(path)
        => netlock::run(wire, env, seconds, &path, None);
    "NETLOCK_TRY" NetlockTry { seconds: i64, path: RootPath } = number_and_path, Changes, Long, one(path)
        => netlock::run(wire, env, seconds, &path, Some(Duration::ZERO));
    "NETUNLOCK" Netunlock { slot: i64 } = one_number, Reads, Quick, none()
        => netlock::release(wire, env, slot);

    // By descriptor: XS1_OPEN has asked for the right to change the file.
    "XS1_OPEN" Xs1Open { path: RootPath } = path, Changes, Quick, one(path)
        => xs1::open(env, &path);
    "XS1_CLOSE" Xs1Close { text: Vec<u8> } = any_text, Reads, Quick, descriptor(text)
        => xs1::close(env, &text);
    "XS1_TRUNC" Xs1Trunc { text: Vec<u8> } = any_text, Reads, Quick, descriptor(text)
        => xs1::truncate(env, &text);
    "XS1_SEEK" Xs1Seek { text: Vec<u8> } = any_text, Reads, Quick, descriptor(text)
        => xs1::seek(env, &text);
    "XS1_LOCK" Xs1Lock { text: Vec<u8> } = any_text, Reads, Long, descriptor(text)
        => xs1::lock(wire, env, &text);
    "XS1_READ" Xs1Read { text: Vec<u8> } = any_text, Reads, Long, descriptor(text)
        => xs1::read(wire, env, &text);
    "XS1_WRITE" Xs1Write { bytes: Vec<u8> } = any_bytes, Reads, Long, descriptor(bytes)
        => xs1::write(wire, env, &bytes);
    "XS1_READV2" Xs1Readv2 = nothing, Reads, Long, descriptor(b"")
        => xs1::read_raw(wire, env);
    "XS1_WRITEV2" Xs1Writev2 = nothing, Reads, Long, descriptor(b"")
        => xs1::write_raw(wire, env);

    // tfd's own.
    "TFD_FEATURES" TfdFeatures { words: Vec<u8> } = any_text, Reads, Quick, none()
        => features::run(env, &words);
    "TFD_LIST" TfdList { flags: Flags, path: RootPath } = flags_and_path, Reads, Long, one(path)
        => listing::run(wire, env, flags, &path);
    "TFD_SET" TfdSet { attributes: Attributes, path: RootPath } = attributes_and_path, Changes, Quick, two(path, &attributes.text)
        => set::run(env, &path, &attributes);
    "TFD_STORE" TfdStore { what: Store } = attributes_to_store, Adds, Long, stored(what)
        => store::run(wire, env, &what);
    "TFD_FETCH" TfdFetch { path: RawPath } = raw_path, Reads, Long, raw(path)
        => fetch::run(wire, env, &path);
    "TFD_LINK" TfdLink { link: Link, path: RootPath } = link_and_path, Adds, Quick, two(path, link.text())
        => link::run(env, &link, &path);
}

/// What a request counts as: writing by descriptor has been allowed by XS1_OPEN.
fn counted_as(word: &str, effect: Effect) -> Effect {
    match word {
        "XS1_WRITE" | "XS1_WRITEV2" | "XS1_TRUNC" => Changes,
        _ => effect,
    }
}

/// A path, and what else a request is about.
type About = Option<(Vec<u8>, Vec<u8>)>;

fn none() -> About {
    None
}

fn one(path: &RootPath) -> About {
    two(path, b"")
}

fn two(path: &RootPath, other: &[u8]) -> About {
    Some((path.as_bytes().to_vec(), other.to_vec()))
}

fn raw(path: &RawPath) -> About {
    path.as_ref().map_or(Some(Default::default()), one)
}

fn stored(what: &Store) -> About {
    let about = |(attributes, path): &(Attributes, RootPath)| two(path, &attributes.text);
    what.as_ref().map_or(Some(Default::default()), about)
}

/// The first word of the arguments, where the session adds the path.
fn descriptor(text: &[u8]) -> About {
    let word = text.split(|c| *c == b' ').next().unwrap_or_default();
    Some((Vec::new(), word[..word.len().min(20)].to_vec()))
}

/// Where XCOPY and XCPDIR put their copies.
fn targets(pattern: &RootPath, name: &[u8]) -> Vec<u8> {
    [pattern.as_bytes(), b"/", name].concat()
}
