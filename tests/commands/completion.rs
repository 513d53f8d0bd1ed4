//! What Tab gives, in a real bash where one is there.

use crate::common::tf::{Person, run};
use crate::common::{HASH, Server};

/// The words that bash would offer behind a line.
fn offered(person: &Person, line: &str) -> Vec<String> {
    let script = r#"
        eval "$("$TF" completions bash)"
        tf() { "$TF" "$@"; }
        COMP_LINE=$LINE COMP_POINT=${#LINE} COMP_TYPE=9
        # As bash cuts a line into words: at blanks and at colons.
        read -ra COMP_WORDS <<< "${LINE//:/ : }"
        [[ $LINE == *[\ :] ]] && [[ $LINE != *: ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        current=${COMP_WORDS[COMP_CWORD]}
        export PATH=$(dirname "$TF"):$PATH
        _tf_with_colons tf "$current" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = person.command("bash");
    bash.env("TF", env!("CARGO_BIN_EXE_tf")).env("LINE", line);
    let run = run(bash.args(["--norc", "-c", script]), b"");
    assert_eq!(run.code, Some(0), "{}", run.err);
    run.out.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn commands_options_servers_and_remote_paths_are_completed() {
    let server = Server::start();
    server.write("reports/may.pdf", "x");
    server.write("reports/june.pdf", "x");
    server.mkdir("reports/more");
    let mut person = Person::new();
    person.configure(&format!(
        "default = \"files\"\n[server.files]\naddress = \"{}\"\nkey = \"../../public.pem\"\nhash = \"{HASH}\"\n\
         [server.fast]\naddress = \"127.0.0.1:1\"\n",
        server.address()
    ));
    person.set("HISTFILE", "/dev/null");
    assert_eq!(offered(&person, "tf rmd"), ["rmdir"]);
    assert_eq!(offered(&person, "tf ls fi"), ["files:"]);
    assert_eq!(offered(&person, "tf ls f"), ["fast:", "files:"]);
    assert_eq!(offered(&person, "tf ls rep"), ["reports/"]);
    assert_eq!(offered(&person, "tf rm reports/m"), ["reports/may.pdf", "reports/more/"]);
    // bash has the word up to the colon already.
    assert_eq!(offered(&person, "tf ls files:rep"), ["reports/"]);
    assert_eq!(offered(&person, "tf cat files:reports/ju"), ["reports/june.pdf"]);
}

#[test]
fn a_server_that_asks_for_a_password_is_not_waited_for() {
    let server = Server::start();
    let person = Person::new();
    person.configure(&format!(
        "default = \"s\"\n[server.s]\naddress = \"{}\"\nkey = \"../../public.pem\"\nhash = \"{HASH}\"\nuser = \"ann\"\n",
        server.address()
    ));
    assert!(offered(&person, "tf ls x").is_empty());
}

#[test]
fn there_is_a_script_for_each_shell() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = person.fine(&["completions", shell]);
        assert!(script.contains("TF_COMPLETE"), "{shell}: {script}");
    }
}
