//! KDBX 4, the format of KeePass and its kin: reading and writing a file whole. The
//! document keeps every element, the headers every field; attachments are known
//! by their SHA-256 in place of their number. It must never write what it could
//! not read again.

pub mod header;
mod kdf;
pub mod old;
pub mod stream;
mod variant;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sha::{Sha256, Sha512, sha256};
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt, encrypt};
use zeroize::Zeroizing;

use super::xml::Element;
use crate::text::{hex, unhex};
use header::{DAMAGED, Header, InnerHeader, Outer};
use stream::{CHACHA20, Stream};

/// The most bytes of the content, uncompressed.
const MAX_CONTENT: u64 = 1 << 30;

/// The bytes of a block when a file is written.
const BLOCK: usize = 1 << 20;

/// The attribute in which the document names an attachment.
const REFERENCE: &str = "Ref";

/// The element that has it.
const VALUE: &str = "Value";

/// The SHA-256 of an attachment.
pub type Digest = [u8; 32];

/// Attachments: a byte of flags and the content.
pub type Attachments = BTreeMap<Digest, Arc<Zeroizing<Vec<u8>>>>;

/// Why a file can't be opened.
#[derive(Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The password is wrong, or the header was changed.
    Password,
    /// It can not be read as KDBX: one line.
    Unreadable(String),
}

impl From<String> for OpenError {
    fn from(why: String) -> OpenError {
        OpenError::Unreadable(why)
    }
}

/// The digest of all that opens a file together.
pub fn composite_key(password: &str, key_file: Option<&[u8]>) -> Zeroizing<[u8; 32]> {
    let mut all = Sha256::new();
    all.update(&*Zeroizing::new(sha256(password.as_bytes())));
    if let Some(file) = key_file {
        all.update(&key_of_file(file));
    }
    Zeroizing::new(all.finish())
}

/// The key in a key file, in each of the forms that KeePass knows.
fn key_of_file(file: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = str::from_utf8(file).unwrap_or_default();
    if let Ok(xml) = Element::parse(text)
        && xml.name == "KeyFile"
        && let Some(data) = xml.child("Key").and_then(|key| key.child("Data"))
    {
        let dense: Zeroizing<String> =
            Zeroizing::new(data.text.chars().filter(|c| !c.is_whitespace()).collect());
        let key = match xml.child("Meta").map_or("", |meta| meta.text_of("Version")) {
            version if version.starts_with('2') => unhex(dense.as_bytes()),
            _ => openssl::base64::decode_block(&dense).ok(),
        };
        if let Some(key) = key.filter(|key| key.len() == 32) {
            return Zeroizing::new(key);
        }
    }
    let digits = unhex(file).filter(|key| key.len() == 32);
    match digits {
        Some(key) => Zeroizing::new(key),
        None if file.len() == 32 => Zeroizing::new(file.to_vec()),
        None => Zeroizing::new(sha256(file).to_vec()),
    }
}

/// A KDBX file in memory.
pub struct Kdbx {
    header: Header,
    inner: InnerHeader,
    /// What opens it, and what follows from that by the header.
    composite: Zeroizing<[u8; 32]>,
    key: Zeroizing<[u8; 32]>,
    /// The document, `KeePassFile`, with its secrets in the open.
    pub document: Element,
    /// What its entries refer to.
    pub attachments: Attachments,
}

