//! Commands and words. The public client knows no quotes: a name has no blanks,
//! and a quote in it is a letter. Here a quote at the beginning of a word is one
//! if another ends the word, so that lines without quotes mean what they meant.

/// The commands of a line, which semicolons separate.
pub(super) fn split(line: &[u8]) -> Vec<Vec<u8>> {
    let mut commands = vec![Vec::new()];
    let mut rest = line;
    let mut is_between = true;
    while let Some((first, after)) = rest.split_first() {
        let quoted = match is_between {
            true => quoted(rest, b";").map_or(0, |(_, len)| len),
            false => 0,
        };
        let taken = quoted.max(1);
        if quoted == 0 && *first == b';' {
            commands.push(Vec::new());
            rest = after;
            is_between = true;
            continue;
        }
        is_between = first.is_ascii_whitespace();
        if let Some(command) = commands.last_mut() {
            command.extend_from_slice(&rest[..taken]);
        }
        rest = &rest[taken..];
    }
    commands
}

/// The words of a command, without their quotes.
pub(super) fn words(command: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = command.trim_ascii_start();
    while !rest.is_empty() {
        let (word, len) = quoted(rest, b"").unwrap_or_else(|| {
            let len = rest.iter().position(u8::is_ascii_whitespace);
            let len = len.unwrap_or(rest.len());
            (rest[..len].to_vec(), len)
        });
        words.push(word);
        rest = rest[len..].trim_ascii_start();
    }
    words
}

/// What the quotes contain that a text begins with, and how long it is with them.
/// A blank must follow, one of these bytes, or nothing.
fn quoted(text: &[u8], ends: &[u8]) -> Option<(Vec<u8>, usize)> {
    let quote = *text.first().filter(|byte| matches!(byte, b'"' | b'\''))?;
    let mut word = Vec::new();
    let mut at = 1;
    loop {
        let byte = *text.get(at)?;
        let next = text.get(at + 1);
        if byte == b'\\' && next.is_some_and(|next| [quote, b'\\'].contains(next)) {
            word.extend(next);
            at += 2;
        } else if byte == quote {
            let is_end = |next: &u8| next.is_ascii_whitespace() || ends.contains(next);
            return next.is_none_or(is_end).then_some((word, at + 1));
        } else {
            word.push(byte);
            at += 1;
        }
    }
}

/// A word as it must be written in a command.
pub(super) fn written(word: &[u8]) -> Vec<u8> {
    let has_blank = word.is_empty() || word.iter().any(u8::is_ascii_whitespace);
    if !has_blank && !word.starts_with(b"\"") && !word.starts_with(b"'") {
        return word.to_vec();
    }
    let mut written = vec![b'"'];
    for byte in word {
        if matches!(byte, b'"' | b'\\') {
            written.push(b'\\');
        }
        written.push(*byte);
    }
    written.push(b'"');
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(all: Vec<Vec<u8>>) -> Vec<String> {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        all.into_iter().map(text).collect()
    }

    #[test]
    fn words_of_old_scripts_stay_what_they_were() {
        for (command, expected) in [
            ("put a b", vec!["put", "a", "b"]),
            (" \tput  a\tb ", vec!["put", "a", "b"]),
            ("put it's b", vec!["put", "it's", "b"]),
            ("put a\"b c\"d", vec!["put", "a\"b", "c\"d"]),
            ("put 'tis b", vec!["put", "'tis", "b"]),
            ("put \"a\"b c", vec!["put", "\"a\"b", "c"]),
            ("put a\\ b", vec!["put", "a\\", "b"]),
            ("lcd C:\\x\\", vec!["lcd", "C:\\x\\"]),
            ("", vec![]),
            ("cd d\r", vec!["cd", "d"]),
        ] {
            assert_eq!(texts(words(command.as_bytes())), expected, "{command}");
        }
    }

    #[test]
    fn quotes_keep_blanks_together() {
        for (command, expected) in [
            ("put \"a b\" c", vec!["put", "a b", "c"]),
            ("put 'a b' 'c \" d'", vec!["put", "a b", "c \" d"]),
            (
                r#"put "a \"b\" \\ \x" c"#,
                vec!["put", r#"a "b" \ \x"#, "c"],
            ),
            ("put '' x", vec!["put", "", "x"]),
        ] {
            assert_eq!(texts(words(command.as_bytes())), expected, "{command}");
        }
    }

    #[test]
    fn semicolons_separate_commands_but_in_quotes() {
        for (line, expected) in [
            ("cd d; put a ;", vec!["cd d", " put a ", ""]),
            ("put 'a;b' c;rm x", vec!["put 'a;b' c", "rm x"]),
            ("put it's;rm 'x'", vec!["put it's", "rm 'x'"]),
            ("rm 'x';rm \"y z\";", vec!["rm 'x'", "rm \"y z\"", ""]),
            ("rm 'x;rm y", vec!["rm 'x", "rm y"]),
        ] {
            assert_eq!(texts(split(line.as_bytes())), expected, "{line}");
        }
    }

    #[test]
    fn a_written_word_is_read_as_it_was() {
        for word in ["a", "a b", "", "'a'", "\"", "a\\ b\"c", "tab\there"] {
            let line = [b"put ", &written(word.as_bytes())[..]].concat();
            assert_eq!(texts(words(&line)), ["put", word]);
        }
    }
}
