//! STARTNTFY (document, "STARTNTFY"): round after round through the list, one
//! message a file, one answer a message. Between rounds it waits for what
//! comes first: an event, the end of an interval, or the client's leaving.

use std::time::{Duration, Instant};

use super::events::{Events, News};
use super::watch::{FoundFile, Watch};
use crate::session::audit::{Observer, Outcome, Subject};
use crate::session::effect::Effect;
use crate::tf::env::Env;
use crate::tf::request::word;
use crate::tf::wire::{Result, Wire, WireError};

/// The client's answer to a notification.
enum Answer {
    End,
    Delete,
    Keep,
}

/// Serves the list to the end of the session: `Ok` after END.
///
/// # Errors
/// Why the connection could not go on; `Closed` is the quiet end.
pub(crate) fn serve(
    wire: &mut Wire,
    env: &mut Env,
    interval: &[u8],
    observer: &mut dyn Observer,
) -> Result<()> {
    let pause = super::interval(interval, env.settings.notify_floor);
    let list = std::mem::take(&mut env.watches);
    let mut events = Events::new(list.len());
    let mut watches: Vec<Watch> = list
        .into_iter()
        .enumerate()
        .map(|(index, listed)| Watch::new(index, listed))
        .collect();
    let mut heard = Instant::now();
    loop {
        for watch in &mut watches {
            watch.look(&mut events, &env.root, pause);
        }
        let Some(told) = round(wire, env, &mut watches, pause, observer)? else {
            return Ok(());
        };
        if told {
            heard = Instant::now();
        }
        let silent = env.locks.limit().map(|limit| heard + limit);
        if silent.is_some_and(|silent| silent <= Instant::now()) {
            return Err(WireError::TimedOut);
        }
        let due = watches.iter().filter_map(Watch::due).chain(silent).min();
        // While the client answers, it is there, and need not be looked for.
        let busy = told && due.is_some_and(|due| due <= Instant::now());
        if busy || wire.wait_beside(events.handle(), due)? {
            events.read(|news| take_note(&mut watches, news));
        }
    }
}

/// Reports one file of each entry that has one. Whether there was any; `None`
/// after END.
fn round(
    wire: &mut Wire,
    env: &Env,
    watches: &mut [Watch],
    pause: Duration,
    observer: &mut dyn Observer,
) -> Result<Option<bool>> {
    let mut any = false;
    let mut staying = Vec::new();
    for (index, watch) in watches.iter_mut().enumerate() {
        let Some(file) = watch.next(&env.root, pause) else {
            continue;
        };
        any = true;
        match report(wire, index, &file)? {
            Answer::End => return Ok(None),
            Answer::Delete if delete(env, watch, &file, observer)? => watch.drop_first(),
            Answer::Delete | Answer::Keep => staying.push(watch),
        }
    }
    let end = Instant::now() + pause;
    staying.into_iter().for_each(|watch| watch.rest_until(end));
    Ok(Some(any))
}

/// Sends a notification and reads the answer.
fn report(wire: &mut Wire, index: usize, file: &FoundFile) -> Result<Answer> {
    wire.write_message(&[index.to_string().as_bytes(), b" ", &file.name].concat())?;
    let mut body = Vec::new();
    wire.read_request(&mut body)?;
    Ok(match word(&body).as_slice() {
        b"END" => Answer::End,
        b"DEL" => Answer::Delete,
        _ => Answer::Keep,
    })
}

/// Deletes a reported file; whether it is gone now.
fn delete(env: &Env, watch: &Watch, file: &FoundFile, observer: &mut dyn Observer) -> Result<bool> {
    use rustix::io::Errno;
    let path = watch.path().join(&file.name);
    let deleted = file.delete(env, watch.path());
    if let Err(e) = deleted {
        log::debug!(path:%, error:% = e; "STARTNTFY left");
    }
    let outcome = if deleted.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed(None)
    };
    let (path, other) = (path.as_bytes().to_vec(), b"delete".to_vec());
    let subject = Subject {
        command: "STARTNTFY",
        path,
        other,
        effect: Effect::Changes,
    };
    observer
        .ended(&subject, outcome, 0)
        .map_err(WireError::Io)?;
    Ok(matches!(deleted, Ok(()) | Err(Errno::NOENT)))
}

fn take_note(watches: &mut [Watch], news: News<'_>) {
    match news {
        News::Arrived(watch, name) => watches[watch].arrived(name),
        News::Moved(watch) => watches[watch].doubt(),
        News::Missed => watches.iter_mut().for_each(Watch::doubt),
    }
}
