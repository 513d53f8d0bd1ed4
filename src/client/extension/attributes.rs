//! Attributes that are set, and the requests that set them.

use super::entry::Time;
use crate::text::hex;

/// Attributes to be set; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Last change of content.
    pub modified: Option<Time>,
    /// The numbers of owner and group.
    pub owner: Option<(u32, u32)>,
    /// Extended attributes by their names; those without a value are removed.
    pub xattrs: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Attributes {
    /// Whether there is nothing to set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }

    /// All but the owner, which few servers may give away.
    #[must_use]
    pub fn without_owner(&self) -> Attributes {
        Attributes {
            owner: None,
            ..self.clone()
        }
    }

    /// The argument of TFD_SET and TFD_STORE.
    fn text(&self) -> String {
        let mut list = Vec::new();
        if let Some((uid, gid)) = self.owner {
            list.push(format!("user={uid},group={gid}"));
        }
        if let Some(mode) = self.mode {
            list.push(format!("mode={mode:04o}"));
        }
        for (name, value) in &self.xattrs {
            list.push(match value {
                Some(value) => format!("xattr:{}={}", hex(name), hex(value)),
                None => format!("xattr:{}", hex(name)),
            });
        }
        if let Some(Time {
            seconds,
            nanoseconds,
        }) = self.modified
        {
            list.push(format!("mtime={seconds}.{nanoseconds:09}"));
        }
        match list.is_empty() {
            true => "-".to_owned(),
            false => list.join(","),
        }
    }
}

/// The request that gives a path these attributes.
pub(in crate::client) fn set_request(attributes: &Attributes, path: &[u8]) -> Vec<u8> {
    [b"TFD_SET ", attributes.text().as_bytes(), b" ", path].concat()
}

/// The request behind which a file's frames follow; `words` come with the attributes.
pub(in crate::client) fn store_request(
    attributes: &Attributes,
    words: &[&str],
    path: &[u8],
) -> Vec<u8> {
    let mut text = attributes.text();
    for word in words {
        text = match text.as_str() {
            "-" => (*word).to_owned(),
            _ => format!("{text},{word}"),
        };
    }
    [b"TFD_STORE ", text.as_bytes(), b" ", path].concat()
}

/// The request for a symbolic link.
pub(in crate::client) fn symbolic_link(target: &[u8], path: &[u8]) -> Vec<u8> {
    link_request(b's', target, path)
}

/// The request for one more name of a file.
pub(in crate::client) fn hard_link(file: &[u8], path: &[u8]) -> Vec<u8> {
    link_request(b'h', file, path)
}

fn link_request(kind: u8, text: &[u8], path: &[u8]) -> Vec<u8> {
    let length = text.len().to_string();
    let words = [b"TFD_LINK", &[kind][..], length.as_bytes(), text, path];
    words.join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_link_has_its_length_before_it() {
        assert_eq!(symbolic_link(b"a b", b"c"), b"TFD_LINK s 3 a b c");
        assert_eq!(hard_link(b"d/f", b"a b"), b"TFD_LINK h 3 d/f a b");
    }

    #[test]
    fn attributes_are_one_argument() {
        assert_eq!(set_request(&Attributes::default(), b"p"), b"TFD_SET - p");
        let all = Attributes {
            mode: Some(0o640),
            modified: Some(Time {
                seconds: -2,
                nanoseconds: 5,
            }),
            owner: Some((1, 2)),
            xattrs: vec![
                (b"user.a".to_vec(), Some(b"\0".to_vec())),
                (b"b".to_vec(), None),
            ],
        };
        assert_eq!(
            store_request(&all, &["new"], b"a b"),
            b"TFD_STORE user=1,group=2,mode=0640,xattr:757365722e61=00,xattr:62,mtime=-2.000000005,new a b"
        );
        assert_eq!(
            store_request(&Attributes::default(), &["new"], b"p"),
            b"TFD_STORE new p"
        );
    }
}
