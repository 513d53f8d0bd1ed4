use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::*;
use crate::net::Link;
use crate::net::link::Pace;
use crate::net::tls::{End, Exported, Suite};

const ACK: [u8; 8] = [0, 0, 0, 4, 0, 0, 0, 0];
const GZIP: Coding = Coding::Gzip(1000);

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (far, _) = listener.accept().expect("accept");
    let limit = Some(Duration::from_secs(60));
    far.set_read_timeout(limit).expect("limit");
    near.set_read_timeout(limit).expect("limit");
    (near, far)
}

fn file(content: &[u8]) -> Arc<File> {
    let file = tempfile::tempfile().expect("file");
    file.write_all_at(content, 0).expect("write");
    Arc::new(file)
}

fn content(len: usize) -> Vec<u8> {
    let mut random = 1_u32;
    let mut next = |at: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Stretches that shrink, and some that don't.
        if at % 3000 < 1500 {
            (random >> 24) as u8
        } else {
            7
        }
    };
    (0..len).map(&mut next).collect()
}

fn bytes(file: &File, len: usize) -> Vec<u8> {
    let mut all = vec![0; len];
    file.read_exact_at(&mut all, 0).expect("read");
    assert_eq!(file.metadata().expect("file").len(), len as u64);
    all
}

fn job(file: &Arc<File>, direction: Direction, coding: Coding) -> Job {
    Job {
        file: Arc::clone(file),
        direction,
        coding,
        idle: Duration::from_secs(60),
        ack: Duration::from_secs(60),
        pace: None,
        write_behind: false,
    }
}

fn start(job: Job, sockets: Vec<TcpStream>, size: usize) -> Streams {
    let ranges = partition(0..size as u64, sockets.len());
    let links = sockets
        .into_iter()
        .map(|socket| Link::new(socket).expect("link"));
    Streams::start(job, links.zip(ranges).collect()).expect("streams")
}

/// A receiver of one stream, the other end of it, and the file.
fn receiver(size: usize, coding: Coding) -> (Streams, TcpStream, Arc<File>) {
    let (near, far) = pair();
    let file = file(&[]);
    let streams = start(job(&file, Direction::Receive, coding), vec![near], size);
    (streams, far, file)
}

/// What a receiver of so many bytes makes of these.
fn received(size: usize, coding: Coding, bytes: &[u8]) -> Result<u64> {
    let (streams, mut far, _) = receiver(size, coding);
    far.write_all(bytes).expect("write");
    far.shutdown(Shutdown::Write).expect("shutdown");
    streams.finish()
}

fn chunk(flag: u32, len: usize, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(len).expect("length");
    [&flag.to_be_bytes(), &len.to_be_bytes(), bytes].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("zlib");
    encoder.finish().expect("zlib")
}

#[test]
fn files_of_all_sizes_arrive_on_any_number_of_streams() {
    let sizes = [
        0, 1, 2, 3, 31, 999, 1000, 1001, 4096, 256_000, 256_001, 3_000_017,
    ];
    for coding in [
        Coding::Plain,
        GZIP,
        Coding::Gzip(256_000),
        Coding::Gzip(16 << 20),
    ] {
        for (size, streams) in sizes.iter().flat_map(|size| [1, 3, 32].map(|n| (*size, n))) {
            let content = content(size);
            let (from, to) = (file(&content), file(&[]));
            let (near, far): (Vec<_>, Vec<_>) = (0..streams).map(|_| pair()).unzip();
            let receiver = start(job(&to, Direction::Receive, coding), far, size);
            let sender = start(job(&from, Direction::Send, coding), near, size);
            assert_eq!(sender.finish().expect("sent"), size as u64);
            assert_eq!(receiver.finish().expect("received"), size as u64);
            assert!(
                bytes(&to, size) == content,
                "{size} bytes, {streams} streams"
            );
        }
    }
}

#[test]
fn a_receiver_acknowledges_its_range_and_the_descriptor_says_that_all_have_ended() {
    let (streams, mut far, file) = receiver(5, Coding::Plain);
    far.write_all(b"12345").expect("write");
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).expect("read");
    assert_eq!(answer, ACK);
    let mut fds = [rustix::event::PollFd::new(
        &streams,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut fds, None).expect("poll");
    assert_eq!(streams.moved(), 5);
    streams.finish().expect("received");
    assert_eq!(bytes(&file, 5), b"12345");
}

