//! Processes that only send back what they read: what the network alone takes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_tcp_quickack;
use tfd::client::ClientError;

use crate::Figure;
use crate::probes::answered;
use crate::server::{failure, local};

/// Bytes of a UDP question, as long as PROCHECK's.
const QUESTION: usize = 37;

/// Round trips over TCP, per second.
pub(crate) fn tcp(size: usize, count: usize) -> Figure {
    round_trips("tcp", size, count, |socket, message| {
        socket.write_all(message)
    })
}

/// Bytes of a message's header, which an ordinary client writes by itself.
const HEADER: usize = 4;

/// The same with Nagle's algorithm, header and body by a write each; the other
/// side acknowledges the header at once.
pub(crate) fn tcp_apart(size: usize, count: usize) -> Figure {
    round_trips("apart", size, count, |socket, message| {
        let (header, body) = message.split_at(HEADER.min(message.len()));
        socket.write_all(header)?;
        socket.write_all(body)
    })
}

fn round_trips(
    server_name: &str,
    size: usize,
    count: usize,
    write: fn(&mut TcpStream, &[u8]) -> io::Result<()>,
) -> Figure {
    let (mut server, address) = start(server_name, size)?;
    let mut socket = TcpStream::connect(address).map_err(local("bare TCP"))?;
    socket
        .set_nodelay(server_name == "tcp")
        .map_err(local("bare TCP"))?;
    let mut buffer = vec![1; size];
    let begin = Instant::now();
    for _ in 0..count {
        write(&mut socket, &buffer)
            .and_then(|()| socket.read_exact(&mut buffer))
            .map_err(local("bare TCP"))?;
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    drop(socket);
    server.wait().map_err(local("bare TCP"))?;
    Ok(format!("{rate:.0}"))
}

/// Datagrams answered, per second.
pub(crate) fn udp(count: usize) -> Figure {
    let (mut server, address) = start("udp", QUESTION)?;
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(local("bare UDP"))?;
    socket.connect(address).map_err(local("bare UDP"))?;
    let question = [1; QUESTION];
    let rate = answered(&socket, &question, &question, count);
    server
        .kill()
        .and_then(|()| server.wait())
        .map_err(local("bare UDP"))?;
    rate
}

/// Starts this program again as the other side; its address.
fn start(kind: &str, size: usize) -> Result<(Child, String), ClientError> {
    let mut server = Command::new(std::env::current_exe().map_err(local("bare"))?)
        .args(["serve", kind, &size.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(local("bare"))?;
    let mut address = String::new();
    let output = server.stdout.take().ok_or_else(|| failure("no output"))?;
    BufReader::new(output)
        .read_line(&mut address)
        .map_err(local("bare"))?;
    Ok((server, address.trim().to_owned()))
}

/// The other side: prints its address, then serves one client.
pub(crate) fn serve(kind: &str, size: usize) -> Figure {
    match kind {
        "tcp" => serve_tcp(size),
        "apart" => serve_apart(size),
        _ => serve_udp(size),
    }
    .map_err(local("bare"))?;
    Ok(String::new())
}

fn serve_tcp(size: usize) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; size];
    while socket.read_exact(&mut buffer).is_ok() {
        socket.write_all(&buffer)?;
    }
    Ok(())
}

fn serve_apart(size: usize) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; size];
    loop {
        let mut done = 0;
        while done < size {
            if done > 0 {
                set_tcp_quickack(&socket, true)?;
            }
            match socket.read(&mut buffer[done..])? {
                0 => return Ok(()),
                n => done += n,
            }
        }
        socket.write_all(&buffer)?;
    }
}

fn serve_udp(size: usize) -> std::io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    println!("{}", socket.local_addr()?);
    // It ends on its own, too, should nobody be left to end it.
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut buffer = vec![0; size];
    loop {
        let (len, client) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..len], client)?;
    }
}
