//! The load that `scripts/bench` puts on a server, one figure a call, and the
//! cipher on its own. The server is told by the environment, see `server`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers of the bench are small"
)]

mod alone;
mod bare;
mod canpt;
mod cipher;
mod connections;
#[path = "../../tests/common/flows.rs"]
mod flows;
mod idle;
mod keys;
mod listing;
#[path = "../../tests/common/plain_cipher.rs"]
mod plain_cipher;
mod probes;
mod requests;
mod server;
mod transfer;
mod trees;
mod vault;

use std::process::ExitCode;

use tfd::client::ClientError;

/// What a measure prints.
type Figure = Result<String, ClientError>;

const MIB: f64 = 1_048_576.0;

const USAGE: &str = "\
usage: load handshakes CLIENTS COUNT [fresh]
                                          sessions begun and ended per second
       load ready COUNT                   microseconds from connecting to an answer
       load idle COUNT                    holds sessions until standard input ends
       load roundtrips REQUEST COUNT      requests per second
       load latency REQUEST CLIENTS COUNT requests per second of clients at once, and
                                          microseconds of the median and of 99 in 100
       load apart REQUEST COUNT           the same with Nagle, header and body by a write each
       load tcp SIZE COUNT                roundtrips of a bare TCP echo
       load tcp-apart SIZE COUNT          apart of one
       load probes COUNT                  UDP probes answered per second
       load udp COUNT                     the same of a bare UDP echo
       load transfer FLOW LOCAL REMOTE [random|first|cycle]
                                          MiB per second of one file
       load alone put|get|drop LOCAL REMOTE
                                          the same of the server's part, before a cycle;
                                          get compares with the local file, drop is a
                                          GET that keeps nothing
       load tree FLOW LOCAL REMOTE        microseconds a file of a directory
       load vault unchanged USER ENTRIES ROUNDS
                                          microseconds of a sync without changes
       load vault first USER ENTRIES      milliseconds of a first sync; holds its session
       load vault devices COUNT           milliseconds until a change is at all
       load vault idle COUNT              holds sessions until standard input ends
       load vault handshakes CLIENTS COUNT
                                          handshakes of an old dialect per second
       load listing PATH                  entries per second of LS
       load sha256 PATH                   MiB per second of SHA256
       load cipher                        MiB per second: the plain loop, ours, our
                                          generator, bare recurrence, on a cycle
       load keys                          checks the session keys of transfers
       load account [made]                a line of a users file; its hash is a cheap one,
                                          or as tfd makes it";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let figure = match words.as_slice() {
        ["handshakes", clients, count] => {
            connections::per_second(number(clients), number(count), false)
        }
        ["handshakes", clients, count, "fresh"] => {
            connections::per_second(number(clients), number(count), true)
        }
        ["ready", count] => connections::ready(number(count)),
        ["idle", count] => idle::hold(number(count)),
        ["roundtrips", request, count] => requests::per_second(request, number(count)),
        ["latency", request, clients, count] => {
            requests::latencies(request, number(clients), number(count))
        }
        ["apart", request, count] => requests::apart_per_second(request, number(count)),
        ["tcp-apart", size, count] => bare::tcp_apart(number(size), number(count)),
        ["tcp", size, count] => bare::tcp(number(size), number(count)),
        ["probes", count] => probes::per_second(number(count)),
        ["udp", count] => bare::udp(number(count)),
        ["serve", kind, size] => bare::serve(kind, number(size)),
        ["transfer", flow, local, remote] => transfer::rate(flow, local, remote, "random"),
        ["transfer", flow, local, remote, chain] => transfer::rate(flow, local, remote, chain),
        ["alone", flow, local, remote] => alone::rate(flow, local, remote),
        ["tree", flow, local, remote] => trees::per_file(flow, local, remote),
        ["vault", "unchanged", user, entries, rounds] => {
            vault::unchanged(user, number(entries), number(rounds))
        }
        ["vault", "first", user, entries] => vault::first(user, number(entries)),
        ["vault", "devices", count] => vault::devices(number(count)),
        ["vault", "idle", count] => vault::idle(number(count)),
        ["vault", "handshakes", clients, count] => {
            vault::handshakes(number(clients), number(count))
        }
        ["listing", path] => listing::per_second(path),
        ["sha256", path] => requests::digest_rate(path),
        ["cipher"] => cipher::rates(),
        ["keys"] => keys::check(),
        ["account"] => Ok(server::account()),
        ["account", "made"] => server::account_as_made(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match figure {
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
