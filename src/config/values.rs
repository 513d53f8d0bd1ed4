//! From the text of the file to checked values, by the table of keys. Every
//! problem is collected, and no value of a secret is quoted.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::table::{Check, Key, Kind, Shown};
use crate::text::{did_you_mean, shown};

/// The keys whose values are secrets, with their sections.
const SECRETS: [(&str, &str); 1] = [("tf", "hash")];

/// The longest time, in seconds.
const LONGEST: f64 = 1e9;

/// The text that a line of a file gives a key.
pub(super) fn text_of(line: &str, key: &str) -> Option<String> {
    let table = DeTable::parse(line).ok()?;
    let value = table.get_ref().get(key)?;
    value.get_ref().as_str().map(str::to_owned)
}

/// The values of a file, by section and key, with the defaults of those left
/// out.
pub(super) struct Values<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<Found>,
    pub(super) problems: Vec<Problem>,
    /// Whether the file has a key that does not exist, perhaps for one that
    /// is missing.
    pub(super) has_unknown: bool,
}

struct Found {
    key: &'static Key,
    value: Value,
    /// Where the file has it; `None` for a default.
    place: Option<Range<usize>>,
}

enum Value {
    /// In decimal digits, if it is a number.
    Text(String),
    List(Vec<String>),
    /// Of another kind than its key wants; reported already.
    Wrong,
}

