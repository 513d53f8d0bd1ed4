//! How transfers go: bars on a terminal, events as JSON for programs, and
//! otherwise only what a person must know.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::events::{JsonLines, Out, per_second};
use super::output::{OutputOptions, complain, output_error};
use super::wording::sentence;
use crate::client::{ClientError, Event, Note, Observer, Operation, Summary};
use crate::text::{human_size, shown};

/// Files shorter than this get no bar of their own.
const OWN_BAR: u64 = 1024 * 1024;

/// How many files have one at the same time.
const OWN_BARS: usize = 8;

/// Where a run of transfers is shown.
pub(super) struct Board {
    quiet: bool,
    bars: Option<MultiProgress>,
    json: Option<JsonLines>,
    out: Arc<Out>,
    state: Mutex<State>,
    begin: Instant,
}

#[derive(Default)]
struct State {
    /// Bytes of the files under way.
    positions: HashMap<usize, u64>,
    moved: u64,
    files: u64,
    planned_files: u64,
    planned_bytes: u64,
    total: Option<ProgressBar>,
    own: HashMap<usize, ProgressBar>,
    modes_lost: u64,
}

impl Board {
    /// A board in the form the user asked for.
    pub(super) fn new(output: &OutputOptions) -> Board {
        let on_terminal = std::io::stderr().is_terminal();
        let bars = on_terminal && !output.quiet && !output.json;
        let out = Arc::<Out>::default();
        Board {
            quiet: output.quiet,
            bars: bars.then(MultiProgress::new),
            json: output.json.then(|| JsonLines::new(Arc::clone(&out))),
            out,
            state: Mutex::default(),
            begin: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line on standard error, above the bars.
    pub(super) fn say(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| complain!("tf: {text}")),
            None => complain!("tf: {text}"),
        }
    }

    /// A line on standard output.
    fn print(&self, line: &str) {
        let line = format!("{line}\n");
        match &self.bars {
            Some(bars) => bars.suspend(|| self.out.line(line.as_bytes())),
            None => self.out.line(line.as_bytes()),
        }
    }

    /// Why not all could be written to standard output, if it could not.
    pub(super) fn output_failure(&self) -> Option<ClientError> {
        self.out.failure().map(output_error)
    }

    /// Reports an entry that failed, by its name, and by that of its file if
    /// that is another one.
    fn failed(&self, name: &[u8], error: &ClientError) {
        let (name, error_text) = (shown(name), shown(sentence(error).as_bytes()));
        let is_named = error_text
            .strip_prefix(&name)
            .is_some_and(|rest| rest.starts_with(':'));
        match is_named {
            true => self.say(&error_text),
            false => self.say(&format!("{name}: {error_text}")),
        }
    }

    /// Does something that prints, with the bars out of its way.
    pub(super) fn suspended<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Takes the bars away.
    pub(super) fn end(&self) {
        if let Some(bars) = &self.bars {
            let mut state = self.state();
            state.own.clear();
            state.total = None;
            // It only draws.
            let _ = bars.clear();
        }
    }

    /// Reports to programs why a run ended early.
    pub(super) fn report_end(&self, error: &ClientError) {
        self.end();
        if let Some(json) = &self.json {
            json.error(error);
        }
    }

    /// Prints the result of a run.
    pub(super) fn sum(&self, summary: &Summary) {
        self.end();
        if let Some(json) = &self.json {
            json.summary(summary, self.begin.elapsed());
        }
        let failed = summary.failures.len() as u64;
        let all = failed + summary.files + summary.unchanged;
        if failed > 0 && all > 1 {
            self.say(&format!("{failed} of {all} entries failed"));
        }
        let modes_lost = self.state().modes_lost;
        if modes_lost > 0 && !self.quiet {
            self.say(&format!("{modes_lost} entries lost their modes"));
        }
        if self.bars.is_some() {
            let seconds = self.begin.elapsed().as_secs_f64();
            let rate = human_size(per_second(summary.bytes, self.begin.elapsed()));
            let (files, bytes) = (summary.files, human_size(summary.bytes));
            let file = if files == 1 { "file" } else { "files" };
            complain!("{files} {file}, {bytes} in {seconds:.1} s, {rate}/s");
        }
    }

