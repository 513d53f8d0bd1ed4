//! The load that `scripts/bench` puts on a server, one figure a call, and the
//! cipher on its own. The server is told by `TF_SERVER`, `TF_KEY` and
//! `TF_HASH`, as for `tf`.

use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use tfd::client::{ClientError, Connection, PublicKey, Target};
use tfd::tf::cipher::{Cipher, PlainCipher, cycle};

const MIB: f64 = 1_048_576.0;

/// Probes that wait for their answers at once.
const OUTSTANDING: usize = 64;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["handshakes", clients, count] => handshakes(number(clients), number(count)),
        ["roundtrips", request, count] => roundtrips(request, number(count)),
        ["tcp", size, count] => bare_tcp(number(size), number(count)),
        ["tcp-server", size] => return serve_bare_tcp(number(size)),
        ["transfer", flow, local, remote] => transfer(flow, local, remote, 1),
        ["transfer", flow, local, remote, times] => transfer(flow, local, remote, number(times)),
        ["files", size, count] => files(number(size), number(count)),
        ["cipher"] => Ok(ciphers()),
        ["idle", count] => idle(number(count)),
        ["ready", count] => ready(number(count)),
        ["probes", count] => probes(number(count)),
        ["account"] => Ok(account()),
        _ => {
            eprintln!(
                "usage: load handshakes CLIENTS COUNT | roundtrips REQUEST COUNT | \
                 tcp SIZE COUNT | transfer FLOW LOCAL REMOTE [TIMES] | files SIZE COUNT | cipher | idle COUNT | \
                 ready COUNT | probes COUNT | account"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("load: {e}");
            ExitCode::FAILURE
        }
    }
}

fn number(word: &str) -> usize {
    word.parse().unwrap_or(1)
}

fn target() -> Result<Target, ClientError> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let key = PublicKey::from_file(variable("TF_KEY").as_ref())?;
    Ok(Target::new(&variable("TF_SERVER"), key, &variable("TF_HASH")))
}

