use std::time::Duration;

use super::table::{KEYS, Kind, Shown};
use super::*;

const PLAIN: &str = "[server]\nuser = \"nobody\"\nroot = \"data\"\n[tf]\nlisten = [\"127.0.0.1:1\"]\n\
    version = \"0.0\"\nhash = \"h\"\nprivate_key = \"/k.pem\"\n";

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(Path::new("/etc/tfd/tfd.toml"), text)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_keys_of_tls_are_checked_together() {
    let tls_listen = "tls_listen = [\"127.0.0.1:2\"]";
    let tls = "tls_certificate = \"c.pem\"\ntls_key = \"/k.pem\"";
    let parse = |listen: &str, lines: &str, tf: &str| {
        let text = format!(
            "[server]\nroot = \"/srv\"\n{lines}\n[tf]\nlisten = [{listen}]\nversion = \"0.0\"\n\
             hash = \"h\"\nprivate_key = \"/k\"\n{tf}\n"
        );
        Config::parse(Path::new("/etc/tfd/tfd.toml"), &text).map_err(|problems| {
            problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        })
    };
    let config = parse("", tls, tls_listen).expect("TLS alone");
    let read = config.server.tls.expect("TLS");
    assert_eq!(read.certificate, Path::new("/etc/tfd/c.pem"));
    assert_eq!(read.key, Path::new("/k.pem"));
    let plain = "\"127.0.0.1:1\"";
    for (listen, lines, tf, told) in [
        ("", "", "", "tf.listen: nothing to listen on"),
        (
            "\"127.0.0.1:2\"",
            tls,
            tls_listen,
            "tf.tls_listen: 127.0.0.1:2 is listed twice",
        ),
        ("", "", tls_listen, "server.tls_certificate is missing"),
        ("", "", tls_listen, "server.tls_key is missing"),
        (
            "",
            "",
            "tls_listen = [\"localhost\"]",
            "tf.tls_listen: \"localhost\" is not an address:port",
        ),
        (
            plain,
            "tls_key = \"k\"",
            "",
            "server.tls_key is of no use without tls_listen",
        ),
        (
            "",
            &format!("{tls}\ntls_client_ca = \"a\""),
            tls_listen,
            "of no use in single-user mode",
        ),
        (
            plain,
            tls,
            &format!("{tls_listen}\nproxy_to = \"127.0.0.1:9\""),
            "a proxy relays TLS as it comes",
        ),
    ] {
        let problems = parse(listen, lines, tf).expect_err(told);
        assert!(problems.contains(told), "{problems}");
    }
}

#[test]
fn defaults_are_filled_in_and_paths_are_relative_to_the_file() {
    let config = parse(PLAIN).expect("fine");
    assert_eq!(config.server.root, Path::new("/etc/tfd/data"));
    let tf = config.tf.expect("TF");
    assert_eq!(tf.private_key, Path::new("/k.pem"));
    assert_eq!(config.server.handshake_limit, Duration::from_secs(10));
    assert_eq!(config.server.idle_limit, Some(Duration::from_secs(3600)));
    assert_eq!(tf.buffer_limit, 8 << 20);
    assert_eq!(config.server.mode, Mode::SingleUser);
    assert_eq!(config.server.stop_grace, Duration::from_secs(3));
}

#[test]
fn each_protocol_may_be_the_only_one_and_one_must_be_listed() {
    let server = "[server]\nuser = \"nobody\"\nroot = \"data\"\n";
    let echo = "[echo]\nlisten = [\"127.0.0.1:2\"]\n";
    let alone = parse(&format!("{server}{echo}")).expect("no [tf]");
    assert!(alone.tf.is_none() && alone.listeners().len() == 1);
    let unused = parse(&format!("{server}[tf]\nlisten = []\nhash = \"h\"\n{echo}"));
    assert!(unused.expect("no address of TF").tf.is_none());
    assert!(parse(PLAIN).expect("no [echo]").tf.is_some());
    let both = parse(&format!("{PLAIN}{echo}")).expect("both");
    assert!(both.tf.is_some() && both.listeners().len() == 2);
    let none = parse(server).expect_err("none");
    let all = [
        "tf.listen: nothing to listen on: list an address, such as \"0.0.0.0:10345\"",
        "tf.version is missing",
        "tf.hash is missing",
        "tf.private_key is missing",
    ];
    for text in all {
        assert!(none.iter().any(|none| none.contains(text)), "{none:?}");
    }
    let no_root = parse(&format!("[server]\nuser = \"nobody\"\n{echo}"));
    assert!(no_root.expect_err("no root")[0].contains("server.root is missing"));
    let proxy = PLAIN.replace("[tf]", "[tf]\nproxy_to = \"192.0.2.1:1\"");
    let relayed = parse(&format!("{proxy}{echo}")).expect_err("a proxy");
    assert!(relayed[0].contains("echo.listen: a proxy serves no file"));
}