impl<'a> Values<'a> {
    /// The values of a file, and the problems that each has for itself.
    pub(super) fn read(path: &'a Path, text: &'a str) -> Result<Values<'a>, Vec<Problem>> {
        let mut values = Values {
            path,
            text,
            found: Vec::new(),
            problems: Vec::new(),
            has_unknown: false,
        };
        for key in Key::all().filter(|key| key.shown == Shown::Default) {
            if let Ok(value) = DeValue::parse(key.value) {
                values.take(key, value.get_ref(), None);
            }
        }
        match DeTable::parse(text) {
            Ok(document) => {
                values.sections(document.get_ref());
                Ok(values)
            }
            Err(e) => {
                let text = e.message().lines().collect::<Vec<_>>().join("; ");
                values.report(e.span(), text);
                Err(values.problems)
            }
        }
    }

    fn sections(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let (place, name) = (name.span(), name.get_ref().as_ref());
            let exists = Key::all().any(|key| key.section == name);
            match value.get_ref().as_table() {
                Some(table) if exists => self.section(name, table),
                _ => {
                    self.has_unknown = true;
                    let hint = did_you_mean(name, Key::all().map(|key| key.section));
                    let text = format!("\"{name}\": no such section: {hint}see tfd.toml(5)");
                    self.report(Some(place), text);
                }
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let (place, name) = (name.span(), name.get_ref().as_ref());
            if let Some(key) = Key::find(section, name) {
                self.take(key, value.get_ref(), Some(value.span()));
                continue;
            }
            self.has_unknown = true;
            let text = match Key::all().find(|key| key.name == name) {
                Some(Key { section: other, .. }) if *other == "server" => {
                    format!("{section}.{name}: moved to [{other}]: write {name} there")
                }
                Some(Key { section: other, .. }) => {
                    format!("{section}.{name}: belongs to [{other}]: write {name} there")
                }
                None => {
                    let keys = Key::all().filter(|key| key.section == section);
                    let hint = did_you_mean(name, keys.map(|key| key.name));
                    format!("{section}.{name}: no such key: {hint}see tfd.toml(5)")
                }
            };
            self.report(Some(place), text);
        }
    }

    /// Keeps the value of a key, and reports what is wrong with it.
    fn take(&mut self, key: &'static Key, value: &DeValue<'_>, place: Option<Range<usize>>) {
        let name = format!("{}.{}", key.section, key.name);
        let value = match (&key.kind, value) {
            (Kind::List(check), DeValue::Array(elements)) => {
                Value::List(self.elements(&name, elements, *check))
            }
            (Kind::Numbers(least, largest), DeValue::Array(elements)) => {
                Value::List(self.numbers(&name, elements, (*least, *largest)))
            }
            (kind, value) => match convert(kind, value) {
                Ok(text) => Value::Text(text),
                Err(why) => {
                    self.report(place.clone(), format!("{name}: {why}"));
                    Value::Wrong
                }
            },
        };
        // Found first, so that it holds over the default.
        self.found.insert(0, Found { key, value, place });
    }

    /// The texts of a list, right or wrong.
    fn elements(&mut self, name: &str, elements: &DeArray<'_>, check: Check) -> Vec<String> {
        let mut list = Vec::new();
        for element in elements {
            let text = element.get_ref().as_str();
            let wrong = match text.map(check) {
                Some(Ok(())) => None,
                Some(Err(why)) => Some(format!("\"{}\" {why}", text.unwrap_or_default())),
                None => Some(Kind::List(check).wanted()),
            };
            if let Some(wrong) = wrong {
                self.report(Some(element.span()), format!("{name}: {wrong}"));
            }
            list.push(text.unwrap_or_default().to_owned());
        }
        list
    }

    /// The numbers of a list, right or wrong.
    fn numbers(
        &mut self,
        name: &str,
        elements: &DeArray<'_>,
        (least, largest): (u64, u64),
    ) -> Vec<String> {
        let mut list = Vec::new();
        for element in elements {
            match convert(&Kind::Int(least, largest), element.get_ref()) {
                Ok(number) => list.push(number),
                Err(why) => self.report(Some(element.span()), format!("{name}: {why}")),
            }
        }
        list
    }

    fn report(&mut self, place: Option<Range<usize>>, text: String) {
        let problem = self.problem_at(place.as_ref(), text);
        self.problems.push(problem);
    }

    fn problem_at(&self, place: Option<&Range<usize>>, text: String) -> Problem {
        let line = place.map(|place| {
            let before = self.text.get(..place.start).unwrap_or(self.text);
            before.matches('\n').count() + 1
        });
        match line {
            Some(line) => Problem::on_line(self.path, line, text),
            None => Problem::new(self.path, text),
        }
    }

    /// Names the keys that the file has in the section of a protocol for which no
    /// address is listed.
    pub(super) fn unused(&self, section: &str) -> Option<Problem> {
        let is_address = |name: &str| ["listen", "tls_listen"].contains(&name);
        let keys = self.found.iter().filter(|found| {
            found.key.section == section && found.place.is_some() && !is_address(found.key.name)
        });
        let (places, names): (Vec<_>, Vec<_>) =
            keys.map(|found| (&found.place, found.key.name)).unzip();
        let first = places.iter().filter_map(|place| place.as_ref());
        let first = first.min_by_key(|place| place.start)?;
        let text = format!(
            "{section}.{}: of no use without {section}.listen or {section}.tls_listen: add an \
             address, or remove the section",
            names.join(", ")
        );
        Some(self.problem_at(Some(first), text))
    }

    /// Reports a problem of a key, on its line if the file has it.
    pub(super) fn problem(&mut self, section: &str, name: &str, text: &str) {
        let place = self
            .get(section, name)
            .and_then(|found| found.place.clone());
        self.report(place, format!("{section}.{name}{text}"));
    }

    /// Reports a key that must be in the file and is not, unless the file has
    /// an unknown key, which may be this one misspelt.
    pub(super) fn need(&mut self, section: &str, name: &str, remedy: &str) {
        if !self.is_set(section, name) && !self.has_unknown {
            self.problem(section, name, &format!(" is missing: {remedy}"));
        }
    }

    fn get(&self, section: &str, name: &str) -> Option<&Found> {
        let mut found = self.found.iter();
        found.find(|found| found.key.section == section && found.key.name == name)
    }

    /// Whether the file has the key.
    pub(super) fn is_set(&self, section: &str, name: &str) -> bool {
        self.get(section, name)
            .is_some_and(|found| found.place.is_some())
    }

    pub(super) fn text(&self, section: &str, name: &str) -> Option<&str> {
        match &self.get(section, name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag or a number.
    pub(super) fn parsed<T: FromStr>(&self, section: &str, name: &str) -> Option<T> {
        self.text(section, name)?.parse().ok()
    }

    pub(super) fn seconds(&self, section: &str, name: &str) -> Option<Duration> {
        Duration::try_from_secs_f64(self.parsed(section, name)?).ok()
    }

    /// Whether a choice is this word.
    pub(super) fn is(&self, section: &str, name: &str, word: &str) -> bool {
        self.text(section, name) == Some(word)
    }

    /// A path, as seen from the file's directory.
    pub(super) fn path(&self, section: &str, name: &str) -> Option<PathBuf> {
        Some(self.resolve(self.text(section, name)?))
    }

    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        match self.path.parent() {
            Some(directory) => directory.join(path),
            None => path.into(),
        }
    }

    /// Whether a list has elements, right or wrong.
    pub(super) fn has_elements(&self, section: &str, name: &str) -> bool {
        let found = self.get(section, name);
        found.is_some_and(|found| match &found.value {
            Value::List(list) => !list.is_empty(),
            _ => true,
        })
    }

    /// The elements of a list, none if it is left out.
    pub(super) fn list<T: FromStr>(&self, section: &str, name: &str) -> Vec<T> {
        match self.get(section, name).map(|found| &found.value) {
            Some(Value::List(list)) => list.iter().filter_map(|text| text.parse().ok()).collect(),
            _ => Vec::new(),
        }
    }
}

