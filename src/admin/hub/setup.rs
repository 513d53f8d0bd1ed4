//! `tfd hub setup`: gives a configuration a hub: the system user, a certificate where
//! the server has none, and the section `[hub]`. What is in the file stays as it is.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use nix::unistd::geteuid;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::admin::keygen::pin;
use crate::admin::setup::{certificate_pair, system_user};
use crate::admin::status::{fail, say};
use crate::admin::{ConfigFile, check};
use crate::config::Config;
use crate::replace::{Access, replace};

/// How far the relay's port is from the hub's.
const RELAY: u16 = 2;

// What to set up. No doc comment: clap would show it.
#[derive(Args)]
pub(in crate::admin) struct HubSetup {
    /// The hub's name, for good: all signatures have it [usually the name of its machine]
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The system user that keeps the database, made when missing
    #[arg(long, value_name = "USER", default_value = "tfd-hub")]
    user: String,
    /// Where the database will be
    #[arg(long, value_name = "DIR", default_value = "/var/lib/tfd/hub")]
    data: PathBuf,
    /// An address to listen on
    #[arg(long, value_name = "IP", default_values = ["0.0.0.0", "::"])]
    address: Vec<IpAddr>,
    /// The port
    #[arg(long, default_value_t = 7170)]
    port: u16,
}

/// Sets a hub up and checks the configuration; the exit code. It may be repeated.
pub(super) fn run(file: &ConfigFile, setup: &HubSetup) -> ExitCode {
    if !geteuid().is_root() {
        return fail("only root may do this: use sudo");
    }
    match setup.make(&file.config) {
        Ok((config, what)) => match say(&summary(&config, what)) {
            ExitCode::SUCCESS => check::report(&config.path),
            code => code,
        },
        Err(text) => fail(text),
    }
}

/// A configuration with a hub.
struct WithHub {
    text: String,
    /// What it had before.
    before: Before,
    /// Whether it names a certificate that is still to be made.
    makes_certificate: bool,
}

/// What a configuration had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    NoHub,
    ThisHub,
}

impl HubSetup {
    /// Makes what is missing, the configuration last.
    fn make(&self, path: &Path) -> Result<(Config, Before), String> {
        let at = |e: io::Error| format!("{}: {e}", path.display());
        let old = match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(at)?),
        };
        // What a link leads to is replaced, not the link.
        let whole = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        let whole = whole.map_err(at)?;
        let directory = whole.parent().unwrap_or(Path::new("/"));
        let WithHub {
            text,
            before,
            makes_certificate,
        } = self.with_hub(old.as_deref(), directory)?;
        let config = Config::parse(path, &text).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            format!("nothing was changed:\n{}", problems.join("\n"))
        })?;
        let hub = config.hub.as_ref().ok_or("hub.tls_listen: is empty")?;
        fs::create_dir_all(directory).map_err(at)?;
        system_user(&hub.user).map_err(|why| format!("{why}, or name another with --user"))?;
        if makes_certificate {
            certificate_pair(directory, std::slice::from_ref(&self.name))?;
        }
        if let Some(above) = hub.data.parent() {
            fs::create_dir_all(above).map_err(|e| format!("{}: {e}", above.display()))?;
        }
        if before != Before::ThisHub {
            replace(&whole, text.as_bytes(), Access::Kept).map_err(at)?;
        }
        Ok((config, before))
    }

    /// The configuration with a hub.
    fn with_hub(&self, old: Option<&str>, directory: &Path) -> Result<WithHub, String> {
        let text = old.unwrap_or_default();
        let mut document: DocumentMut = text
            .parse()
            .map_err(|e: toml_edit::TomlError| e.to_string())?;
        if let Some(hub) = document.get("hub") {
            let name = hub.get("name").and_then(Item::as_str).unwrap_or_default();
            if name != self.name {
                return Err(format!(
                    "there is a hub already, \"{name}\", and a hub keeps its name: give --name \
                     {name}, or another configuration with --config"
                ));
            }
            return Ok(WithHub {
                text: text.to_owned(),
                before: Before::ThisHub,
                makes_certificate: false,
            });
        }
        let server = document
            .entry("server")
            .or_insert(Item::Table(Table::new()));
        let server = server.as_table_like_mut().ok_or("server is not a table")?;
        let makes_certificate = !server.contains_key("tls_certificate");
        if makes_certificate {
            server.insert("tls_certificate", path_value(&directory.join("tls.pem"))?);
            server.insert("tls_key", path_value(&directory.join("tls-key.pem"))?);
        }
        let listen = |port| {
            let addresses = self.address.iter();
            let addresses = addresses.map(|ip| SocketAddr::new(*ip, port).to_string());
            value(addresses.collect::<Array>())
        };
        let mut hub = Table::new();
        hub.insert("tls_listen", listen(self.port));
        if let Some(port) = self.port.checked_add(RELAY).filter(|_| self.port > 0) {
            hub.insert("relay_listen", listen(port));
        }
        hub.insert("name", value(self.name.as_str()));
        hub.insert("data", path_value(&self.data)?);
        hub.insert("user", value(self.user.as_str()));
        document.insert("hub", Item::Table(hub));
        let before = match old {
            Some(_) => Before::NoHub,
            None => Before::Nothing,
        };
        Ok(WithHub {
            text: document.to_string(),
            before,
            makes_certificate,
        })
    }
}