#[test]
fn bbftp_needs_accounts_no_jail_and_versions_without_a_gap() {
    let with = |server: &str, bbftp: &str| {
        parse(&format!(
            "[server]\nuser = \"nobody\"\nroot = \"data\"\n{server}\n[bbftp]\n\
             listen = [\"127.0.0.1:2\"]\n{bbftp}\n"
        ))
    };
    let accounts = "mode = \"multi-user\"\nusers = \"users\"";
    let config = with(accounts, "data_ports = \"20000-20100\"").expect("fine");
    let bbftp = config.bbftp.as_ref().expect("BBFTP");
    assert!(config.tf.is_none() && bbftp.password_logins == PasswordLogins::Tls);
    assert_eq!(bbftp.versions, [1, 2, 3]);
    assert_eq!(bbftp.active_source_port, SourcePort::BelowControl);
    assert_eq!(config.data_ports(Protocol::Bbftp), 20000..=20100);
    let all = "versions = [2]\npassword_logins = \"rsa\"\nactive_source_port = \"any\"";
    let other = with(accounts, all).expect("fine");
    let bbftp = other.bbftp.as_ref().expect("BBFTP");
    assert_eq!(bbftp.versions, [2]);
    assert_eq!(bbftp.password_logins, PasswordLogins::Rsa);
    assert_eq!(bbftp.active_source_port, SourcePort::Any);
    assert_eq!(other.data_ports(Protocol::Bbftp), 0..=0);
    for (server, bbftp, told) in [
        ("", "", "bbftp.listen: its clients log in: set mode"),
        (
            &format!("{accounts}\njail = true"),
            "",
            "bbftp.listen: its clients can't enter a jail",
        ),
        (accounts, "versions = []", "bbftp.versions: list versions"),
        (
            accounts,
            "versions = [1, 3]",
            "bbftp.versions: list versions",
        ),
        (
            accounts,
            "versions = [3, 2]",
            "bbftp.versions: list versions",
        ),
        (
            accounts,
            "versions = [0, 1]",
            "bbftp.versions: use a number from 1 to 3",
        ),
        (
            accounts,
            "versions = 3",
            "bbftp.versions: use a list of integers from 1 to 3",
        ),
        (
            accounts,
            "data_ports = \"2-1\"",
            "bbftp.data_ports: name the first and the last port",
        ),
        (
            accounts,
            "password_logins = \"none\"",
            "bbftp.password_logins: use \"rsa\" or \"tls\"",
        ),
        (
            accounts,
            "active_source_port = \"5020\"",
            "bbftp.active_source_port: use \"control-1\" or \"any\"",
        ),
    ] {
        let problems = with(server, bbftp).expect_err(told);
        assert!(
            problems.iter().any(|text| text.contains(told)),
            "{problems:?}"
        );
    }
}

