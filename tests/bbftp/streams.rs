//! A client's side of the data connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::common::{PATIENCE, Server};
use crate::peer::*;

pub const STORE_C: u32 = 5;
pub const RETR_C: u32 = 8;
pub const RETR_OK: u32 = 9;
pub const TRANS_OK_V2: u32 = 28;
pub const TRANS_SIMUL: u32 = 42;
pub const TRANS_SIMUL_V3: u32 = 44;
pub const TRANS_OK_V3: u32 = 45;
pub const ACK: [u8; 8] = [0, 0, 0, 4, 0, 0, 0, 0];

/// Options of a transfer.
pub const TIMES: u32 = 2;
pub const MODE: u32 = 4;
pub const DIRECTORIES: u32 = 8;
pub const GZIP: u32 = 16;

/// How a file is transferred.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub version: u32,
    pub streams: usize,
    pub options: u32,
    /// In KiB.
    pub buffer: i32,
}

impl Plan {
    pub fn new(version: u32, streams: usize) -> Plan {
        Plan {
            version,
            streams,
            options: 1,
            buffer: 256,
        }
    }

    fn gzip(self) -> bool {
        self.options & GZIP != 0
    }

    /// The longest chunk.
    fn chunk(self) -> usize {
        match self.version {
            1 => 256_000,
            _ => self.buffer as usize * 1024,
        }
    }
}

/// A file that the server has agreed to, before the client says that it starts.
pub struct Agreed {
    pub size: u64,
    pub streams: usize,
    /// Mode and times, as sent.
    pub attributes: Vec<u8>,
    /// The server's ports.
    pub ports: Vec<u16>,
    /// Where the client listens.
    pub listeners: Vec<TcpListener>,
}

fn number<const N: usize>(bytes: &[u8]) -> u64 {
    bytes[..N]
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

pub fn listeners(count: usize) -> Vec<TcpListener> {
    (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("listen"))
        .collect()
}

pub fn ports(listeners: &[TcpListener]) -> Vec<u16> {
    let port = |listener: &TcpListener| listener.local_addr().expect("address").port();
    listeners.iter().map(port).collect()
}

pub fn encoded(ports: &[u16]) -> Vec<u8> {
    let bytes = |port: &u16| u32::from(*port).to_be_bytes();
    ports.iter().flat_map(bytes).collect()
}

/// The 576 bytes of version 1.
pub fn old_request(name: &str, size: usize, ports: &[u16]) -> Vec<u8> {
    let mut payload = old_transfer(name.as_bytes(), size as i64, ports.len() as u32, 0);
    payload[536..536 + 4 * ports.len()].copy_from_slice(&encoded(ports));
    payload
}

/// Asks for a transfer in version 2 or 3 and reads the consent.
pub fn agree(peer: &mut Peer, plan: Plan, code: u32, name: &str, size: usize) -> Agreed {
    let request = transfer(size as i64, plan.options, plan.buffer, plan.streams as i32);
    peer.send(code, &request);
    peer.send(FILENAME, name.as_bytes());
    let (code, payload) = peer.receive();
    let text = String::from_utf8_lossy(&payload);
    let expected = [TRANS_OK_V2, TRANS_OK_V3][plan.version as usize - 2];
    assert_eq!((code, payload.len()), (expected, 48), "{text}");
    let streams = number::<4>(&payload[44..]) as usize;
    let size = number::<8>(&payload);
    let mut agreed = Agreed {
        size,
        streams,
        attributes: payload[12..32].to_vec(),
        ports: Vec::new(),
        listeners: Vec::new(),
    };
    if plan.version == 3 && size > 0 {
        let mut all = vec![0; 4 * streams];
        peer.socket.read_exact(&mut all).expect("ports");
        agreed.ports = all.chunks(4).map(|port| number::<4>(port) as u16).collect();
    } else if size > 0 {
        agreed.listeners = listeners(streams);
    }
    agreed
}

/// Connects to the server's ports from this address.
pub fn connect(agreed: &Agreed) -> Vec<TcpStream> {
    let to = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
    let connect = |port| limited(TcpStream::connect(to(port)).expect("connect"));
    agreed.ports.iter().map(connect).collect()
}

pub fn accept(listeners: &[TcpListener]) -> Vec<TcpStream> {
    let accept = |listener: &TcpListener| limited(listener.accept().expect("accept").0);
    listeners.iter().map(accept).collect()
}

fn limited(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).expect("limit");
    socket.set_write_timeout(Some(PATIENCE)).expect("limit");
    socket
}

/// Says that the transfer starts, or is simulated; the streams.
pub fn start(peer: &mut Peer, plan: Plan, agreed: &Agreed, simulate: bool) -> Vec<TcpStream> {
    if plan.version == 3 {
        let sockets = connect(agreed);
        let code = [TRANS_START_V3, TRANS_SIMUL_V3][usize::from(simulate)];
        peer.send_bytes(&announcing(code, 4 * agreed.streams as u32, b""));
        return sockets;
    }
    let code = [TRANS_START_V2, TRANS_SIMUL][usize::from(simulate)];
    peer.send(code, &encoded(&ports(&agreed.listeners)));
    accept(&agreed.listeners)
}

