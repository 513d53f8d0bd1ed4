//! `tf where`.

use std::net::SocketAddr;

use super::prelude::*;
use crate::client::balance_by_udp;

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
