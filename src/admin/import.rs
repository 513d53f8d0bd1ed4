//! `tfd import`: converts a configuration of the public C server to a tfd.toml.
//! A setting that can't be converted becomes a comment with the reason.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use openssl::rsa::Rsa;
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::admin::keygen::write_new;
use crate::admin::status::{fail, say};
use crate::config::Backend;
use crate::store::tree::{Step, walk};
use crate::tf::env::SECUREFS_FILE;

/// Words of the old configuration that have no counterpart, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "userdb",
        "its passwords are in clear text; convert them with tfd user import FILE",
    ),
    ("faipath", "not part of TF Protocol 2.4.1"),
    ("faitok_mq", "not part of TF Protocol 2.4.1"),
    (
        "locksys",
        "a client that sends LOCKSYS gets UNKNOWN and continues in the whole root; \
         give it an account whose home is its directory, or a jail",
    ),
    (
        "flycontext",
        "a client that sends FLYCONTEXT gets UNKNOWN and continues in the whole root; \
         give it an account whose home is its directory, or a jail",
    ),
    ("runbash", "not part of TF Protocol 2.4.1"),
    ("xsntmex", "the extended subsystems are not served"),
    ("xsace", "the extended subsystems are not served"),
    ("rpcproxy", "the extended subsystems are not served"),
    ("nprocmax", "see max_sessions in tfd.toml(5)"),
    (
        "securefs",
        "the C server does not read it: it always serves directories with permissions \
         for identities (SETFSPERM), which tfd does not have; use accounts",
    ),
];

/// How many unprotected directories are named.
const MAX_NAMED: usize = 20;

/// Words of the server behind the proxy.
const PROXY_TO: &[&str] = &["trp_ipv4", "trp_ipv6", "trp_dns"];

/// Writes `out` and the private key next to it. The exit code is 1 when a
/// setting is missing or a file exists.
pub fn run(old: &Path, out: &Path) -> ExitCode {
    match import(old, out) {
        Ok(Imported { key, unprotected }) => {
            let (key, out) = (key.display(), out.display());
            say(&format!(
                "configuration: {out}\nprivate key:   {key} (keep it secret)\n{}\
                 next: read the comments in it, then run tfd check --config {out}\n",
                warning(&unprotected)
            ))
        }
        Err(text) => fail(text),
    }
}

/// What an import has made and found.
#[derive(Debug)]
pub struct Imported {
    /// The path of the private key.
    pub key: PathBuf,
    /// Directories beneath the root with permissions that tfd does not have.
    pub unprotected: Vec<String>,
}

/// Converts `old` and writes the result.
///
/// # Errors
/// One line: what is missing, or which file exists. Nothing is written then.
pub fn import(old: &Path, out: &Path) -> Result<Imported, String> {
    let text = fs::read(old).map_err(|e| format!("{}: {e}", old.display()))?;
    let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
    let key_path = out.with_file_name("private.pem");
    for path in [out, &key_path] {
        if path.symlink_metadata().is_ok() {
            return Err(format!(
                "{} exists: move it or choose another --out",
                path.display()
            ));
        }
    }
    let converted = convert(&text).map_err(|e| format!("{}: {e}", old.display()))?;
    write_new(&key_path, converted.key.as_bytes(), 0o600)
        .map_err(|e| format!("{}: {e}", key_path.display()))?;
    if let Err(e) = write_new(out, converted.toml.as_bytes(), 0o600) {
        let _ = fs::remove_file(&key_path);
        return Err(format!("{}: {e}", out.display()));
    }
    Ok(Imported {
        key: key_path,
        unprotected: unprotected(Path::new(&converted.root)),
    })
}

/// The directories beneath a root that the C server let only some identities use.
fn unprotected(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(top) = fs::File::open(root) else {
        return found;
    };
    let walked = walk(top.as_fd(), |visit| {
        if visit.name().as_bytes() == SECUREFS_FILE {
            found.push(visit.path.parent().to_string());
        }
        Ok::<Step, Errno>(Step::Enter)
    });
    if let Err(e) = walked {
        eprintln!("tfd: {}: {e}", root.display());
    }
    found.sort();
    found
}

/// What to print about them.
fn warning(directories: &[String]) -> String {
    if directories.is_empty() {
        return String::new();
    }
    let mut text = "warning: every client may use these directories now, which the C server \
                    protected by SETFSPERM; use accounts or jails:\n"
        .to_owned();
    for directory in directories.iter().take(MAX_NAMED) {
        text.push_str(&format!("  {directory}\n"));
    }
    if directories.len() > MAX_NAMED {
        text.push_str(&format!("  and {} more\n", directories.len() - MAX_NAMED));
    }
    text
}