fn path_value(path: &Path) -> Result<Item, String> {
    let text = path.to_str();
    let text = text.ok_or_else(|| format!("{}: not in UTF-8", path.display()))?;
    Ok(value(text))
}

/// What was done, what users of the hub need, and the next step.
fn summary(config: &Config, before: Before) -> String {
    let certificate = config.server.tls.as_ref().map(|tls| &tls.certificate);
    let pem = certificate.and_then(|path| fs::read(path).ok());
    let pin = pem.and_then(|pem| pin(&pem).ok()).unwrap_or_default();
    let name = config.hub.as_ref().map_or("", |hub| hub.name.as_str());
    let path = config.path.display();
    let done = match before {
        Before::Nothing => format!("Made {path} for the hub {name}."),
        Before::NoHub => format!("Added the hub {name} to {path}."),
        Before::ThisHub => format!("{path} has the hub {name} already, and stays as it is."),
    };
    format!(
        "{done}\n\
         Start it, and let each user in:\n\
         \x20 systemctl reload-or-restart tfd\n\
         \x20 tfd hub user add NAME\n\
         Hand each user the code that this prints, and the fingerprint of the hub's key:\n\
         \x20 TLS pin      {pin}\n\
         \x20 tf hub join {name} --user NAME\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> HubSetup {
        HubSetup {
            name: "hub.example.org".to_owned(),
            user: "games".to_owned(),
            data: PathBuf::from("/var/lib/tfd/hub"),
            address: vec![IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)],
            port: 7170,
        }
    }

    #[test]
    fn a_new_configuration_has_a_hub_and_names_a_certificate() {
        let made = setup().with_hub(None, Path::new("/etc/tfd"));
        let made = made.expect("text");
        assert!(made.makes_certificate && made.before == Before::Nothing);
        let config = Config::parse(Path::new("/etc/tfd/tfd.toml"), &made.text).expect("valid");
        let hub = config.hub.as_ref().expect("a hub");
        assert_eq!(
            (hub.name.as_str(), hub.user.as_str()),
            ("hub.example.org", "games")
        );
        let tls = config.server.tls.as_ref().expect("TLS");
        assert_eq!(tls.certificate, Path::new("/etc/tfd/tls.pem"));
    }

    #[test]
    fn what_is_in_the_file_stays() {
        let old = "# mine\n[server]\ntls_certificate = \"/a.pem\" # this one\n\
                   tls_key = \"/b.pem\"\nlog = \"debug\"\n";
        let with_hub =
            |setup: HubSetup, old: &str| setup.with_hub(Some(old), Path::new("/etc/tfd"));
        let made = with_hub(setup(), old).expect("text");
        assert!(!made.makes_certificate && made.before == Before::NoHub);
        assert!(made.text.starts_with(old), "{}", made.text);
        let again = with_hub(setup(), &made.text).expect("the same hub");
        assert!(again.before == Before::ThisHub && again.text == made.text);
        let other = HubSetup {
            name: "other.example.org".to_owned(),
            ..setup()
        };
        let other = with_hub(other, &made.text).err().expect("another hub");
        assert!(other.contains("keeps its name"), "{other}");
    }
}
