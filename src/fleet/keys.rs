//! The names of values in the store, and the scripts that change them in one step. All
//! have an end, so that what nobody renews takes no room.

use std::net::IpAddr;

use crate::users::throttle::Target;

/// Counts failed logins.
pub(super) const LOGINS: &str = include_str!("scripts/logins.lua");

/// Gives out places for sessions.
pub(super) const BEGIN: &str = include_str!("scripts/begin.lua");

/// Renews sessions.
pub(super) const RENEW: &str = include_str!("scripts/renew.lua");

/// Remembers that an operator has freed somebody, so many seconds ago, for so long.
pub(super) const FREED: &str = "local at = tonumber(redis.call('TIME')[1]) - tonumber(ARGV[1])
return redis.call('SET', KEYS[1], at, 'EX', ARGV[2])";

/// Adds to orders to end sessions, and lists them.
pub(super) const KICKS: &str = include_str!("scripts/kicks.lua");

/// Adds up what is stored.
pub(super) const USAGE: &str = include_str!("scripts/usage.lua");

/// Replaces that by a count.
pub(super) const COUNTED: &str = include_str!("scripts/counted.lua");

/// The names of one fleet.
#[derive(Clone, Debug)]
pub(super) struct Keys(String);

impl Keys {
    /// Those of the fleet with this name. The number is of the form of the values.
    pub(super) fn of(name: &str) -> Keys {
        Keys(format!("tfd:{name}:1:"))
    }

    /// Failures from a source at an account, or in all.
    pub(super) fn failures(&self, source: IpAddr, account: Option<&str>) -> String {
        match account {
            Some(account) => format!("{}failed-at:{account}:{source}", self.0),
            None => format!("{}failed:{source}", self.0),
        }
    }

    /// That a source has logged in to an account.
    pub(super) fn known(&self, source: IpAddr, account: &str) -> String {
        format!("{}known:{account}:{source}", self.0)
    }

    /// When an operator has freed an account or a source.
    pub(super) fn freed(&self, target: &Target) -> String {
        match target {
            Target::Account(name) => format!("{}freed-account:{name}", self.0),
            Target::Address(address) => format!("{}freed:{address}", self.0),
        }
    }

    /// The sessions of an account.
    pub(super) fn sessions(&self, account: &str) -> String {
        format!("{}sessions:{account}", self.0)
    }

    /// The orders to end sessions.
    pub(super) fn kicks(&self) -> String {
        format!("{}kicks", self.0)
    }

    /// What is stored.
    pub(super) fn usage(&self) -> String {
        format!("{}usage", self.0)
    }

    /// What a server has added to that.
    pub(super) fn added(&self, server: &str) -> String {
        format!("{}added:{server}", self.0)
    }

    /// Which server counts what is stored.
    pub(super) fn recount(&self) -> String {
        format!("{}recount", self.0)
    }
}
