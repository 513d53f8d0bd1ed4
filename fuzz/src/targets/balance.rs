//! What the load balancer reads: pool files, answers of name servers, and
//! answers of the servers of a pool at any time.

use std::net::SocketAddr;
use std::time::Duration;

use tfd::config::is_service_name;
use tfd::tf::pool::Balancer;
use tfd::tf::pool::file as pool;
use tfd::tf::pool::file::Server;
use tfd::tf::pool::health::State;
use tfd::tf::pool::probe;
use tfd::tf::pool::probe::Load;
use tfd::tf::pool::resolver;
use tfd::tf::pool::resolver::{Lookup, Step};

/// The id of every question to a name server.
const ID: u64 = 0x1234;

/// More questions than any lookup may ask.
const MANY: usize = 5000;

/// Takes one input.
pub fn run(data: &[u8]) {
    pool_file(data);
    name_servers(data);
    members(data);
}

fn pool_file(data: &[u8]) {
    let pool = pool::parse(data);
    let lines = data.split(|byte| *byte == b'\n').count();
    for (line, problem) in &pool.problems {
        assert!(
            (1..=lines).contains(line) && !problem.contains(char::is_control),
            "{problem:?}"
        );
    }
    let line = |server: &Server| format!("{} weight={}\n", server.tuple(), server.weight);
    let again = pool::parse(pool.servers.iter().map(line).collect::<String>().as_bytes());
    assert_eq!((again.servers, again.problems), (pool.servers, vec![]));
}

/// Messages, each behind a byte that says how many 16 bytes it has.
fn name_servers(data: &[u8]) {
    let servers = resolver::name_servers(&String::from_utf8_lossy(data));
    assert!((1..=3).contains(&servers.len()));
    let mut lookup = Lookup::new("_tf._tcp.a.org", servers);
    let mut rest = data;
    for _ in 0..MANY {
        match lookup.step(&mut || ID) {
            Step::Ask(_) => {}
            Step::Failed(_) => return,
            Step::Found(found) => {
                assert!(found.lost.iter().all(|host| is_service_name(host)));
                return check_servers(&found.servers);
            }
        }
        let Some((length, messages)) = rest.split_first() else {
            lookup.failed();
            continue;
        };
        let (message, left) = messages.split_at(messages.len().min(usize::from(*length) * 16));
        rest = left;
        let id = u16::try_from(ID).expect("an id").to_be_bytes();
        if !lookup.answered(&[&id[..], message].concat()) {
            lookup.failed();
        }
    }
    panic!("a lookup without end");
}

fn check_servers(servers: &[Server]) {
    assert!(servers.is_sorted_by_key(|server| server.priority));
    for server in servers {
        assert!(server.weight > 0 && server.address.port() != 0);
        assert_eq!(server.address.ip(), server.address.ip().to_canonical());
    }
}

/// Two servers with events, each a pause, which of them, and a datagram.
fn members(data: &[u8]) {
    assert!(probe::answer(data, Load::default(), false).len() <= data.len().max(1));
    let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 1));
    let server = |last| Server {
        address: address(last),
        weight: last.into(),
        priority: 0,
    };
    let mut balancer = Balancer::default();
    balancer.replace([server(1), server(2)], Duration::ZERO);
    let mut now = Duration::ZERO;
    let mut random = 0;
    for event in data.chunks(2 + probe::ANSWER) {
        now += Duration::from_millis(u64::from(event[0]) * 20);
        let probes = balancer.due(now, || {
            random += 1;
            random
        });
        assert!(probes.len() <= 2);
        if let Some((which, datagram)) = event[1..].split_first() {
            balancer.answered(address(1 + which % 2), datagram, now);
        }
        let alive = |state| {
            balancer
                .summary()
                .iter()
                .any(|server| server.state == state)
        };
        let (some_alive, some_unknown) = (alive(State::Alive), alive(State::Unknown));
        match balancer.choose(now) {
            Some(_) => assert!(some_alive || some_unknown),
            None => assert!(!some_alive),
        }
        assert!(balancer.wait(now).is_some());
    }
}
