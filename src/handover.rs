//! What clients need to reach a server: written by `tfd setup` and `tfd
//! show-client`, read by `tf trust --from`. TOML, see tfd(8), CLIENTS. It holds
//! the server's hash, so it never goes to a log.

use serde::{Deserialize, Serialize};

/// The most bytes of such a file.
pub const MAX_BYTES: u64 = 64 * 1024;

/// A server, as its clients reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Handover {
    /// Its name or address.
    pub name: String,
    /// The fingerprint of its certificate's key; none if an authority vouches
    /// for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_pin: Option<String>,
    /// The account to log in with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// TF Protocol, if it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tf: Option<Tf>,
    /// BBFTP, if it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bbftp: Option<Bbftp>,
}

/// How TF Protocol is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Tf {
    /// `host:port` with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_address: Option<String>,
    /// `host:port` without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The version string.
    pub version: String,
    /// The hash.
    pub hash: String,
    /// The fingerprint of the public key.
    pub fingerprint: String,
    /// The public key, PEM.
    pub key: String,
}

/// How BBFTP is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Bbftp {
    /// `host:port` with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_address: Option<String>,
    /// `host:port` without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

const HEAD: &str = "\
# What clients need to reach this server; tfd show-client prints it again.
# Anyone who has the hash in it can connect: hand it over in private. On a client:
#   tf trust files --from FILE
";

impl Handover {
    /// The text of the file.
    ///
    /// # Errors
    /// When it cannot be written in TOML.
    pub fn to_text(&self) -> Result<String, String> {
        let text = toml_edit::ser::to_string_pretty(self).map_err(|e| e.to_string())?;
        Ok(format!("{HEAD}{text}"))
    }

    /// Reads the text of the file. Keys of a newer tfd are ignored.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub fn from_text(text: &str) -> Result<Handover, String> {
        toml::from_str(text).map_err(|e| {
            let start = e.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let what = e.message().lines().collect::<Vec<_>>().join("; ");
            format!("line {line}: {what}: write the file with tfd show-client")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_newer_keys_are_ignored() {
        let handover = Handover {
            name: "files.example.org".to_owned(),
            tls_pin: Some("SHA256:x".to_owned()),
            user: None,
            tf: Some(Tf {
                tls_address: Some("files.example.org:10346".to_owned()),
                hash: "\"quoted\"\\".to_owned(),
                key: "-----BEGIN\nlines\n".to_owned(),
                ..Tf::default()
            }),
            bbftp: Some(Bbftp::default()),
        };
        let text = handover.to_text().expect("text");
        assert!(
            text.starts_with("# What") && text.contains("\n[tf]\n"),
            "{text}"
        );
        let newer = text.replace("[tf]\n", "[tf]\ncolour = 1\n");
        assert_eq!(Handover::from_text(&newer), Ok(handover));
        let error = Handover::from_text("name = \"x\"\n[tf]\n").expect_err("no hash");
        assert!(
            error.contains("line 2") && error.contains("show-client"),
            "{error}"
        );
        assert!(Handover::from_text("x").is_err());
    }
}