#[test]
fn every_problem_is_told_with_its_line_and_key() {
    let text = PLAIN
        .replace("\"127.0.0.1:1\"", "\"localhost\", \"[::1]:2\"")
        .replace("\"h\"", "\"\"")
        .replace(
            "[tf]",
            "log = \"loud\"\nmax_sessions = 0\nidle_timeout = -1\n[tf]\n\
             notify_interval_floor = 0",
        );
    let problems = parse(&text).expect_err("problems");
    for (problem, begin) in problems.iter().zip([
        "/etc/tfd/tfd.toml:4: server.log: ",
        "/etc/tfd/tfd.toml:5: server.max_sessions: ",
        "/etc/tfd/tfd.toml:6: server.idle_timeout: ",
        "/etc/tfd/tfd.toml:8: tf.notify_interval_floor: ",
        "/etc/tfd/tfd.toml:9: tf.listen: \"localhost\" is not an address:port",
        "/etc/tfd/tfd.toml:11: tf.hash: ",
    ]) {
        assert!(problem.starts_with(begin), "{problem}");
    }
    assert_eq!(problems.len(), 6);
}

#[test]
fn unknown_and_missing_keys_are_refused_by_name() {
    let problems = parse(&PLAIN.replace("hash", "hsah")).expect_err("unknown");
    assert!(
        problems[0].contains("tfd.toml:7: tf.hsah: no such key: did you mean hash?"),
        "{problems:?}"
    );
    for (line, hint) in [
        ("nonsense = 1", "nonsense: no such key: see tfd.toml(5)"),
        (
            "handshake_timout = 1",
            "did you mean handshake_timeout? see",
        ),
    ] {
        let text = PLAIN.replace("[server]\n", &format!("[server]\n{line}\n"));
        let problems = parse(&text).expect_err(line);
        assert!(problems[0].contains(hint), "{problems:?}");
    }
    let problems = parse("[sever]\n").expect_err("section");
    assert!(problems[0].contains("did you mean server?"), "{problems:?}");
    let problems = parse(&PLAIN.replace("hash = \"h\"\n", "")).expect_err("missing");
    assert!(problems[0].contains("tf.hash is missing"), "{problems:?}");
    assert!(parse("[server]\n[tf\n").expect_err("syntax")[0].contains("tfd.toml:2: "));
}

#[test]
fn a_pool_comes_from_a_file_or_a_name() {
    let with = |name| {
        parse(&format!(
            "{PLAIN}tlb_pool = \"pool\"\ntlb_dns = \"{name}\"\n"
        ))
    };
    let config = with("_tf._tcp.example.org").expect("fine");
    let tf = config.tf.expect("TF");
    assert_eq!(tf.tlb_pool.as_deref(), Some(Path::new("/etc/tfd/pool")));
    assert_eq!(tf.tlb_dns.as_deref(), Some("_tf._tcp.example.org"));
    let problems = with("a b.org").expect_err("no name");
    assert!(
        problems[0].starts_with("/etc/tfd/tfd.toml:10: tf.tlb_dns: "),
        "{problems:?}"
    );
}

#[test]
fn metrics_are_for_this_machine() {
    let with = |place| parse(&PLAIN.replace("[tf]", &format!("metrics = \"{place}\"\n[tf]")));
    let metrics = |place| with(place).expect("fine").server.metrics.expect("metrics");
    let address = "[::1]:9".parse().expect("address");
    assert_eq!(metrics("[::1]:9"), Local::Address(address));
    assert_eq!(metrics("/run/m"), Local::Path("/run/m".into()));
    for place in ["0.0.0.0:9", "192.0.2.1:9", "localhost:9", "m"] {
        let problems = with(place).expect_err(place);
        assert!(
            problems[0].contains("tfd.toml:4: server.metrics"),
            "{problems:?}"
        );
    }
}

#[test]
fn what_can_not_be_done_is_refused_not_ignored() {
    let with_mode = |mode: &str| parse(&PLAIN.replace("[tf]", &format!("mode = \"{mode}\"\n[tf]")));
    let alone = with_mode("multi-user").expect_err("users");
    assert!(alone[0].contains("server.users is missing"), "{alone:?}");
    let wrong = with_mode("multiuser").expect_err("mode");
    assert!(wrong[0].contains("single-user"), "{wrong:?}");
}

