//! The shell without a terminal: scripts, and where its paths lead.

use std::fs;

use tfd::client::{ClientError, Connection, PublicKey, Target};

use crate::common::tf::Person;
use crate::common::{HASH, Server, Setup, patient, public_key, wait_until};

#[test]
fn a_script_runs_over_one_session_with_paths_from_where_it_is() {
    let server = Server::start();
    server.write("a/b/f", "content");
    let mut person = Person::of(&server);
    person.set("SHELL", "/bin/sh");
    person.write("here/local file", "sent");
    let script = "\
# a comment, and an empty line

pwd
cd a/b
pwd
sha256 f
lcd here
put 'local file'
put \"local file\" ../up
get f back
cd ..
ls
mkdir new dirs/../other
cd -
pwd
rm f
cd
ls -R
!echo here: $(ls)
lpwd
exit
rm -r a
";
    let run = person.tf_with(&["shell"], script.as_bytes());
    assert_eq!(run.code, Some(0), "{}", run.err);
    let address = server.address();
    let here = person.path("here").canonicalize().expect("path");
    let digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    let expected = format!(
        "{address}:/\n{address}:/a/b\n{digest}  a/b/f\nb/\nup\n{address}:/a/b\n\
         a/\na/b/\na/b/local file\na/new/\na/other/\na/up\nhere: back local file\n{}\n",
        here.display()
    );
    assert_eq!(run.out, expected, "{}", run.err);
    assert_eq!(fs::read(here.join("back")).expect("read"), b"content");
    assert_eq!(
        (server.read("a/b/local file"), server.read("a/up")),
        (b"sent".into(), b"sent".into())
    );
    let sessions = server
        .log()
        .iter()
        .filter(|line| line.contains(" session "))
        .count();
    assert!(sessions <= 2, "{:#?}", server.log());
}

#[test]
fn trees_and_patterns_go_there_and_back() {
    let server = Server::start();
    let person = Person::of(&server);
    for name in [
        "photos/may/1.jpg",
        "photos/2.jpg",
        "a.txt",
        "b.txt",
        "[c].txt",
        ".d.txt",
    ] {
        person.write(name, name);
    }
    let script = "\
mkdir texts
put -r photos /
put *.txt texts
put '[c].txt' one
cd photos
get -r may copy
get '*.jpg' .
cd ..
ls -R
mirror --delete :photos again
";
    let run = person.tf_with(&["-q", "shell"], script.as_bytes());
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    for name in [
        "photos/may/1.jpg",
        "photos/2.jpg",
        "texts/a.txt",
        "texts/b.txt",
        "texts/[c].txt",
    ] {
        assert!(server.exists(name), "{name}");
    }
    assert!(!server.exists("texts/.d.txt"));
    assert_eq!(server.read("one"), b"[c].txt");
    let back = |name: &str| fs::read(person.path(name)).expect("read");
    assert_eq!(back("2.jpg"), b"photos/2.jpg");
    assert_eq!(back("copy/1.jpg"), b"photos/may/1.jpg");
    assert_eq!(back("again/may/1.jpg"), b"photos/may/1.jpg");
}