/// A converted configuration.
#[derive(Debug)]
pub struct Converted {
    /// The text of tfd.toml; the key is expected next to it as `private.pem`.
    pub toml: String,
    /// The private key, PEM.
    pub key: Zeroizing<String>,
    /// The root.
    pub root: String,
}

/// Converts the text of an old configuration.
///
/// # Errors
/// Which required word is missing or invalid.
pub fn convert(text: &str) -> Result<Converted, String> {
    let text = text.trim_start_matches('\u{feff}');
    let key = key_block(text).ok_or("no privkey { ... } block")?;
    Rsa::private_key_from_pem(key.as_bytes())
        .map_err(|_| "the privkey block is not an RSA private key")?;
    let port: u16 = needed(text, "port", value)?
        .parse()
        .map_err(|_| "port is not a port number")?;
    let root = needed(text, "dbdir", value)?;
    let mut server = format!("root = {}\n", quoted(root));
    // With a user that does not exist, the C server lets clients log in.
    let user = readable(text, "defusr", value)?.filter(|user| exists(user));
    match user {
        Some(user) => server.push_str(&format!("user = {}\n", quoted(user))),
        None => {
            server
                .push_str("# The user that clients face before they log in.\nuser = \"nobody\"\n");
        }
    }
    let mut tf = format!(
        "listen = [\"0.0.0.0:{port}\", \"[::]:{port}\"]\nversion = {}\nhash = {}\n\
         private_key = \"private.pem\"\n",
        quoted(needed(text, "proto", whole_value)?),
        quoted(needed(text, "hash", whole_value)?),
    );
    let backend = PROXY_TO
        .iter()
        .find_map(|word| backend(value(text, word)?, port));
    let pool = readable(text, "tlb", value)?;
    if let Some(backend) = &backend {
        tf.push_str(&format!("proxy_to = \"{backend}\"\n"));
    } else {
        if user.is_none() {
            server.push_str("mode = \"multi-user\"\nusers = \"users\"\n");
        }
        if flag_or_value(text, "injail").is_some() {
            server.push_str("jail = true\n");
        }
        if let Some(pool) = pool {
            tf.push_str(&format!("tlb_pool = {}\n", quoted(pool)));
        }
    }
    let comments = comments(text, backend.is_some(), user.is_some());
    let toml = format!(
        "# Made by tfd import; see tfd.toml(5).\n[server]\n{server}\n[tf]\n{tf}{comments}\n"
    );
    Ok(Converted {
        toml,
        key,
        root: root.to_owned(),
    })
}

/// What could not be converted, a comment each.
fn comments(text: &str, is_proxy: bool, has_user: bool) -> String {
    let mut left_out = LEFT_OUT.to_vec();
    if is_proxy {
        let why = "a proxy serves no file; the server behind it does";
        left_out.push(("injail", why));
        left_out.push(("tlb", "a proxy has no pool; the server behind it may"));
    } else {
        let why = "not an address or a name, and clients are served here";
        left_out.extend(PROXY_TO.iter().map(|word| (*word, why)));
        if !has_user {
            let why = "no such user here, so that clients log in, as with the C server";
            left_out.push(("defusr", why));
        }
    }
    let mut comments = String::new();
    for (word, why) in left_out {
        if let Some(value) = flag_or_value(text, word) {
            let value = one_line(value);
            let line = format!("\n# not converted: {word} {value}");
            comments.push_str(&format!("{}: {why}", line.trim_end()));
        }
    }
    comments
}

/// How the value of a word is found.
type Find = for<'a> fn(&'a str, &str) -> Option<&'a str>;

/// A value that must be there.
fn needed<'a>(text: &'a str, word: &str, find: Find) -> Result<&'a str, String> {
    readable(text, word, find)?.ok_or(format!("the word {word} is missing"))
}

/// A value, which must be UTF-8.
fn readable<'a>(text: &'a str, word: &str, find: Find) -> Result<Option<&'a str>, String> {
    let found = find(text, word);
    if found.is_some_and(|value| value.contains(char::REPLACEMENT_CHARACTER)) {
        return Err(format!(
            "the value of {word} is not UTF-8, as tfd.toml must be"
        ));
    }
    Ok(found)
}

/// Whether the system has a user of this name.
fn exists(user: &str) -> bool {
    matches!(nix::unistd::User::from_name(user), Ok(Some(_)))
}

/// The server behind the proxy, on the same port as this one.
fn backend(host: &str, port: u16) -> Option<Backend> {
    let in_brackets = format!("[{host}]:{port}");
    Backend::parse(&in_brackets).or_else(|| Backend::parse(&format!("{host}:{port}")))
}

