//! Which live server to hand out: the one with the least load for its weight. If
//! loads are equal or unknown, servers come in turn, as the deployed server goes
//! through its file.

use crate::tf::pool::probe::Load;

/// A server to choose from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Its place in the pool.
    pub(crate) place: usize,
    /// 1 or more.
    pub(crate) weight: u32,
    /// The load it reported last, if it reports one.
    pub(crate) load: Option<Load>,
    /// How often it was handed out since its last answer.
    pub(crate) given: u32,
    /// When its turn comes, see [`Turns`].
    pub(crate) turn: u64,
}

/// How far handing out a server of weight 1 advances its turn.
const STEP: u64 = 1 << 24;

/// Whose turn it is. The next turn of a server is a step, divided by its weight,
/// later; a server that was away starts from now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    present: u64,
}

impl Turns {
    /// Hands out a candidate; returns when its next turn comes.
    fn take(&mut self, turn: u64, weight: u32) -> u64 {
        self.present = self.present.max(turn);
        self.present.saturating_add(STEP / u64::from(weight.max(1)))
    }
}

/// The choice: place and next turn of the candidate handed out.
pub(crate) fn choose(candidates: &[Candidate], turns: &mut Turns) -> Option<(usize, u64)> {
    let median = median(candidates);
    let rank = |candidate: &Candidate| match median {
        Some(median) => (
            is_full(candidate),
            rate(candidate).unwrap_or_else(|| {
                median + f64::from(candidate.given) / f64::from(candidate.weight.max(1))
            }),
        ),
        None => (false, 0.0),
    };
    let key = |candidate: &Candidate| (rank(candidate), candidate.turn.max(turns.present));
    let chosen = candidates.iter().min_by(|a, b| {
        let (((full_a, rate_a), turn_a), ((full_b, rate_b), turn_b)) = (key(a), key(b));
        full_a
            .cmp(&full_b)
            .then(rate_a.total_cmp(&rate_b))
            .then(turn_a.cmp(&turn_b))
    })?;
    Some((chosen.place, turns.take(chosen.turn, chosen.weight)))
}

/// Sessions for each unit of weight, if known.
fn rate(candidate: &Candidate) -> Option<f64> {
    let sessions = f64::from(candidate.load?.sessions) + f64::from(candidate.given);
    Some(sessions / f64::from(candidate.weight.max(1)))
}

fn is_full(candidate: &Candidate) -> bool {
    candidate.load.is_some_and(|load| {
        load.most != 0 && load.sessions.saturating_add(candidate.given) >= load.most
    })
}

/// The median of the rates as reported; `None` when nobody reports.
fn median(candidates: &[Candidate]) -> Option<f64> {
    let reported = candidates.iter().map(|candidate| Candidate {
        given: 0,
        ..*candidate
    });
    let mut rates: Vec<f64> = reported.filter_map(|candidate| rate(&candidate)).collect();
    let middle = rates.len() / 2;
    if rates.is_empty() {
        return None;
    }
    let (_, median, _) = rates.select_nth_unstable_by(middle, f64::total_cmp);
    Some(*median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(servers: &[(u32, Option<u32>)]) -> Vec<Candidate> {
        let load = |sessions| Load { sessions, most: 0 };
        let candidates = servers
            .iter()
            .enumerate()
            .map(|(place, (weight, sessions))| Candidate {
                place,
                weight: *weight,
                load: sessions.map(load),
                given: 0,
                turn: 0,
            });
        candidates.collect()
    }

    /// The places handed out in a burst of questions.
    fn burst(candidates: &mut [Candidate], turns: &mut Turns, count: usize) -> Vec<usize> {
        let next = |_| {
            let (place, turn) = choose(candidates, turns).expect("some");
            candidates[place].given += 1;
            candidates[place].turn = turn;
            place
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn servers_without_a_report_come_in_turn() {
        let mut candidates = pool(&[(1, None), (1, None), (1, None)]);
        assert_eq!(
            burst(&mut candidates, &mut Turns::default(), 7),
            [0, 1, 2, 0, 1, 2, 0]
        );
        let mut weighted = pool(&[(3, None), (1, None)]);
        let chosen = burst(&mut weighted, &mut Turns::default(), 400);
        assert_eq!(chosen.iter().filter(|place| **place == 0).count(), 300);
        assert_eq!(choose(&[], &mut Turns::default()), None);
    }

    #[test]
    fn a_server_that_was_away_does_not_get_all_it_missed() {
        let mut turns = Turns::default();
        let mut candidates = pool(&[(1, None), (1, None)]);
        burst(&mut candidates[..1], &mut turns, 100);
        let chosen = burst(&mut candidates, &mut turns, 10);
        assert_eq!(
            chosen.iter().filter(|place| **place == 1).count(),
            5,
            "{chosen:?}"
        );
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_chosen_and_a_burst_spreads() {
        let mut candidates = pool(&[(1, Some(10)), (1, Some(4)), (2, Some(10))]);
        let chosen = burst(&mut candidates, &mut Turns::default(), 3);
        assert_eq!(chosen[0], 1, "4 of 1 is less than 10 of 2");
        let mut even = pool(&[(1, Some(5)), (1, Some(5)), (2, Some(10))]);
        burst(&mut even, &mut Turns::default(), 400);
        assert_eq!(
            even.iter().map(|c| c.given).collect::<Vec<_>>(),
            [100, 100, 200]
        );
    }

    #[test]
    fn an_unknown_load_counts_as_the_median() {
        let mut candidates = pool(&[(1, Some(100)), (1, None), (1, Some(2)), (1, Some(50))]);
        assert_eq!(burst(&mut candidates, &mut Turns::default(), 1), [2]);
        candidates[2].load = Some(Load {
            sessions: 60,
            most: 0,
        });
        candidates[2].given = 0;
        assert_eq!(burst(&mut candidates, &mut Turns::default(), 1), [3]);
    }

    #[test]
    fn a_full_server_comes_last() {
        let mut candidates = pool(&[(100, Some(8)), (1, Some(90))]);
        candidates[0].load = Some(Load {
            sessions: 8,
            most: 10,
        });
        let mut turns = Turns::default();
        assert_eq!(burst(&mut candidates, &mut turns, 4), [0, 0, 1, 1]);
        assert_eq!(
            burst(&mut candidates[..1], &mut turns, 1),
            [0],
            "better than none"
        );
    }
}
