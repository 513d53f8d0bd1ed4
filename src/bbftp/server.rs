//! BBFTP as the daemon serves it: its gate and its sessions.

use std::io;
use std::net::TcpStream;
use std::ops::RangeInclusive;

use super::gate::{self, Rules};
use super::session::{self, Env, Settings};
use super::wire::Control;
use crate::config::{self, Config};
use crate::net::link::Meter;
use crate::session::context::{Context, End};
use crate::session::protocol::{Gate, Protocol, Serve};
use crate::store::wanted;

/// BBFTP with the settings of a configuration.
#[derive(Clone, Debug)]
pub struct Server {
    rules: Rules,
    settings: Settings,
    data_ports: RangeInclusive<u16>,
}

impl Server {
    /// BBFTP as this configuration has it, if it does.
    pub fn new(config: &Config) -> Option<Server> {
        let bbftp = config.bbftp.as_ref()?;
        Some(Server {
            rules: Rules {
                password_logins: bbftp.password_logins,
                versions: bbftp.versions.clone(),
            },
            settings: Settings::of(&config.server, bbftp),
            data_ports: config.data_ports(config::Protocol::Bbftp),
        })
    }

    fn serve(&self, mut control: Control, meter: Meter, context: Context) -> End {
        let Context {
            info,
            root,
            mut observer,
            dialer,
            uploads,
            ..
        } = context;
        let pace = info.pace;
        control.link().set_pace(pace.clone());
        control.link().count_on(meter);
        wanted::work_for(control.link().socket());
        let mut env = Env::new(root, self.settings.clone(), info.rights);
        env.quota = info.quota;
        env.account = Some(info.user.into_bytes());
        env.dialer = dialer;
        env.uploads = uploads;
        env.pace = pace;
        env.meter = Some(meter);
        let ended = session::greet(&mut control, &env.settings)
            .and_then(|()| session::serve(&mut control, &mut env, &mut observer));
        control.link().close();
        End::from(ended)
    }
}

impl Protocol for Server {
    fn name(&self) -> &'static str {
        super::NAME
    }

    fn has_login_keys(&self) -> bool {
        true
    }

    fn data_ports(&self) -> Option<RangeInclusive<u16>> {
        Some(self.data_ports.clone())
    }

    fn gate(&self, gate: Gate<'_>) -> io::Result<()> {
        let peer = gate.peer;
        if let Err(refusal) = gate::admit(gate, &self.rules) {
            gate::log_refusal(peer, &refusal);
        }
        Ok(())
    }

    fn resume(&self, socket: TcpStream, state: &[u8], meter: Meter) -> io::Result<Serve<'_>> {
        let mut control = gate::take_over(socket, state)?;
        control.link().stop_on(&crate::sys::signal::STOP);
        Ok(Box::new(move |context| self.serve(control, meter, context)))
    }
}
