//! `tf servers`.

use super::prelude::*;

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
