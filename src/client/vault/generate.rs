//! New passwords, from the system's random numbers.

use zeroize::Zeroizing;

/// Which characters a password may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes {
    /// `a` to `z`.
    pub lower: bool,
    /// `A` to `Z`.
    pub upper: bool,
    /// `0` to `9`.
    pub digits: bool,
    /// The other ones on every keyboard.
    pub symbols: bool,
    /// Leave out those that look like others.
    pub no_lookalikes: bool,
}

impl Classes {
    /// Letters and digits.
    pub const USUAL: Classes = Classes {
        lower: true,
        upper: true,
        digits: true,
        symbols: false,
        no_lookalikes: false,
    };

    fn sets(self) -> Vec<Vec<u8>> {
        let all: [(bool, &[u8]); 4] = [
            (self.lower, b"abcdefghijklmnopqrstuvwxyz"),
            (self.upper, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
            (self.digits, b"0123456789"),
            (self.symbols, b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        ];
        let chosen = all.into_iter().filter(|(is_chosen, _)| *is_chosen);
        let looks = |c: &u8| !self.no_lookalikes || !b"0O1lI|5S8B".contains(c);
        chosen
            .map(|(_, set)| set.iter().copied().filter(looks).collect())
            .collect()
    }
}

/// A random number below a limit.
fn below(limit: usize) -> Result<usize, String> {
    let limit = u32::try_from(limit).map_err(|e| e.to_string())?;
    // Numbers above the last whole multiple would make the first ones likelier.
    let end = u32::MAX - u32::MAX % limit;
    loop {
        let number = getrandom::u32().map_err(|e| e.to_string())?;
        if number < end {
            return usize::try_from(number % limit).map_err(|e| e.to_string());
        }
    }
}

/// A password of this length with at least one character of each class.
///
/// # Errors
/// One line: no class, too short, or the system has no random bytes.
pub fn password(length: usize, classes: Classes) -> Result<Zeroizing<String>, String> {
    let sets = classes.sets();
    let all: Vec<u8> = sets.concat();
    if all.is_empty() {
        return Err("no characters to make a password of".to_owned());
    }
    if length < sets.len() {
        return Err(format!(
            "a password with {} kinds of characters needs as many",
            sets.len()
        ));
    }
    loop {
        let mut text = Zeroizing::new(String::with_capacity(length));
        for _ in 0..length {
            text.push(char::from(all[below(all.len())?]));
        }
        let has_one = |set: &Vec<u8>| text.bytes().any(|c| set.contains(&c));
        if sets.iter().all(has_one) {
            return Ok(text);
        }
    }
}

const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";

/// So many words of five letters that can be spoken, 16 bits each (proquints).
///
/// # Errors
/// When the system has no random bytes.
pub fn words(count: usize) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::with_capacity(6 * count));
    for word in 0..count {
        if word > 0 {
            text.push('-');
        }
        for place in 0..5 {
            let letter = match place % 2 {
                0 => CONSONANTS[below(CONSONANTS.len())?],
                _ => VOWELS[below(VOWELS.len())?],
            };
            text.push(char::from(letter));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_password_has_its_length_and_each_of_its_classes() {
        let classes = Classes {
            symbols: true,
            no_lookalikes: true,
            ..Classes::USUAL
        };
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let made = password(8, classes).expect("made");
            assert_eq!(made.len(), 8);
            assert!(made.bytes().any(|c| c.is_ascii_lowercase()));
            assert!(made.bytes().any(|c| c.is_ascii_uppercase()));
            assert!(made.bytes().any(|c| c.is_ascii_digit()));
            assert!(made.bytes().any(|c| c.is_ascii_punctuation()));
            assert!(!made.contains(['0', 'O', '1', 'l', 'I', '|']));
            seen.insert(made.to_string());
        }
        assert_eq!(seen.len(), 200);
        assert!(password(3, classes).is_err());
        let none = Classes {
            lower: false,
            upper: false,
            digits: false,
            ..Classes::USUAL
        };
        assert!(password(8, none).is_err());
    }

    #[test]
    fn words_can_be_spoken() {
        let made = words(6).expect("made");
        let all: Vec<&str> = made.split('-').collect();
        assert_eq!(all.len(), 6);
        for word in all {
            let mut letters = word.bytes().enumerate();
            let fits = |(at, c): (usize, u8)| match at % 2 {
                0 => CONSONANTS.contains(&c),
                _ => VOWELS.contains(&c),
            };
            assert_eq!(word.len(), 5);
            assert!(letters.all(fits), "{word}");
        }
    }
}
