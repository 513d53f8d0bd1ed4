//! How transfers go: bars on a terminal, events as JSON for programs, and
//! otherwise only what a person must know.

mod alike;
mod ask;
mod bars;

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use alike::Alike;
use ask::Ask;
use bars::{Line, Meter, per_second};

use super::events::{JsonLines, Out};
use super::output::{OutputOptions, complain, output_error};
use super::wording::{kind, sentence};
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
    ask: Ask,
    state: Mutex<State>,
    begin: Instant,
}

#[derive(Default)]
struct State {
    /// Bytes of the files under way that are at the target.
    positions: HashMap<usize, u64>,
    /// All of them together, with those of files that are done.
    at: u64,
    /// What this run has moved.
    meter: Meter,
    files: u64,
    planned_files: u64,
    planned_bytes: u64,
    total: Option<Line>,
    own: HashMap<usize, Line>,
    /// How many entries lost what, and the names of the first.
    lost: BTreeMap<Lost, (u64, Vec<String>)>,
    alike: Alike,
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
            ask: Ask::default(),
            state: Mutex::default(),
            begin: Instant::now(),
        }
    }

    /// The same, which asks on a terminal before a local file is replaced.
    pub(super) fn asking(self, asks: bool) -> Board {
        let ask = if asks {
            Ask::on_terminal()
        } else {
            Ask::default()
        };
        Board { ask, ..self }
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
    /// that is another one; of many alike only the first.
    fn failed(&self, name: &[u8], error: &ClientError) {
        if !self.state().alike.count(&kind(error)) {
            return;
        }
        let (name, error_text) = (shown(name), shown(sentence(error).as_bytes()));
        let is_named = error_text
            .strip_prefix(&name)
            .is_some_and(|rest| rest.starts_with(':'));
        match is_named {
            true => self.say(&error_text),
            false => self.say(&format!("{name}: {error_text}")),
        }
    }

    /// Reports a remark on an entry; of many alike only the first.
    fn noted(&self, name: &[u8], what: Note) {
        if self.state().alike.count(&what.to_string()) {
            self.say(&format!("{}: {what}", shown(name)));
        }
    }

    /// Reports how many remarks were not printed.
    fn say_rest(&self) {
        let rest = self.state().alike.rest();
        rest.iter()
            .for_each(|line| self.say(&shown(line.as_bytes())));
    }

    /// Whether the work was known and had begun.
    pub(super) fn has_begun(&self) -> bool {
        self.state().planned_files > 0
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
        self.say_rest();
        if let Some(json) = &self.json {
            json.error(error);
        }
    }

    /// Prints the result of a run.
    pub(super) fn sum(&self, summary: &Summary) {
        self.end();
        self.say_rest();
        let moved = self.state().meter.total();
        if let Some(json) = &self.json {
            json.summary(summary, moved, self.begin.elapsed());
        }
        let failed = summary.failures.len() as u64;
        let all = failed + summary.files + summary.unchanged;
        if failed > 0 && all > 1 {
            self.say(&format!("{failed} of {all} entries failed"));
        }
        if !self.quiet {
            let lost = std::mem::take(&mut self.state().lost);
            lost.iter()
                .for_each(|(what, (count, names))| self.say(&what.line(*count, names)));
        }
        if self.bars.is_some() {
            complain!("{}", self.result(summary, moved));
        }
    }

    /// One line: what was done, and how fast by what was moved now.
    fn result(&self, summary: &Summary, moved: u64) -> String {
        let seconds = self.begin.elapsed().as_secs_f64();
        let rate = human_size(per_second(moved, self.begin.elapsed()));
        let (files, bytes) = (summary.files, human_size(summary.bytes));
        let file = if files == 1 { "file" } else { "files" };
        let now = match moved < summary.bytes {
            true => format!(", {} of them now", human_size(moved)),
            false => String::new(),
        };
        format!("{files} {file}, {bytes}{now} in {seconds:.1} s, {rate}/s")
    }

    fn plan(&self, files: u64, bytes: u64) {
        let mut state = self.state();
        (state.planned_files, state.planned_bytes) = (files, bytes);
        if let Some(bars) = &self.bars
            && files > 0
        {
            let total = Line::new(bars, bytes, false);
            total.set_label(format!("0/{files} files"));
            state.total = Some(total);
        }
    }

    /// Shows a file: by a bar of its own if it is one of several.
    fn show(&self, state: &mut State, file: usize, name: &[u8], size: u64) {
        if state.planned_files == 1
            && let Some(total) = &state.total
        {
            total.set_name(name);
        } else if let Some(bars) = &self.bars
            && size >= OWN_BAR
            && state.own.len() < OWN_BARS
            && !state.own.contains_key(&file)
        {
            let own = Line::new(bars, size, true);
            own.set_name(name);
            state.own.insert(file, own);
        }
    }

    fn begun(&self, file: usize, name: &[u8], size: u64, from: u64) {
        let mut state = self.state();
        self.show(&mut state, file, name, size);
        state.begin(file, from);
    }

    fn checking(&self, file: usize, name: &[u8], size: u64, position: Option<u64>) {
        let mut state = self.state();
        self.show(&mut state, file, name, size);
        if let Some(line) = state.line(file) {
            line.checked(position);
        }
    }

    fn done(&self, file: usize, size: u64) {
        let mut state = self.state();
        state.moved(file, size);
        state.positions.remove(&file);
        state.files += 1;
        state.finish(file);
    }
}

