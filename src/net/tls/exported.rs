//! Further connections between the two ends of one that speaks TLS: with keys
//! exported from it (RFC 8446, 7.5), without another handshake. Nobody else can
//! take part in them.

use std::fmt;

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use rustls::CipherSuite;
use rustls::server::ServerConnection;
use zeroize::Zeroizing;

use crate::ipc::codec::codec;
use crate::net::tls::End;
use crate::net::tls::keys::{Suite, expand};
use crate::net::tls::records::{Inbox, Records};

/// The secret that both ends have exported.
#[derive(Clone)]
pub struct Exported {
    suite: Suite,
    secret: Zeroizing<Vec<u8>>,
}

codec!(struct Exported { suite, secret });

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exported")
    }
}

impl Exported {
    /// What a server exports after its handshake: as many bytes as the suite's
    /// secrets have.
    pub(super) fn by_server(
        server: &ServerConnection,
        suite: CipherSuite,
        label: &str,
    ) -> Option<Exported> {
        let suite = Suite::of(suite)?;
        let secret = vec![0; suite.secret_len()];
        let secret = server.export_keying_material(secret, label.as_bytes(), None);
        Some(Exported {
            suite,
            secret: Zeroizing::new(secret.ok()?),
        })
    }

    /// The same from the connection's secret for exports: rustls has no such call
    /// for the client that is used here.
    pub(crate) fn new(suite: Suite, exporter: &[u8], label: &str) -> Option<Exported> {
        let secret = bytes(suite, exporter, label, suite.secret_len())?;
        Some(Exported { suite, secret })
    }

    /// The records of the further connection with this name, of at most 255
    /// bytes. No two connections may have the same name.
    pub(crate) fn records(&self, end: End, name: &[u8]) -> Option<Records> {
        let traffic = |label| {
            expand(
                self.suite,
                &self.secret,
                label,
                name,
                self.suite.secret_len(),
            )
        };
        let (client, server) = (traffic("client data")?, traffic("server data")?);
        let (from, to) = match end {
            End::Client => (server, client),
            End::Server => (client, server),
        };
        Records::new(self.suite, (&from, 0), (&to, 0), Inbox::default())
    }
}

/// So many bytes from a connection's secret for exports, without a context (RFC 8446,
/// 7.5).
pub(super) fn bytes(
    suite: Suite,
    exporter: &[u8],
    label: &str,
    len: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let hash = if suite == Suite::Aes256 {
        &SHA384
    } else {
        &SHA256
    };
    let nothing = digest(hash, &[]);
    let derived = expand(suite, exporter, label, nothing.as_ref(), suite.secret_len())?;
    expand(suite, &derived, "exporter", nothing.as_ref(), len)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use super::*;
    use crate::net::Link;
    use crate::net::tls::certificate::self_signed;
    use crate::net::tls::client::{Tls, Trust};
    use crate::net::tls::secrets::TlsSecrets;
    use crate::net::tls::server::{Door, Keyholder};

    struct Holder(TlsSecrets);

    impl fmt::Debug for Holder {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Holder")
        }
    }

    impl Keyholder for Holder {
        fn sign(&self, scheme: u16, content: &[u8]) -> Option<Vec<u8>> {
            self.0.sign(scheme, content)
        }

        fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
            self.0.seal(session)
        }

        fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
            self.0.open(ticket)
        }
    }

    fn links() -> (Link, Link) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let near = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (far, _) = listener.accept().expect("accept");
        (
            Link::new(near).expect("link"),
            Link::new(far).expect("link"),
        )
    }

    #[test]
    fn both_ends_export_the_same_and_it_goes_with_the_state() {
        let (certificate, key) = self_signed(&["localhost".to_owned()]).expect("certificate");
        let holder = Holder(TlsSecrets::new(&key, &certificate).expect("secrets"));
        let door = Door::new(&certificate, None).expect("door");
        let (mut client, mut server) = links();
        client.export_as("EXPORTER-test");
        server.export_as("EXPORTER-test");
        let accepting = std::thread::spawn(move || {
            let accepted = door.accept(&mut server, Arc::new(holder), &[]);
            assert!(accepted.is_ok());
            server
        });
        let trust = Trust::Authorities(certificate.clone());
        let tls = Tls::new(&trust, None).expect("client");
        tls.connect(&mut client, "localhost", &[]).expect("hello");
        let server = accepting.join().expect("server");
        let state = server.state().expect("state");
        let server = Link::from_state(server.into_socket(), &state).expect("link");

        let (mut near, mut far) = links();
        let exported = |link: &Link| link.exported().expect("exported").clone();
        near.join_tls(&exported(&client), End::Client, b"name")
            .expect("keys");
        far.join_tls(&exported(&server), End::Server, b"name")
            .expect("keys");
        near.write(&mut b"there".clone()).expect("write");
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).expect("read");
        far.write(&mut bytes).expect("write");
        near.read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"there");
    }
}
