//! `tf sha256`, in the format of sha256sum(1).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::prelude::*;

/// Show SHA-256 digests, computed by the server, as sha256sum prints them
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf sha256 'reports/*.pdf' > SUMS\n  tf sha256 -c SUMS\n  \
                  sha256sum *.pdf | tf sha256 -c -"
)]
pub(crate) struct Sha256 {
    /// Read digests and names from a file, - for standard input, and check them
    #[arg(short, long, value_name = "FILE", conflicts_with = "paths")]
    check: Option<PathBuf>,
    /// Remote files or patterns
    #[arg(required_unless_present = "check", add = Names::Remote)]
    paths: Vec<RemoteArg>,
}

impl Sha256 {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let done = match &self.check {
            Some(file) => check(context, &mut printer, &read_sums(file)?),
            None => for_each_path(context, &self.paths, |connection, path| {
                let sha256 = connection.sha256(path)?;
                let record = Record::Digest {
                    path,
                    sha256: &sha256,
                };
                Ok(printer.show(&record, || sum_line(&sha256, path))?)
            }),
        };
        printer.finish(done)
    }
}

fn check(context: &mut Context, printer: &mut Printer, sums: &[Sum]) -> Result<()> {
    for_each(sums, |Sum { digest, name }| {
        let remote: RemoteArg = name
            .parse()
            .map_err(|e| Failure::Usage(format!("{name}: {e}")))?;
        let remote = context.resolve(&remote)?;
        let found = context.connection(&remote.server)?.sha256(&remote.path)?;
        let fits = found == *digest;
        let verdict = if fits { "OK" } else { "FAILED" };
        let record = Record::Check { path: name, fits };
        printer.show(&record, || format!("{}: {verdict}", shown(name.as_bytes())))?;
        match fits {
            true => Ok(()),
            false => Err(Failure::Reported(Exit::Mismatch)),
        }
    })
}

/// A digest and the name it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// 64 hexadecimal digits, lower case.
    pub(super) digest: String,
    /// The name.
    pub(super) name: String,
}

/// The line of a digest. A name with a backslash or a line end is escaped, and
/// the line begins with a backslash then.
pub(super) fn sum_line(digest: &str, name: &str) -> String {
    if name.contains(['\\', '\n', '\r']) {
        let name = name
            .replace('\\', "\\\\")
            .replace('\n', "\\n")
            .replace('\r', "\\r");
        return format!("\\{digest}  {}", crate::text::shown(name.as_bytes()));
    }
    format!("{digest}  {}", crate::text::shown(name.as_bytes()))
}

/// Reads the lines of a file, `-` for standard input.
pub(super) fn read_sums(file: &Path) -> Result<Vec<Sum>> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(Failure::local(file))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    let read = |(at, line): (usize, &str)| {
        parse_sum(line).ok_or_else(|| {
            let what = "not a line of sha256sum: 64 digits, two spaces, a name";
            Failure::Usage(format!("{}:{}: {what}", file.display(), at + 1))
        })
    };
    lines.map(read).collect()
}

fn parse_sum(line: &str) -> Option<Sum> {
    let (line, escaped) = line
        .strip_prefix('\\')
        .map_or((line, false), |rest| (rest, true));
    let (digest, rest) = line.split_at_checked(64)?;
    let name = rest
        .strip_prefix("  ")
        .or_else(|| rest.strip_prefix(" *"))?;
    let is_valid = digest.bytes().all(|byte| byte.is_ascii_hexdigit()) && !name.is_empty();
    let name = if escaped {
        unescape(name)?
    } else {
        name.to_owned()
    };
    is_valid.then(|| Sum {
        digest: digest.to_ascii_lowercase(),
        name,
    })
}

fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let digest = "ab".repeat(32);
        for name in ["a", "with  spaces", "back\\slash", "line\nend"] {
            let read = parse_sum(&sum_line(&digest, name)).expect(name);
            assert_eq!(
                read,
                Sum {
                    digest: digest.clone(),
                    name: name.to_owned()
                }
            );
        }
        let binary = format!("{} *a", digest.to_uppercase());
        assert_eq!(
            parse_sum(&binary),
            Some(Sum {
                digest: digest.clone(),
                name: "a".to_owned()
            })
        );
        for odd in [
            "",
            "x",
            &digest,
            &format!("{digest}  "),
            &format!("{digest} a"),
            "é",
        ] {
            assert_eq!(parse_sum(odd), None, "{odd}");
        }
    }
}