/// What entries lose, reported at the end and together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lost {
    Mode,
    Owner,
}

/// So many names are enough to know which entries they are.
const NAMED: usize = 5;

impl Lost {
    fn of(note: Note) -> Option<Lost> {
        match note {
            Note::ModeNotKept | Note::ModeRefused => Some(Lost::Mode),
            Note::OwnerRefused => Some(Lost::Owner),
            _ => None,
        }
    }

    fn line(self, count: u64, names: &[String]) -> String {
        let got = match self {
            Lost::Mode => "default modes",
            Lost::Owner => "the server's owner",
        };
        let entries = if count == 1 { "entry" } else { "entries" };
        let more = match count.saturating_sub(names.len() as u64) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{count} {entries} got {got}: {}{more}", names.join(", "))
    }
}

impl State {
    /// The bar that shows a file.
    fn line(&self, file: usize) -> Option<&Line> {
        match self.planned_files {
            1 => self.total.as_ref(),
            _ => self.own.get(&file),
        }
    }

    /// A transfer begins, or begins again, at this byte.
    fn begin(&mut self, file: usize, from: u64) {
        let before = self.positions.insert(file, from).unwrap_or(0);
        self.at = (self.at + from).saturating_sub(before);
        if let Some(line) = self.line(file) {
            line.begin(from);
        }
        if let Some(total) = &self.total {
            total.begin(self.at);
        }
    }

    fn moved(&mut self, file: usize, position: u64) {
        let before = self.positions.insert(file, position).unwrap_or(0);
        let bytes = position.saturating_sub(before);
        self.at = (self.at + position).saturating_sub(before);
        self.meter.add(bytes, Instant::now());
        if let Some(own) = self.own.get(&file) {
            own.moved(bytes, position);
        }
        if let Some(total) = &self.total {
            total.moved(bytes, self.at);
        }
    }

    fn finish(&mut self, file: usize) {
        if let Some(own) = self.own.remove(&file) {
            own.end();
        }
        if let Some(total) = &self.total
            && self.planned_files > 1
        {
            total.set_label(format!("{}/{} files", self.files, self.planned_files));
        }
    }
}

impl Observer for Board {
    fn may_replace(&self, path: &Path) -> bool {
        self.suspended(|| self.ask.may_replace(path))
    }

    fn notify(&self, event: &Event<'_>) {
        match *event {
            Event::Planned { files, bytes } => self.plan(files, bytes),
            Event::Begun {
                file,
                name,
                size,
                from,
            } => self.begun(file, name, size, from),
            Event::At { file, position } => self.state().moved(file, position),
            Event::Checking {
                file,
                name,
                size,
                position,
            } => self.checking(file, name, size, position),
            Event::Done { file, size, .. } => self.done(file, size),
            Event::Failed { file, name, error } => {
                if let Some(file) = file {
                    self.state().finish(file);
                }
                if self.json.is_none() {
                    self.failed(name, error);
                }
            }
            Event::Note { name, what } => {
                if let Some(lost) = Lost::of(what) {
                    let mut state = self.state();
                    let (count, names) = state.lost.entry(lost).or_default();
                    *count += 1;
                    if names.len() < NAMED {
                        names.push(shown(name));
                    }
                } else if (!self.quiet || what == Note::Secure) && self.json.is_none() {
                    self.noted(name, what);
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
            Event::FewerSessions { error } => {
                if self.json.is_none() {
                    self.say(&format!(
                        "{error}: the server allows no further session, continuing with fewer"
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
            let moved = (state.at, state.files);
            let planned = (state.planned_bytes, state.planned_files);
            let rate = state.meter.rate(Instant::now());
            drop(state);
            json.event(event, moved, planned, rate);
        }
    }
}

/// What stands before the name of a file that a mirror changes.
fn mark(operation: Operation) -> char {
    match operation {
        Operation::Add => '+',
        Operation::Change => '~',
        Operation::Attributes => '.',
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
        let style = ProgressStyle::with_template(form);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(length).with_style(style.progress_chars("=> "));
        Bar(bar.with_message(name))
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
