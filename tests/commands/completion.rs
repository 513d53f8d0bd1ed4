//! What Tab gives, in real shells: bash, zsh and fish, of which none may be
//! missing.

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

/// The lines that fish would offer for the word at the end of a line, without
/// what they do.
fn offered_by_fish(person: &Person, line: &str) -> Vec<String> {
    let script = "tf completions fish | source; complete -C \"$LINE\"";
    let mut fish = person.command("fish");
    fish.env("LINE", line).args(["--no-config", "-c", script]);
    let run = run(&mut fish, b"");
    assert_eq!(
        (run.code, run.err.as_str()),
        (Some(0), ""),
        "apt-get install fish"
    );
    run.out
        .lines()
        .map(|line| line.split('\t').next().unwrap_or(line).to_owned())
        .collect()
}

/// What stands on the line of a zsh after Tab at its end, in a terminal.
fn completed_by_zsh(person: &Person, line: &str) -> String {
    let script = r#"
        zmodload zsh/zpty || exit 1
        zpty shell zsh -f -i
        zpty -w shell "autoload -Uz compinit; compinit -u -D; source <(tf completions zsh)"
        zpty -w shell 'show() { print -r -- "<<$BUFFER>>" }; zle -N show'
        zpty -w shell "bindkey '^I' complete-word; bindkey '^T' show; print rea''dy"
        zpty -r shell out '*ready*'
        zpty -w -n shell "$LINE"$'\t\x14'
        zpty -r shell out '*<<*>>*'
        out=${out##*<<}
        print -rn -- "${out%%>>*}"
    "#;
    let mut zsh = person.command("zsh");
    zsh.env("LINE", line)
        .env("TERM", "xterm")
        .args(["-f", "-c", script]);
    let run = run(&mut zsh, b"");
    assert_eq!(
        (run.code, run.err.as_str()),
        (Some(0), ""),
        "apt-get install zsh"
    );
    run.out
}

/// A server with some files, and a person who knows it as `files`; `tf` is in
/// the path.
fn files() -> (Server, Person) {
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
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_tf"))
        .parent()
        .expect("directory");
    let path = std::env::var("PATH").expect("path");
    person.set("PATH", &format!("{}:{path}", bin.display()));
    (server, person)
}

#[test]
fn fish_completes_commands_options_servers_and_paths() {
    let (_server, person) = files();
    let offered = |line| offered_by_fish(&person, line);
    assert_eq!(offered("tf rmd"), ["rmdir"]);
    assert_eq!(offered("tf ls --rec"), ["--recursive"]);
    assert_eq!(offered("tf ls f"), ["fast:", "files:"]);
    assert_eq!(
        offered("tf rm reports/m"),
        ["reports/may.pdf", "reports/more/"]
    );
    assert_eq!(
        offered("tf cat files:reports/ju"),
        ["files:reports/june.pdf"]
    );
    assert_eq!(offered("tf put publ"), ["public.pem"]);
    assert_eq!(offered("tf put public.pem files:r"), ["files:reports/"]);
}

#[test]
fn zsh_completes_commands_options_servers_and_paths() {
    let (_server, person) = files();
    // A blank follows where a word is whole.
    for (line, completed) in [
        ("tf rmd", "tf rmdir "),
        ("tf ls --rec", "tf ls --recursive "),
        ("tf ls fi", "tf ls files:"),
        ("tf ls rep", "tf ls reports/"),
        ("tf rm reports/ma", "tf rm reports/may.pdf "),
        ("tf cat files:rep", "tf cat files:reports/"),
        ("tf cat files:reports/ju", "tf cat files:reports/june.pdf "),
        ("tf put publ", "tf put public.pem "),
    ] {
        assert_eq!(completed_by_zsh(&person, line), completed, "{line}");
    }
}

#[test]
fn commands_options_servers_and_remote_paths_are_completed() {
    let (_server, person) = files();
    assert_eq!(offered(&person, "tf rmd"), ["rmdir"]);
    // Those that help leaves out, too.
    assert_eq!(offered(&person, "tf ls --tls-p"), ["--tls-pin"]);
    assert_eq!(offered(&person, "tf put --min"), ["--min-size"]);
    assert_eq!(offered(&person, "tf ls fi"), ["files:"]);
    assert_eq!(offered(&person, "tf ls f"), ["fast:", "files:"]);
    assert_eq!(offered(&person, "tf ls rep"), ["reports/"]);
    assert_eq!(
        offered(&person, "tf rm reports/m"),
        ["reports/may.pdf", "reports/more/"]
    );
    // bash has the word up to the colon already.
    assert_eq!(offered(&person, "tf ls files:rep"), ["reports/"]);
    assert_eq!(
        offered(&person, "tf cat files:reports/ju"),
        ["reports/june.pdf"]
    );
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