#[test]
fn a_script_ends_with_the_first_failure_unless_it_is_to_go_on() {
    let server = Server::start();
    server.write("f", "x");
    let person = Person::of(&server);
    let script = "mkdir one\nstat missing\nfrobnicate\nls --no-such\nls 'a\ncd f\nmkdir two\n";
    person.write("script", script);
    let run = person.tf(&["shell", "--batch", "script"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert!(run.err.contains("missing: no such file"), "{}", run.err);
    assert!(
        run.err.ends_with("tf: script:2: this line failed\n"),
        "{}",
        run.err
    );
    assert!(server.exists("one") && !server.exists("two"));
    let run = person.tf_with(&["shell", "-k", "-b", "-"], script.as_bytes());
    assert_eq!(run.code, Some(1), "{}", run.err);
    for told in [
        "input:1: this line failed",
        ": exists already",
        "no command frobnicate: see help",
        "unexpected argument '--no-such'",
        "a quote is not closed",
        "f: not a directory",
    ] {
        assert!(run.err.contains(told), "{told}: {}", run.err);
    }
    assert!(server.exists("two"));
    for (script, code) in [
        ("frobnicate", 2),
        ("lcd /no/such", 7),
        ("shell", 2),
        ("cd a b", 2),
    ] {
        let run = person.tf_with(&["shell"], script.as_bytes());
        assert_eq!(run.code, Some(code), "{script}: {}", run.err);
    }
    let run = person.tf_with(&["shell"], b"help\nhelp ls\n? cd\nls --help\n");
    assert_eq!(run.code, Some(0), "{}", run.err);
    for word in ["lcd", "watch", "--recursive", "Examples"] {
        assert!(run.out.contains(word), "{word}: {}", run.out);
    }
}

#[test]
fn a_server_in_place_of_a_command_opens_a_shell_and_commands_go_first() {
    let (server, other) = (Server::start(), Server::start());
    server.write("d/there", "x");
    other.write("elsewhere", "x");
    let mut person = Person::new();
    let entry = |name: &str, server: &Server| {
        format!(
            "[server.{name}]\naddress = \"{}\"\nkey = \"../../public.pem\"\nhash = \"testhash\"\n",
            server.address()
        )
    };
    person.configure(&[entry("files", &server), entry("ls", &other)].concat());
    for (arguments, out) in [
        (&["files"][..], "d/\n"),
        (&["files:d"], "there\n"),
        (&["-q", "files"], "d/\n"),
        (&["ls:"], "elsewhere\n"),
        (&["shell", "ls"], "elsewhere\n"),
    ] {
        let run = person.tf_with(arguments, b"ls\n");
        assert_eq!(
            (run.code, run.out.as_str()),
            (Some(0), out),
            "{arguments:?}: {}",
            run.err
        );
    }
    // Two servers in one shell.
    let run = person.tf_with(&["files"], b"cd ls:\nls\ncd files:d\nls\nls ls:\n");
    assert_eq!(run.out, "elsewhere\nthere\nelsewhere\n", "{}", run.err);
    person.set("TF_KEY", "public.pem");
    person.set("TF_HASH", "testhash");
    let address = format!("tf://{}/d", server.address());
    assert_eq!(person.tf_with(&[&address], b"ls\n").out, "there\n");
    let address = server.address().to_string();
    assert_eq!(
        person.tf_with(&[&address], b"pwd\n").out,
        format!("{address}:/\n")
    );
    person.fails(&["lss"], 2, &["unrecognized subcommand", "ls"]);
    person.fails(&["filez"], 2, &["unrecognized subcommand", "Usage"]);
    person.fails(&["files:missing"], 1, &["missing"]);
    person.fails(&[], 2, &["Usage"]);
    person.fails(&["127.0.0.1:1"], 3, &["can't connect"]);
}

#[test]
fn an_interrupt_of_a_program_that_ends_leaves_the_session_alone() {
    const TIMES: usize = 300;
    let server = Server::start();
    let mut person = Person::of(&server);
    person.set("SHELL", "/bin/sh");
    // It comes to tf as the program's last deed.
    let lines = (0..TIMES).map(|n| format!("!kill -INT $PPID\nmkdir d{n}\n"));
    let run = person.tf_with(&["shell"], lines.collect::<String>().as_bytes());
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    assert_eq!(server.names("").len(), TIMES);
}

#[test]
fn a_session_that_the_server_has_ended_is_opened_anew() {
    let server = "idle_timeout = 2".to_owned();
    let server = Server::with(Setup {
        server,
        ..Setup::default()
    });
    let person = Person::of(&server);
    let run = person.tf_with(&["shell"], b"mkdir a\n!sleep 4\nmkdir b\n");
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.err.contains("was lost: reconnecting"), "{}", run.err);
    assert!(server.exists("a") && server.exists("b"));
}

#[test]
fn a_session_that_is_lost_is_known_to_be_over_tls_too() {
    let server = "idle_timeout = 3".to_owned();
    let server = Server::with(Setup {
        server,
        tls: true,
        ..Setup::default()
    });
    let key = PublicKey::from_pem(&public_key().public_key_to_pem().expect("pem")).expect("key");
    let plain = patient(Target::new(&server.address().to_string(), key, HASH));
    for target in [plain, server.tls_target()] {
        let mut connection = Connection::open(&target).expect("connection");
        assert!(connection.echo("x").expect("echo"));
        assert!(!connection.is_lost());
        wait_until("its end", || connection.is_lost());
        let connection = Connection::open(&target).expect("connection");
        target.cancel.cancel();
        assert!(connection.is_lost());
        assert!(matches!(
            Connection::open(&target),
            Err(ClientError::Interrupted)
        ));
    }
}
