//! KEEPALIVE over a link that is cut: two network namespaces, tfd in one and
//! its clients in the other. Needs root.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::common::namespaces::{Link, NEAR};
use crate::common::{Client, PATIENCE, Server, Setup, wait_until};

const IDLE: u64 = 2;
const INTERVAL: u64 = 1;
const COUNT: u64 = 2;

/// When the last probe has gone unanswered.
const LIMIT: Duration = Duration::from_secs(IDLE + INTERVAL * COUNT);

/// How much later the session's end may be seen: by nobody but who asked for
/// it, whose usual limit would be two hours.
const SLACK: Duration = Duration::from_secs(20);

/// How long whoever was not to end is looked at behind the last probe.
const LONGER: Duration = Duration::from_secs(2);

/// A server at one end of a link, and a socket beside it that asks for
/// sessions.
struct Place {
    server: Server,
    prober: UdpSocket,
    link: Link,
}

impl Place {
    fn make() -> Option<Place> {
        let link = Link::make()?;
        let tf = "listen = [\"0.0.0.0:0\"]".to_owned();
        let server = link.near(|| {
            Server::with(Setup {
                tf,
                ..Setup::default()
            })
        });
        let prober = link.near(|| UdpSocket::bind("127.0.0.1:0").expect("socket"));
        prober
            .connect(("127.0.0.1", server.address().port()))
            .expect("loopback");
        prober.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Some(Place {
            server,
            prober,
            link,
        })
    }

    /// A client at the other end, and the key of its session.
    fn client(&self) -> (Client, String) {
        let address = SocketAddr::new(NEAR, self.server.address().port());
        let mut client = self.link.far(|| Client::connect(address));
        let key = client
            .ask("PROCKEY")
            .strip_prefix("OK ")
            .expect("key")
            .to_owned();
        (client, key)
    }

    /// PROCHECK.
    fn is_alive(&self, key: &str) -> bool {
        let mut answer = [0; 2];
        self.prober
            .send(&[&[1], key.as_bytes()].concat())
            .expect("send");
        assert_eq!(self.prober.recv(&mut answer).expect("answer"), 1);
        answer[0] == 1
    }

    /// Cuts the link and tells after what time the session is dead.
    fn time_to_death(&self, key: &str, last_word: Instant) -> Duration {
        assert!(self.is_alive(key));
        self.link.cut();
        wait_until("the session is dead", || !self.is_alive(key));
        last_word.elapsed()
    }
}

fn keepalive() -> String {
    format!("KEEPALIVE 1 {IDLE} | {INTERVAL} | {COUNT}")
}

#[test]
fn a_cut_link_ends_the_session_that_asked_for_probes_on_time_and_no_other() {
    let Some(place) = Place::make() else { return };
    let (mut probed, key) = place.client();
    let (_unprobed, other) = place.client();
    probed.expect(keepalive(), 0);
    let last_word = Instant::now();
    let took = place.time_to_death(&key, last_word);
    assert!(
        took >= Duration::from_secs(IDLE) && took <= LIMIT + SLACK,
        "{took:?}"
    );
    std::thread::sleep((LIMIT + LONGER).saturating_sub(took));
    assert!(place.is_alive(&other));
}

#[test]
fn so_does_a_link_cut_in_the_middle_of_a_download() {
    let Some(place) = Place::make() else { return };
    place.server.write("big", vec![7; 32_000_000]);
    let (mut client, key) = place.client();
    client.expect(keepalive(), 0);
    client.hp_open("GET", "big", &[0, 60_000]);
    client.receive_frame();
    let last_word = Instant::now();
    let took = place.time_to_death(&key, last_word);
    assert!(
        took >= Duration::from_secs(IDLE) && took <= LIMIT + SLACK,
        "{took:?}"
    );
}

#[test]
fn a_link_that_comes_back_before_the_last_probe_harms_nobody() {
    let Some(place) = Place::make() else { return };
    let (mut client, key) = place.client();
    let count = 10;
    client.expect(format!("KEEPALIVE 1 {IDLE} | {INTERVAL} | {count}"), 0);
    place.link.cut();
    std::thread::sleep(Duration::from_secs(IDLE + INTERVAL));
    place.link.mend();
    std::thread::sleep(Duration::from_secs(IDLE + INTERVAL * count) + LONGER);
    assert!(place.is_alive(&key));
    client.expect_alive();
}

#[test]
fn probes_that_were_switched_off_end_nothing() {
    let Some(place) = Place::make() else { return };
    let (mut client, key) = place.client();
    client.expect(keepalive(), 0);
    client.expect("KEEPALIVE 0 0 | 0 | 0", 0);
    place.link.cut();
    std::thread::sleep(LIMIT + LONGER);
    assert!(place.is_alive(&key));
    place.link.mend();
    client.expect_alive();
}
