//! What is stored by all servers together, for quotas: each adds to it what its sessions
//! have added, and hears the sum. One server at a time counts on disk.

use std::collections::HashMap;

use super::keys::{COUNTED, Keys, USAGE};
use super::message::{FromState, MOST_COUNTERS};
use super::model::script;
use super::reply::{self, ReplyError};
use super::store::{Store, StoreError};
use crate::store::usage::{Counter, Counts, Used};

/// How long what is stored is remembered without a server, in seconds.
const LIFE: u64 = 7 * 86_400;

/// How long a count may take until another server may begin one, in seconds.
const COUNT_TAKES: u64 = 600;

/// The part of this server, and what it knows of the rest.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// What this server has, by counter.
    used: HashMap<Counter, Used>,
    /// What of that the store has.
    is_in: HashMap<Counter, i64>,
    version: String,
    /// Whether the daemon wants to count.
    wants_count: bool,
    /// A count by this server.
    count: Option<Count>,
}

/// A count by one server.
#[derive(Debug, Default)]
struct Count {
    /// What was stored when it began.
    version: String,
    /// Its result so far, and whether that is all.
    counts: Counts,
    is_whole: bool,
}

impl Usage {
    /// What this server has now.
    pub(super) fn update(&mut self, used: Vec<Used>) {
        self.used
            .extend(used.into_iter().map(|of| (of.counter, of)));
    }

    /// The daemon wants to count.
    pub(super) fn may_count(&mut self) {
        self.wants_count = true;
    }

    /// It has counted: a part of the result.
    pub(super) fn counted(&mut self, counts: Counts, is_last: bool) {
        let count = self.count.get_or_insert_default();
        count.counts.extend(counts);
        count.is_whole |= is_last;
    }

    /// The store may have lost everything.
    pub(super) fn is_connected(&mut self) {
        self.version.clear();
    }

    /// Whether something waits to be said.
    pub(super) fn is_stale(&self) -> bool {
        let has_result = self.count.as_ref().is_some_and(|count| count.is_whole);
        self.wants_count || has_result || self.waiting().next().is_some()
    }

    /// The counters of which the store does not have all.
    fn waiting(&self) -> impl Iterator<Item = &Used> {
        let is_in = |used: &&Used| self.is_in.get(&used.counter) == Some(&used.added);
        self.used.values().filter(move |used| !is_in(used))
    }

    /// The answer to a daemon that asks or reports while the store is gone: it counts by
    /// itself.
    pub(super) fn decide_alone(&mut self, hear: &mut impl FnMut(FromState)) {
        if std::mem::take(&mut self.wants_count) {
            hear(FromState::MayCount(true));
        }
        if self.count.take_if(|count| count.is_whole).is_some() {
            hear(FromState::CountedAlone);
        }
    }

    /// Says and hears all of it.
    pub(super) fn exchange(
        &mut self,
        keys: &Keys,
        server: &str,
        store: &mut Store,
        hear: &mut impl FnMut(FromState),
    ) -> Result<(), StoreError> {
        if self.used.is_empty() {
            self.decide_alone(hear);
            return Ok(());
        }
        // Where the version is not known, the store may not have what it had.
        let wanted: Vec<Used> = match self.version.is_empty() {
            true => self.used.values().copied().collect(),
            false => self.waiting().copied().collect(),
        };
        let names = [keys.usage(), keys.added(server)];
        let mut parts: Vec<&[Used]> = wanted.chunks(MOST_COUNTERS).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for part in parts {
            let mut command = script(USAGE, &names);
            // Who names a counter for the first time wants to hear of it.
            let is_new = |of: &Used| !self.is_in.contains_key(&of.counter);
            let known = if part.iter().any(is_new) {
                ""
            } else {
                &self.version
            };
            command.arg(known).arg(LIFE);
            for Used {
                counter,
                added,
                stored,
            } in part
            {
                let is_in = self.is_in.get(counter).copied().unwrap_or(0);
                command
                    .arg(reply::write_counter(*counter))
                    .arg(*added)
                    .arg(is_in)
                    .arg(*stored);
            }
            let said = reply::usage(&store.ask(&command)?);
            let (version, all) = said.ok_or(ReplyError::Garbage)?;
            self.is_in
                .extend(part.iter().map(|of| (of.counter, of.added)));
            self.version = version;
            if let Some(all) = all {
                let others = self.without_own(all);
                for part in others.chunks(MOST_COUNTERS) {
                    hear(FromState::Usage(part.to_vec()));
                }
            }
        }
        self.count(keys, server, store, hear)
    }

    /// The sums, without what sessions here have added: who adds that, has all.
    fn without_own(&self, all: Counts) -> Counts {
        let others = |(counter, sum): (Counter, u64)| {
            let own = self.is_in.get(&counter).copied()?;
            Some((counter, sum.wrapping_sub(own.cast_unsigned())))
        };
        all.into_iter().filter_map(others).collect()
    }

    /// Gets leave to count, and reports a count.
    fn count(
        &mut self,
        keys: &Keys,
        server: &str,
        store: &mut Store,
        hear: &mut impl FnMut(FromState),
    ) -> Result<(), StoreError> {
        if self.wants_count {
            let mut command = redis::cmd("SET");
            command
                .arg(keys.recount())
                .arg(server)
                .arg("NX")
                .arg("EX")
                .arg(COUNT_TAKES);
            let may = reply::is_done(&store.ask(&command)?);
            self.wants_count = false;
            if may {
                self.count = Some(Count {
                    version: self.version.clone(),
                    ..Count::default()
                });
            }
            hear(FromState::MayCount(may));
        }
        let Some(count) = self.count.take_if(|count| count.is_whole) else {
            return Ok(());
        };
        let mut command = script(COUNTED, &[keys.usage(), keys.recount()]);
        command.arg(count.version).arg(LIFE);
        for (counter, bytes) in count.counts {
            command.arg(reply::write_counter(counter)).arg(bytes);
        }
        let taken = store.ask(&command).map(|reply| reply::yes_or_no(&reply));
        hear(FromState::Counted(matches!(taken, Ok(Some(true)))));
        taken.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(counter: Counter, added: i64, stored: u64) -> Used {
        Used {
            counter,
            added,
            stored,
        }
    }

    #[test]
    fn what_sessions_here_have_added_is_not_counted_twice() {
        let mut usage = Usage::default();
        usage.update(vec![
            used(Counter::All, 40, 140),
            used(Counter::User(7), -5, 20),
        ]);
        assert!(usage.is_stale());
        usage.is_in = HashMap::from([(Counter::All, 40), (Counter::User(7), -5)]);
        assert!(!usage.is_stale());
        let sums = vec![
            (Counter::All, 300),
            (Counter::User(7), 20),
            (Counter::User(8), 9),
        ];
        let others = usage.without_own(sums);
        assert_eq!(others, [(Counter::All, 260), (Counter::User(7), 25)]);
    }

    #[test]
    fn without_the_store_a_server_counts_by_itself() {
        let mut usage = Usage::default();
        let mut heard = Vec::new();
        usage.may_count();
        usage.decide_alone(&mut |news| heard.push(news));
        usage.count = Some(Count::default());
        usage.counted(vec![(Counter::All, 1)], false);
        usage.decide_alone(&mut |news| heard.push(news));
        assert_eq!(heard, [FromState::MayCount(true)], "half of it");
        usage.counted(vec![(Counter::User(1), 1)], true);
        usage.decide_alone(&mut |news| heard.push(news));
        assert_eq!(heard, [FromState::MayCount(true), FromState::CountedAlone]);
        assert!(!usage.is_stale());
    }
}
