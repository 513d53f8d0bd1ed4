//! trust: whose key is kept, and what happens when it is another one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use openssl::rsa::Rsa;

use crate::common::tf::{Person, run};
use crate::common::{HASH, PATIENCE, Server, Setup, account, is_root, public_key};

fn fingerprint(pem: &[u8]) -> String {
    let key = tfd::client::PublicKey::from_pem(pem).expect("key");
    format!("SHA256:{}", key.fingerprint())
}

pub(super) fn own_fingerprint() -> String {
    fingerprint(&public_key().public_key_to_pem().expect("pem"))
}

#[test]
fn a_newcomer_trusts_a_server_and_uses_it() {
    let server = Server::start();
    server.write("welcome", "x");
    let person = Person::new();
    let address = server.address().to_string();
    let print = own_fingerprint();
    let arguments = [
        "trust",
        "files",
        "--server",
        &address,
        "--key",
        "public.pem",
        "--hash-file",
        "hash",
        "--fingerprint",
        &print,
    ];
    let run = person.tf(&arguments);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(
        run.err.contains(&print) && run.err.contains("tf ls files:"),
        "{}",
        run.err
    );
    fs::remove_file(person.path("public.pem")).expect("remove");
    fs::remove_file(person.path("hash")).expect("remove");
    assert_eq!(person.fine(&["ls", "files:"]), "welcome\n");
    assert_eq!(
        person.fine(&["ls"]),
        "welcome\n",
        "the first is the default"
    );
    let mode = |name: &str| {
        fs::metadata(person.path(name))
            .expect("stat")
            .permissions()
            .mode()
    };
    assert_eq!(mode(".config/tf/config.toml") & 0o777, 0o600);
    assert_eq!(mode(".config/tf") & 0o777, 0o700);
}

#[test]
fn a_host_is_its_own_name_and_the_key_may_come_by_standard_input() {
    let server = Server::start();
    let person = Person::new();
    let pem = public_key().public_key_to_pem().expect("pem");
    let port = server.address().port().to_string();
    let host = format!("127.0.0.1:{port}");
    let print = own_fingerprint();
    let arguments = [
        "trust",
        &host,
        "--key",
        "-",
        "--hash-file",
        "hash",
        "--fingerprint",
        &print,
    ];
    let run = person.tf_with(&arguments, &pem);
    assert_eq!(run.code, Some(0), "{}", run.err);
    person.fine(&["ls", &format!("tf://{host}/")]);
    person.fine(&["ls", "127.0.0.1:"]);
    let run = person.tf_with(&["trust", &host, "--key", "-"], b"no key");
    assert_eq!(run.code, Some(7), "{}", run.err);
}

