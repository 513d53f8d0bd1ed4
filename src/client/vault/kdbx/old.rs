//! KDBX 3.1, which older programs write. It is read alone: once read it is as if it had
//! been KDBX 4, and is written so.

use std::collections::BTreeMap;
use std::sync::Arc;

use openssl::memcmp;
use openssl::sha::sha256;
use zeroize::Zeroizing;

use super::header::{CUT, DAMAGED, Header, Outer};
use super::kdf::Kdf;
use super::stream::Stream;
use super::{Attachments, Digest, Keys, OpenError, REFERENCE, VALUE, inflate};
use crate::client::vault::database::time_text;
use crate::client::vault::xml::Element;

const END: u8 = 0;
const CIPHER: u8 = 2;
const COMPRESSION: u8 = 3;
const MASTER_SEED: u8 = 4;
const TRANSFORM_SEED: u8 = 5;
const TRANSFORM_ROUNDS: u8 = 6;
const IV: u8 = 7;
const STREAM_KEY: u8 = 8;
const START: u8 = 9;
const STREAM: u8 = 10;

/// What such a file has in its header, and KDBX 4 has elsewhere.
#[derive(Default)]
pub struct Old {
    /// What its content begins with.
    start: Vec<u8>,
    /// The cipher over protected texts, and its key.
    stream: u32,
    stream_key: Zeroizing<Vec<u8>>,
    /// The digest of the header.
    digest: Digest,
}

/// Reads a header: it and the number of its bytes.
///
/// # Errors
/// One line: what is wrong.
pub fn read_header(file: &[u8]) -> Result<(Header, usize), String> {
    let mut header = Header::blank();
    let mut old = Old::default();
    let (mut seed, mut rounds) = (&[][..], None);
    let mut rest = file.get(12..).ok_or(CUT)?;
    loop {
        match field(&mut rest).ok_or(CUT)? {
            (END, _) => break,
            (CIPHER, value) => header.cipher = Outer::of(value)?,
            (COMPRESSION, value) => header.is_compressed = value.first() == Some(&1),
            (MASTER_SEED, value) => header.seed = value.to_vec(),
            (TRANSFORM_SEED, value) => seed = value,
            (TRANSFORM_ROUNDS, value) => {
                rounds = <[u8; 8]>::try_from(value).ok().map(u64::from_le_bytes);
            }
            (IV, value) => header.iv = value.to_vec(),
            (STREAM_KEY, value) => old.stream_key = Zeroizing::new(value.to_vec()),
            (START, value) => old.start = value.to_vec(),
            (STREAM, value) => {
                let number = <[u8; 4]>::try_from(value).map_err(|_| DAMAGED)?;
                old.stream = u32::from_le_bytes(number);
            }
            // A comment.
            _ => {}
        }
    }
    if !header.is_whole() || old.start.len() != 32 {
        return Err(DAMAGED.to_owned());
    }
    header.kdf = Kdf::aes(seed, rounds.ok_or(DAMAGED)?);
    let len = file.len() - rest.len();
    old.digest = sha256(&file[..len]);
    header.old = Some(old);
    Ok((header, len))
}

/// The next field of a header: a kind, a length, a value.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&kind, behind) = rest.split_first()?;
    let (len, behind) = behind.split_first_chunk::<2>()?;
    let (value, behind) = behind.split_at_checked(u16::from_le_bytes(*len).into())?;
    *rest = behind;
    Some((kind, value))
}

impl Old {
    /// The document behind the header, with its secrets in the open.
    ///
    /// # Errors
    /// The password is wrong, or what is wrong with the file.
    pub(super) fn open(
        &self,
        header: &Header,
        keys: &Keys,
        sealed: &[u8],
    ) -> Result<(Element, Attachments), OpenError> {
        // A wrong password mostly shows in the padding.
        let content = keys
            .decrypt(header, sealed)
            .map_err(|_| OpenError::Password)?;
        let (start, blocks) = content.split_at_checked(32).ok_or(OpenError::Password)?;
        if !memcmp::eq(start, &self.start) {
            return Err(OpenError::Password);
        }
        let mut content = joined(blocks).ok_or_else(|| DAMAGED.to_owned())?;
        if header.is_compressed {
            content = inflate(&content)?;
        }
        let (mut document, attachments) = read_content(self.stream, &self.stream_key, &content)?;
        let meta = document.child_mut("Meta");
        let hash = meta.text_of("HeaderHash").trim();
        if !hash.is_empty() && hash != openssl::base64::encode_block(&self.digest) {
            return Err(DAMAGED.to_owned().into());
        }
        meta.remove("HeaderHash");
        Ok((document, attachments))
    }
}

/// The content of blocks, each behind its number, its digest and its length.
fn joined(mut rest: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::with_capacity(rest.len()));
    for number in 0_u32.. {
        let (index, behind) = rest.split_first_chunk::<4>()?;
        let (digest, behind) = behind.split_first_chunk::<32>()?;
        let (len, behind) = behind.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (block, behind) = behind.split_at_checked(len)?;
        if u32::from_le_bytes(*index) != number {
            return None;
        }
        if block.is_empty() {
            break;
        }
        if !memcmp::eq(digest, &sha256(block)) {
            return None;
        }
        content.extend_from_slice(block);
        rest = behind;
    }
    Some(content)
}