/// What conf/tfd.toml must be: the keys in the order of the table, each below
/// its text.
fn shipped() -> String {
    let mut text = "# Configuration of tfd, see tfd.toml(5). Commented keys show their defaults.\n\
        # tfd setup makes one with a hash, keys and a certificate of its own.\n\
        # After a change: tfd check --config FILE, then systemctl reload tfd.\n"
        .to_owned();
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            text += &format!("\n[{section}]\n");
        } else if !key.text.is_empty() {
            text += "\n";
        }
        let mut line = "#".to_owned();
        for word in key.text.split_whitespace() {
            if line.len() + 1 + word.len() > 80 {
                text += &format!("{line}\n");
                line = "#".to_owned();
            }
            line += &format!(" {word}");
        }
        if !key.text.is_empty() {
            text += &format!("{line}\n");
        }
        let comment = if key.shown == Shown::Set { "" } else { "#" };
        text += &format!("{comment}{} = {}\n", key.name, key.value);
    }
    text
}

/// The heads of the list of keys in tfd.toml(5).
fn heads() -> Vec<String> {
    let mut heads = Vec::new();
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            heads.push(format!(".Ss The table [{section}]"));
        }
        let kind = match key.kind {
            Kind::Flag => "boolean",
            Kind::Int(..) => "integer",
            Kind::Seconds(_) => "number",
            Kind::Choice(_) | Kind::Text(_) | Kind::Checked(_) => "string",
            Kind::Path => "path",
            Kind::List(_) => "list of strings",
            Kind::Numbers(..) => "list of integers",
        };
        let default = match (key.shown, key.value.strip_prefix('"')) {
            (Shown::Default, Some(text)) => {
                format!(", default Qq {}", text.trim_end_matches('"'))
            }
            (Shown::Default, None) => format!(", default {}", key.value),
            _ => String::new(),
        };
        heads.push(format!(".It Ic {} Pq {kind}{default}", key.name));
    }
    heads
}

/// To write conf/tfd.toml after a change of the table:
/// `TFD_WRITE_CONF=1 cargo test --lib the_table`.
#[test]
fn the_table_of_keys_is_what_the_shipped_configuration_and_the_manual_page_list() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let conf = top.join("conf/tfd.toml");
    if std::env::var_os("TFD_WRITE_CONF").is_some() {
        std::fs::write(&conf, shipped()).expect("write");
    }
    let text = std::fs::read_to_string(&conf).expect("read");
    assert!(text == shipped(), "conf/tfd.toml should be:\n{}", shipped());
    let page = std::fs::read_to_string(top.join("man/tfd.toml.5")).expect("read");
    let (keys, _) = page.split_once(".Sh FILES").expect("files");
    let is_head = |line: &&str| line.starts_with(".It Ic ") || line.starts_with(".Ss ");
    let found: Vec<&str> = keys.lines().filter(is_head).collect();
    assert_eq!(found, heads(), "the list of keys in man/tfd.toml.5");
}

#[test]
fn keys_of_a_protocol_without_an_address_are_named() {
    let text = "[server]\nroot = \"/srv\"\nmode = \"multi-user\"\nusers = \"/u\"\n[tf]\nversion = \"1\"\nhash = \"h\"\n[bbftp]\n\
                listen = [\"127.0.0.1:5021\"]\npassword_logins = \"rsa\"\n";
    let path = Path::new("/etc/tfd/tfd.toml");
    let config = Config::parse(path, text).expect("a configuration");
    let unused: Vec<String> = config.unused.iter().map(ToString::to_string).collect();
    let expected = "/etc/tfd/tfd.toml:6: tf.version, hash: of no use without tf.listen or \
                    tf.tls_listen: add an address, or remove the section";
    assert_eq!(unused, [expected]);
}