#[test]
fn a_person_is_asked_and_nobody_else_can_say_yes() {
    let person = Person::new();
    let print = own_fingerprint();
    person.fails(
        &["trust", "h", "--key", "public.pem"],
        2,
        &[&print, "--fingerprint"],
    );
    let (screen, code) =
        person.on_terminal("trust h --key public.pem --hash-file hash", "maybe\nno\n");
    assert_eq!(code, Some(4), "{screen}");
    assert!(
        screen.contains(&print) && screen.contains("nothing was saved"),
        "{screen}"
    );
    assert!(!person.path(".config/tf/config.toml").exists());
    let (screen, code) = person.on_terminal("trust h --key public.pem --offline", "yes\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("hash is missing"), "{screen}");
    assert!(person.fine(&["servers"]).contains(&print));
    let run = person.fails(
        &[
            "trust",
            "i",
            "--key",
            "public.pem",
            "--fingerprint",
            "SHA256:other",
        ],
        4,
        &["expected SHA256:other", &print],
    );
    assert!(!run.err.contains("config.toml"));
    person.fails(&["trust", "127.0.0.1:1"], 3, &["nothing listens there"]);
    person.fails(
        &["trust", "a b", "--key", "public.pem"],
        2,
        &["not a valid name"],
    );
}

#[test]
fn another_key_is_refused_loudly_until_it_is_said_to_be_right() {
    let server = Server::start();
    let person = Person::new();
    let address = server.address().to_string();
    let other = Rsa::generate(2048)
        .expect("key")
        .public_key_to_pem()
        .expect("pem");
    person.write("other.pem", &other);
    let wrong = fingerprint(&other);
    let right = own_fingerprint();
    let mut trust = vec!["trust", "s", "--server", &address, "--hash-file", "hash"];
    trust.extend(["--key", "other.pem", "--fingerprint", &wrong, "--offline"]);
    assert_eq!(person.tf(&trust).code, Some(0));
    // The server has another key than the one that is trusted.
    let told = [
        "DOES NOT HAVE THE KEY",
        &wrong,
        "tf trust",
        "--replace",
        "administrator",
    ];
    person.fails(&["ls", "s:"], 4, &told);
    let new = ["trust", "s", "--key", "public.pem", "--fingerprint", &right];
    person.fails(&new, 4, &["NOT THE KEY", &wrong, &right, "--replace"]);
    person.fails(&["ls", "s:"], 4, &[]);
    person.fine(&[&new[..], &["--replace"]].concat());
    person.fine(&["ls", "s:"]);
    // The same key again changes nothing and asks nothing.
    person.fine(&["trust", "s", "--key", "public.pem", "--user", "ann"]);
    assert!(person.fine(&["servers"]).contains("ann@"));
    assert!(
        fs::read_to_string(person.path(".config/tf/config.toml"))
            .expect("read")
            .contains(HASH)
    );
}

#[test]
fn tfd_keygen_prints_the_same_fingerprint() {
    let person = Person::new();
    let mut keygen = person.command(env!("CARGO_BIN_EXE_tfd"));
    let made = run(keygen.args(["keygen", "--out", "keys"]), b"");
    let line = made
        .out
        .lines()
        .find_map(|line| line.strip_prefix("fingerprint: "));
    let print = line.expect("fingerprint").trim();
    let trust = [
        "trust",
        "h",
        "--key",
        "keys/public.pem",
        "--fingerprint",
        print,
        "--offline",
    ];
    assert_eq!(person.tf(&trust).code, Some(0));
    assert!(person.fine(&["servers"]).contains(print));
}

#[test]
fn over_tls_the_server_shows_its_certificate_and_that_is_kept() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    server.write("welcome", "x");
    let mut person = Person::new();
    let address = server.tls_address().to_string();
    let shown = tfd::client::fetch_certificate(&address, PATIENCE).expect("certificate");
    let print = format!("SHA256:{}", shown.fingerprint);
    person.fails(&["trust", &address], 2, &[&print, "--fingerprint"]);
    let (screen, code) = person.on_terminal(&format!("trust {address} --hash-file hash"), "yes\n");
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains(&print) && screen.contains("CN = 127.0.0.1"),
        "{screen}"
    );
    assert_eq!(
        person.fine(&["ls", "127.0.0.1:"]),
        "welcome\n",
        "no public key is needed"
    );
    assert!(
        person
            .fine(&["servers"])
            .contains(&format!("{address} TLS {print}"))
    );
    let ping = person.fine(&["ping", "-c", "1"]);
    assert!(
        ping.contains("process   1 of 1") && !ping.contains("oob"),
        "{ping}"
    );
    person.fails(&["ping", "--by", "oob"], 2, &["over TLS"]);
    // A plain port shows none.
    let plain = server.address().to_string();
    person.fails(
        &["trust", &plain, "--timeout", "60"],
        4,
        &["no certificate", "--key public.pem"],
    );

    // Another server at the same address has another key.
    let other = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let moved = other.tls_address().to_string();
    let text = fs::read_to_string(person.path(".config/tf/config.toml")).expect("read");
    person.configure(&text.replace(&address, &moved));
    person.fails(
        &["ls", "127.0.0.1:"],
        4,
        &["DOES NOT HAVE THE KEY", "--replace", "pinned"],
    );
    let new = tfd::client::fetch_certificate(&moved, PATIENCE)
        .expect("certificate")
        .fingerprint;
    let again = ["trust", "127.0.0.1", "--fingerprint", &new];
    person.fails(&again, 4, &["NOT THE KEY", &print, &new]);
    person.fine(&[&again[..], &["--replace"]].concat());
    assert_eq!(person.fine(&["ls", "127.0.0.1:"]), "");
    person.set("TF_HASH", HASH);
    person.fails(
        &["--tls-pin", &print, "--server", &moved, "ls"],
        4,
        &["pinned"],
    );
    person.fine(&["--tls-pin", &new, "--server", &moved, "ls"]);
}

