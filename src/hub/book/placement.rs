//! Which holder gets a copy. What the owner and the hub know of the holders decides,
//! and among equals chance, by the root of the room they have.

use std::net::IpAddr;

use rusqlite::Row;

use super::uptime::Uptime;
use super::{Book, Online, Result, Time, UserId, count};
use crate::hub::wire::Kind;

/// The least score of a holder that gets copies.
const SCORE: f64 = 0.6;

/// For how many hundredths of the hours it has to be online, after its first day.
const UPTIME: i64 = 30;
const FIRST: Time = 86_400;

/// Where a holder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The first bytes of its address: /24, of IPv6 /48.
    network: Option<Vec<u8>>,
    /// Its own label.
    site: Option<String>,
    /// Whether others connect to it, as far as it is known.
    is_reachable: bool,
}

impl Place {
    /// The one in these three columns: address, site, reach.
    pub fn of(row: &Row<'_>, at: usize) -> rusqlite::Result<Place> {
        let address: Option<String> = row.get(at)?;
        let network = address.and_then(|text| match text.parse().ok()? {
            IpAddr::V4(v4) => Some(v4.octets()[..3].to_vec()),
            IpAddr::V6(v6) => Some(v6.octets()[..6].to_vec()),
        });
        let reach: Option<bool> = row.get(at + 2)?;
        Ok(Place {
            network,
            site: row.get(at + 1)?,
            is_reachable: reach != Some(false),
        })
    }

    fn is_near(&self, other: &Place) -> (bool, bool) {
        (
            self.network.is_some() && self.network == other.network,
            self.site.is_some() && self.site == other.site,
        )
    }
}

/// A holder that is online.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// It.
    pub holder: UserId,
    /// Where it is.
    pub place: Place,
    /// The bytes it has room for.
    pub free: u64,
    /// Whether it is dependable.
    pub is_good: bool,
    /// Whether it has files of this owner.
    pub is_used: bool,
}

/// What a copy is looked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Bytes of the file.
    pub size: u64,
    /// What the file is.
    pub kind: Kind,
    /// Where its other copies are.
    pub taken: &'a [Place],
    /// Holders of which one is to have a copy; empty if any may have all.
    pub trusted: &'a [UserId],
    /// Whether this is the last copy.
    pub is_last: bool,
}

/// The holder that gets a copy, by a random number; `None` if nobody may.
pub(super) fn choose(among: &[Candidate], wanted: &Wanted<'_>, random: u64) -> Option<UserId> {
    let is_trusted = |it: &Candidate| wanted.trusted.contains(&it.holder);
    let may = |it: &&Candidate| it.is_good && it.free >= wanted.size;
    let mut left: Vec<&Candidate> = among.iter().filter(may).collect();
    if wanted.is_last && !wanted.trusted.is_empty() {
        left.retain(|it| is_trusted(it));
    }
    // A book goes to every holder of its owner.
    let is_book = wanted.kind == Kind::Book;
    let needs_reach = wanted.kind != Kind::Data || !wanted.taken.iter().any(|it| it.is_reachable);
    if needs_reach && !is_book && left.iter().any(|it| it.place.is_reachable) {
        left.retain(|it| it.place.is_reachable);
    }
    let rank = |it: &Candidate| {
        let near = wanted.taken.iter().map(|other| it.place.is_near(other));
        let near = near.fold((false, false), |all, one| (all.0 | one.0, all.1 | one.1));
        let is_new = !it.is_used;
        let is_far = !it.place.is_reachable;
        (is_book && is_new, !is_trusted(it), near, is_new, is_far)
    };
    let best = left.iter().map(|it| rank(it)).min()?;
    left.retain(|it| rank(it) == best);
    let weight = |it: &Candidate| (it.free >> 10).isqrt() + 1;
    let mut rest = random % left.iter().map(|it| weight(it)).sum::<u64>();
    for candidate in left {
        match rest.checked_sub(weight(candidate)) {
            Some(less) => rest = less,
            None => return Some(candidate.holder),
        }
    }
    None
}

impl Book {
    /// The holders that are online, of other people than the owner and of its version.
    pub(super) fn candidates(
        &self,
        owner: UserId,
        online: &Online,
        now: Time,
    ) -> Result<Vec<Candidate>> {
        let text = "SELECT k.user, k.address, k.site, k.reach, k.share - k.held, k.score, k.uptime,
                    k.since, EXISTS (SELECT 1 FROM copy WHERE holder = k.user AND owner = ?1)
                    FROM holder k JOIN user u ON u.id = k.user
                    WHERE u.holder_key IS NOT NULL AND k.target IS NULL AND NOT k.is_gone
                    AND k.passes IS NULL AND u.base = (SELECT base FROM user WHERE id = ?1)
                    AND u.pool <> (SELECT pool FROM user WHERE id = ?1)";
        let read = |row: &Row<'_>| {
            let uptime = Uptime::of(&row.get::<_, Vec<u8>>(6)?);
            let since = row.get(7)?;
            let is_new = now < since + FIRST;
            let score: f64 = row.get(5)?;
            Ok(Candidate {
                holder: row.get(0)?,
                place: Place::of(row, 1)?,
                free: count(row.get(4)?),
                is_good: score >= SCORE && (is_new || uptime.percent(since, now) >= UPTIME),
                is_used: row.get(8)?,
            })
        };
        let mut all = self.all(text, [owner], read)?;
        all.retain(|candidate| online.contains(&candidate.holder));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(holder: UserId, network: u8, site: &str, free: u64) -> Candidate {
        Candidate {
            holder,
            place: Place {
                network: Some(vec![192, 0, network]),
                site: Some(site.to_owned()),
                is_reachable: true,
            },
            free,
            is_good: true,
            is_used: false,
        }
    }