    fn plan(&self, files: u64, bytes: u64) {
        let mut state = self.state();
        (state.planned_files, state.planned_bytes) = (files, bytes);
        if let Some(bars) = &self.bars
            && files > 0
        {
            let form = "{msg:>13} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
            state.total = Some(bars.add(new_bar(form, bytes)));
        }
    }

    fn begun(&self, file: usize, name: &[u8], size: u64, from: u64) {
        let mut state = self.state();
        if let Some(bars) = &self.bars
            && size >= OWN_BAR
            && state.planned_files > 1
            && state.own.len() < OWN_BARS
        {
            let form = "{bytes:>13} [{bar:30}] {binary_bytes_per_sec} {eta} {msg}";
            let own = bars
                .insert(0, new_bar(form, size))
                .with_message(shown(name));
            own.set_position(from);
            own.reset_eta();
            state.own.insert(file, own);
        }
        state.at(file, from);
        if let Some(total) = &state.total {
            total.reset_eta();
        }
    }

    fn done(&self, file: usize, size: u64) {
        let mut state = self.state();
        state.at(file, size);
        state.positions.remove(&file);
        state.files += 1;
        state.finish(file);
    }
}

impl State {
    fn at(&mut self, file: usize, position: u64) {
        let before = self.positions.insert(file, position).unwrap_or(0);
        self.moved = (self.moved + position).saturating_sub(before);
        if let Some(own) = self.own.get(&file) {
            own.set_position(position);
        }
        if let Some(total) = &self.total {
            total.set_position(self.moved);
        }
    }

    fn finish(&mut self, file: usize) {
        if let Some(own) = self.own.remove(&file) {
            own.finish_and_clear();
        }
        if let Some(total) = &self.total {
            total.set_message(format!("{}/{} files", self.files, self.planned_files));
        }
    }
}

fn new_bar(form: &str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(form);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style.progress_chars("=> "))
}

impl Observer for Board {
    fn notify(&self, event: &Event<'_>) {
        match *event {
            Event::Planned { files, bytes } => self.plan(files, bytes),
            Event::Begun {
                file,
                name,
                size,
                from,
            } => self.begun(file, name, size, from),
            Event::At { file, position } => self.state().at(file, position),
            Event::Done { file, size, .. } => self.done(file, size),
            Event::Failed { file, name, error } => {
                if let Some(file) = file {
                    self.state().finish(file);
                }
                if self.json.is_none() {
                    self.failed(name, error);
                }
            }
            Event::Note {
                what: Note::ModeNotKept | Note::ModeRefused,
                ..
            } => {
                self.state().modes_lost += 1;
            }
            Event::Note { name, what } => {
                if !self.quiet && self.json.is_none() {
                    self.say(&format!("{}: {what}", shown(name)));
                }
            }
            Event::Retrying {
                attempt,
                attempts,
                wait,
                error,
            } => {
                if self.json.is_none() {
                    let wait = wait.as_secs_f64();
                    self.say(&format!(
                        "{error}; attempt {attempt} of {attempts} in {wait} s"
                    ));
                }
            }
            Event::Mirror { operation, name } => {
                if !self.quiet && self.json.is_none() {
                    self.print(&format!("{} {}", mark(operation), shown(name)));
                }
            }
        }
        if let Some(json) = &self.json {
            let state = self.state();
            let moved = (state.moved, state.files);
            let planned = (state.planned_bytes, state.planned_files);
            drop(state);
            json.event(event, moved, planned);
        }
    }
}

/// What stands before the name of a file that a mirror changes.
fn mark(operation: Operation) -> char {
    match operation {
        Operation::Add => '+',
        Operation::Change => '~',
        Operation::Delete => '-',
    }
}

/// The bar of one transfer.
pub(in crate::cli) struct Bar(ProgressBar);

impl Bar {
    /// A bar for `length` bytes.
    pub(in crate::cli) fn new(quiet: bool, name: String, length: u64) -> Bar {
        if quiet || !std::io::stderr().is_terminal() {
            return Bar(ProgressBar::hidden());
        }
        let form = "{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
        Bar(new_bar(form, length).with_message(name))
    }

    /// Shows how many bytes have moved.
    pub(in crate::cli) fn set(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if !self.0.is_finished() {
            self.0.abandon();
        }
    }
}
