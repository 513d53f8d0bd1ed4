//! A session of BBFTP from the choice of a version on, in a directory of its own
//! and without data connections: every message of a client. What it sends leaves
//! nothing outside the root.
//!
//! The first byte chooses the rights, the rest is the stream of the client.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use crate::peer::connection_with;
use crate::place::{Nobody, check, outside};
use tfd::bbftp::session::{Env, Settings, serve};
use tfd::bbftp::wire::Control;
use tfd::config::Config;
use tfd::net::Link;
use tfd::store::Root;
use tfd::users::Rights;

/// A client that reads nothing is waited for so long.
const PATIENCE: Duration = Duration::from_millis(100);

const CONFIG: &str = "[server]\nroot = \"/srv/tfd\"\nmode = \"multi-user\"\nusers = \"users\"\n\
                      [bbftp]\nlisten = [\"127.0.0.1:5021\"]\npassword_logins = \"rsa\"\n";

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let config = Config::parse(Path::new("/etc/tfd/tfd.toml"), CONFIG).expect("configuration");
    let settings = Settings::of(&config.server, &config.bbftp.expect("BBFTP"));
    Settings {
        idle_limit: Some(PATIENCE),
        ..settings
    }
});

/// Takes one input.
pub fn run(data: &[u8]) {
    let Some((choice, stream)) = data.split_first() else {
        return;
    };
    let outside = outside();
    let root = outside.path().join("root");
    let (_peer, ours) = connection_with(stream);
    let mut control = Control::new(Link::new(ours).expect("link"));
    let rights = match choice & 3 {
        0 | 1 => Rights::Full,
        2 => Rights::AppendOnly,
        _ => Rights::ReadOnly,
    };
    let mut env = Env::new(Root::open(&root).expect("root"), SETTINGS.clone(), rights);
    let _ = serve(&mut control, &mut env, &mut Nobody);
    check(outside.path(), rights);
}
