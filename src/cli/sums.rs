//! Lines as sha256sum(1) writes and reads them.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::failure::{Failure, Result};
use crate::client::ClientError;

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
pub(super) fn line(digest: &str, name: &str) -> String {
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
///
/// # Errors
/// When it can't be read, or the first line that is none of ours.
pub(super) fn read(file: &Path) -> Result<Vec<Sum>> {
    let told = |source| ClientError::Local {
        path: file.to_owned(),
        source,
    };
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text.map_err(told)?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    let read = |(at, line): (usize, &str)| {
        parse(line).ok_or_else(|| {
            let what = "no line of sha256sum: 64 digits, two spaces, a name";
            Failure::Usage(format!("{}:{}: {what}", file.display(), at + 1))
        })
    };
    lines.map(read).collect()
}

fn parse(line: &str) -> Option<Sum> {
    let (line, escaped) = line
        .strip_prefix('\\')
        .map_or((line, false), |rest| (rest, true));
    let (digest, rest) = line.split_at_checked(64)?;
    let name = rest
        .strip_prefix("  ")
        .or_else(|| rest.strip_prefix(" *"))?;
    let fits = digest.bytes().all(|byte| byte.is_ascii_hexdigit()) && !name.is_empty();
    let name = if escaped {
        unescape(name)?
    } else {
        name.to_owned()
    };
    fits.then(|| Sum {
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
            let read = parse(&line(&digest, name)).expect(name);
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
            parse(&binary),
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
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
