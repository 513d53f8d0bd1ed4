//! A tfd that root has not started changes no root: the sandbox alone keeps gates
//! and sessions from the other files of its user.

use tfd::sandbox::place::Place;

use crate::attacks::{ATTACKS, address};
use crate::common::{Server, Setup, wait_until};
use crate::{come_from, count};

/// The name of the attack.
const READ: &str = "read /etc/passwd by name";

/// Makes the attempt in a gate and in a session, with and without the sandbox; how
/// many came to something else than expected.
pub fn reaches_no_other_file() -> usize {
    let places = [Place::Gate, Place::Session].into_iter();
    let cases = places.flat_map(|place| [true, false].map(|sandbox| (place, sandbox)));
    let failed = cases.filter(|(place, sandbox)| {
        let read = reads(*place, *sandbox);
        let verdict = if read == *sandbox { "FAILED" } else { "ok" };
        println!("{verdict:6} {place:?} without root, sandbox {sandbox}: {READ}: {read}");
        read == *sandbox
    });
    failed.count()
}

fn reads(place: Place, sandbox: bool) -> bool {
    let environment = vec![("TFD_TEST_PLACE", format!("{place:?}"))];
    let server = Server::with(Setup {
        server: format!("sandbox = {sandbox}"),
        started_by: Some(65534),
        program: Some((std::env::current_exe().expect("this program"), environment)),
        ..Setup::default()
    });
    let index = ATTACKS.iter().position(|attack| attack.name == READ);
    let _client = come_from(address(index.expect("the attack")), server.address());
    let said = |text| count(&server, text);
    wait_until("the attempt", || {
        said("attack succeeded") + said("attack refused") > 0
    });
    said("attack succeeded") > 0
}
