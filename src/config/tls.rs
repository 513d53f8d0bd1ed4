//! The keys of TLS: where it is spoken, with which certificate, and whose
//! certificates log clients in.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Spanned;

use super::Problem;
use super::file::Reader;

/// Where TLS is spoken, and with what.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where to listen, one address at least.
    pub listen: Vec<SocketAddr>,
    /// The certificate and those between it and a root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Who vouches for the certificates that log clients in, PEM.
    pub client_ca: Option<PathBuf>,
}

/// The keys as they stand in the file.
pub(super) struct Keys {
    pub(super) listen: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
}

impl Reader<'_> {
    /// What the keys ask for beside the listeners without TLS. Only a server
    /// with files of its own speaks TLS, and clients log in by certificate only
    /// where they log in.
    pub(super) fn tls(
        &mut self,
        keys: Keys,
        plain: &[SocketAddr],
        serves: bool,
        log_in: bool,
    ) -> Option<Tls> {
        let Keys {
            listen,
            certificate,
            key,
            client_ca,
        } = keys;
        let listen = match listen {
            Some(listen) if !serves => {
                let text = "tf.tls_listen: a proxy relays TLS as it comes: list the address in \
                            tf.listen, and let the server behind it speak TLS";
                self.problem(listen.span(), text);
                return None;
            }
            Some(listen) => self.listen("tf.tls_listen", &listen, plain),
            None => Vec::new(),
        };
        if listen.is_empty() {
            let set = [
                ("tls_certificate", certificate.is_some()),
                ("tls_key", key.is_some()),
                ("tls_client_ca", client_ca.is_some()),
            ];
            for (name, _) in set.iter().filter(|(_, is_set)| *is_set) {
                self.missing(&format!("tf.{name} is of no use without tf.tls_listen"));
            }
            return None;
        }
        if client_ca.is_some() && !log_in {
            self.missing("tf.tls_client_ca is of no use in single-user mode, where nobody logs in");
        }
        let remedy = "is missing: make both with tfd keygen --tls NAME";
        let mut path = |name: &str, path: Option<PathBuf>| {
            if path.is_none() {
                self.missing(&format!("tf.{name} {remedy}"));
            }
            path.map(|path| self.resolve(path)).unwrap_or_default()
        };
        let certificate = path("tls_certificate", certificate);
        let key = path("tls_key", key);
        let client_ca = client_ca.map(|ca| self.resolve(ca));
        Some(Tls {
            listen,
            certificate,
            key,
            client_ca,
        })
    }

    fn missing(&mut self, text: &str) {
        self.problems.push(Problem::new(self.path, text));
    }
}
