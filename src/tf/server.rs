//! TF as the daemon serves it: its gate, its login and its sessions.

use std::io;
use std::net::TcpStream;
use std::os::fd::BorrowedFd;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::ipc::channel::Channel;
use crate::session::context::{Context, End};
use crate::session::login::Login;
use crate::session::protocol::{Gate, HelperContext, Helpers, Protocol, Secrets, Serve};
use crate::session::shortage::LastShortage;
use crate::store::wanted;
use crate::tf::cipher::cycle;
use crate::tf::env::{Digests, Env, Files, Lock, Locks, POLICY, Pool};
use crate::tf::gate::{self, KEY_LENGTHS, Passed};
use crate::tf::helpers::TfHelpers;
use crate::tf::key::read_key;
use crate::tf::login::{self, Greeting};
use crate::tf::pool::ask::AskPool;
use crate::tf::session;
use crate::tf::settings::Settings;
use crate::tf::urgent::UrgentBytes;
use crate::tf::wire::{Meter, Wire, WireError};

/// TF with the settings of a configuration.
#[derive(Clone, Debug)]
pub struct Server {
    version: Vec<u8>,
    settings: Settings,
}

impl Server {
    /// TF as this configuration has it, if it does.
    pub fn new(config: &Config) -> Option<Server> {
        let tf = config.tf.as_ref()?;
        Some(Server {
            version: tf.version.clone().into_bytes(),
            settings: Settings::of(&config.server, tf),
        })
    }

    fn serve(&self, mut wire: Wire, context: Context) -> End {
        let Context {
            info,
            root,
            names,
            service,
            uploads,
            mut observer,
            ..
        } = context;
        wire.link().set_pace(info.pace);
        wire.expect_transfers();
        if self.settings.kernel_tls {
            wire.link().let_kernel_seal();
        }
        wanted::work_for(wire.socket());
        let page = info.page;
        wire.expect_urgent_bytes(UrgentBytes::new(move |count| page.set_urgent_bytes(count)));
        let mut env = Env {
            root: root.with_policy(POLICY),
            lock: Lock::default(),
            process_key: info.process_key,
            names,
            settings: self.settings.clone(),
            rights: info.rights,
            quota: info.quota,
            shortage: LastShortage::default(),
            target: None,
            uploads,
            pool: service.map(|service| {
                let channel = Channel::from_handle(service);
                Box::new(AskPool::new(channel.into())) as Box<dyn Pool>
            }),
            watches: Vec::new(),
            locks: Locks::default(),
            files: Files::default(),
            digests: Digests::default(),
        };
        let ended = session::serve(&mut wire, &mut env, &mut observer);
        wire.link().close();
        End::from(ended)
    }
}

impl From<Result<(), WireError>> for End {
    fn from(ended: Result<(), WireError>) -> End {
        match ended {
            Ok(()) => End::Orderly("END".to_owned()),
            Err(e @ (WireError::Closed | WireError::Stopped)) => End::Orderly(e.to_string()),
            Err(e) => End::Failed(e.to_string()),
        }
    }
}

impl Protocol for Server {
    fn name(&self) -> &'static str {
        crate::tf::NAME
    }

    fn has_shared_secret(&self) -> bool {
        true
    }

    fn secrets(&self, config: &Config) -> Result<Option<Secrets>, String> {
        let Some(tf) = &config.tf else {
            return Ok(None);
        };
        let key = read_key(&tf.private_key).map_err(|e| format!("tf.private_key: {e}"))?;
        Ok(Some(Secrets {
            key,
            key_lengths: KEY_LENGTHS,
            shared: Zeroizing::new(tf.hash.clone().into_bytes()),
        }))
    }

    fn start_helpers(
        &self,
        context: &HelperContext<'_>,
        before: Option<&dyn Helpers>,
    ) -> Result<Option<Box<dyn Helpers>>, String> {
        let Some(tf) = &context.config.tf else {
            return Ok(None);
        };
        let before = before.and_then(|before| before.as_any().downcast_ref());
        let helpers = TfHelpers::start(context, tf, before)?;
        Ok(Some(Box::new(helpers)))
    }

    fn handles(&self) -> Vec<BorrowedFd<'_>> {
        cycle::handles().collect()
    }

    fn gate(&self, gate: Gate<'_>) -> io::Result<()> {
        let (peer, steps, process_key) = (gate.peer, gate.steps, gate.process_key);
        let admitted = gate::admit(gate, &self.version);
        let Passed {
            mut wire,
            proof,
            login,
        } = match admitted {
            Ok(passed) => passed,
            Err(refusal) => {
                gate::log_refusal(peer, &refusal);
                return Ok(());
            }
        };
        let mut login = Login::new(login, steps, proof);
        let end = match login::pass(&mut wire, process_key, &mut login) {
            Ok(login::Passed::All) => {
                let state = login::state(&wire, Greeting::None);
                let state = state.ok_or(io::ErrorKind::InvalidInput)?;
                return login.hand_over(wire.socket(), &state);
            }
            Ok(login::Passed::TakenOver) => return Ok(()),
            Ok(login::Passed::Left) => Ok(()),
            Err(e) => Err(e),
        };
        End::from(end).log(peer);
        Ok(())
    }

    fn resume(&self, socket: TcpStream, state: &[u8], meter: Meter) -> io::Result<Serve<'_>> {
        let mut wire = login::take_over(socket, state)?;
        wire.link().count_on(meter);
        wire.link().stop_on(&crate::sys::signal::STOP);
        Ok(Box::new(move |context| self.serve(wire, context)))
    }
}