/// The value after a word at the start of a line.
fn value<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    flag_or_value(text, word).filter(|value| !value.is_empty())
}

/// The same with the blanks at its ends, which the C server takes as part of it.
fn whole_value<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| {
            line.trim_start()
                .strip_prefix(word)?
                .strip_prefix([' ', '\t'])
        })
        .filter(|value| !value.trim().is_empty())
}

fn flag_or_value<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.lines()
        .map(str::trim)
        .find_map(|line| match line.strip_prefix(word)? {
            "" => Some(""),
            rest => rest.starts_with([' ', '\t']).then(|| rest.trim()),
        })
}

/// The text between the braces after `privkey`, which begins a line.
fn key_block(text: &str) -> Option<Zeroizing<String>> {
    let begin = |rest: &str| {
        rest.strip_prefix("privkey")?
            .trim_start()
            .starts_with('{')
            .then_some(())
    };
    let at = text.split_inclusive('\n').scan(0, |at, line| {
        let begins = *at;
        *at += line.len();
        Some(begins)
    });
    let rest = at
        .map(|at| text[at..].trim_start())
        .find(|rest| begin(rest).is_some())?;
    let (_, rest) = rest.split_once('{')?;
    let (block, _) = rest.split_once('}')?;
    let lines = block.lines().map(str::trim).filter(|line| !line.is_empty());
    Some(Zeroizing::new(
        lines.flat_map(|line| [line, "\n"]).collect(),
    ))
}