/// Where a text has the values of secrets.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let Ok(document) = DeTable::parse(text) else {
        return Vec::new();
    };
    let place = |(section, name): &(&str, &str)| {
        let section = document.get_ref().get(*section)?.get_ref().as_table()?;
        Some(section.get(*name)?.span())
    };
    SECRETS.iter().filter_map(place).collect()
}

/// The text of a value of this kind, or what it must be.
fn convert(kind: &Kind, value: &DeValue<'_>) -> Result<String, String> {
    let text = match (kind, value) {
        (Kind::Flag, DeValue::Boolean(flag)) => Some(flag.to_string()),
        (Kind::Int(least, largest), DeValue::Integer(number)) => {
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
            let number = number.filter(|number| (least..=largest).contains(&number));
            number.map(|number| number.to_string())
        }
        (Kind::Seconds(least), DeValue::Integer(_) | DeValue::Float(_)) => {
            let decimal = value.as_integer().filter(|number| number.radix() == 10);
            let text = decimal.map(DeInteger::as_str);
            let text = text.or_else(|| Some(value.as_float()?.as_str()));
            let number = text.and_then(|text| text.parse::<f64>().ok());
            let number = number.filter(|number| (*least..=LONGEST).contains(number));
            number.map(|number| number.to_string())
        }
        (Kind::Choice(words), DeValue::String(text)) => {
            words.contains(&text.as_ref()).then(|| text.to_string())
        }
        (Kind::Text(longest), DeValue::String(text)) => {
            let is_short = (1..=*longest).contains(&text.len()) && !text.contains('\0');
            is_short.then(|| text.to_string())
        }
        (Kind::Checked(check), DeValue::String(text)) => {
            check(text)?;
            Some(text.to_string())
        }
        (Kind::Path, DeValue::String(text)) => Some(text.to_string()),
        _ => None,
    };
    text.ok_or_else(|| kind.wanted())
}

/// One problem, shown on one line: control characters that it quotes are
/// escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: PathBuf,
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// A problem of the whole file or of the world it names.
    pub fn new(file: &Path, text: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: None,
            text: text.into(),
        }
    }

    /// The order of problems: by line, those of the whole file last.
    pub(super) fn place(&self) -> (bool, Option<usize>) {
        (self.line.is_none(), self.line)
    }

    /// A problem on a line, the first being 1.
    pub fn on_line(file: &Path, line: usize, text: impl Into<String>) -> Problem {
        Problem {
            file: file.to_owned(),
            line: Some(line),
            text: text.into(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        f.write_str(" ")?;
        f.write_str(&shown(self.text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stays_on_one_line_whatever_it_quotes() {
        let problem = Problem::on_line(Path::new("a"), 3, "\"x\n\u{1b}\u{e9}\" is none");
        assert_eq!(problem.to_string(), "a:3: \"x\\n\\u{1b}\u{e9}\" is none");
    }
}
