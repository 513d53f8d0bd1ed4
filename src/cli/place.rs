//! Where a file is: the notation is the same for every command.
//!
//! ```text
//! tf://[user@]host[:port]/path   on that server
//! NAME:path                      on the server with that entry
//! :path                          on the default server
//! path                           on the default server where only a remote path
//!                                makes sense, otherwise local
//! ```
//!
//! In a shell the default server is the shell's, and paths begin at its
//! directory: see [`Remote::join`].
//!
//! A `/` before the colon makes it a plain path: `./a:b`.

use std::path::PathBuf;
use std::str::FromStr;

/// The default port.
const PORT: u16 = 10345;

/// Which server is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerName {
    /// The one with this entry in the configuration.
    Named(String),
    /// The one at this address.
    At {
        /// The account, if one is named.
        user: Option<String>,
        /// `host:port`.
        address: String,
    },
}

/// A remote path as it is written. The default is the directory where such
/// paths begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemoteArg {
    /// The server; `None` for the default one.
    pub(crate) server: Option<ServerName>,
    /// The path.
    pub(crate) path: String,
}

/// A path on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// The server.
    pub(crate) server: ServerName,
    /// The path beneath its root; empty for the root.
    pub(crate) path: String,
}

/// A path on a server or on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this machine.
    Local(PathBuf),
    /// On a server.
    Remote(RemoteArg),
}

/// A malformed address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}: write tf://[user@]host[:port]/path")]
pub(crate) struct BadAddress(&'static str);

impl FromStr for RemoteArg {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<RemoteArg, BadAddress> {
        Ok(explicit(no_nul(text)?)?.unwrap_or_else(|| RemoteArg::new(None, text)))
    }
}

impl FromStr for Place {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Place, BadAddress> {
        Ok(explicit(no_nul(text)?)?.map_or_else(|| Place::Local(text.into()), Place::Remote))
    }
}

impl RemoteArg {
    /// A path on a server.
    pub(crate) fn new(server: Option<ServerName>, path: &str) -> RemoteArg {
        let path = path.strip_prefix("./").unwrap_or(path).to_owned();
        RemoteArg { server, path }
    }
}

impl Remote {
    /// A path relative to this directory.
    pub(crate) fn join(&self, path: &str) -> Remote {
        self.with_path(join(&self.path, path))
    }

    /// Another path on the same server.
    pub(crate) fn with_path(&self, path: String) -> Remote {
        Remote {
            server: self.server.clone(),
            path,
        }
    }
}

/// A path relative to a directory, or to the root if it begins with `/`. It
/// never leads above the root. A trailing `/` stays.
fn join(directory: &str, path: &str) -> String {
    let from = if path.starts_with('/') { "" } else { directory };
    let mut names: Vec<&str> = Vec::new();
    for name in from.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let mut joined = names.join("/");
    if path.ends_with('/') && !joined.is_empty() {
        joined.push('/');
    }
    joined
}

/// The last name of a path; empty for the root.
pub(crate) fn last_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// A name in a directory.
pub(crate) fn beneath(directory: &str, name: &str) -> String {
    match directory.trim_end_matches('/') {
        "" if directory.is_empty() => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

impl ServerName {
    /// Reads what `--server` and TF_SERVER hold: an address, in either form,
    /// or the name of an entry.
    pub(crate) fn read(
        text: &str,
        is_entry: impl Fn(&str) -> bool,
    ) -> Result<ServerName, BadAddress> {
        if let Some(rest) = text.strip_prefix("tf://") {
            return Ok(url(rest)?.0);
        }
        if is_entry(text) {
            return Ok(ServerName::Named(text.to_owned()));
        }
        Ok(ServerName::At {
            user: None,
            address: with_port(text),
        })
    }
}

impl std::fmt::Display for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServerName::Named(name) => f.write_str(name),
            ServerName::At {
                user: Some(user),
                address,
            } => write!(f, "tf://{user}@{address}"),
            ServerName::At {
                user: None,
                address,
            } => write!(f, "tf://{address}"),
        }
    }
}

/// Whether an entry may have this name: letters, digits, `.`, `-` and `_`.
pub(crate) fn is_entry_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_allowed)
}

/// `host:port`, with the default port if none is given.
pub(crate) fn with_port(address: &str) -> String {
    let host = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    match host.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{PORT}"),
    }
}

