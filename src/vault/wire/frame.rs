//! Frames: the byte 01, a letter, a text without framing bytes, the byte 04.

/// The byte that begins a packet, and the one that ends it.
const BEGIN: u8 = 1;
const END: u8 = 4;

/// A piece of what a peer has sent, up to an end byte.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A packet: its letter and its text.
    Packet(char, String),
    /// Bytes that are not a packet, and that nobody answers.
    Noise,
    /// Bytes after which the connection can't go on.
    Broken,
}

/// The bytes that have arrived, cut into frames.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// How many of them hold no end byte.
    searched: usize,
}

impl Frames {
    /// Those that begin with these bytes.
    pub fn new(bytes: Vec<u8>) -> Frames {
        Frames { bytes, searched: 0 }
    }

    /// Takes bytes of the peer in.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// How many bytes wait for their end byte.
    pub fn waiting(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that are not used yet.
    pub fn rest(&self) -> &[u8] {
        &self.bytes
    }

    /// The next frame, once its end byte is there.
    pub fn next(&mut self) -> Option<Frame> {
        let new = &self.bytes[self.searched..];
        let Some(end) = new.iter().position(|byte| *byte == END) else {
            self.searched = self.bytes.len();
            return None;
        };
        let end = self.searched + end;
        let frame = frame(&self.bytes[..end]);
        self.bytes.drain(..=end);
        self.searched = 0;
        Some(frame)
    }
}

/// Reads a piece without its end byte.
fn frame(piece: &[u8]) -> Frame {
    let Ok(text) = std::str::from_utf8(piece) else {
        return Frame::Broken;
    };
    let mut parts = text.split(char::from(BEGIN));
    match (parts.next(), parts.next(), parts.next()) {
        (Some(""), None, None) => Frame::Broken,
        (Some(_), Some(packet), None) => {
            let mut letters = packet.chars();
            match letters.next() {
                Some(letter) => Frame::Packet(letter, letters.as_str().to_owned()),
                None => Frame::Noise,
            }
        }
        _ => Frame::Noise,
    }
}

/// A packet as it is sent.
pub fn packet(letter: char, text: &str) -> Vec<u8> {
    format!("\u{1}{letter}{text}\u{4}").into_bytes()
}
