//! The hub as it has to be, in memory: files, runs and orders, and what they add up to.

use std::collections::BTreeMap;

use super::super::*;

pub const SIZE: u64 = 8 * MIB;
const HOLDERS: usize = 4;

/// A copy as it has to be: when it came into its state, and the run that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Asked(Time, Option<u8>),
    Live,
    Lost(Time),
}

#[derive(Clone, Debug)]
pub struct File {
    pub factor: u8,
    /// When it was asked for, first became live, or was deleted.
    pub time: Time,
    pub is_dying: bool,
    pub copies: BTreeMap<UserId, State>,
}

impl File {
    pub fn live(&self) -> usize {
        self.copies
            .values()
            .filter(|it| **it == State::Live)
            .count()
    }

    pub fn active(&self) -> impl Iterator<Item = (&UserId, &State)> {
        self.copies
            .iter()
            .filter(|(_, it)| !matches!(it, State::Lost(_)))
    }
}

/// The hub as it has to be.
pub struct Model {
    pub world: World,
    pub owners: Vec<Account>,
    pub holders: Vec<Account>,
    /// By owner and number.
    pub files: BTreeMap<(usize, u8), File>,
    /// By owner and number: what they have reserved, and when they were touched.
    pub runs: BTreeMap<(usize, u8), (u64, Time)>,
    /// By holder, how many orders there are of which file.
    pub orders: BTreeMap<(UserId, usize, u8), u64>,
}

/// The number of an owner's run in the database.
pub fn number_of(owner: usize, run: u8) -> u8 {
    u8::try_from(owner * 10).expect("small") + run
}

impl Model {
    pub fn new() -> Model {
        let mut world = World::new();
        let mut owners = ["anna", "eve"].map(|name| world.owner(name)).to_vec();
        owners.push(world.base("old"));
        let shares = [GIB, GIB, 4 * SIZE, 2 * SIZE];
        let holders = (0..HOLDERS).map(|at| world.holder(&format!("holder{at}"), shares[at]));
        let mut holders: Vec<Account> = holders.collect();
        let base = [GIB, 4 * SIZE].map(|share| (format!("base{share}"), share));
        holders.extend(base.map(|(name, share)| world.base_holder(&name, share)));
        Model {
            world,
            owners,
            holders,
            files: BTreeMap::new(),
            runs: BTreeMap::new(),
            orders: BTreeMap::new(),
        }
    }

    pub fn held(&self, holder: UserId) -> u64 {
        let of = |file: &File| file.active().filter(|(at, _)| **at == holder).count() as u64;
        self.files.values().map(of).sum::<u64>() * SIZE
    }

    pub fn used(&self, owner: usize) -> u64 {
        let files = self.files.iter().filter(|((of, _), _)| *of == owner);
        files
            .map(|(_, file)| file.active().count() as u64)
            .sum::<u64>()
            * SIZE
    }

    pub fn reserved(&self, owner: usize) -> u64 {
        let runs = self.runs.iter().filter(|((of, _), _)| *of == owner);
        runs.map(|(_, (reserved, _))| reserved).sum()
    }

    pub fn left(&self, owner: usize) -> u64 {
        GIB.saturating_sub(self.used(owner))
            .saturating_sub(self.reserved(owner))
    }

    /// Who may get a copy of a file of this owner.
    pub fn eligible(&self, owner: usize, file: &File) -> Vec<UserId> {
        let is_base = self.owners[owner].is_base;
        let may = |holder: &&Account| {
            let bars = match file.copies.get(&holder.id) {
                None => false,
                Some(State::Lost(since)) => *since > self.world.now - 600,
                Some(_) => true,
            };
            let is_online = self.world.online.contains(&holder.id);
            is_online && holder.is_base == is_base && self.free(holder.id) >= SIZE && !bars
        };
        self.holders
            .iter()
            .filter(may)
            .map(|holder| holder.id)
            .collect()
    }

    /// Notes that a copy is lost.
    pub fn lose(&mut self, key: (usize, u8), holder: UserId) {
        let now = self.world.now;
        let file = self.files.get_mut(&key).expect("file");
        let was = file.copies.insert(holder, State::Lost(now));
        if was == Some(State::Live) && file.live() == 0 {
            file.time = now;
        }
        if let Some(State::Asked(_, Some(run))) = was {
            let run = self.runs.get_mut(&(key.0, run)).expect("an open run");
            run.0 += SIZE;
        }
    }

    /// Notes that a copy goes to a holder, and sees whether it may.
    pub fn goes(&mut self, key: (usize, u8), run: u8, holder: UserId) {
        let file = self.files[&key].clone();
        assert!(
            self.eligible(key.0, &file).contains(&holder),
            "{holder} may get no copy"
        );
        let file = self.files.get_mut(&key).expect("file");
        file.copies
            .insert(holder, State::Asked(self.world.now, Some(run)));
        let run = self.runs.get_mut(&(key.0, run)).expect("an open run");
        run.0 = run.0.saturating_sub(SIZE);
    }

    pub fn free(&self, holder: UserId) -> u64 {
        let text = "SELECT share FROM holder WHERE user = ?1";
        let share = self.world.book.number(text, [holder]).expect("share");
        count(share) - self.held(holder)
    }
}
