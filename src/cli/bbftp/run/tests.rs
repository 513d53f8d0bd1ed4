use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Read, Seek};
use std::rc::Rc;

use super::*;
use crate::cli::bbftp::script::Script;
use crate::cli::bbftp::script::command::Request;
use crate::client::Observer;
use crate::client::bbftp::{Kind, Listed, Moved};

/// A server that answers as it is told, and notes what it is asked.
#[derive(Clone, Default)]
struct Fake(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// What becomes of the next connections and commands; then all is well.
    fates: VecDeque<Option<Fate>>,
    asked: Vec<String>,
    entries: Vec<Listed>,
}

impl Fake {
    fn next(&self, asked: String) -> Result<()> {
        let mut state = self.0.borrow_mut();
        state.asked.push(asked);
        match state.fates.pop_front().flatten() {
            Some(fate) => Err(Failure::new(100, fate, "as told")),
            None => Ok(()),
        }
    }
}

impl Door for Fake {
    fn open(&self, _: &Settings, _: &Speaker) -> Result<Box<dyn Remote>> {
        self.next("open".to_owned())?;
        Ok(Box::new(self.clone()))
    }
}

impl Remote for Fake {
    fn is_lost(&mut self) -> bool {
        false
    }

    fn ask(&mut self, request: Request, path: &[u8], _: &Settings) -> Result<Vec<u8>> {
        let path = String::from_utf8_lossy(path);
        self.next(format!("{} {path}", request.word()))?;
        Ok(format!("/{path}").into_bytes())
    }

    fn umask(&mut self, umask: u32) -> Result<String> {
        self.next(format!("umask {umask:o}"))?;
        Ok("set".to_owned())
    }

    fn class(&mut self, class: i32) -> Result<String> {
        self.next(format!("cos {class}"))?;
        Ok("set".to_owned())
    }

    fn list(&mut self, pattern: &[u8], _: &Settings) -> Result<Vec<Listed>> {
        self.next(format!("list {}", String::from_utf8_lossy(pattern)))?;
        Ok(self.0.borrow().entries.clone())
    }

    fn transfer(
        &mut self,
        job: &Job<'_>,
        _: &dyn Observer,
        done: &mut dyn FnMut(usize, Result<Moved>),
    ) -> Result<()> {
        for (at, file) in job.files.iter().enumerate() {
            let asked = format!("{} {}", job.direction.word(), file.local.display());
            match self.next(asked) {
                Err(failure) if failure.fate == Fate::Reconnect => return Err(failure),
                Err(failure) => done(at, Err(failure)),
                Ok(()) => done(at, Ok(moved())),
            }
        }
        Ok(())
    }

    fn close(self: Box<Self>) {
        let _ = self.next("close".to_owned());
    }
}

fn moved() -> Moved {
    Moved {
        bytes: 0,
        time: Duration::ZERO,
        streams: 1,
        gzip: false,
    }
}

/// What has come of commands: the exit status, the results, what was asked.
fn run(commands: &str, fake: &Fake, fates: &[Option<Fate>]) -> (u8, String, Vec<String>) {
    fake.0.borrow_mut().fates = fates.iter().copied().collect();
    let mut results = tempfile::tempfile().expect("file");
    let speaker = Speaker {
        results: Some(results.try_clone().expect("file")),
        ..Speaker::default()
    };
    let patience = Patience {
        tries: 2,
        wait: Duration::ZERO,
        cancel: Cancel::default(),
    };
    let script = Script::of_line(commands.as_bytes(), true).expect("script");
    let settings = Settings::default();
    let runner = Runner::new(fake, &speaker, settings, patience, Style::default());
    let code = runner.run(&script.commands);
    let mut text = String::new();
    results.rewind().expect("rewind");
    results.read_to_string(&mut text).expect("read");
    let asked = std::mem::take(&mut fake.0.borrow_mut().asked);
    (code, text, asked)
}

