//! The sweeper: a process that removes what uploads and copies have left behind
//! whose writers died, then ends. It runs in the background, as clients do;
//! where they have identities of their own, it may go past the modes of files,
//! for it parses nothing but names.

use nix::unistd::getpid;
use rustix::thread::CapabilitySet;

use super::confinement::{Confinement, finish};
use super::sandbox::Sandbox;
use crate::config::Config;
use crate::store::{Root, sweep};
use crate::sys::process::fork;
use crate::tf::doors::Closed;
use crate::users::Identity;

/// Starts a sweep beneath the root of a configuration.
///
/// # Errors
/// One line that says what could not be started.
pub fn start(
    config: &Config,
    identity: Option<&Identity>,
    sandbox: &Sandbox,
) -> Result<(), String> {
    let shared = config.tf.closed() == Closed::NONE;
    let everywhere = CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    let kept = if shared { CapabilitySet::empty() } else { everywhere };
    let confinement = Confinement::new(identity, sandbox)?.keeping(kept);
    let shown = config.tf.root.display();
    let root = Root::open(&config.tf.root).map_err(|e| format!("tf.root {shown}: {e}"))?;
    let parent = getpid();
    let child = || {
        let run = || {
            confinement.enter_as_leaf(parent, &[root.handle()], Some(root.handle()))?;
            let _ = nix::sys::prctl::set_name(c"tfd-sweeper");
            match sweep::sweep(&root)? {
                0 => log::debug!("swept root, nothing left behind"),
                count => log::warn!("swept root, removed abandoned parts count={count}"),
            }
            Ok(())
        };
        finish("sweeper", run())
    };
    fork(child).map(drop).map_err(|e| format!("sweeper: {e}"))
}