/// The ranges of a file.
pub fn ranges(size: usize, streams: usize) -> Vec<std::ops::Range<usize>> {
    let each = size / streams;
    let end = |at: usize| {
        if at + 1 == streams {
            size
        } else {
            each * (at + 1)
        }
    };
    (0..streams).map(|at| each * at..end(at)).collect()
}

/// What goes over a stream for these bytes.
pub fn on_the_network(plan: Plan, bytes: &[u8]) -> Vec<u8> {
    if !plan.gzip() {
        return bytes.to_vec();
    }
    let mut all = Vec::new();
    for block in bytes.chunks(plan.chunk()) {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(block).expect("zlib");
        let deflated = encoder.finish().expect("zlib");
        let chunk = match deflated.len() <= plan.chunk() {
            true => message(1, &deflated),
            false => message(0, block),
        };
        all.extend(chunk);
    }
    all
}

/// Reads a range from its stream.
pub fn read_range(socket: &mut TcpStream, plan: Plan, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !plan.gzip() {
        bytes.resize(len, 0);
        socket.read_exact(&mut bytes).expect("range");
        return bytes;
    }
    while bytes.len() < len {
        let mut header = [0; 8];
        socket.read_exact(&mut header).expect("chunk");
        let mut chunk = vec![0; number::<4>(&header[4..]) as usize];
        assert!(chunk.len() <= plan.chunk(), "no longer than agreed on");
        socket.read_exact(&mut chunk).expect("chunk");
        let before = bytes.len();
        match header[3] {
            0 => bytes.extend(chunk),
            _ => {
                let mut zlib = ZlibDecoder::new(&chunk[..]);
                zlib.read_to_end(&mut bytes).expect("zlib");
            }
        }
        assert!(bytes.len() - before <= plan.chunk());
    }
    bytes
}

/// Sends a file and returns the server's last word.
pub fn put(peer: &mut Peer, plan: Plan, name: &str, content: &[u8]) -> (u32, String) {
    let mut sockets = if plan.version == 1 {
        let listeners = listeners(plan.streams);
        let code = [STORE, STORE_C][usize::from(plan.gzip())];
        peer.send(code, &old_request(name, content.len(), &ports(&listeners)));
        if content.is_empty() {
            return peer.answer();
        }
        accept(&listeners)
    } else if content.is_empty() {
        let request = transfer(0, plan.options, plan.buffer, plan.streams as i32);
        peer.send(STORE_V2, &request);
        return peer.ask(FILENAME, name.as_bytes());
    } else {
        let agreed = agree(peer, plan, STORE_V2, name, content.len());
        start(peer, plan, &agreed, false)
    };
    let ranges = ranges(content.len(), sockets.len());
    for (socket, range) in sockets.iter_mut().zip(ranges) {
        let bytes = on_the_network(plan, &content[range]);
        socket.write_all(&bytes).expect("write");
    }
    for socket in &mut sockets {
        let mut ack = Vec::new();
        socket.read_to_end(&mut ack).expect("ack");
        assert_eq!(ack, ACK, "and the end");
    }
    peer.answer()
}

/// Fetches a file.
pub fn get(peer: &mut Peer, plan: Plan, name: &str) -> Vec<u8> {
    let (mut sockets, size) = if plan.version == 1 {
        let listeners = listeners(plan.streams);
        let code = [RETR, RETR_C][usize::from(plan.gzip())];
        peer.send(code, &old_request(name, 0, &ports(&listeners)));
        let (code, payload) = peer.receive();
        assert_eq!((code, payload.len()), (RETR_OK, 8));
        let size = number::<8>(&payload) as usize;
        if size == 0 {
            peer.send(CREATE_ZERO, b"");
            return Vec::new();
        }
        peer.send(RETR_START, b"");
        (accept(&listeners), size)
    } else {
        let agreed = agree(peer, plan, RETR_V2, name, 0);
        if agreed.size == 0 {
            peer.send(CREATE_ZERO, b"");
            return Vec::new();
        }
        let sockets = start(peer, plan, &agreed, false);
        (sockets, agreed.size as usize)
    };
    let ranges = ranges(size, sockets.len());
    let mut content = Vec::new();
    for (socket, range) in sockets.iter_mut().zip(ranges) {
        content.extend(read_range(socket, plan, range.len()));
        socket.write_all(&ACK).expect("ack");
    }
    let (code, text) = peer.answer();
    assert_eq!((code, text.as_str()), (OK, "OK"));
    content
}

/// Puts a file there that ann may replace.
pub fn put_there(server: &Server, name: &str, content: &[u8]) {
    let mut peer = Peer::ann(server, 3);
    let stored = put(&mut peer, Plan::new(3, 1), name, content);
    assert_eq!(stored, (OK, "OK".to_owned()));
}

/// Bytes of which some shrink, and some do not.
pub fn content(len: usize) -> Vec<u8> {
    let mut random = 7_u32;
    let mut next = |at: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if at % 500_000 < 250_000 {
            (random >> 24) as u8
        } else {
            b'a'
        }
    };
    (0..len).map(&mut next).collect()
}
