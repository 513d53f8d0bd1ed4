//! In which of the last 28 days' hours a holder was online: one bit each.

/// Hours that are counted.
const HOURS: i64 = 28 * 24;

/// Bytes of the bits.
const BYTES: usize = 84;

/// The hours of a holder, as they stand in the database: the latest hour, in hours since
/// 1970, and a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uptime {
    latest: i64,
    bits: [u8; BYTES],
}

impl Uptime {
    /// Of a holder that has never been online.
    pub const NONE: Uptime = Uptime {
        latest: 0,
        bits: [0; BYTES],
    };

    /// Reads it; never online, if it is none.
    pub fn of(bytes: &[u8]) -> Uptime {
        let parts = bytes.split_first_chunk::<8>();
        let uptime = parts.and_then(|(latest, bits)| {
            let latest = i64::from_be_bytes(*latest);
            let bits = bits.try_into().ok()?;
            Some(Uptime { latest, bits })
        });
        uptime.unwrap_or(Uptime::NONE)
    }

    /// Its bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.latest.to_be_bytes()[..], &self.bits].concat()
    }

    /// Notes that the holder is online at this time, in seconds since 1970.
    pub fn note(&mut self, time: i64) {
        let hour = time.div_euclid(3600);
        let forgotten = self.latest.max(hour - HOURS) + 1..=hour;
        for hour in forgotten {
            let (byte, bit) = place(hour);
            self.bits[byte] &= !bit;
        }
        self.latest = self.latest.max(hour);
        if hour > self.latest - HOURS {
            let (byte, bit) = place(hour);
            self.bits[byte] |= bit;
        }
    }

    /// Notes all hours from one time to another one as online.
    pub fn note_from(&mut self, from: i64, until: i64) {
        let hours = |time: i64| time.div_euclid(3600);
        for hour in hours(from).max(hours(until) - HOURS)..=hours(until) {
            self.note(hour * 3600);
        }
    }

    /// For how many hundredths of the hours since `since`, of the last 28 days at most,
    /// the holder was online.
    pub fn percent(&self, since: i64, now: i64) -> i64 {
        let hour = now.div_euclid(3600);
        let first = (hour - HOURS + 1).max(since.div_euclid(3600));
        let counted = |hour: &i64| {
            let (byte, bit) = place(*hour);
            *hour <= self.latest && *hour > self.latest - HOURS && self.bits[byte] & bit != 0
        };
        let hours = (hour - first + 1).max(1);
        let online = (first..=hour).filter(counted).count();
        i64::try_from(online).unwrap_or(0) * 100 / hours
    }
}

/// The byte and the bit of an hour.
fn place(hour: i64) -> (usize, u8) {
    let at = usize::try_from(hour.rem_euclid(HOURS)).unwrap_or(0);
    (at / 8, 1 << (at % 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const BEGIN: i64 = 1_795_336_800;

    #[test]
    fn hours_are_counted_for_28_days() {
        let mut uptime = Uptime::NONE;
        assert_eq!(uptime.percent(BEGIN, BEGIN), 0);
        uptime.note(BEGIN);
        assert_eq!(uptime.percent(BEGIN, BEGIN), 100);
        for hour in 0..48 {
            uptime.note(BEGIN + hour * 3600);
        }
        assert_eq!(uptime.percent(BEGIN, BEGIN + 4 * DAY - 3600), 50);
        assert_eq!(Uptime::of(&uptime.to_bytes()), uptime);
        // What lies behind is forgotten, also by one that comes back late.
        let late = BEGIN + 28 * DAY + 40 * 3600;
        assert_eq!(uptime.percent(0, late), 7 * 100 / HOURS);
        uptime.note(BEGIN + 100 * DAY);
        assert_eq!(uptime.percent(0, BEGIN + 100 * DAY), 100 / HOURS);
        assert_eq!(Uptime::of(b"short"), Uptime::NONE);
    }

    #[test]
    fn hours_between_two_times_are_counted_at_once() {
        let mut uptime = Uptime::NONE;
        uptime.note(BEGIN);
        uptime.note_from(BEGIN + 2 * DAY, BEGIN + 4 * DAY - 3600);
        assert_eq!(uptime.percent(BEGIN, BEGIN + 4 * DAY - 3600), 49 * 100 / 96);
        let late = BEGIN + 1000 * DAY;
        uptime.note_from(BEGIN, late);
        assert_eq!(uptime.percent(0, late), 100);
    }
}
