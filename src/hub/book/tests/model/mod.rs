//! The book against a model of it in memory: whatever owners, holders and time do, in
//! whatever order, and each step twice.

mod memory;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::memory::{File, Model, SIZE, State, number_of};
use super::*;
use crate::hub::wire::{Kinds, NotStored};

/// The last one is of version 1.0.
const OWNERS: usize = 3;

/// One step. Numbers of files, holders and so on are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Begin(u8),
    Put(u8, u8, u8),
    Stored(u8, u8),
    Reported(u8, u8),
    NotStored(u8, u8, u8, bool),
    Delete(u8),
    Finish(u8),
    Abort(u8),
    Toggle(u8),
    Answer(u8),
    Pass(i64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..2_u8).prop_map(Step::Begin),
        6 => (0..2_u8, 0..4_u8, 1..4_u8).prop_map(|(run, file, n)| Step::Put(run, file, n)),
        8 => (0..4_u8, 0..6_u8).prop_map(|(file, holder)| Step::Stored(file, holder)),
        1 => (0..4_u8, 0..6_u8).prop_map(|(file, holder)| Step::Reported(file, holder)),
        4 => (0..2_u8, 0..4_u8, 0..6_u8, any::<bool>())
            .prop_map(|(run, file, holder, bad)| Step::NotStored(run, file, holder, bad)),
        2 => (0..4_u8).prop_map(Step::Delete),
        1 => (0..2_u8).prop_map(Step::Finish),
        1 => (0..2_u8).prop_map(Step::Abort),
        2 => (0..6_u8).prop_map(Step::Toggle),
        1 => (0..6_u8).prop_map(Step::Answer),
        2 => prop_oneof![Just(1), Just(700), Just(3700), Just(DAY), Just(8 * DAY)]
            .prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

impl Model {
    fn begin(&mut self, owner: usize, run: u8) {
        let new = NewRun {
            size: 4 * SIZE,
            factor: factor(2),
            ..self
                .world
                .new_run(&self.owners[owner], number_of(owner, run), 0)
        };
        let begun = self.world.begin(&new);
        let good = self
            .world
            .online
            .iter()
            .filter(|id| self.free(**id) >= 4 * SIZE)
            .filter(|id| self.is_base(**id) == self.owners[owner].is_base)
            .count();
        let others = self
            .runs
            .keys()
            .filter(|key| key.0 == owner && key.1 != run)
            .count();
        if let Some(known) = self.runs.get_mut(&(owner, run)) {
            known.1 = self.world.now;
        } else if self.left(owner) < 8 * SIZE {
            return assert_eq!(refusal(begun), Code::NoSpace);
        } else if good < 2 {
            return assert_eq!(refusal(begun), Code::NoHolder);
        } else {
            self.runs.insert((owner, run), (8 * SIZE, self.world.now));
        }
        assert_eq!(begun.expect("run"), others as u64);
    }

    fn is_base(&self, holder: UserId) -> bool {
        let mut holders = self.holders.iter();
        holders.any(|it| it.id == holder && it.is_base)
    }