impl Kdbx {
    /// A new file with this document.
    ///
    /// # Errors
    /// One line.
    pub fn new(composite: &[u8; 32], document: Element) -> Result<Kdbx, String> {
        let header = Header::new()?;
        let key = header.kdf.transform(composite)?;
        Ok(Kdbx {
            header,
            inner: InnerHeader::default(),
            composite: Zeroizing::new(*composite),
            key,
            document,
            attachments: Attachments::new(),
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The password is wrong, or what is wrong with the file.
    pub fn open(file: &[u8], composite: &[u8; 32]) -> Result<Kdbx, OpenError> {
        let (header, _) = Header::read(file)?;
        let key = header.kdf.transform(composite)?;
        Kdbx::open_with(file, composite, key)
    }

    /// Reads another version of the same file. Some programs give each a salt of its
    /// own.
    ///
    /// # Errors
    /// As [`Kdbx::open`].
    pub fn reopen(&self, file: &[u8]) -> Result<Kdbx, OpenError> {
        let (header, _) = Header::read(file)?;
        let key = match header.kdf == self.header.kdf {
            true => self.key.clone(),
            false => header.kdf.transform(&self.composite)?,
        };
        Kdbx::open_with(file, &self.composite, key)
    }

    fn open_with(
        file: &[u8],
        composite: &[u8; 32],
        key: Zeroizing<[u8; 32]>,
    ) -> Result<Kdbx, OpenError> {
        let (mut header, len) = Header::read(file)?;
        let keys = Keys::of(&header, &key);
        let (head, rest) = file.split_at(len);
        let (inner, document, attachments) = match header.old.take() {
            Some(old) => {
                let (document, attachments) = old.open(&header, &keys, rest)?;
                (InnerHeader::default(), document, attachments)
            }
            None => read_content(&opened(&header, &keys, head, rest)?)?,
        };
        Ok(Kdbx {
            header,
            inner,
            composite: Zeroizing::new(*composite),
            key,
            document,
            attachments,
        })
    }

    /// The bytes of the file, with new keys. Attachments that nothing refers to are
    /// left out.
    ///
    /// # Errors
    /// One line.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>, String> {
        self.header.renew()?;
        self.inner.stream_key = Zeroizing::new(vec![0; 64]);
        getrandom::fill(&mut self.inner.stream_key).map_err(|e| e.to_string())?;
        let mut document = self.document.clone();
        let mut numbers: BTreeMap<Digest, usize> = BTreeMap::new();
        let mut stream = Stream::over_texts(CHACHA20, &self.inner.stream_key)?;
        self.inner.binaries.clear();
        let (attachments, inner) = (&self.attachments, &mut self.inner);
        document.for_each(&mut |element| {
            if let Some(digest) = reference(element) {
                let next = numbers.len();
                let number = *numbers.entry(digest).or_insert(next);
                if number == next {
                    let binary = attachments.get(&digest).ok_or("an attachment is missing")?;
                    inner.binaries.push(Zeroizing::clone(binary));
                }
                element.set_attribute(REFERENCE, Some(&number.to_string()));
            }
            if element.is_protected() {
                element.text = stream.seal(&element.text)?;
            }
            Ok(())
        })?;
        let xml = document.to_xml();
        let size = self.inner.binaries.iter().map(|binary| binary.len() + 8);
        let mut content = Zeroizing::new(Vec::with_capacity(xml.len() + size.sum::<usize>() + 256));
        self.inner.write(&mut content);
        self.inner.binaries.clear();
        content.extend_from_slice(xml.as_bytes());
        let head = self.header.to_bytes();
        let keys = Keys::of(&self.header, &self.key);
        let sealed = keys.encrypt(&self.header, &content)?;
        let mut out = head.clone();
        out.extend_from_slice(&sha256(&head));
        out.extend_from_slice(&keys.mac(u64::MAX, &[&head])?);
        for (number, block) in (0_u64..).zip(sealed.chunks(BLOCK).chain([&[][..]])) {
            let len = u32::try_from(block.len())
                .map_err(|_| damaged())?
                .to_le_bytes();
            out.extend_from_slice(&keys.mac(number, &[&number.to_le_bytes(), &len, block])?);
            out.extend_from_slice(&len);
            out.extend_from_slice(block);
        }
        Ok(out)
    }
}

/// What is encrypted behind a header, once all codes over it are right.
fn opened(
    header: &Header,
    keys: &Keys,
    head: &[u8],
    rest: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (digest, rest) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
    let (mac, rest) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
    if !memcmp::eq(digest, &sha256(head)) {
        return Err(damaged().into());
    }
    if !memcmp::eq(mac, &keys.mac(u64::MAX, &[head])?) {
        return Err(OpenError::Password);
    }
    let content = keys.decrypt(header, &read_blocks(keys, rest)?)?;
    Ok(match header.is_compressed {
        true => inflate(&content)?,
        false => content,
    })
}

/// The document in a content, with its secrets in the open, and what is in front of it.
///
/// # Errors
/// One line: what is wrong.
pub fn read_content(content: &[u8]) -> Result<(InnerHeader, Element, Attachments), String> {
    let (mut inner, xml) = InnerHeader::read(content)?;
    let xml = str::from_utf8(xml).map_err(|_| damaged())?;
    let mut document = Element::parse(xml)?;
    let binaries = std::mem::take(&mut inner.binaries);
    let digests: Vec<Digest> = binaries.iter().map(|it| sha256(&it[1..])).collect();
    let mut stream = Stream::over_texts(CHACHA20, &inner.stream_key)?;
    document.for_each(&mut |element| {
        if element.is_protected() {
            element.text = stream.open(&element.text)?;
        }
        if let Some(number) = element
            .attribute(REFERENCE)
            .filter(|_| element.name == VALUE)
        {
            let number: usize = number.parse().map_err(|_| damaged())?;
            let digest = digests.get(number).ok_or_else(damaged)?;
            element.set_attribute(REFERENCE, Some(&hex(digest)));
        }
        Ok(())
    })?;
    let binaries = binaries.into_iter().map(Arc::new);
    let attachments = digests.into_iter().zip(binaries).collect();
    Ok((inner, document, attachments))
}

/// The attachment that an element names.
pub fn reference(element: &Element) -> Option<Digest> {
    let digits = element
        .attribute(REFERENCE)
        .filter(|_| element.name == VALUE)?;
    unhex(digits.as_bytes())?.try_into().ok()
}

/// An element that names an attachment.
pub fn referring(digest: &Digest) -> Element {
    let mut element = Element::new(VALUE);
    element.set_attribute(REFERENCE, Some(&hex(digest)));
    element
}

fn damaged() -> String {
    DAMAGED.to_owned()
}

fn read_blocks(keys: &Keys, mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut content = Vec::with_capacity(rest.len());
    for number in 0_u64.. {
        let (mac, behind) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
        let (len, behind) = behind.split_first_chunk::<4>().ok_or_else(damaged)?;
        let count = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| damaged())?;
        let (block, behind) = behind.split_at_checked(count).ok_or_else(damaged)?;
        if !memcmp::eq(
            mac,
            &keys.mac(number, &[&number.to_le_bytes(), len, block])?,
        ) {
            return Err(damaged());
        }
        if block.is_empty() {
            break;
        }
        content.extend_from_slice(block);
        rest = behind;
    }
    Ok(content)
}

/// What was compressed, as it was.
fn inflate(compressed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut plain = Zeroizing::new(Vec::with_capacity(4 * compressed.len()));
    let mut decoder = GzDecoder::new(compressed).take(MAX_CONTENT);
    decoder.read_to_end(&mut plain).map_err(|_| damaged())?;
    Ok(plain)
}

/// The keys of one version of a file.
struct Keys {
    cipher: Zeroizing<[u8; 32]>,
    mac: Zeroizing<[u8; 64]>,
}

impl Keys {
    fn of(header: &Header, key: &[u8; 32]) -> Keys {
        let mut cipher = Sha256::new();
        cipher.update(&header.seed);
        cipher.update(key);
        let mut mac = Sha512::new();
        mac.update(&header.seed);
        mac.update(key);
        mac.update(&[1]);
        Keys {
            cipher: Zeroizing::new(cipher.finish()),
            mac: Zeroizing::new(mac.finish()),
        }
    }

