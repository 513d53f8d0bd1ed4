//! A hub, some keepers that know each other through it alone, and an owner.

use nix::sys::signal::Signal;
use tfd::hub::wire::{Purpose, Value};

use super::*;

/// Bytes of a spot check's block: small files are looked at whole, nearly.
pub const SMALL: usize = 30_000;

/// A hub, its keepers, and an owner.
pub struct Circle {
    pub hub: Hub,
    pub keepers: Vec<Keeper>,
    pub anna: Person,
}

/// With as many keepers as there are names, and with these lines of the hub; `None`
/// without root.
pub fn circle(lines: &str, names: &[&str]) -> Option<Circle> {
    let hub = server(lines)?;
    let mut circle = Circle {
        hub,
        keepers: Vec::new(),
        anna: Person::new("anna"),
    };
    drop(circle.hub.owner(&circle.anna));
    for name in names {
        circle.join(name);
    }
    Some(circle)
}

impl Circle {
    /// One more keeper.
    pub fn join(&mut self, name: &str) {
        self.join_as(name, &Different::default());
    }

    /// The same, with something different.
    pub fn join_as(&mut self, name: &str, different: &Different) {
        let keeper = Keeper::start(&self.hub, name, different);
        self.keepers.push(keeper);
    }

    pub fn at(&mut self, name: &str) -> &mut Keeper {
        let mut keepers = self.keepers.iter_mut();
        keepers.find(|it| it.person.name == name).expect("a keeper")
    }

    /// Stores files of the owner's, each at so many keepers, and logs the owner out.
    #[track_caller]
    pub fn store(&self, contents: &[Vec<u8>], copies: u8) {
        let mut line = self.hub.log_in(&self.anna);
        line.begin(256 * MIB, copies, 1);
        for content in contents {
            let (name, size) = (name_of(content).text(), content.len());
            let id = line.request(&format!("PUT {name} {size}"));
            for _ in 0..copies {
                let goes = line.answer(id);
                assert!(goes.starts_with("DST"), "{goes}");
                let to = goes.split(' ').nth(3).expect("user");
                let mut keepers = self.keepers.iter();
                let keeper = keepers.find(|it| it.person.name == to);
                let keeper = keeper.expect("a keeper");
                let mut peer = keeper.dial(&self.anna, Purpose::Backup);
                let receipt = sent(&mut peer, &self.anna, content);
                keeper.acknowledge(&mut line, content, receipt);
            }
        }
        assert_eq!(code(&line.done("DBU")), 215);
    }

    /// Whether a keeper has all bytes of a file, in its place.
    pub fn has(&self, name: &str, content: &[u8]) -> bool {
        let mut keepers = self.keepers.iter();
        let keeper = keepers.find(|it| it.person.name == name);
        let path = keeper
            .expect("a keeper")
            .path(&self.anna, "d", name_of(content));
        fs::read(path).is_ok_and(|stored| stored.get(..content.len()) == Some(content))
    }

    /// Waits until the keepers of a file are these, and all copies count at the hub, which
    /// has had two keepers compute the same.
    #[track_caller]
    pub fn wait_for_copies(&self, content: &[u8], names: &[&str]) {
        for name in names {
            wait_until("the bytes are there", || self.has(name, content));
        }
        let file = name_of(content).text();
        wait_until("the copies count", || {
            let (table, is_well) = self.hub.operate(&["files", "anna"]);
            assert!(is_well, "{table}");
            let row = table.lines().find(|row| row.starts_with(&file));
            let row = row.unwrap_or_else(|| panic!("{file} in {table}"));
            row.matches(":live").count() == names.len()
                && names
                    .iter()
                    .all(|name| row.contains(&format!("{name}:live")))
        });
    }
}

/// Has a keeper share nothing any more.
#[track_caller]
pub fn leave(keeper: &mut Keeper) {
    let path = keeper.server.config_path();
    let config = fs::read_to_string(&path).expect("configuration");
    let config = config.replace("share = \"10G\"", "share = \"0\"");
    fs::write(path, config).expect("configuration");
    keeper.server.signal(Signal::SIGHUP);
    keeper.server.wait_for_log("the hub moves files off");
}