#[test]
fn a_range_that_ends_early_or_has_more_behind_it_is_a_failure() {
    let short = received(10, Coding::Plain, b"123").map_err(|e| e.errno());
    assert_eq!(short, Err(Errno::CONNRESET));
    assert!(matches!(received(0, Coding::Plain, b""), Ok(0)));
    let (streams, mut far, file) = receiver(3, Coding::Plain);
    far.write_all(b"12345").expect("write");
    let mut answer = Vec::new();
    let _ = far.read_to_end(&mut answer);
    assert!(streams.finish().is_err() == answer.is_empty());
    assert_eq!(
        bytes(&file, 3),
        b"123",
        "nothing is written behind the range"
    );
}

#[test]
fn chunks_that_lie_are_refused_and_write_nothing_behind_the_range() {
    let zlib = deflated(&[1; 10]);
    let whole = |flag, bytes: &[u8]| chunk(flag, bytes.len(), bytes);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("flag", chunk(2, 10, &[0; 10])),
        ("stored, longer than the range", chunk(0, 11, &[0; 11])),
        ("longer than a chunk", chunk(0, 1001, &[0; 1001])),
        ("nothing stored", chunk(0, 0, &[])),
        ("nothing deflated", chunk(1, 0, &[])),
        ("deflated nothing", whole(1, &deflated(&[]))),
        ("negative", chunk(1, u32::MAX as usize, &zlib)),
        ("no zlib", whole(1, b"this is not zlib")),
        ("truncated zlib", whole(1, &zlib[..zlib.len() - 1])),
        (
            "no checksum",
            whole(1, &[&zlib[..zlib.len() - 4], &[0; 4]].concat()),
        ),
        ("behind its end", whole(1, &[&zlib[..], b"x"].concat())),
        (
            "inflated, longer than the range",
            whole(1, &deflated(&[1; 11])),
        ),
        ("a bomb", whole(1, &deflated(&[1; 800_000]))),
    ];
    for (what, bytes) in cases {
        let (streams, mut far, file) = receiver(10, GZIP);
        far.write_all(&bytes).expect("write");
        let failed = streams.finish().map_err(|e| e.errno());
        assert_eq!(failed, Err(Errno::ILSEQ), "{what}");
        assert!(file.metadata().expect("file").len() <= 10, "{what}");
    }
    let short = [
        chunk(1, zlib.len(), &zlib[..3]),
        chunk(1, 9, &[])[..5].to_vec(),
    ];
    for bytes in short {
        let lost = received(10, GZIP, &bytes).map_err(|e| e.errno());
        assert_eq!(lost, Err(Errno::CONNRESET));
    }
}

#[test]
fn chunks_of_both_kinds_make_up_a_range_to_its_last_byte() {
    let halves = deflated(&[1; 600]);
    let chunks = [
        chunk(1, halves.len(), &halves),
        chunk(0, 1, &[2]),
        chunk(0, 399, &[3; 399]),
        chunk(1, halves.len(), &halves),
    ];
    let (streams, mut far, file) = receiver(1600, GZIP);
    far.write_all(&chunks.concat()).expect("write");
    streams.finish().expect("received");
    let expected = [vec![1; 600], vec![2], vec![3; 399], vec![1; 600]].concat();
    assert_eq!(bytes(&file, 1600), expected);
}

#[test]
fn a_chunk_of_ours_is_never_longer_than_its_block() {
    let content = content(2500);
    let (near, mut far) = pair();
    let sender = start(
        job(&file(&content), Direction::Send, GZIP),
        vec![near],
        2500,
    );
    let mut inflated = Vec::new();
    while inflated.len() < content.len() {
        let mut header = [0; 8];
        far.read_exact(&mut header).expect("header");
        let len = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        assert!(len <= 1000);
        let mut chunk = vec![0; len];
        far.read_exact(&mut chunk).expect("chunk");
        if header[3] == 0 {
            inflated.extend(chunk);
        } else {
            let mut zlib = flate2::read::ZlibDecoder::new(&chunk[..]);
            zlib.read_to_end(&mut inflated).expect("zlib");
        }
    }
    assert!(inflated == content);
    far.write_all(&ACK).expect("ack");
    sender.finish().expect("sent");
}

#[test]
fn a_sender_wants_the_acknowledgement() {
    for (answer, expected) in [
        (&ACK[..], None),
        (&[0, 0, 0, 3, 0, 0, 0, 0], Some(Errno::PERM)),
        (&ACK[..5], Some(Errno::CONNRESET)),
    ] {
        let (near, mut far) = pair();
        let sender = start(
            job(&file(b"abc"), Direction::Send, Coding::Plain),
            vec![near],
            3,
        );
        far.write_all(answer).expect("write");
        far.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(sender.finish().err().map(|e| e.errno()), expected);
    }
}