/// A text that names a server.
fn explicit(text: &str) -> Result<Option<RemoteArg>, BadAddress> {
    if let Some(rest) = text.strip_prefix("tf://") {
        let (server, path) = url(rest)?;
        return Ok(Some(RemoteArg::new(Some(server), &path)));
    }
    Ok(match text.split_once(':') {
        Some(("", path)) => Some(RemoteArg::new(None, path)),
        Some((name, path)) if is_entry_name(name) => Some(RemoteArg::new(
            Some(ServerName::Named(name.to_owned())),
            path,
        )),
        _ => None,
    })
}

/// A request ends at a NUL.
const NUL: BadAddress = BadAddress("it contains a NUL");

/// A text that a request can hold.
fn no_nul(text: &str) -> Result<&str, BadAddress> {
    match text.contains('\0') {
        true => Err(NUL),
        false => Ok(text),
    }
}

/// The rest of an address after `tf://`.
fn url(rest: &str) -> Result<(ServerName, String), BadAddress> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            return Err(BadAddress("a password must not be part of an address"));
        }
        Some((user, host)) => (Some(unescape(user)?), host),
        None => (None, authority),
    };
    let address = with_port(host);
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    if host.is_empty() || host.starts_with(':') || port.parse::<u16>().is_err() {
        return Err(BadAddress("host or port is missing"));
    }
    let user = user.filter(|user| !user.is_empty());
    Ok((ServerName::At { user, address }, unescape(path)?))
}

/// Decodes `%20` and the like.
fn unescape(text: &str) -> Result<String, BadAddress> {
    let bad = BadAddress("% must be followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>().ok_or(bad.clone())?;
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(bad.clone());
        let byte = digit(digits[0])? << 4 | digit(digits[1])?;
        bytes.push((byte & 0xff) as u8);
        rest = behind;
    }
    if bytes.contains(&0) {
        return Err(NUL);
    }
    String::from_utf8(bytes).map_err(|_| BadAddress("the path is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(user: Option<&str>, address: &str) -> ServerName {
        ServerName::At {
            user: user.map(str::to_owned),
            address: address.to_owned(),
        }
    }

    #[test]
    fn a_text_says_where_a_file_is() {
        let named = |name: &str| ServerName::Named(name.to_owned());
        for (text, server, path) in [
            ("tf://ann@h:1/a/b", at(Some("ann"), "h:1"), "a/b"),
            ("tf://h", at(None, "h:10345"), ""),
            ("tf://[::1]/a%20b", at(None, "[::1]:10345"), "a b"),
            ("tf://[::1]:7//a", at(None, "[::1]:7"), "/a"),
            ("files:a:b", named("files"), "a:b"),
            ("files:", named("files"), ""),
        ]
        .map(|(text, server, path)| (text, Some(server), path))
        .into_iter()
        .chain([(":a", None, "a")])
        {
            let remote = RemoteArg {
                server,
                path: path.to_owned(),
            };
            assert_eq!(text.parse::<RemoteArg>(), Ok(remote.clone()), "{text}");
            assert_eq!(text.parse::<Place>(), Ok(Place::Remote(remote)), "{text}");
        }
        for (text, path) in [
            ("a", "a"),
            ("./a:b", "a:b"),
            ("/a:b", "/a:b"),
            ("", ""),
            ("-x:y", "-x:y"),
        ] {
            assert_eq!(
                text.parse(),
                Ok(RemoteArg {
                    server: None,
                    path: path.to_owned()
                })
            );
            assert_eq!(text.parse(), Ok(Place::Local(text.into())));
        }
        for odd in [
            "tf://",
            "tf://:1/x",
            "tf://h:x/",
            "tf://h/%4",
            "tf://h/%zz",
            "tf://u:p@h/",
            "tf://h/%ff",
        ] {
            assert!(odd.parse::<Place>().is_err(), "{odd}");
        }
    }

    #[test]
    fn names_are_joined_and_taken_apart() {
        assert_eq!(
            (last_name("a/b/"), last_name("a"), last_name("/")),
            ("b", "a", "")
        );
        assert_eq!(beneath("", "x"), "x");
        assert_eq!(beneath("a/", "x"), "a/x");
        assert_eq!(beneath("/", "x"), "/x");
    }

    #[test]
    fn paths_begin_at_the_directory_and_never_leave_the_root() {
        for (directory, path, joined) in [
            ("a/b", "", "a/b"),
            ("a/b", "c", "a/b/c"),
            ("a/b", "./c//d/", "a/b/c/d/"),
            ("a/b", "..", "a"),
            ("a/b", "../../../x", "x"),
            ("a/b", "/", ""),
            ("a/b", "/x/./y", "x/y"),
            ("", "..", ""),
            ("", "../", ""),
            ("a", "...", "a/..."),
        ] {
            assert_eq!(join(directory, path), joined, "{directory} {path}");
        }
    }
}
