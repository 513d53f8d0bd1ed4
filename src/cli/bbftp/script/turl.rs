//! TURLs: `bbftp://host[:port]/path` and `file://path` in place of names, where
//! the command line has no server. They become plain names before anything is
//! carried out, and the results name those, as with the public client.

use super::Script;
use super::words::{words, written};
use crate::cli::bbftp::failure::{Failure, Result};
use crate::text::shown;

/// A server that TURLs name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::bbftp) struct Server {
    /// Its name.
    pub(in crate::cli::bbftp) host: String,
    /// Its port, if it is named.
    pub(in crate::cli::bbftp) port: Option<u16>,
}

/// One name of a command.
#[derive(Debug, Default, PartialEq, Eq)]
struct Name {
    server: Option<Server>,
    /// Whether the file is to be reached by RFIO.
    is_rfio: bool,
    path: Vec<u8>,
}

/// Which arguments of a command are on the server.
fn places(command: &[u8]) -> Option<&'static [Place]> {
    use Place::{Local, Remote};
    Some(match command {
        b"cd" | b"dir" | b"mkdir" | b"rm" | b"stat" | b"df" => &[Remote],
        b"lcd" => &[Local],
        b"put" | b"mput" => &[Local, Remote],
        b"get" | b"mget" => &[Remote, Local],
        _ => return None,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Local,
    Remote,
}

/// Which of the two sides commands use RFIO for.
#[derive(Default, PartialEq, Eq)]
struct Rfio {
    local: bool,
    remote: bool,
}

/// The commands with plain names, and the server that their TURLs name.
pub(super) fn resolve(commands: &[Vec<u8>]) -> Result<Script> {
    let mut script = Script::default();
    let mut rfio = Rfio::default();
    for command in commands {
        let words = words(command);
        let is_comment = matches!(words.first().and_then(|w| w.first()), Some(b'!' | b'#'));
        let Some((word, names)) = words.split_first().filter(|_| !is_comment) else {
            script.commands.push(command.clone());
            continue;
        };
        let Some(places) = places(word).filter(|places| names.len() <= places.len()) else {
            script.commands.push(command.clone());
            continue;
        };
        let mut plain = word.clone();
        for (name, place) in names.iter().zip(places) {
            let name = Name::of(name).ok_or_else(|| unreadable(command))?;
            if *place == Place::Local && name.server.is_some() {
                return Err(unreadable(command));
            }
            let side = match place {
                Place::Local => &mut rfio.local,
                Place::Remote => &mut rfio.remote,
            };
            if *side != name.is_rfio {
                let no = if name.is_rfio { "" } else { "no" };
                let side = match place {
                    Place::Local => "local",
                    Place::Remote => "remote",
                };
                let option = format!("setoption {no}{side}rfio");
                script.commands.push(option.into_bytes());
            }
            *side = name.is_rfio;
            if let Some(server) = name.server {
                script.meet(server, command)?;
            }
            plain.push(b' ');
            plain.extend(written(&name.path));
        }
        script.commands.push(plain);
    }
    Ok(script)
}

impl Script {
    /// Takes a server; there is one connection, so it must be the same each time.
    fn meet(&mut self, server: Server, command: &[u8]) -> Result<()> {
        match &self.server {
            Some(first) if *first != server => Err(Failure::end(
                24,
                format!(
                    "TURLs of one call must name one server : {}",
                    shown(command)
                ),
            )),
            _ => {
                self.server = Some(server);
                Ok(())
            }
        }
    }
}

fn unreadable(command: &[u8]) -> Failure {
    Failure::end(24, format!("Unable to parse command  : {}", shown(command)))
}

impl Name {
    /// The parts of a name; `None` unless it is a valid TURL.
    fn of(text: &[u8]) -> Option<Name> {
        let mut name = Name::default();
        let mut rest = text;
        if let Some(behind) = text.strip_prefix(b"bbftp://") {
            let slash = behind.iter().position(|byte| *byte == b'/')?;
            let server = std::str::from_utf8(&behind[..slash]).ok()?;
            name.server = Some(Server::of(server)?);
            rest = &behind[slash + 1..];
        }
        if let Some(path) = rest.strip_prefix(b"rfio://") {
            (name.is_rfio, rest) = (true, path);
        } else if let Some(path) = rest.strip_prefix(b"file://") {
            rest = path;
        }
        name.path = rest.to_vec();
        Some(name)
    }
}

impl Server {
    /// The parts of `host[:port]`; an IPv6 address stands in brackets.
    fn of(text: &str) -> Option<Server> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map(str::parse).transpose().ok()?;
        let host = host.to_owned();
        (!host.is_empty()).then_some(Server { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(line: &str) -> Result<(Vec<String>, Option<Server>)> {
        let script = Script::of_line(line.as_bytes(), false)?;
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ok((
            script.commands.into_iter().map(text).collect(),
            script.server,
        ))
    }

    #[test]
    fn turls_become_plain_names() {
        let (commands, server) = resolved(
            "put file://a.bin bbftp://h.example:5025//dev/x; cd bbftp://h.example:5025/sub;\
             get bbftp://h.example:5025/y file:///tmp/y;setnbstream 2;! bbftp://other/x;",
        )
        .expect("commands");
        let plain = [
            "put a.bin /dev/x",
            "cd sub",
            "get y /tmp/y",
            "setnbstream 2",
            "! bbftp://other/x",
            "",
        ];
        assert_eq!(commands, plain);
        let host = "h.example".to_owned();
        let port = Some(5025);
        assert_eq!(server, Some(Server { host, port }));
    }

    #[test]
    fn a_name_with_blanks_stays_quoted() {
        let (commands, _) = resolved("get \"bbftp://h/a b\" 'c d'").expect("commands");
        assert_eq!(commands, [r#"get "a b" "c d""#]);
    }

    #[test]
    fn rfio_of_a_turl_becomes_an_option() {
        let (commands, _) = resolved("rm bbftp://h/rfio:///x;rm bbftp://h/y").expect("commands");
        let plain = [
            "setoption remoterfio",
            "rm /x",
            "setoption noremoterfio",
            "rm y",
        ];
        assert_eq!(commands, plain);
    }

    #[test]
    fn an_invalid_turl_ends_the_program() {
        for line in [
            "cd bbftp://host",
            "cd bbftp:///x",
            "cd bbftp://h:x/y",
            "put bbftp://h/x y",
            "cd bbftp://h/x;cd bbftp://g/x",
        ] {
            assert_eq!(resolved(line).map_err(|e| e.code), Err(24), "{line}");
        }
        let of = |text| Server::of(text).map(|server| (server.host, server.port));
        assert_eq!(of("[::1]:99"), Some(("::1".to_owned(), Some(99))));
    }
}
