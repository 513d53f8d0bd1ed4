//! The server of an account: an entry that `tf trust` has saved, or an address whose
//! certificate is named, vouched for, or compared by a person.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::failure::{Exit, Failure, Result};
use crate::cli::output::complain;
use crate::cli::settings::Settings;
use crate::client::vault::sync::account::Server;
use crate::client::{Trust, fetch_certificate};

/// The default port.
const PORT: u16 = 4445;

/// The server that the options name.
pub(super) fn find(context: &Context) -> Result<Server> {
    let options = context.directory.options();
    let named = options.server.as_deref().unwrap_or_default();
    let mut settings = options.settings.clone();
    let address = match context.directory.servers.entries.get(named) {
        Some(entry) => {
            settings.fill(entry.clone());
            entry.addresses().next().unwrap_or_default()
        }
        None => with_port(named, PORT),
    };
    if let Some(trust) = trust(&settings)? {
        return Ok(Server { address, trust });
    }
    let shown = fetch_certificate(&address, Duration::from_secs(options.timeout.max(1)))?;
    let pin = format!("SHA256:{}", shown.fingerprint);
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "can't ask here whether {pin} is right: give --tls-pin"
        )));
    }
    complain!("The key of {address} has the fingerprint\n  {pin}");
    complain!(
        "Its certificate is for {}, until {}.",
        shown.subject,
        shown.expires
    );
    eprint!("Is it the one that the server's administrator has? (yes/no) ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "yes") => Ok(Server {
            address,
            trust: Trust::Pin(pin),
        }),
        _ => {
            complain!("tf: nothing was changed at the server");
            Err(Failure::Reported(Exit::NotLetIn))
        }
    }
}

/// Whom the settings trust.
fn trust(settings: &Settings) -> Result<Option<Trust>> {
    Ok(match (&settings.tls_pin, &settings.tls_ca) {
        (Some(pin), _) => Some(Trust::Pin(pin.clone())),
        (None, Some(file)) => Some(Trust::Authorities(
            std::fs::read(file).map_err(Failure::local(file))?,
        )),
        (None, None) => settings.tls.then_some(Trust::System),
    })
}

/// An address with its port.
pub(super) fn with_port(address: &str, port: u16) -> String {
    let host = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    match host.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{port}"),
    }
}