#[test]
fn an_authority_may_vouch_and_the_environment_never_overrides_an_entry() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let mut person = Person::new();
    let address = server.tls_address().to_string();
    let pem = fs::read(server.config_path().with_file_name("tls.pem")).expect("certificate");
    person.write("ca.pem", pem);
    let trust = [
        "trust",
        "s",
        "--server",
        &address,
        "--tls-ca",
        "ca.pem",
        "--hash-file",
        "hash",
    ];
    assert_eq!(person.tf(&trust).code, Some(0));
    person.fine(&["ls", "s:"]);
    assert!(person.fine(&["servers"]).contains("TLS by its authority"));
    person.fails(&["--tls", "ls", "s:"], 4, &["not trusted"]);
    // The environment speaks for servers whose entry says nothing.
    person.set("TF_TLS_PIN", &"A".repeat(43));
    person.fine(&["ls", "s:"]);
    let plain = server.address().to_string();
    person.configure(&format!(
        "[server.p]\naddress = \"{plain}\"\nhash_file = \"../../hash\"\nkey = \"../../public.pem\"\n"
    ));
    person.fine(&["ls", "p:"]);
    person.set("TF_HASH", HASH);
    person.fails(&["--server", &address, "ls"], 4, &["pinned"]);
}

#[test]
fn a_certificate_that_is_not_valid_at_this_time_points_at_the_clock() {
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::x509::X509;
    let signed = |from: i64, until: i64| {
        let (own, key) = tfd::net::tls::certificate::self_signed(&["127.0.0.1".to_owned()])
            .expect("certificate");
        let key = PKey::private_key_from_pem(&key).expect("key");
        let own = X509::from_pem(&own).expect("certificate");
        let mut builder = X509::builder().expect("builder");
        builder.set_version(2).expect("version");
        let name = own.subject_name();
        builder.set_subject_name(name).expect("subject");
        builder.set_issuer_name(name).expect("issuer");
        builder.set_pubkey(&key).expect("key");
        let alternative = openssl::x509::extension::SubjectAlternativeName::new()
            .ip("127.0.0.1")
            .build(&builder.x509v3_context(None, None))
            .expect("name");
        builder.append_extension(alternative).expect("name");
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .expect("time")
            .as_secs() as i64;
        let day = |days: i64| Asn1Time::from_unix(now + days * 86_400).expect("time");
        builder.set_not_before(&day(from)).expect("time");
        builder.set_not_after(&day(until)).expect("time");
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        let certificate = builder.build().to_pem().expect("pem");
        (certificate, key.private_key_to_pem_pkcs8().expect("pem"))
    };
    for (from, until, told) in [
        (2, 9, "not valid yet: is the clock"),
        (-9, -2, "has expired"),
    ] {
        let (certificate, key) = signed(from, until);
        let mut server = Server::with(Setup {
            tls: true,
            ..Setup::default()
        });
        server.signal(nix::sys::signal::Signal::SIGTERM);
        server.wait_for_end();
        let beside = |name: &str| server.config_path().with_file_name(name);
        fs::write(beside("tls.pem"), &certificate).expect("write");
        fs::write(beside("tls-key.pem"), key).expect("write");
        server.start_again();
        let mut person = Person::new();
        person.write("ca.pem", &certificate);
        person.set("TF_HASH", HASH);
        let address = server.tls_address().to_string();
        person.fails(
            &["--tls-ca", "ca.pem", "--server", &address, "ls"],
            4,
            &[told],
        );
    }
}

/// The entries of a person, none if nothing was saved.
fn saved(person: &Person) -> String {
    fs::read_to_string(person.path(".config/tf/config.toml")).unwrap_or_default()
}