    /// The code over a block of this number.
    fn mac(&self, number: u64, parts: &[&[u8]]) -> Result<[u8; 32], String> {
        let mut key = Sha512::new();
        key.update(&number.to_le_bytes());
        key.update(&*self.mac);
        let key = Zeroizing::new(key.finish());
        let made = || {
            let key = PKey::hmac(&*key)?;
            let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
            parts.iter().try_for_each(|part| signer.update(part))?;
            let mut mac = [0; 32];
            signer.sign(&mut mac)?;
            Ok(mac)
        };
        made().map_err(|e: openssl::error::ErrorStack| e.to_string())
    }

    fn decrypt(&self, header: &Header, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let content = match header.cipher {
            Outer::Aes256 => decrypt(
                Cipher::aes_256_cbc(),
                &*self.cipher,
                Some(&header.iv),
                sealed,
            )
            .map(Zeroizing::new)
            .map_err(|_| damaged())?,
            Outer::ChaCha20 => Stream::chacha20(&*self.cipher, &header.iv)?.pass(sealed)?,
        };
        Ok(content)
    }

    fn encrypt(&self, header: &Header, content: &[u8]) -> Result<Vec<u8>, String> {
        let compressed;
        let content = if header.is_compressed {
            let out = Zeroizing::new(Vec::with_capacity(content.len()));
            let mut encoder = GzEncoder::new(Wiped(out), Compression::default());
            let done = encoder.write_all(content).and_then(|()| encoder.finish());
            compressed = done.map_err(|e| e.to_string())?.0;
            &compressed[..]
        } else {
            content
        };
        match header.cipher {
            Outer::Aes256 => encrypt(
                Cipher::aes_256_cbc(),
                &*self.cipher,
                Some(&header.iv),
                content,
            )
            .map_err(|e| e.to_string()),
            Outer::ChaCha20 => Ok(Stream::chacha20(&*self.cipher, &header.iv)?
                .pass(content)?
                .to_vec()),
        }
    }
}

/// Bytes that are wiped after use.
struct Wiped(Zeroizing<Vec<u8>>);

impl Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
