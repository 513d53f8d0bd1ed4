//! People who keep a fleet busy with `tf` while something happens to it: uploads,
//! downloads, a mirror and a file that takes seconds. Each run has to succeed by itself,
//! and what it has acknowledged is remembered.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::tf::Person;

/// How long a load runs before and after what happens.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_millis(1500);

/// The size of the file that takes seconds, and its rate.
const LONG: usize = 12 << 20;
const RATE: &str = "6M";

/// The content of a file with this number.
fn content(number: usize, len: usize) -> Vec<u8> {
    let mut state = number as u64 * 2 + 1;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(step).collect()
}

/// What one person has done.
#[derive(Default)]
pub struct Done {
    /// By the name on the server.
    pub acknowledged: BTreeMap<String, Vec<u8>>,
    pub runs: usize,
    /// The longest run, but for those of the long file.
    pub longest: Duration,
}

impl Done {
    /// Runs `tf`, which has to succeed.
    #[track_caller]
    fn run(&mut self, person: &Person, arguments: &[&str]) {
        let begin = Instant::now();
        let run = person.tf(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}{}", run.out, run.err);
        self.runs += 1;
        self.longest = self.longest.max(begin.elapsed());
    }

    fn add(&mut self, other: Done) {
        self.acknowledged.extend(other.acknowledged);
        self.runs += other.runs;
        self.longest = self.longest.max(other.longest);
    }
}

/// One who uploads small files, each under a name of its own.
fn put(person: &Person, number: usize) -> Done {
    let mut done = Done::default();
    let name = format!("put-{number}");
    let bytes = content(number, 1000 + number * 7919 % 200_000);
    person.write(&name, &bytes);
    done.run(person, &["put", "-q", &name, "s:"]);
    done.acknowledged.insert(name, bytes);
    done
}

/// One who replaces a file and reads it back.
fn replace(person: &Person, number: usize) -> Done {
    let mut done = Done::default();
    let bytes = content(number, 50_000 + number);
    person.write("replaced", &bytes);
    done.run(person, &["put", "-q", "replaced", "s:"]);
    let back = format!("back-{number}");
    done.run(person, &["get", "-q", "s:replaced", &back]);
    let read = fs::read(person.path(&back)).expect("read");
    assert!(read == bytes, "{} bytes of {}", read.len(), bytes.len());
    done.acknowledged.insert("replaced".to_owned(), bytes);
    done
}

/// One who mirrors a directory to which files are added.
fn mirror(person: &Person, number: usize) -> Done {
    let mut done = Done::default();
    let name = format!("tree/d{}/m-{number}", number % 3);
    let bytes = content(number, 20_000);
    person.write(&name, &bytes);
    done.run(person, &["mirror", "-q", "tree", "s:tree"]);
    done.acknowledged.insert(name, bytes);
    done
}

/// One who uploads and downloads a file that takes seconds.
fn long(person: &Person, number: usize) -> Done {
    let mut done = Done::default();
    let bytes = content(number, LONG);
    person.write("long", &bytes);
    done.run(person, &["put", "-q", "--limit", RATE, "long", "s:"]);
    let back = format!("long-{number}");
    done.run(person, &["get", "-q", "--limit", RATE, "s:long", &back]);
    assert!(fs::read(person.path(&back)).expect("read") == bytes);
    fs::remove_file(person.path(&back)).expect("remove");
    done.acknowledged.insert("long".to_owned(), bytes);
    done.longest = Duration::ZERO;
    done
}

/// Ends the load, even if what happens has failed.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps servers busy, which this configuration of `tf` names `s`, while something
/// happens; at least one long file goes both ways meanwhile.
pub fn during(configuration: &str, happens: impl FnOnce()) -> Done {
    let ended = AtomicBool::new(false);
    let work = |one: fn(&Person, usize) -> Done| {
        let person = Person::new();
        person.configure(configuration);
        let mut done = one(&person, 0);
        for number in 1.. {
            if ended.load(Ordering::Relaxed) {
                break;
            }
            done.add(one(&person, number));
        }
        done
    };
    std::thread::scope(|scope| {
        let works = [put, replace, mirror, long].map(|one| scope.spawn(move || work(one)));
        {
            let _ends = Ends(&ended);
            std::thread::sleep(BEFORE);
            happens();
            std::thread::sleep(AFTER);
        }
        let mut all = Done::default();
        for one in works {
            all.add(one.join().expect("a run of tf has failed"));
        }
        all
    })
}