#[test]
fn what_does_not_work_is_not_saved() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    let person = Person::new();
    person.write("wrong", "6c1");
    let (plain, tls) = (
        server.address().to_string(),
        server.tls_address().to_string(),
    );
    let pem = fs::read(server.config_path().with_file_name("tls.pem")).expect("certificate");
    person.write("ca.pem", pem);
    let pin = tfd::client::fetch_certificate(&tls, PATIENCE).expect("certificate");
    let print = own_fingerprint();
    let by_key = [
        "--server",
        &plain,
        "--key",
        "public.pem",
        "--fingerprint",
        &print,
    ];
    let by_pin = ["--server", &tls, "--fingerprint", &pin.fingerprint];
    let by_authority = ["--server", &tls, "--tls-ca", "ca.pem"];
    for way in [&by_key[..], &by_pin, &by_authority] {
        let wrong = [&["trust", "bad", "--hash-file", "wrong"], way].concat();
        person.fails(&wrong, 4, &["refused the hash", "nothing was saved"]);
        assert_eq!(saved(&person), "", "{way:?}");
        let right = [&["trust", "good", "--hash-file", "hash"], way].concat();
        person.fine(&right);
        person.fine(&["ls", "good:"]);
        fs::remove_file(person.path(".config/tf/config.toml")).expect("remove");
    }
    // A server that is not there, an authority that did not sign, a hash that is
    // wrong for a good entry: the old entry stays.
    let gone = [
        "trust",
        "x",
        "--server",
        "127.0.0.1:1",
        "--key",
        "public.pem",
        "--hash-file",
        "hash",
    ];
    let gone = [&gone[..], &["--fingerprint", &print]].concat();
    person.fails(&gone, 3, &["nothing listens there", "nothing was saved"]);
    assert_eq!(saved(&person), "");
    person.fine(&[&gone[..], &["--offline"]].concat());
    let (other, _) =
        tfd::net::tls::certificate::self_signed(&["127.0.0.1".to_owned()]).expect("made");
    person.write("other.pem", other);
    let before = saved(&person);
    for hash in [&["--hash-file", "hash"][..], &[]] {
        let other = ["trust", "y", "--server", &tls, "--tls-ca", "other.pem"];
        person.fails(
            &[&other[..], hash].concat(),
            4,
            &["not trusted", "nothing was saved"],
        );
    }
    assert_eq!(saved(&person), before);
}

#[test]
fn the_login_is_tried_where_the_password_is_at_hand() {
    if !is_root() {
        eprintln!("left out: multi-user mode needs root");
        return;
    }
    let server = Server::with(Setup {
        server: "mode = \"multi-user\"\nusers = \"users\"".to_owned(),
        users: account("ann", "right", "games:::"),
        ..Setup::default()
    });
    let person = Person::new();
    person.write("right", "right\n");
    person.write("wrong", "wrong\n");
    let address = server.address().to_string();
    let print = own_fingerprint();
    let trust = [
        "trust",
        "s",
        "--server",
        &address,
        "--key",
        "public.pem",
        "--hash-file",
        "hash",
    ];
    let trust = [&trust[..], &["--fingerprint", &print, "--user", "ann"]].concat();
    let with = |file| [&trust[..], &["--password-file", file]].concat();
    person.fails(&with("wrong"), 4, &["nothing was saved"]);
    assert_eq!(saved(&person), "");
    person.fine(&with("right"));
    person.fine(&["ls", "s:"]);
    // Without it the hash alone is tried, and that is said.
    let run = person.tf(&trust);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let other = ["trust", "t"]
        .iter()
        .chain(&trust[2..])
        .copied()
        .collect::<Vec<_>>();
    let run = person.tf(&other);
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(
        run.err.contains("password of ann was not tried"),
        "{}",
        run.err
    );
}

