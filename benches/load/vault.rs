//! The vault's own dialect, on a server of it told by `VAULT_SERVER`, and handshakes of
//! the old ones, told by `VAULT_OLD`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openssl::base64::encode_block;
use openssl::rsa::{Padding, Rsa};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use tfd::client::ClientError;
use tfd::ipc::codec::Decode;
use tfd::vault::own::frame::framed;
use tfd::vault::own::message::*;

use crate::Figure;
use crate::server::{failure, local, variable};

/// Bytes of an entry, sealed.
const ENTRY: usize = 512;

/// Entries in one push.
const AT_ONCE: usize = 1000;

type Result<T> = std::result::Result<T, ClientError>;

/// A device of the bench's account.
struct Device(SslStream<TcpStream>);

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("random");
    bytes
}

/// A name that no run before has made an account of.
fn name() -> String {
    format!("bench{}", u64::from_be_bytes(random()))
}

impl Device {
    /// One of a new account, or another of one that there is.
    fn new(user: &str, is_first: bool) -> Result<Device> {
        let tls = |e: openssl::error::ErrorStack| failure(&e.to_string());
        let mut builder = SslConnector::builder(SslMethod::tls()).map_err(tls)?;
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_alpn_protos(b"\x0btfd-vault/1").map_err(tls)?;
        let socket = TcpStream::connect(variable("VAULT_SERVER")).map_err(local("connect"))?;
        socket.set_nodelay(true).map_err(local("socket"))?;
        let stream = builder.build().connect("localhost", socket);
        let mut device = Device(stream.map_err(|e| failure(&e.to_string()))?);
        let version = VERSION;
        let user = user.to_owned();
        device.ask(&Request::Hello { version, user })?;
        let own = tfd::vault::own::message::Device {
            id: random(),
            token: random::<32>().into(),
            name: "bench".to_owned(),
        };
        let auth = [7; 32];
        let request = match is_first {
            true => Request::Register(Register {
                kdf: Kdf::usual([1; 32]),
                auth: auth.into(),
                recovery: auth.into(),
                wrapped: Sealed(vec![1]),
                mail: None,
                device: own,
                code: None,
            }),
            false => Request::LogIn(LogIn {
                proof: Proof::Password(auth.into()),
                device: own,
                code: None,
            }),
        };
        match device.ask(&request)? {
            Reply::Welcome(_) => Ok(device),
            other => Err(failure(&format!("{other:?}"))),
        }
    }

    /// One of an account that has so many entries, made as far as it is missing.
    fn with_entries(user: &str, entries: usize) -> Result<Device> {
        let device = Device::new(user, true).or_else(|_| Device::new(user, false));
        let mut device = device?;
        let (count, _) = device.pull(0, true)?;
        device.push(entries.saturating_sub(count))?;
        Ok(device)
    }

    fn ask(&mut self, request: &Request) -> Result<Reply> {
        self.0
            .write_all(&framed(request))
            .map_err(local("request"))?;
        self.receive()
    }

    fn receive(&mut self) -> Result<Reply> {
        let mut header = [0; 4];
        self.0.read_exact(&mut header).map_err(local("answer"))?;
        let mut message = vec![0; u32::from_be_bytes(header) as usize];
        self.0.read_exact(&mut message).map_err(local("answer"))?;
        Reply::from_bytes(&message).ok_or_else(|| failure("no message"))
    }

    /// Pushes so many new entries.
    fn push(&mut self, count: usize) -> Result<()> {
        let changes: Vec<Change> = (0..count)
            .map(|_| Change {
                id: random(),
                base: 0,
                sealed: Some(Sealed(vec![9; ENTRY])),
            })
            .collect();
        for some in changes.chunks(AT_ONCE) {
            let changes = some.to_vec();
            self.ask(&Request::Push { changes })?;
        }
        Ok(())
    }

    /// Pulls until there is nothing more; the number of entries and the revision.
    fn pull(&mut self, mut since: u64, whole: bool) -> Result<(usize, u64)> {
        let mut count = 0;
        loop {
            let Reply::Changes(changes) = self.ask(&Request::Pull { since, whole })? else {
                return Err(failure("no changes"));
            };
            count += changes.items.len();
            since = changes.upto;
            if !changes.more {
                return Ok((count, since));
            }
        }
    }
}

/// Microseconds of a sync of so many entries after which nothing has changed.
pub(crate) fn unchanged(user: &str, entries: usize, rounds: usize) -> Figure {
    let mut device = Device::with_entries(user, entries)?;
    let (_, head) = device.pull(0, true)?;
    let begin = Instant::now();
    for _ in 0..rounds {
        let (count, _) = device.pull(head, false)?;
        assert_eq!(count, 0);
    }
    let each = begin.elapsed() / rounds as u32;
    Ok(format!("{:.1}", each.as_secs_f64() * 1e6))
}

