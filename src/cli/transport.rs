//! What protects a connection, from what a person wrote: TLS and who vouches
//! for the server, or its public key.

use std::path::{Path, PathBuf};

use super::failure::{Failure, Result};
use super::options::{TlsOptions, environment};
use super::servers::{Entry, Servers};
use crate::client::{ClientError, PublicKey, Tls, Transport, Trust};

/// Who vouches for a server, and the certificate of one's own.
#[derive(Default)]
struct Said {
    trust: Option<Trust>,
    own: Option<(PathBuf, PathBuf)>,
}

/// How to connect with a server. Where options, the server's entry and the
/// environment say nothing of TLS, it takes a public key.
///
/// # Errors
/// What is missing or wrong.
pub(super) fn transport(
    options: &TlsOptions,
    key: Option<&Path>,
    entry: Option<&Entry>,
    servers: &Servers,
    address: &str,
) -> Result<Transport> {
    let own_key = entry.map_or(Ok(None), |entry| entry.key(servers))?;
    let speaks_plainly = own_key.is_some();
    let key = match key {
        Some(path) => Some(PublicKey::from_file(path)?),
        None => own_key,
    };
    let mut said = of_options(options)?;
    if let Some(entry) = entry {
        said = said.or(of_entry(entry, servers)?);
    }
    // An entry with a key and without TLS says that there is none.
    if !speaks_plainly {
        said = said.or(of_environment()?);
    }
    if let Some(trust) = &said.trust {
        return Ok(Transport::Tls(speak(trust, said.own)?, key));
    }
    let key = match (key, environment("TF_KEY")) {
        (None, Some(path)) => Some(PublicKey::from_file(path.as_ref())?),
        (key, _) => key,
    };
    key.map(Transport::Tcp).ok_or_else(|| {
        Failure::Usage(format!(
            "no public key for {address}: give --key, set TF_KEY, keep it by tf trust, or connect \
             with --tls"
        ))
    })
}

impl Said {
    fn or(self, other: Said) -> Said {
        Said {
            trust: self.trust.or(other.trust),
            own: self.own.or(other.own),
        }
    }
}

fn of_options(options: &TlsOptions) -> Result<Said> {
    let trust = match (&options.tls_pin, &options.tls_ca) {
        (Some(pin), _) => Some(Trust::Pin(pin.clone())),
        (None, Some(file)) => Some(Trust::Authorities(content(file)?)),
        (None, None) => options.tls.then_some(Trust::System),
    };
    let own = options.cert.clone().zip(options.cert_key.clone());
    Ok(Said { trust, own })
}

fn of_entry(entry: &Entry, servers: &Servers) -> Result<Said> {
    let trust = match (&entry.tls_pin, &entry.tls_ca) {
        (Some(pin), _) => Some(Trust::Pin(pin.clone())),
        (None, Some(file)) => Some(Trust::Authorities(content(&servers.resolve(file))?)),
        (None, None) => entry.tls.then_some(Trust::System),
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| servers.resolve(path));
    Ok(Said {
        trust,
        own: path(&entry.cert).zip(path(&entry.cert_key)),
    })
}

fn of_environment() -> Result<Said> {
    let trust = match (environment("TF_TLS_PIN"), environment("TF_TLS_CA")) {
        (Some(pin), _) => Some(Trust::Pin(pin)),
        (None, Some(file)) => Some(Trust::Authorities(content(file.as_ref())?)),
        (None, None) => None,
    };
    let path = |name| environment(name).map(PathBuf::from);
    Ok(Said {
        trust,
        own: path("TF_CERT").zip(path("TF_CERT_KEY")),
    })
}

fn speak(trust: &Trust, own: Option<(PathBuf, PathBuf)>) -> Result<Tls> {
    let own =
        own.map(|(certificate, key)| Ok::<_, Failure>((content(&certificate)?, content(&key)?)));
    let own = own.transpose()?;
    let own = own
        .as_ref()
        .map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    Tls::new(trust, own).map_err(|e| Failure::Usage(format!("TLS: {e}")))
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let told = |source| ClientError::Local {
        path: path.to_owned(),
        source,
    };
    Ok(std::fs::read(path).map_err(told)?)
}