    fn wish(&self, owner: usize, run: u8, file: u8) -> Wish<'static> {
        let name = number_of(owner, file);
        wish(&self.owners[owner], number_of(owner, run), name, SIZE)
    }

    fn put(&mut self, owner: usize, (run, file, n): (u8, u8, u8)) {
        let key = (owner, file);
        let asked = Wish {
            factor: Some(factor(n)),
            ..self.wish(owner, run, file)
        };
        let placed = self.world.place(&asked);
        if !self.runs.contains_key(&(owner, run)) {
            return assert_eq!(refusal(placed), Code::NotAllowed);
        }
        let known = self.files.get(&key).filter(|file| !file.is_dying).cloned();
        let active = known.iter().flat_map(File::active);
        let is_gone = |(holder, copy): &(&UserId, &State)| {
            **copy != State::Live && !self.world.online.contains(holder)
        };
        let gone: Vec<UserId> = active.filter(is_gone).map(|(holder, _)| *holder).collect();
        for holder in gone {
            self.lose(key, holder);
        }
        let known = self.files.get(&key).filter(|file| !file.is_dying).cloned();
        let kept = known.as_ref().map_or(0, |file| file.active().count());
        let needed = usize::from(n).saturating_sub(kept) as u64 * SIZE;
        let reserved = self.runs[&(owner, run)].0;
        if needed.saturating_sub(reserved) > self.left(owner) {
            return assert_eq!(refusal(placed), Code::NoSpace);
        }
        let now = self.world.now;
        let file = self.files.entry(key).or_insert(File {
            factor: n,
            time: now,
            is_dying: true,
            copies: BTreeMap::new(),
        });
        if file.is_dying {
            *file = File {
                factor: n,
                time: now,
                is_dying: false,
                copies: BTreeMap::new(),
            };
            self.orders
                .retain(|(_, of, number), _| (*of, *number) != key);
        }
        file.factor = file.factor.max(n);
        for copy in file.copies.values_mut() {
            if let State::Asked(_, of @ None) = copy {
                *of = Some(run);
            }
        }
        let placed = placed.expect("placed");
        assert_eq!(placed.len(), usize::from(n));
        for (at, placed) in (1..).zip(&placed) {
            self.expect_placed(key, run, *placed, at);
        }
        assert_eq!(self.world.place(&asked).expect("again"), placed);
    }

    /// Sees whether a copy is where it may be.
    fn expect_placed(&mut self, key: (usize, u8), run: u8, placed: Placed, at: usize) {
        let file = &self.files[&key];
        match placed {
            Placed::There(holder) => assert_eq!(file.copies[&holder], State::Live),
            Placed::At(holder, number) => {
                assert_eq!(usize::from(number.number.get()), at);
                if !matches!(file.copies.get(&holder), Some(State::Asked(..))) {
                    self.goes(key, run, holder);
                }
            }
            Placed::Nowhere => assert_eq!(self.eligible(key.0, file), Vec::<UserId>::new()),
        }
    }

    fn stored(&mut self, owner: usize, file: u8, holder: u8, is_reported: bool) {
        let key = (owner, file);
        let holder = self.holders[usize::from(holder)].clone();
        let owner = self.owners[owner].clone();
        let name = name(number_of(key.0, file));
        let now = self.world.now;
        let ask = |world: &World| match is_reported {
            true => world.book.has_copy(owner.id, name, holder.id, now),
            false => {
                let receipt = receipt(&holder, &owner, name, SIZE);
                if owner.is_base {
                    return world.book.has_copy(owner.id, name, holder.id, now);
                }
                world.book.stored(&owner, name, &holder.name, &receipt, now)
            }
        };
        let counted = ask(&self.world);
        let file = self.files.get_mut(&key);
        let file = file.filter(|file| {
            matches!(
                file.copies.get(&holder.id),
                Some(State::Asked(..) | State::Live)
            )
        });
        let Some(file) = file else {
            return assert_eq!(refusal(counted), Code::NoSuchFile);
        };
        if file.live() == 0 {
            file.time = now;
        }
        let was = file.copies.insert(holder.id, State::Live);
        let is_complete = file.live() >= usize::from(file.factor);
        let is_new = was != Some(State::Live);
        let expected = |is_new| Counted {
            is_new,
            is_complete,
        };
        assert_eq!(counted.expect("counted"), expected(is_new));
        assert_eq!(ask(&self.world).expect("again"), expected(false));
    }

    fn not_stored(&mut self, owner: usize, (run, file, holder): (u8, u8, u8), is_bad: bool) {
        let key = (owner, file);
        let holder = self.holders[usize::from(holder)].id;
        let reason = match is_bad {
            true => NotStored::Corrupt,
            false => NotStored::Timeout,
        };
        let asked = self.wish(owner, run, file);
        let now = self.world.now;
        let (book, online) = (&self.world.book, &self.world.online);
        let next = book.not_stored(&asked, (holder, reason), online, 7, now);
        if !self.runs.contains_key(&(owner, run)) {
            return assert_eq!(refusal(next), Code::NotAllowed);
        }
        let Some(known) = self.files.get(&key).filter(|file| !file.is_dying) else {
            return assert_eq!(refusal(next), Code::NoSuchFile);
        };
        let is_lost = match known.copies.get(&holder) {
            Some(State::Asked(..)) => true,
            Some(State::Live) => is_bad,
            _ => false,
        };
        if is_lost {
            self.lose(key, holder);
        }
        let next = next.expect("next");
        let file = &self.files[&key];
        let active = file.active().count();
        if active < usize::from(file.factor) {
            self.expect_placed(key, run, next, active + 1);
        } else if let Placed::At(holder, _) = next {
            assert!(matches!(file.copies[&holder], State::Asked(..)));
        } else {
            assert_eq!((next, file.live()), (Placed::Nowhere, active));
        }
    }

    fn delete(&mut self, owner: usize, file: u8) {
        let key = (owner, file);
        let account = self.owners[owner].clone();
        let now = self.world.now;
        let name = name(number_of(owner, file));
        let delete = |book: &Book| match account.is_base {
            true => book.delete_unproved(&account, name, now),
            false => book.delete(&account, &removal(&account, name, SIZE, now), now),
        };
        let deleted = delete(&self.world.book);
        let Some(file) = self.files.get_mut(&key) else {
            return assert_eq!(refusal(deleted), Code::NoSuchFile);
        };
        let mut holders = deleted.expect("deleted");
        holders.sort_unstable();
        if file.is_dying {
            return assert_eq!(holders, Vec::<UserId>::new());
        }
        let expected: Vec<UserId> = file.active().map(|(holder, _)| *holder).collect();
        assert_eq!(holders, expected);
        for holder in holders {
            *self.orders.entry((holder, key.0, key.1)).or_default() += 1;
        }
        file.is_dying = true;
        file.time = now;
        file.copies.clear();
        let again = delete(&self.world.book);
        assert_eq!(again.expect("again"), Vec::<UserId>::new());
    }

    /// Ends a run; whether it was open.
    fn forget_run(&mut self, owner: usize, run: u8) {
        self.runs.remove(&(owner, run));
        let files = self.files.iter_mut().filter(|((of, _), _)| *of == owner);
        for copy in files.flat_map(|(_, file)| file.copies.values_mut()) {
            if let State::Asked(_, of) = copy {
                *of = of.filter(|of| *of != run);
            }
        }
    }

    fn finish(&mut self, owner: usize, number: u8) {
        let id = run(number_of(owner, number));
        let finished = self.world.book.finish(id, self.owners[owner].id);
        if !self.runs.contains_key(&(owner, number)) {
            return assert_eq!(refusal(finished), Code::NotAllowed);
        }
        let files = self.files.iter().filter(|((of, _), _)| *of == owner);
        let mut copies = files.flat_map(|(_, file)| file.copies.values());
        if copies.any(|copy| matches!(copy, State::Asked(_, Some(of)) if *of == number)) {
            return assert_eq!(refusal(finished), Code::NoHolder);
        }
        finished.expect("the end of the run");
        self.forget_run(owner, number);
    }

    /// A holder does all its orders.
    fn answer(&mut self, holder: u8) {
        let holder = self.holders[usize::from(holder)].id;
        let orders = self.world.book.orders(holder, 0, 1000, self.world.now);
        for order in orders.expect("orders") {
            let done = Some(Code::FileDeleted);
            let settled = self
                .world
                .book
                .answered(holder, order.number, done, self.world.now);
            assert!(settled.expect("order"));
        }
        self.orders.retain(|(of, _, _), _| *of != holder);
    }

    /// Time passes, and what is over ends.
    fn pass(&mut self, seconds: Time) {
        self.world.now += seconds;
        let now = self.world.now;
        // All holders are new ones, and need no hours.
        self.world
            .book
            .run("UPDATE holder SET since = ?1", [now])
            .expect("since");
        assert!(!self.world.book.sweep(now).expect("sweep"));
        let over = self
            .runs
            .iter()
            .filter(|(_, (_, touched))| *touched <= now - 3600);
        let over: Vec<_> = over.map(|(key, _)| *key).collect();
        for (owner, run) in over {
            self.forget_run(owner, run);
        }
        for file in self.files.values_mut() {
            file.copies.retain(|_, copy| match copy {
                State::Asked(since, None) | State::Lost(since) => *since > now - DAY,
                _ => true,
            });
        }
        let orders = &self.orders;
        self.files.retain(|key, file| {
            let is_ordered = orders.keys().any(|(_, of, file)| (*of, *file) == *key);
            let days = if file.is_dying { 7 } else { 1 };
            let is_over = file.time <= now - days * DAY && !is_ordered;
            file.active().next().is_some() || !is_over
        });
    }

    fn step(&mut self, owner: usize, step: &Step) {
        match *step {
            Step::Begin(run) => self.begin(owner, run),
            Step::Put(run, file, n) => self.put(owner, (run, file, n)),
            Step::Stored(file, holder) => self.stored(owner, file, holder, false),
            Step::Reported(file, holder) => self.stored(owner, file, holder, true),
            Step::NotStored(run, file, holder, is_bad) => {
                self.not_stored(owner, (run, file, holder), is_bad);
            }
            Step::Delete(file) => self.delete(owner, file),
            Step::Finish(run) => self.finish(owner, run),
            Step::Abort(number) => {
                let id = run(number_of(owner, number));
                self.world
                    .book
                    .abort(id, self.owners[owner].id)
                    .expect("abort");
                self.forget_run(owner, number);
            }
            Step::Toggle(holder) => {
                let holder = self.holders[usize::from(holder)].id;
                if !self.world.online.remove(&holder) {
                    self.world.online.insert(holder);
                }
            }
            Step::Answer(holder) => self.answer(holder),
            Step::Pass(seconds) => self.pass(seconds),
            Step::Restart => {}
        }
    }

    /// Sees whether the database has what it has to.
    fn compare(&self) {
        let number = |text, id: UserId| count(self.world.book.number(text, [id]).expect("number"));
        for holder in &self.holders {
            let held = number("SELECT held FROM holder WHERE user = ?1", holder.id);
            assert_eq!(held, self.held(holder.id));
            let text = "SELECT count(*) FROM orders WHERE holder = ?1";
            let orders = self
                .orders
                .iter()
                .filter(|((of, _, _), _)| *of == holder.id);
            assert_eq!(number(text, holder.id), orders.map(|(_, n)| n).sum::<u64>());
        }
        for (at, owner) in self.owners.iter().enumerate() {
            let space = self.world.book.space(owner.id).expect("space");
            assert_eq!(
                (space.used, space.reserved),
                (self.used(at), self.reserved(at))
            );
            assert_eq!(space.left, self.left(at));
            let files = self
                .files
                .iter()
                .filter(|((of, _), file)| *of == at && file.live() > 0);
            let names: Vec<Name> = files
                .map(|((_, file), _)| name(number_of(at, *file)))
                .collect();
            assert_eq!(self.world.names(owner), names);
            let count = self.world.book.count_files(owner.id, Some(Kinds::All));
            assert_eq!(count.expect("count"), names.len() as u64);
            let rows = number("SELECT count(*) FROM file WHERE owner = ?1", owner.id);
            let known = self.files.keys().filter(|(of, _)| *of == at).count();
            assert_eq!(rows, known as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_book_says_what_a_model_of_it_says(steps in steps(), owners in any::<u64>()) {
        let mut model = Model::new();
        (0..OWNERS).for_each(|owner| model.begin(owner, 0));
        for (at, step) in steps.iter().enumerate() {
            let owner = usize::try_from(owners >> (2 * at % 64) & 3).expect("two bits") % OWNERS;
            if matches!(step, Step::Restart) {
                model.world = model.world.again();
            }
            model.step(owner, step);
            model.compare();
        }
    }
}
