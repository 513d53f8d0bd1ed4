//! The sessions behind LOGIN or INJAIL, as the daemon knows them: which launcher
//! has which, and for whom.

use std::collections::HashMap;
use std::io;

use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};

use super::generation::Admission;
use super::registry::Registry;
use crate::daemon::helpers::launcher::SessionOrder;
use crate::ipc::codec::Encode;
use crate::ipc::orders::{Ended, Order, Start};
use crate::ipc::{Helper, Pipe};
use crate::session::login::{self, Why};
use crate::store::quota::Limits;

/// The launchers that run, and their sessions.
#[derive(Debug, Default)]
pub struct Sessions(Vec<Launched>);

#[derive(Debug)]
struct Launched {
    launcher: Helper<Order, Ended>,
    /// The user of each session, by slot.
    users: HashMap<u32, String>,
}

impl Sessions {
    /// Takes a launcher on.
    pub fn adopt(&mut self, launcher: Helper<Order, Ended>) {
        self.0.push(Launched {
            launcher,
            users: HashMap::new(),
        });
    }

    /// The channels of the launchers, for waiting.
    pub fn channels(&self) -> impl Iterator<Item = &Pipe<Order, Ended>> {
        self.0.iter().map(|launched| &launched.launcher.channel)
    }

    /// Lets a launcher start the session of a client; the slot is shared with
    /// its gate until that ends. The gate of a client that gets none gets a
    /// refusal.
    pub fn start(
        &mut self,
        registry: &mut Registry,
        launcher: Option<Pid>,
        admission: Admission,
        limits: Option<Limits>,
        dialer: Option<OwnedFd>,
    ) {
        let Admission {
            slot,
            login,
            gate,
            certificate,
            protocol,
        } = admission;
        let Some((peer, key)) = registry.connection(slot) else {
            return;
        };
        let name = login.name.clone();
        let refuse = |why: Why, reason: &str| {
            log::warn!("login refused peer={peer} user={name} reason=\"{reason}\"");
            let _ = login::answer(&gate, Err(why));
        };
        let users = self.0.iter().flat_map(|launched| launched.users.values());
        let running = users.filter(|user| **user == name).count();
        if login
            .max_sessions
            .is_some_and(|max| running >= max as usize)
        {
            return refuse(Why::TooMany, "too many sessions of this user");
        }
        let found = self
            .0
            .iter_mut()
            .find(|launched| Some(launched.launcher.pid) == launcher);
        let Some(launched) = found else {
            return refuse(Why::Internal, "no launcher");
        };
        let rest = SessionOrder {
            login,
            limits,
            certificate,
            protocol,
        }
        .to_bytes()
        .to_vec();
        let handle = match gate.as_fd().try_clone_to_owned() {
            Ok(handle) => handle,
            Err(e) => return refuse(Why::Internal, &e.to_string()),
        };
        let order = Order::Start(Start {
            slot,
            peer,
            key,
            rest,
            handles: [handle].into_iter().chain(dialer).collect(),
        });
        match launched.launcher.channel.send(&order) {
            Ok(()) => {
                registry.share(slot);
                launched.users.insert(slot, name);
            }
            Err(e) => refuse(Why::Internal, &e.to_string()),
        }
    }

    /// Takes news of ended sessions from a launcher. The launcher that has ended
    /// itself is given back.
    pub fn hear(&mut self, registry: &mut Registry, index: usize) -> Option<Pid> {
        let launched = self.0.get_mut(index)?;
        loop {
            match launched.launcher.channel.try_receive() {
                Ok(Some(Ended { slot, orderly })) => {
                    if launched.users.remove(&slot).is_some() {
                        registry.release(slot, orderly);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                _ => break,
            }
        }
        let Launched { launcher, users } = self.0.remove(index);
        users.keys().for_each(|slot| registry.release(*slot, false));
        Some(launcher.pid)
    }

    /// Gives a launcher an order. One that is gone needs none.
    pub fn order(&self, launcher: Pid, order: &Order) {
        for launched in self
            .0
            .iter()
            .filter(|launched| launched.launcher.pid == launcher)
        {
            let _ = launched.launcher.channel.send(order);
        }
    }

    /// Whom the session of a slot is for, if there is one.
    pub fn user(&self, slot: u32) -> Option<&str> {
        self.0
            .iter()
            .find_map(|launched| launched.users.get(&slot))
            .map(String::as_str)
    }

    /// Has the session of a slot ended, if there is one.
    pub fn end(&self, slot: u32) {
        for launched in self
            .0
            .iter()
            .filter(|launched| launched.users.contains_key(&slot))
        {
            let _ = launched.launcher.channel.send(&Order::End { slot });
        }
    }

    /// Gives all of them an order.
    pub fn order_all(&self, order: &Order) {
        for launched in &self.0 {
            let _ = launched.launcher.channel.send(order);
        }
    }
}
