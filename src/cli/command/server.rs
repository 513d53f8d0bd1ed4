//! Commands about servers themselves: `tf df`, `tf where`, `tf raw` and `tf servers`.

use std::net::SocketAddr;
use std::time::Instant;

use clap::ArgAction;

use super::prelude::*;
use crate::client::{ClientError, balance_by_udp, refusal};
use crate::text::{hex, human_size};
use crate::tf::wire::WireError;

/// Show how many bytes are free
#[derive(Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:\n  tf df -h\n  tf df files: archive:"
)]
pub(crate) struct Df {
    /// Show sizes such as 1.5T
    #[arg(short, long)]
    human: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The servers, as NAME: or tf://HOST [default: the default server]
    #[arg(default_value = "", hide_default_value = true, add = Names::Server)]
    servers: Vec<RemoteArg>,
}

impl Df {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let done = for_each(&self.servers, |written| {
            let server = context.server(written)?;
            let free = context.connection(&server)?.free_space()?;
            let name = server.to_string();
            let text = if self.human {
                human_size(free)
            } else {
                free.to_string()
            };
            let record = Record::Space {
                server: &name,
                free,
            };
            Ok(printer.show(&record, || format!("{text} free on {name}"))?)
        });
        printer.finish(done)
    }
}

/// Ask the load balancer which server to use
#[derive(Args)]
#[command(after_help = "Examples:\n  tf where\n  tf where --tcp files:\n\n\
                  With balance = true in a server's entry every command does so by itself.")]
pub(crate) struct Where {
    /// Ask only by UDP, which needs no session
    #[arg(long, conflicts_with = "tcp")]
    udp: bool,
    /// Ask only by TCP, in a session
    #[arg(long)]
    tcp: bool,
    /// The server, as NAME: or tf://HOST
    #[arg(value_name = "SERVER", default_value = "", hide_default_value = true, add = Names::Server)]
    of: RemoteArg,
}

impl Where {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let server = context.server(&self.of)?;
        let json = context.output.json;
        if !self.tcp {
            for address in context.directory.addresses(&server)? {
                if let Some(found) = balance_by_udp(&address)? {
                    return show(json, "udp", found);
                }
            }
            if self.udp {
                complain!("tf: no answer by UDP: a firewall blocks it, or the server has no pool");
                return Err(Failure::Reported(Exit::Refused));
            }
        }
        show(json, "tcp", context.connection(&server)?.balance()?)
    }
}

fn show(json: bool, by: &'static str, address: SocketAddr) -> Result<()> {
    let mut printer = Printer::new(json);
    let record = Record::Where {
        by,
        address: address.to_string(),
    };
    printer.show(&record, || address.to_string())?;
    Ok(printer.flush()?)
}

/// Send one request and print the reply
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf raw FSTAT reports/may.pdf\n  tf raw -x PROCKEY\n  tf raw --at files: DATE\n\n\
                  For requests with a reply of one message, not for transfers and listings.\n\
                  If the reply begins with FAILED or is UNKNOWN, the exit status is that of the refusal,\n\
                  usually 1."
)]
pub(crate) struct Raw {
    /// The server, as NAME: or tf://HOST
    #[arg(long, value_name = "SERVER", default_value = "", hide_default_value = true, add = Names::Server)]
    at: RemoteArg,
    /// Print the reply in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// The command and its arguments, joined by spaces
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    request: Vec<String>,
}

impl Raw {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let server = context.server(&self.at)?;
        let timeout = context.access(&server)?.target.timeout;
        let connection = context.connection(&server)?;
        let request = self.request.join(" ");
        let lost = |e: std::io::Error| ClientError::Lost(WireError::Io(e));
        connection
            .wire()
            .set_deadline(Some(Instant::now() + timeout))
            .map_err(lost)?;
        let reply = connection.request(request.as_bytes())?;
        connection.wire().set_deadline(None).map_err(lost)?;
        let mut printer = Printer::new(context.output.json);
        let text = String::from_utf8_lossy(&reply);
        let hex = hex(&reply);
        let line = if self.hex { hex.clone() } else { shown(&reply) };
        printer.show(&Record::Reply { text: &text, hex }, || line)?;
        printer.flush()?;
        match reply.starts_with(b"FAILED") || reply == b"UNKNOWN" {
            true => Err(Failure::Reported(Exit::of(&refusal(&request, &reply)))),
            false => Ok(()),
        }
    }
}

/// List the servers of the configuration
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf servers\n  tf servers --json | jq -r .name\n\nTo add one: tf trust"
)]
pub(crate) struct Servers {}

impl Servers {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let servers = &context.directory.servers;
        for (name, entry) in &servers.entries {
            let default = servers.default.as_deref() == Some(name);
            let tls = entry.is_over_tls();
            let fingerprint = match &entry.tls_pin {
                Some(pin) => Some(pin.trim_start_matches("SHA256:").to_owned()),
                None if tls => None,
                None => entry.public_key()?.map(|key| key.fingerprint()),
            };
            let fingerprint = fingerprint.map(|print| format!("SHA256:{print}"));
            let record = Record::Server {
                name,
                addresses: entry.addresses().collect(),
                default,
                user: entry.user.as_deref(),
                jail: entry.jail.as_deref(),
                tls,
                fingerprint: fingerprint.clone(),
            };
            printer.show(&record, || {
                let mark = if default { "*" } else { " " };
                let user = entry
                    .user
                    .as_ref()
                    .map_or(String::new(), |user| format!("{user}@"));
                let addresses: Vec<String> = entry.addresses().collect();
                let none = if tls { "by its authority" } else { "no key" };
                let fingerprint = fingerprint.as_deref().unwrap_or(none);
                let tls = if tls { " TLS" } else { "" };
                format!(
                    "{mark} {name}: {user}{}{tls} {fingerprint}",
                    addresses.join(",")
                )
            })?;
        }
        if servers.entries.is_empty() && !context.output.json {
            complain!(
                "tf: no servers in {}: add one with tf trust",
                servers.file.display()
            );
        }
        Ok(printer.flush()?)
    }
}