/// The document in a content, in the form of KDBX 4.
///
/// # Errors
/// One line: what is wrong.
pub fn read_content(
    stream: u32,
    key: &[u8],
    content: &[u8],
) -> Result<(Element, Attachments), String> {
    let xml = str::from_utf8(content).map_err(|_| DAMAGED)?;
    let mut document = Element::parse(xml)?;
    let mut reader = Reader {
        stream: Stream::over_texts(stream, key)?,
        pool: BTreeMap::new(),
        attachments: Attachments::new(),
    };
    reader.open(&mut document, "")?;
    if let Some(meta) = document
        .children
        .iter_mut()
        .find(|child| child.name == "Meta")
    {
        meta.remove("Binaries");
    }
    document.for_each(&mut |element| {
        if (element.name.ends_with("Time") || element.name.ends_with("Changed"))
            && let Ok(time) = element.text.trim().parse::<jiff::Timestamp>()
        {
            element.text = Zeroizing::new(time_text(time.as_second()));
        }
        Ok(())
    })?;
    Ok((document, reader.attachments))
}

struct Reader {
    stream: Stream,
    /// The attachments by their names in the document.
    pool: BTreeMap<String, Digest>,
    attachments: Attachments,
}

impl Reader {
    /// Opens what is protected, in the order of the document, and takes attachments out
    /// of it.
    fn open(&mut self, element: &mut Element, within: &str) -> Result<(), String> {
        match (element.name.as_str(), element.attribute("ID")) {
            ("Binary", Some(id)) if within == "Binaries" => {
                let id = id.to_owned();
                let digest = self.take(element)?;
                self.pool.insert(id, digest);
            }
            (VALUE, _) if within == "Binary" => {
                let digest = match element.attribute(REFERENCE) {
                    Some(id) => *self.pool.get(id).ok_or(DAMAGED)?,
                    None => self.take(element)?,
                };
                *element = super::referring(&digest);
            }
            _ if element.is_protected() => element.text = self.stream.open(&element.text)?,
            _ => {}
        }
        let name = element.name.clone();
        let mut children = element.children.iter_mut();
        children.try_for_each(|child| self.open(child, &name))
    }

    /// Takes the attachment that an element has.
    fn take(&mut self, element: &Element) -> Result<Digest, String> {
        let text: Zeroizing<String> = Zeroizing::new(
            element
                .text
                .chars()
                .filter(|c| !c.is_whitespace())
                .collect(),
        );
        let bytes = openssl::base64::decode_block(&text).map_err(|_| DAMAGED)?;
        let mut bytes = Zeroizing::new(bytes);
        if element.is_protected() {
            bytes = self.stream.pass(&bytes)?;
        }
        let is_compressed = element.attribute("Compressed");
        if is_compressed.is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            bytes = inflate(&bytes)?;
        }
        let digest = sha256(&bytes);
        let flags = u8::from(element.is_protected());
        let body = Zeroizing::new([&[flags][..], &bytes].concat());
        self.attachments.insert(digest, Arc::new(body));
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stream::{CHACHA20, SALSA20};
    use super::*;

    #[test]
    fn texts_attachments_and_times_are_as_in_kdbx_4() {
        for number in [SALSA20, CHACHA20] {
            let mut stream = Stream::over_texts(number, b"key").expect("stream");
            let bytes = stream.pass(b"pooled\xff").expect("sealed");
            let pooled = openssl::base64::encode_block(&bytes);
            let secret = stream.seal("s<ecr&et").expect("sealed");
            let within = stream.pass(b"within").expect("sealed");
            let within = openssl::base64::encode_block(&within);
            let xml = format!(
                "<KeePassFile><Meta><SettingsChanged>2020-01-02T03:04:05Z</SettingsChanged>\
                 <Binaries><Binary ID=\"4\" Protected=\"True\">{pooled}</Binary></Binaries></Meta>\
                 <Root><Group><Entry><String><Key>Password</Key><Value Protected=\"True\">{}</Value>\
                 </String><Binary><Key>a</Key><Value Ref=\"4\"/></Binary><Binary><Key>b</Key>\
                 <Value Protected=\"True\">{within}</Value></Binary></Entry></Group></Root></KeePassFile>",
                *secret
            );
            let read = read_content(number, b"key", xml.as_bytes());
            let (document, attachments) = read.expect("read");
            let meta = document.child("Meta").expect("meta");
            assert!(meta.child("Binaries").is_none());
            assert_eq!(meta.text_of("SettingsChanged"), time_text(1_577_934_245));
            let entry = document.child("Root").and_then(|root| root.child("Group"));
            let entry = entry.and_then(|group| group.child("Entry")).expect("entry");
            let password = entry.child("String").and_then(|it| it.child(VALUE));
            assert_eq!(password.expect("value").text.as_str(), "s<ecr&et");
            let contents: Vec<&[u8]> = entry
                .all("Binary")
                .map(|it| super::super::reference(it.child(VALUE).expect("value")).expect("name"))
                .map(|digest| attachments[&digest].as_slice())
                .collect();
            assert_eq!(contents, [&b"\x01pooled\xff"[..], b"\x01within"]);
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let missing = "<KeePassFile><Root><Binary><Value Ref=\"1\"/></Binary></Root></KeePassFile>";
        assert!(read_content(SALSA20, b"key", missing.as_bytes()).is_err());
        assert!(read_content(1, b"key", b"<KeePassFile/>").is_err());
        assert!(joined(&[0; 39]).is_none());
        assert!(joined(&[0; 40]).is_some_and(|content| content.is_empty()));
        let mut wrong = [0; 40 + 41];
        wrong[36] = 1;
        assert!(joined(&wrong).is_none());
        for len in 0..20 {
            assert!(read_header(&[3; 20][..len]).is_err());
        }
    }
}
