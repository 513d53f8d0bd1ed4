//! The keys of TLS: where it is spoken, with which certificate, and whose
//! certificates log clients in.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Spanned;

use super::Problem;
use super::file::Reader;

/// With what TLS is spoken.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and those between it and a root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Who vouches for the certificates that log clients in, PEM.
    pub client_ca: Option<PathBuf>,
}

/// The keys as they stand in the file.
pub(super) struct Keys {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
}

impl Reader<'_> {
    /// The addresses with TLS. Only a server with files of its own speaks it.
    pub(super) fn tls_listen(
        &mut self,
        listen: Option<Spanned<Vec<Spanned<String>>>>,
        plain: &[SocketAddr],
        serves: bool,
    ) -> Vec<SocketAddr> {
        match listen {
            Some(listen) if !serves => {
                let text = "tf.tls_listen: a proxy relays TLS as it comes: list the address in \
                            tf.listen, and let the server behind it speak TLS";
                self.problem(listen.span(), text);
                Vec::new()
            }
            Some(listen) => self.listen("tf.tls_listen", &listen, plain),
            None => Vec::new(),
        }
    }

    /// The keys of TLS, if any listener speaks it. Clients log in by
    /// certificate only if they log in at all.
    pub(super) fn tls(&mut self, keys: Keys, spoken: bool, log_in: bool) -> Option<Tls> {
        let Keys {
            certificate,
            key,
            client_ca,
        } = keys;
        if !spoken {
            let set = [
                ("tls_certificate", certificate.is_some()),
                ("tls_key", key.is_some()),
                ("tls_client_ca", client_ca.is_some()),
            ];
            for (name, _) in set.iter().filter(|(_, is_set)| *is_set) {
                self.missing(&format!("server.{name} is of no use without tf.tls_listen"));
            }
            return None;
        }
        if client_ca.is_some() && !log_in {
            self.missing(
                "server.tls_client_ca is of no use in single-user mode, where nobody logs in",
            );
        }
        let remedy = "is missing: make both with tfd keygen --tls NAME";
        let mut path = |name: &str, path: Option<PathBuf>| {
            if path.is_none() {
                self.missing(&format!("server.{name} {remedy}"));
            }
            path.map(|path| self.resolve(path)).unwrap_or_default()
        };
        let certificate = path("tls_certificate", certificate);
        let key = path("tls_key", key);
        let client_ca = client_ca.map(|ca| self.resolve(ca));
        Some(Tls {
            certificate,
            key,
            client_ca,
        })
    }

    fn missing(&mut self, text: &str) {
        self.problems.push(Problem::new(self.path, text));
    }
}