#[test]
fn a_file_of_the_administrator_names_address_hash_and_key() {
    let server = Server::with(Setup {
        tls: true,
        ..Setup::default()
    });
    server.write("welcome", "x");
    let person = Person::new();
    let show = |more: &[&str]| {
        let mut command = person.command(env!("CARGO_BIN_EXE_tfd"));
        command
            .arg("show-client")
            .arg("--config")
            .arg(server.config_path());
        let shown = run(command.args(more), b"");
        assert_eq!(
            (shown.code, shown.err.as_str()),
            (Some(0), ""),
            "{}",
            shown.out
        );
        shown.out
    };
    // The ports are known once it serves.
    let (tls, plain) = (
        server.tls_address().to_string(),
        server.address().to_string(),
    );
    let text = show(&[])
        .replacen("127.0.0.1:0", &tls, 1)
        .replacen("127.0.0.1:0", &plain, 1);
    assert!(
        text.contains(HASH) && text.contains("tls_pin = \"SHA256:"),
        "{text}"
    );
    let trusted = person.tf_with(&["trust", "files", "--from", "-"], text.as_bytes());
    assert_eq!(trusted.code, Some(0), "{}", trusted.err);
    assert!(!trusted.err.contains(HASH), "{}", trusted.err);
    assert_eq!(person.fine(&["ls", "files:"]), "welcome\n");
    // Without TLS, where that is what is asked for; the name is in the file.
    person.write("client.toml", &text);
    person.fine(&["trust", "--from", "client.toml", "--server", &plain]);
    assert_eq!(person.fine(&["ls", "127.0.0.1:"]), "welcome\n");
    let listed = person.fine(&["servers"]);
    assert!(
        listed.contains(&format!("{tls} TLS")) && listed.contains(&own_fingerprint()),
        "{listed}"
    );

    // A wrong hash, another key than the trusted one, other options for the same.
    person.write("wrong.toml", text.replace(HASH, "6c1"));
    let before = saved(&person);
    person.fails(
        &["trust", "w", "--from", "wrong.toml"],
        4,
        &["nothing was saved"],
    );
    let pin = text
        .split("SHA256:")
        .nth(1)
        .expect("a pin")
        .split('"')
        .next()
        .expect("its end");
    person.write("other.toml", text.replacen(pin, &"A".repeat(43), 1));
    for name in ["files", "f"] {
        person.fails(
            &["trust", name, "--from", "other.toml"],
            4,
            &["expected SHA256:AAAA"],
        );
    }
    person.fails(
        &["trust", "f", "--from", "client.toml", "--hash-file", "hash"],
        2,
        &["--from"],
    );
    person.fails(
        &["trust", "f", "--from", "client.toml", "--server", "h:1"],
        2,
        &["h:1"],
    );
    person.write("cut.toml", "name = \"x\"\n[tf]\n");
    person.fails(
        &["trust", "f", "--from", "cut.toml"],
        2,
        &["cut.toml: line 2", "show-client"],
    );
    assert_eq!(saved(&person), before);

    // As a file: nobody else may read it, and none is replaced.
    let out = person.path("out.toml");
    let out = out.to_str().expect("path");
    assert_eq!(show(&["--out", out, "--name", "::1"]), "");
    assert!(
        fs::read_to_string(out)
            .expect("read")
            .contains("\"[::1]:0\"")
    );
    let mode = fs::metadata(out).expect("stat").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut again = person.command(env!("CARGO_BIN_EXE_tfd"));
    again
        .args(["show-client", "--out", out, "--config"])
        .arg(server.config_path());
    assert_eq!(run(&mut again, b"").code, Some(1));
    let mut account = person.command(env!("CARGO_BIN_EXE_tfd"));
    account
        .args(["show-client", "ann", "--config"])
        .arg(server.config_path());
    let refused = run(&mut account, b"");
    assert!(
        refused.code == Some(1) && refused.err.contains("no accounts"),
        "{refused:?}"
    );
}

#[test]
fn a_server_of_bbftp_alone_is_saved_with_the_key_of_its_certificate() {
    let person = Person::new();
    let pin = "A".repeat(43);
    let tls = format!(
        "name = \"files\"\ntls_pin = \"SHA256:{pin}\"\n[bbftp]\ntls_address = \"h:5022\"\n"
    );
    person.write("tls.toml", &tls);
    person.fine(&["trust", "--from", "tls.toml", "--offline"]);
    let listed = person.fine(&["servers"]);
    assert!(
        listed.contains("h:5022") && listed.contains(&pin),
        "{listed}"
    );
    // Without TLS there is no key to keep.
    person.write(
        "plain.toml",
        "name = \"files\"\n[bbftp]\naddress = \"h:5021\"\n",
    );
    person.fails(
        &["trust", "--from", "plain.toml"],
        2,
        &["no server that needs an entry"],
    );
}