    fn wanted(taken: &[Place]) -> Wanted<'_> {
        Wanted {
            size: 1000,
            kind: Kind::Data,
            taken,
            trusted: &[],
            is_last: true,
        }
    }

    /// Who may be chosen, by any number.
    fn chosen(among: &[Candidate], wanted: &Wanted<'_>) -> Vec<UserId> {
        let random = (0..2000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut chosen: Vec<_> = random.filter_map(|n| choose(among, wanted, n)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    #[test]
    fn only_dependable_holders_with_room_get_copies() {
        let mut all = [1, 2, 3].map(|holder| candidate(holder, 1, "a", 1 << 30));
        all[0].is_good = false;
        all[1].free = 999;
        assert_eq!(chosen(&all, &wanted(&[])), [3]);
        all[2].free = 999;
        assert_eq!(chosen(&all, &wanted(&[])), Vec::<UserId>::new());
        assert_eq!(chosen(&[], &wanted(&[])), Vec::<UserId>::new());
    }

    #[test]
    fn copies_avoid_networks_and_sites_of_each_other() {
        let all = [
            candidate(1, 1, "a", 1 << 30),
            candidate(2, 1, "b", 1 << 30),
            candidate(3, 2, "a", 1 << 30),
            candidate(4, 2, "b", 1 << 30),
        ];
        let taken = [all[0].place.clone()];
        assert_eq!(chosen(&all[1..], &wanted(&taken)), [4]);
        assert_eq!(chosen(&all[1..3], &wanted(&taken)), [3]);
        assert_eq!(chosen(&all[1..2], &wanted(&taken)), [2]);
    }

    #[test]
    fn holders_of_the_owner_come_first_and_relayed_ones_last() {
        let mut all = [1, 2, 3].map(|holder| candidate(holder, 9, "c", 1 << 30));
        let taken = [candidate(9, 1, "a", 0).place];
        all[1].is_used = true;
        assert_eq!(chosen(&all, &wanted(&taken)), [2]);
        all[1].place.is_reachable = false;
        assert_eq!(chosen(&all, &wanted(&taken)), [2]);
        // The first copy, and every one that is not data, wants to be reached.
        assert_eq!(chosen(&all, &wanted(&[])), [1, 3]);
        let mut index = wanted(&taken);
        index.kind = Kind::Index;
        assert_eq!(chosen(&all, &index), [1, 3]);
        assert_eq!(chosen(&all[1..2], &index), [2]);
    }

    #[test]
    fn a_book_goes_to_the_holders_of_its_owner_wherever_they_are() {
        let mut all = [
            candidate(1, 1, "a", 1 << 30),
            candidate(2, 1, "a", 1 << 30),
            candidate(3, 2, "b", 1 << 30),
        ];
        let taken = [all[0].place.clone()];
        all[1].is_used = true;
        all[1].place.is_reachable = false;
        let mut book = wanted(&taken);
        assert_eq!(chosen(&all[1..], &book), [3]);
        book.kind = Kind::Book;
        assert_eq!(chosen(&all[1..], &book), [2]);
        assert_eq!(chosen(&all[2..], &book), [3]);
    }

    #[test]
    fn one_copy_is_at_a_holder_the_owner_trusts() {
        let all = [1, 2].map(|holder| candidate(holder, 1, "a", 1 << 30));
        let mut first = wanted(&[]);
        first.trusted = &[2];
        first.is_last = false;
        assert_eq!(chosen(&all, &first), [2]);
        assert_eq!(chosen(&all[..1], &first), [1]);
        first.is_last = true;
        assert_eq!(chosen(&all[..1], &first), Vec::<UserId>::new());
    }

    #[test]
    fn more_room_gets_more_copies() {
        let all = [candidate(1, 1, "a", 1 << 40), candidate(2, 1, "a", 1 << 30)];
        let mut counts = [0, 0];
        for n in 0..4000_u64 {
            let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            match choose(&all, &wanted(&[]), random) {
                Some(1) => counts[0] += 1,
                _ => counts[1] += 1,
            }
        }
        // The root of 1024 is 32.
        assert!(counts[0] > 16 * counts[1] && counts[1] > 0, "{counts:?}");
    }
}