/// Milliseconds of a first sync of so many entries, login included. Then it holds the
/// session until standard input ends.
pub(crate) fn first(user: &str, entries: usize) -> Figure {
    drop(Device::with_entries(user, entries)?);
    let begin = Instant::now();
    let mut device = Device::new(user, false)?;
    let (count, _) = device.pull(0, true)?;
    let elapsed = begin.elapsed();
    assert_eq!(count, entries);
    println!("{:.1}", elapsed.as_secs_f64() * 1e3);
    wait()?;
    Ok("ended".to_owned())
}

/// Milliseconds until a change is at so many devices that listen.
pub(crate) fn devices(count: usize) -> Figure {
    let user = name();
    let mut writer = Device::new(&user, true)?;
    let mut readers = Vec::new();
    for _ in 0..count {
        let mut reader = Device::new(&user, false)?;
        reader.ask(&Request::Listen)?;
        readers.push(std::thread::spawn(move || {
            let heard = reader.receive().map(|_| Instant::now());
            heard.map(|at| (at, reader))
        }));
    }
    // All of them are in their read by then.
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    writer.push(1)?;
    let mut last = begin;
    for reader in readers {
        let (at, _) = reader.join().expect("reader")?;
        last = last.max(at);
    }
    Ok(format!("{:.1}", (last - begin).as_secs_f64() * 1e3))
}

/// Says `ready` when so many sessions of one account each are in, and holds them until
/// standard input ends.
pub(crate) fn idle(count: usize) -> Figure {
    let user = name();
    let mut held = vec![Device::new(&user, true)?];
    while held.len() < count {
        // An account has at most 200 devices.
        let is_first = held.len() % 150 == 0;
        let user = format!("{user}{}", held.len() / 150);
        held.push(Device::new(&user, is_first || held.len() == 1)?);
    }
    println!("ready");
    wait()?;
    Ok(format!("{} ended", held.len()))
}

/// Handshakes of an old dialect per second, each up to the packet with the keys, which
/// is the last that costs the server anything; the client leaves it as it is.
pub(crate) fn handshakes(clients: usize, count: usize) -> Figure {
    let tls = |e: openssl::error::ErrorStack| failure(&e.to_string());
    let own = Rsa::generate(2048).and_then(|key| key.public_key_to_pem());
    let own = String::from_utf8(own.map_err(tls)?).map_err(|e| failure(&e.to_string()))?;
    let each = count / clients;
    let begin = Instant::now();
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let own = own.clone();
            std::thread::spawn(move || (0..each).try_for_each(|_| handshake(&own)))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap_or(Ok(()))?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(format!("{:.1}", (each * clients) as f64 / seconds))
}

fn handshake(own: &str) -> Result<()> {
    let odd = || failure("not a handshake");
    let mut socket = TcpStream::connect(variable("VAULT_OLD")).map_err(local("connect"))?;
    socket.set_nodelay(true).map_err(local("socket"))?;
    let hello = exchange(&mut socket, "UINIPEM")?;
    let key = hello
        .strip_prefix("UKEYPEMkey%eq!")
        .and_then(|rest| rest.strip_suffix("!;"))
        .and_then(|pem| Rsa::public_key_from_pem(pem.as_bytes()).ok())
        .ok_or_else(odd)?;
    let mut block = vec![0; key.size() as usize];
    key.public_encrypt(&[b'6'; 64], &mut block, Padding::PKCS1_OAEP)
        .map_err(|_| odd())?;
    let nonce = encode_block(&block);
    let keys = exchange(
        &mut socket,
        &format!("KCKEformat%eq!PEM!;key%eq!{own}!;nonce%eq!{nonce}!;"),
    )?;
    match keys.starts_with('K') {
        true => Ok(()),
        false => Err(odd()),
    }
}

/// Sends a packet; the next one.
fn exchange(socket: &mut TcpStream, text: &str) -> Result<String> {
    let packet = format!("\u{1}{text}\u{4}");
    socket
        .write_all(packet.as_bytes())
        .map_err(local("packet"))?;
    let mut bytes = Vec::new();
    let mut room = [0; 4096];
    while bytes.last() != Some(&4) {
        let read = socket.read(&mut room).map_err(local("packet"))?;
        if read == 0 {
            return Err(failure("the server has closed the connection"));
        }
        bytes.extend(&room[..read]);
    }
    let text = bytes
        .strip_prefix(b"\x01")
        .and_then(|it| it.strip_suffix(b"\x04"));
    let text = text.and_then(|text| String::from_utf8(text.to_vec()).ok());
    text.ok_or_else(|| failure("not a packet"))
}

fn wait() -> Result<()> {
    let read = std::io::stdin().read_to_end(&mut Vec::new());
    read.map(drop).map_err(local("standard input"))
}