/// A value for a comment: control characters escaped.
fn one_line(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::os::unix::fs::PermissionsExt;

    fn old_text(more: &str) -> String {
        let key = Rsa::generate(2048)
            .and_then(|key| key.private_key_to_pem())
            .expect("key");
        let key = String::from_utf8(key).expect("text");
        format!(
            "# hash of a comment\nproto 0.0\nhash a \"b\"\\c\ndbdir /srv/tf/\nport 10345\n{more}\n\
             privkey {{\n{key}}}\npubkey {{\nx\n}}\n"
        )
    }

    #[test]
    fn an_old_configuration_becomes_one_that_loads() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (old, out) = (dir.path().join("old.conf"), dir.path().join("tfd.toml"));
        fs::write(&old, old_text("defusr nobody\ntlb /etc/pool\ninjail")).expect("write");
        let key = import(&old, &out).expect("imported").key;
        let config = Config::load(&out).expect("loads");
        assert_eq!(config.server.user.as_deref(), Some("nobody"));
        let tf = config.tf.as_ref().expect("TF");
        assert_eq!(tf.hash, "a \"b\"\\c");
        assert_eq!(config.server.root, Path::new("/srv/tf/"));
        assert_eq!(config.listeners().len(), 2);
        assert_eq!(tf.private_key, key);
        crate::tf::key::read_key(&key).expect("a usable key");
        let text = fs::read_to_string(&out).expect("read");
        assert!(!text.contains("# not converted"), "{text}");
        assert_eq!(tf.tlb_pool.as_deref(), Some(Path::new("/etc/pool")));
        assert!(config.server.jail);
        assert_eq!(config.server.mode, crate::config::Mode::SingleUser);
        assert!(import(&old, &out).expect_err("exists").contains("exists"));
    }

    #[test]
    fn a_value_that_would_not_stay_the_same_is_refused() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (old, out) = (dir.path().join("old.conf"), dir.path().join("tfd.toml"));
        let text = format!("\u{feff}{}", old_text("# J\u{1}rg")).into_bytes();
        let with = |from: u8, to: u8| -> Vec<u8> {
            text.iter()
                .map(|byte| if *byte == from { to } else { *byte })
                .collect()
        };
        fs::write(&old, with(b'\\', 0xff)).expect("write");
        assert!(
            import(&old, &out)
                .expect_err("refused")
                .contains("hash is not UTF-8")
        );
        assert!(!out.exists());
        // In a comment it does no harm.
        fs::write(&old, with(1, 0xf6)).expect("write");
        import(&old, &out).expect("imported");
        let mode = fs::metadata(&out).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "it holds the hash");
    }

    #[test]
    fn without_a_default_user_clients_log_in() {
        let toml = convert(&old_text("userdb /etc/users"))
            .expect("converted")
            .toml;
        assert!(
            toml.contains("mode = \"multi-user\"\nusers = \"users\"\n"),
            "{toml}"
        );
        assert!(
            toml.contains("# not converted: userdb /etc/users: "),
            "{toml}"
        );
    }

    #[test]
    fn nor_does_one_that_does_not_exist_make_one() {
        let toml = convert(&old_text("defusr no-such-user"))
            .expect("converted")
            .toml;
        assert!(toml.contains("mode = \"multi-user\"\n"), "{toml}");
        assert!(
            toml.contains("# not converted: defusr no-such-user: no such user here"),
            "{toml}"
        );
    }

    #[test]
    fn blanks_belong_to_hash_and_version_and_comments_to_nothing() {
        let text = old_text("defusr nobody")
            .replace("proto 0.0\n", "proto 0.0 \n")
            .replace("hash a \"b\"\\c\n", "hash  h \n");
        let (before, key) = text.split_at(text.find("privkey {").expect("key"));
        let (key, public) = key.split_at(key.find("pubkey {").expect("public"));
        for comment in [
            "# the privkey comes below",
            "  # privkey {",
            "#privkey { x }",
        ] {
            let text = format!("{before}{comment}\n{public}{key}");
            let converted = convert(&text).expect("converted");
            let config = Config::parse(Path::new("/etc/tfd.toml"), &converted.toml).expect("loads");
            let tf = config.tf.expect("TF");
            assert_eq!((&*tf.version, &*tf.hash), ("0.0 ", " h "));
            assert!(converted.key.starts_with("-----BEGIN"));
        }
    }

    #[test]
    fn what_clients_of_left_out_words_meet_is_said() {
        let words = "defusr nobody\nsecurefs\nlocksys\nflycontext";
        let toml = convert(&old_text(words)).expect("converted").toml;
        for said in [
            "# not converted: securefs: the C server does not read it",
            "# not converted: locksys: a client that sends LOCKSYS gets UNKNOWN",
            "# not converted: flycontext: a client that sends FLYCONTEXT gets UNKNOWN",
        ] {
            assert!(toml.contains(said), "{said}: {toml}");
        }
    }

    #[test]
    fn directories_that_lose_their_protection_are_named() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path().join("root");
        for path in ["a/b", "c"] {
            fs::create_dir_all(root.join(path)).expect("mkdir");
            fs::write(root.join(path).join(".securefs_metadata"), "id:4").expect("write");
        }
        let (old, out) = (dir.path().join("old.conf"), dir.path().join("tfd.toml"));
        let text = old_text("").replace("/srv/tf/", &root.display().to_string());
        fs::write(&old, text).expect("write");
        let found = import(&old, &out).expect("imported").unprotected;
        assert_eq!(found, ["/a/b", "/c"]);
        assert!(warning(&found).contains("SETFSPERM; use accounts or jails:\n  /a/b\n  /c\n"));
        assert_eq!(warning(&[]), "");
    }

    #[test]
    fn a_proxy_stays_one_to_the_same_port() {
        for (word, to) in [
            ("trp_ipv4 192.0.2.1", "192.0.2.1:10345"),
            ("trp_ipv6 2001:db8::1", "[2001:db8::1]:10345"),
            ("trp_dns files.example.org", "files.example.org:10345"),
        ] {
            let toml = convert(&old_text(&format!("injail\ntlb /etc/pool\n{word}")))
                .expect("converted")
                .toml;
            let config = Config::parse(Path::new("/etc/tfd.toml"), &toml).expect("loads");
            assert_eq!(config.proxy().expect("proxy").backend.to_string(), to);
            assert!(
                toml.contains("# not converted: injail: a proxy serves no file"),
                "{toml}"
            );
            assert!(
                toml.contains("# not converted: tlb /etc/pool: a proxy has no"),
                "{toml}"
            );
        }
        let toml = convert(&old_text("trp_ipv4 nowhere at all"))
            .expect("converted")
            .toml;
        assert!(
            toml.contains("# not converted: trp_ipv4 nowhere at all: not an address"),
            "{toml}"
        );
    }

    #[test]
    fn control_characters_of_what_is_left_out_break_no_comment() {
        let toml = convert(&old_text("rpcproxy a\u{7f}\r\u{0}b"))
            .expect("converted")
            .toml;
        assert!(
            toml.contains("# not converted: rpcproxy a\\u{7f}\\r\\u{0}b: "),
            "{toml}"
        );
        Config::parse(Path::new("/etc/tfd.toml"), &toml).expect("loads");
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_is_written() {
        for word in ["proto", "hash", "dbdir", "port", "privkey"] {
            let text = old_text("").replace(&format!("\n{word}"), &format!("\n#{word}"));
            let text = if word == "privkey" {
                text.replace("privkey", "nokey")
            } else {
                text
            };
            assert!(convert(&text).expect_err(word).contains(word), "{word}");
        }
    }
}
