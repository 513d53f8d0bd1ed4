//! A `tf` that goes on beside the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::tf::{Person, patiently};
use crate::common::{PATIENCE, wait_until};

/// A `tf` under way. It ends with the value.
pub struct Running {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub fn start(person: &Person, arguments: &[&str]) -> Running {
        let mut command = person.command(env!("CARGO_BIN_EXE_tf"));
        command.args(patiently(arguments)).stdin(Stdio::null());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start");
        let out = gather(child.stdout.take().expect("output"));
        let err = gather(child.stderr.take().expect("errors"));
        Running { child, out, err }
    }

    pub fn lines(&self) -> Vec<String> {
        self.out.lock().expect("lines").clone()
    }

    pub fn complaints(&self) -> String {
        self.err.lock().expect("lines").join("\n")
    }

    /// Waits for these lines and no other.
    #[track_caller]
    pub fn expect_lines(&self, expected: &[&str]) {
        let end = Instant::now() + PATIENCE;
        while self.lines().len() < expected.len() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(self.lines(), expected, "{}", self.complaints());
    }

    #[track_caller]
    pub fn wait_for_complaint(&self, text: &str) {
        wait_until(text, || self.complaints().contains(text));
    }

    pub fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("signal");
    }

    /// Waits for its end and tells the exit status.
    #[track_caller]
    pub fn end(mut self) -> Option<i32> {
        let mut code = None;
        wait_until("the end of tf", || {
            let status = self.child.try_wait().expect("wait");
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        code
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(from: impl Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&lines);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            all.lock().expect("lines").push(line);
        }
    });
    lines
}