#[test]
fn results_repeat_the_commands_and_the_status_is_the_last_failure() {
    let fake = Fake::default();
    let fates = [None, None, Some(Fate::Final)];
    let (code, results, asked) = run("cd  d ; rm x;;bogus;setnbstream 2", &fake, &fates);
    assert_eq!(
        results,
        "cd  d  OK\n rm x FAILED\n OK\nbogus FAILED\nsetnbstream 2 OK\n"
    );
    assert_eq!(code, 100);
    assert_eq!(asked, ["open", "cd d", "rm x", "close"]);
    assert_eq!(run("bogus", &fake, &[]).0, 0, "as with the public client");
    assert_eq!(run("put", &fake, &[]).0, 26);
}

#[test]
fn a_command_is_tried_again_as_often_as_allowed() {
    let fake = Fake::default();
    let again = Some(Fate::Again);
    let (code, results, asked) = run("put a b;rm x", &fake, &[None, again, again]);
    assert_eq!(results, "put a b FAILED\nrm x OK\n");
    assert_eq!(code, 100);
    assert_eq!(asked, ["open", "put a", "put a", "rm x", "close"]);
    let (code, results, _) = run("put a b", &fake, &[None, again]);
    assert_eq!((code, &*results), (0, "put a b OK\n"));
}

#[test]
fn a_new_session_is_as_the_lost_one_was() {
    let fake = Fake::default();
    let lost = Some(Fate::Reconnect);
    let commands = "setremoteumask 77;setremotecos 3;cd d;rm x;rm y";
    let fates = [None, None, None, None, lost];
    let (_, results, asked) = run(commands, &fake, &fates);
    assert!(!results.contains("FAILED"), "{results}");
    let expected = [
        "open", "umask 77", "cos 3", "cd d", "rm x", "open", "umask 77", "cos 3", "cd /d", "rm x",
        "rm y", "close",
    ];
    assert_eq!(asked, expected);
}

#[test]
fn no_connection_ends_the_program_after_all_tries() {
    let fake = Fake::default();
    let lost = Some(Fate::Reconnect);
    let (code, results, asked) = run("rm x", &fake, &[lost, lost]);
    assert_eq!((code, &*results), (33, ""));
    assert_eq!(asked, ["open", "open"]);
    let (code, _, asked) = run("rm x", &fake, &[Some(Fate::End)]);
    assert_eq!(code, 100, "a login that is refused is not tried again");
    assert_eq!(asked, ["open"]);
    // What is set again on a new session fails: that is a try, too.
    let fates = [None, None, lost, None, lost, None, lost];
    let (code, _, asked) = run("cd d;rm x", &fake, &fates);
    assert_eq!(code, 33);
    let opened = asked.iter().filter(|asked| *asked == "open").count();
    assert_eq!(opened, 3);
}

#[test]
fn each_of_many_files_has_its_own_tries() {
    let fake = Fake::default();
    let entry = |path: &str, kind| Listed {
        path: path.into(),
        is_link: false,
        kind,
    };
    fake.0.borrow_mut().entries = vec![
        entry("d/a", Some(Kind::File)),
        entry("d/b", Some(Kind::Directory)),
        entry("d/c", None),
        entry("d/e", Some(Kind::Nothing)),
        entry("d/f", Some(Kind::File)),
    ];
    let (again, lost) = (Some(Fate::Again), Some(Fate::Reconnect));
    // a fails for good, c is tried again, f loses the connection and is tried again.
    let fates = [None, None, Some(Fate::Final), again, lost];
    let (code, results, asked) = run("mget d/* /tmp", &fake, &fates);
    let lines: Vec<&str> = results.lines().collect();
    let expected = [
        "get d/a /tmp/a FAILED",
        "get d/c /tmp/c OK",
        "get d/f /tmp/f OK",
        "mget d/* /tmp OK",
    ];
    assert_eq!(lines, expected);
    assert_eq!(code, 100);
    let expected = [
        "open",
        "list d/*",
        "get /tmp/a",
        "get /tmp/c",
        "get /tmp/f",
        "open",
        "get /tmp/c",
        "get /tmp/f",
        "close",
    ];
    assert_eq!(asked, expected);
    let (_, results, _) = run("mget d/* /tmp", &fake, &[None, None, lost, None, lost]);
    assert!(results.contains("get d/a /tmp/a FAILED"), "{results}");
    assert!(results.contains("get d/f /tmp/f OK"), "{results}");
}