/// Connections from TCP to the hash's `OK` and END, per second.
fn handshakes(clients: usize, count: usize) -> Result<String, ClientError> {
    let target = target()?;
    let begin = Instant::now();
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let target = target.clone();
            std::thread::spawn(move || {
                (0..count / clients).try_for_each(|_| Connection::open(&target)?.end())
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap_or(Ok(()))?;
    }
    let done = count / clients * clients;
    Ok(format!("{:.0}", done as f64 / begin.elapsed().as_secs_f64()))
}

/// Requests, each sent when the last was answered, per second.
fn roundtrips(request: &str, count: usize) -> Result<String, ClientError> {
    let mut connection = Connection::open(&target()?)?;
    let begin = Instant::now();
    for _ in 0..count {
        connection.request(request.as_bytes())?;
    }
    Ok(format!("{:.0}", count as f64 / begin.elapsed().as_secs_f64()))
}

/// The same with a process that only sends back what it reads.
fn bare_tcp(size: usize, count: usize) -> Result<String, ClientError> {
    let told = |source| ClientError::Local { path: "bare TCP".into(), source };
    let mut server = Command::new(std::env::current_exe().map_err(told)?)
        .args(["tcp-server", &size.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(told)?;
    let mut address = String::new();
    if let Some(output) = server.stdout.take() {
        use std::io::BufRead;
        std::io::BufReader::new(output).read_line(&mut address).map_err(told)?;
    }
    let mut socket = TcpStream::connect(address.trim()).map_err(told)?;
    socket.set_nodelay(true).map_err(told)?;
    let mut buffer = vec![1; size];
    let begin = Instant::now();
    for _ in 0..count {
        socket.write_all(&buffer).and_then(|()| socket.read_exact(&mut buffer)).map_err(told)?;
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    drop(socket);
    server.wait().map_err(told)?;
    Ok(format!("{rate:.0}"))
}

fn serve_bare_tcp(size: usize) -> ExitCode {
    let serve = || -> std::io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let mut buffer = vec![0; size];
        while socket.read_exact(&mut buffer).is_ok() {
            socket.write_all(&buffer)?;
        }
        Ok(())
    };
    if serve().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One file by one flow, so many times over one connection: MiB per second,
/// each time.
fn transfer(flow: &str, local: &str, remote: &str, times: usize) -> Result<String, ClientError> {
    cycle::make_table_on_need();
    let mut connection = Connection::open(&target()?)?;
    let rates: Result<Vec<_>, _> =
        (0..times).map(|_| transfer_once(&mut connection, flow, local, remote)).collect();
    connection.end()?;
    Ok(rates?.join(" "))
}

fn transfer_once(
    connection: &mut Connection,
    flow: &str,
    local: &str,
    remote: &str,
) -> Result<String, ClientError> {
    let told = |source| ClientError::Local { path: local.into(), source };
    let up = matches!(flow, "sndfile" | "put" | "sup");
    let file = if up { File::open(local) } else { File::create(local) };
    let mut file = file.map_err(told)?;
    let mut moved = 0_u64;
    let begin = Instant::now();
    if up {
        let mut source = |buffer: &mut [u8]| {
            let len = file.read(buffer).map_err(told)?;
            moved += len as u64;
            Ok(len)
        };
        match flow {
            "sndfile" => connection.send_file(remote, true, &mut source)?,
            "put" => connection.put(remote, 0, &mut source)?,
            _ => connection.stream_up(remote, &mut source)?,
        }
    } else {
        let mut sink = |data: &[u8]| {
            moved += data.len() as u64;
            file.write_all(data).map_err(told)
        };
        match flow {
            "rcvfile" => connection.receive_file(remote, false, &mut sink)?,
            "get" => connection.get(remote, 0, &mut sink)?,
            _ => connection.stream_down(remote, &mut sink)?,
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(format!("{:.0}", moved as f64 / MIB / seconds))
}

/// So many files of one size by SNDFILE over one connection, then by RCVFILE:
/// microseconds a file, each way.
fn files(size: usize, count: usize) -> Result<String, ClientError> {
    let mut connection = Connection::open(&target()?)?;
    let data = vec![7; size];
    let micros = |begin: Instant| begin.elapsed().as_secs_f64() * 1e6 / count as f64;
    let begin = Instant::now();
    for number in 0..count {
        let mut rest = data.as_slice();
        let mut source = |buffer: &mut [u8]| rest.read(buffer).map_err(|_| ClientError::WrongKey);
        connection.send_file(&format!("small-{number}"), true, &mut source)?;
    }
    let up = micros(begin);
    let begin = Instant::now();
    for number in 0..count {
        connection.receive_file(&format!("small-{number}"), false, &mut |_| Ok(()))?;
    }
    let down = micros(begin);
    connection.end()?;
    Ok(format!("{up:.0} {down:.0}"))
}

/// MiB per second on one core: the document's loop, one byte after another;
/// ours; the bare recurrence of the seed.
fn ciphers() -> String {
    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const ROUNDS: usize = 512;
    let mut data = vec![0; 512 * 1024];
    let rate = |work: &mut dyn FnMut(&mut [u8])| {
        let begin = Instant::now();
        for _ in 0..ROUNDS {
            work(black_box(&mut data));
        }
        (ROUNDS * data.len()) as f64 / MIB / begin.elapsed().as_secs_f64()
    };
    let mut rate = rate;
    let mut plain = PlainCipher::new(KEY);
    let plain = rate(&mut |data| plain.encrypt(data));
    let mut ours = Cipher::new(KEY);
    let ours = rate(&mut |data| ours.encrypt(data));
    let mut seed = 0x3736_3534_3332_3130_u64;
    let bare = rate(&mut |data| {
        for _ in 0..data.len() {
            seed = seed.wrapping_mul((seed >> 8) & 0xffff_ffff).wrapping_add((seed >> 40) & 0xffff);
        }
        black_box(seed);
    });
    format!("{plain:.0} {ours:.0} {bare:.0}")
}

/// Holds sessions open until standard input ends; logged in where `TF_USER`
/// and `TF_PASSWORD` are set.
fn idle(count: usize) -> Result<String, ClientError> {
    let target = target()?;
    let connections: Vec<_> = (0..count).map(|_| enter(&target)).collect::<Result<_, _>>()?;
    println!("ready");
    let mut end = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut end);
    drop(connections);
    Ok(format!("{count} ended"))
}

/// A session that has answered, logged in where `TF_USER` and `TF_PASSWORD`
/// say as whom.
fn enter(target: &Target) -> Result<Connection, ClientError> {
    let mut connection = Connection::open(target)?;
    if let (Ok(user), Ok(password)) = (std::env::var("TF_USER"), std::env::var("TF_PASSWORD")) {
        connection.log_in(&user, &password)?;
    }
    connection.echo("hello")?;
    Ok(connection)
}

/// From connecting to the first answer, in microseconds: the median.
fn ready(count: usize) -> Result<String, ClientError> {
    let target = target()?;
    let mut times = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        let connection = enter(&target)?;
        times.push(begin.elapsed());
        connection.end()?;
    }
    times.sort_unstable();
    Ok(times[count / 2].as_micros().to_string())
}

/// PROCHECK questions about a session of our own, answered per second, by one
/// socket. One that is lost, or its answer, fails.
fn probes(count: usize) -> Result<String, ClientError> {
    let told = |source| ClientError::Local { path: "UDP".into(), source };
    let mut connection = enter(&target()?)?;
    let reply = connection.request(b"PROCKEY")?;
    let key = reply.strip_prefix(b"OK ").unwrap_or_default();
    let question = [&[1], key].concat();
    let server = connection.wire().socket().peer_addr().map_err(told)?;
    let own = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own).map_err(told)?;
    socket.connect(server).map_err(told)?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(told)?;
    let begin = Instant::now();
    for number in 0..count + OUTSTANDING {
        if number >= OUTSTANDING {
            let mut answer = [0; 2];
            let len = socket.recv(&mut answer).map_err(told)?;
            assert_eq!(answer[..len], [1], "our session is alive");
        }
        if number < count {
            socket.send(&question).map_err(told)?;
        }
    }
    let rate = count as f64 / begin.elapsed().as_secs_f64();
    connection.end()?;
    Ok(format!("{rate:.0}"))
}

/// A line of the users file for `bench` with password `bench`, whose hash costs
/// next to nothing.
fn account() -> String {
    let cheap = argon2::Params::new(8, 1, 1, None).expect("parameters");
    let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cheap);
    let hash = hasher.hash_password(b"bench").expect("hash");
    format!("bench:{hash}:nobody:::")
}
