//! TLS as the options ask for it, and where a server has no entry, the
//! environment.

use std::path::{Path, PathBuf};

use super::access::environment;
use super::arguments::ConnectionArguments;
use super::failure::{Failure, Result};
use crate::client::{Tls, Trust};

/// How TLS is to be spoken with a server, if it is.
///
/// # Errors
/// What is wrong with what was given.
pub(super) fn asked_for(options: &ConnectionArguments, has_entry: bool) -> Result<Option<Tls>> {
    let usual = |name: &str| if has_entry { None } else { environment(name) };
    let file = |given: &Option<PathBuf>, name: &str| {
        given.clone().or_else(|| usual(name).map(PathBuf::from))
    };
    let pin = options.tls_pin.clone();
    let authorities = options.tls_ca.clone();
    let (pin, authorities) = match (pin, authorities) {
        (None, None) => (usual("TF_TLS_PIN"), usual("TF_TLS_CA").map(PathBuf::from)),
        given => given,
    };
    let trust = match (pin, authorities) {
        (Some(pin), _) => Trust::Pin(pin),
        (None, Some(path)) => Trust::Authorities(read(&path)?),
        (None, None) if options.tls => Trust::System,
        (None, None) => return Ok(None),
    };
    let own = (file(&options.cert, "TF_CERT"), file(&options.cert_key, "TF_CERT_KEY"));
    let own = match own {
        (Some(certificate), Some(key)) => Some((read(&certificate)?, read(&key)?)),
        _ => None,
    };
    let own = own.as_ref().map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    Tls::new(&trust, own).map(Some).map_err(|e| Failure::Usage(format!("TLS: {e}")))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
}