#[test]
fn a_file_that_became_shorter_is_a_failure() {
    for coding in [Coding::Plain, GZIP] {
        let (near, mut far) = pair();
        let sender = start(job(&file(b"abc"), Direction::Send, coding), vec![near], 5);
        let _ = far.write_all(&ACK);
        assert_eq!(sender.finish().map_err(|e| e.errno()), Err(Errno::IO));
    }
}

/// What both ends of a control connection have exported.
fn exported(secret: u8) -> Exported {
    Exported::new(Suite::Aes128, &[secret; 32], sealed::LABEL).expect("exported")
}

fn introduce(near: TcpStream, secret: u8, transfer: u32, stream: u32) -> Option<Link> {
    let name = sealed::Name { transfer, stream };
    sealed::introduce(near, &exported(secret), End::Client, name).ok()
}

#[test]
fn streams_inside_tls_are_those_of_the_two_ends_and_of_nobody_else() {
    let name = |transfer, stream| sealed::Name { transfer, stream };
    let recognize = |from: fn(TcpStream) -> Option<Link>| {
        let (near, far) = pair();
        let _other = from(near);
        sealed::recognize(far, &exported(1), End::Server, name(7, 2)).is_ok()
    };
    assert!(recognize(|near| introduce(near, 1, 7, 2)));
    assert!(!recognize(|near| introduce(near, 2, 7, 2)), "a stranger");
    assert!(
        !recognize(|near| introduce(near, 1, 6, 2)),
        "an old transfer"
    );
    assert!(
        !recognize(|near| introduce(near, 1, 7, 1)),
        "another stream"
    );
    assert!(!recognize(|near| {
        (&near).write_all(b"GET / HTTP/1.0\r\n\r\n").expect("write");
        Link::new(near).ok()
    }));

    let content = content(700_001);
    for coding in [Coding::Plain, GZIP] {
        let (from, to) = (file(&content), file(&[]));
        let ranges = || partition(0..700_001, 3);
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for stream in 0..3 {
            let (a, b) = pair();
            near.push(introduce(a, 1, 0, stream).expect("link"));
            let link = sealed::recognize(b, &exported(1), End::Server, name(0, stream));
            far.push(link.expect("link"));
        }
        let receive = job(&to, Direction::Receive, coding);
        let receiver = Streams::start(receive, far.into_iter().zip(ranges()).collect());
        let send = job(&from, Direction::Send, coding);
        let sender = Streams::start(send, near.into_iter().zip(ranges()).collect());
        sender.expect("streams").finish().expect("sent");
        receiver.expect("streams").finish().expect("received");
        assert!(bytes(&to, content.len()) == content);
    }
}

#[test]
fn one_failure_ends_all_streams_and_so_does_an_abort() {
    for fails in [true, false] {
        let (near, mut far): (Vec<_>, Vec<_>) = (0..4).map(|_| pair()).unzip();
        let to = file(&[]);
        let streams = start(job(&to, Direction::Receive, Coding::Plain), near, 4000);
        if fails {
            drop(far.pop());
        } else {
            streams.abort();
        }
        for mut socket in far {
            assert!(matches!(socket.read(&mut [0]), Ok(0) | Err(_)));
        }
        let why = streams.finish().expect_err("ended");
        assert_eq!(matches!(why, StreamError::Aborted), !fails, "{why}");
    }
}

#[test]
fn a_silent_peer_is_given_up_and_a_rate_is_kept() {
    let (near, _far) = pair();
    let to = file(&[]);
    let silent = Job {
        idle: Duration::from_millis(100),
        ..job(&to, Direction::Receive, Coding::Plain)
    };
    let streams = start(silent, vec![near], 10);
    assert_eq!(
        streams.finish().map_err(|e| e.errno()),
        Err(Errno::TIMEDOUT)
    );

    let (near, far): (Vec<_>, Vec<_>) = (0..2).map(|_| pair()).unzip();
    let from = file(&[1; 20_000]);
    let begun = Instant::now();
    let paced = Job {
        pace: Some(Pace::new(40_000)),
        ..job(&from, Direction::Send, Coding::Plain)
    };
    let sender = start(paced, near, 20_000);
    let receiver = start(job(&to, Direction::Receive, Coding::Plain), far, 20_000);
    sender.finish().expect("sent");
    receiver.finish().expect("received");
    assert!(begun.elapsed() >= Duration::from_millis(400));
}