#[test]
fn the_keys_of_mail_are_checked_together() {
    let parse = |lines: &str| {
        let text = format!(
            "[server]\nuser = \"nobody\"\n[vault]\nlisten = [\"127.0.0.1:1\"]\ndata = \"/v\"\n\
             user = \"games\"\n{lines}\n"
        );
        parse(&text)
    };
    let from = "mail_from = \"a@example.org\"";
    for (server, host, port, security, user) in [
        ("smtps://host", "host", 465, MailSecurity::Tls, None),
        ("smtp://host", "host", 587, MailSecurity::StartTls, None),
        ("smtp://host:25", "host", 25, MailSecurity::StartTls, None),
        (
            "smtp://localhost",
            "localhost",
            25,
            MailSecurity::None,
            None,
        ),
        ("smtp://[::1]:7", "::1", 7, MailSecurity::None, None),
        ("smtps://[::1]", "::1", 465, MailSecurity::Tls, None),
        ("smtps://u@h", "h", 465, MailSecurity::Tls, Some("u")),
        ("smtps://u%40x@h", "h", 465, MailSecurity::Tls, Some("u@x")),
        ("smtps://u@x@h", "h", 465, MailSecurity::Tls, Some("u@x")),
    ] {
        let password = match user {
            Some(_) => "smtp_password_file = \"secret\"",
            None => "",
        };
        let config = parse(&format!("smtp = \"{server}\"\n{from}\n{password}"));
        let mail = config.expect(server).vault.and_then(|vault| vault.mail);
        let mail = mail.expect(server);
        assert_eq!((mail.host.as_str(), mail.port), (host, port));
        assert_eq!((mail.security, mail.user.as_deref()), (security, user));
        let file = user.map(|_| Path::new("/etc/tfd/secret"));
        assert_eq!(mail.password_file.as_deref(), file);
    }
    for (lines, said) in [
        ("new_device = \"mail\"", "vault.smtp is missing"),
        (from, "vault.mail_from is of no use without smtp"),
        ("smtp = \"smtps://host\"", "vault.mail_from is missing"),
        ("smtp = \"smtps://u:p@host\"", "leave the password out"),
        (
            "smtp = \"smtps://u@h\"",
            "vault.smtp_password_file is missing",
        ),
        (
            "smtp = \"smtps://h\"\nsmtp_password_file = \"p\"",
            "smtp names no user",
        ),
        (
            "smtp = \"smtp://localhost\"\nsmtp_ca = \"p\"",
            "mails don't leave this machine",
        ),
        ("smtp = \"http://host\"", "use \"smtps://user@host\""),
        ("smtp = \"smtps://@host\"", "use \"smtps://user@host\""),
        ("smtp = \"smtps://host:0\"", "use \"smtps://user@host\""),
        ("smtp = \"smtps://a b\"", "use \"smtps://user@host\""),
        ("mail_from = \"nobody\"", "use an address"),
    ] {
        let problems = parse(lines).expect_err(lines).join("; ");
        assert!(problems.contains(said), "{lines}: {problems}");
    }
}

#[test]
fn a_keeper_of_backups_needs_its_key_its_store_and_nobody_elses_user() {
    let section = "[holder]\nlisten = [\"127.0.0.1:7272\"]\n";
    let wrong = parse(section).expect_err("keys are missing");
    assert!(
        wrong.iter().any(|it| it.contains("holder.key")),
        "{wrong:?}"
    );
    assert!(wrong.iter().any(|it| it.contains("holder.store")));
    let whole = "key = \"holder.key\"\nstore = \"/srv/kept\"\nuser = \"mail\"\n";
    let config = parse(&format!("{section}{whole}")).expect("enough");
    assert!(config.has_own_accounts_alone() && config.serves_as_one());
    let holder = config.holder.expect("a keeper");
    assert_eq!(holder.key, Path::new("/etc/tfd/holder.key"));
    assert_eq!(
        (holder.port, holder.share, holder.trash_days),
        (None, 100 << 30, 30)
    );
    for lines in [
        "hub = \"hub.example.org\"",
        "hub = \":7170\"",
        "share = \"all\"",
        "trash_days = 6",
        "public_port = 0",
        "site = \"two words\"",
    ] {
        let text = format!("{section}{whole}{lines}\n");
        assert!(parse(&text).is_err(), "{lines}");
    }
    for lines in [
        "hub = \"[2001:db8::1]:7170\"",
        "public_port = 80",
        "share = \"0\"",
        "site = \"attic\"",
    ] {
        let text = format!("{section}{whole}{lines}\n");
        let holder = parse(&text).expect(lines).holder.expect("a keeper");
        let is_heard = holder.hub.is_some() || holder.port == Some(80) || holder.site.is_some();
        assert!(is_heard || holder.share == 0, "{lines}");
    }
}
