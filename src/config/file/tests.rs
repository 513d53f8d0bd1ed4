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
        ("", "", "", "tf.listen: empty"),
        (
            "\"127.0.0.1:2\"",
            tls,
            tls_listen,
            "tf.tls_listen: 127.0.0.1:2 stands twice",
        ),
        ("", "", tls_listen, "server.tls_certificate is missing"),
        ("", "", tls_listen, "server.tls_key is missing"),
        (
            "",
            "",
            "tls_listen = [\"localhost\"]",
            "tf.tls_listen: \"localhost\" is no address:port",
        ),
        (
            plain,
            "tls_key = \"k\"",
            "",
            "server.tls_key is of no use without tf.tls_listen",
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
    assert_eq!(config.tf.private_key, Path::new("/k.pem"));
    assert_eq!(config.server.handshake_limit, Duration::from_secs(10));
    assert_eq!(config.server.idle_limit, None);
    assert_eq!(config.tf.buffer_limit, 8 << 20);
    assert_eq!(config.server.mode, Mode::SingleUser);
    assert_eq!(config.server.stop_grace, Duration::from_secs(3));
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
        "/etc/tfd/tfd.toml:9: tf.listen: \"localhost\" is no address:port",
        "/etc/tfd/tfd.toml:11: tf.hash: ",
        "/etc/tfd/tfd.toml:8: tf.notify_interval_floor: ",
    ]) {
        assert!(problem.starts_with(begin), "{problem}");
    }
    assert_eq!(problems.len(), 6);
}

#[test]
fn unknown_and_missing_keys_are_refused_by_name() {
    let problems = parse(&PLAIN.replace("hash", "hsah")).expect_err("unknown");
    assert!(
        problems[0].contains("tfd.toml:7: unknown field `hsah`"),
        "{problems:?}"
    );
    let problems = parse(&PLAIN.replace("hash = \"h\"\n", "")).expect_err("missing");
    assert!(
        problems[0].contains("the key hash is missing"),
        "{problems:?}"
    );
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
    assert_eq!(
        config.tf.tlb_pool.as_deref(),
        Some(Path::new("/etc/tfd/pool"))
    );
    assert_eq!(config.tf.tlb_dns.as_deref(), Some("_tf._tcp.example.org"));
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
