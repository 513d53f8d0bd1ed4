//! Options and what is wrong with them, before any connection.

use super::Caller;

#[test]
fn what_is_wrong_with_the_command_line_has_its_number() {
    let caller = Caller::new();
    caller.write("key", "");
    for (arguments, code, text) in [
        (
            "-u a h",
            20,
            "Error on command line (-i or -e option are mandatory)",
        ),
        (
            "-u a -e df -i pw h",
            20,
            "Error on command line (Only one of -i or -e option are permitted)",
        ),
        ("-e df -u a", 14, "No hostname on command line"),
        ("-e df 127.0.0.1", 18, "No username given"),
        ("-e df -u a a+b", 15, "Invalid hostname (a+b)"),
        ("-e df -u a 1.2.3", 16, "Invalid IP address (1.2.3)"),
        (
            "-e df -u a none.invalid",
            17,
            "Hostname not found (none.invalid)",
        ),
        ("-p x h", 3, "Number of streams must be numeric and > 0"),
        ("-r 0 h", 4, "Number of tries must be numeric > 0"),
        ("-w x h", 4, "Control port must be numeric"),
        ("-D5:1 h", 4, "Invalid port range : 5:1"),
        (
            "-I nokey h",
            5,
            "SSH identity file (nokey) cannot be stated",
        ),
        ("-Z h", 6, "Error on command line (unsupported option -Z)"),
        ("-i nofile h", 7, "Input file (nofile) cannot be stated"),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let run = caller.run(&[&["-R", "none"], &arguments[..]].concat());
        let expected = format!("BBFTP-ERROR-{code:05} : {text}\n");
        assert_eq!((run.code, run.err), (Some(code), expected), "{arguments:?}");
        let has_usage = [6, 14, 18].contains(&code);
        assert_eq!(
            run.out.contains("bbftp [OPTIONS]"),
            has_usage,
            "{arguments:?}"
        );
    }
    let run = caller.run(&["-u", "a", "-e", "cd bbftp://h", "--password-file", "pw"]);
    assert_eq!(
        run.err,
        "BBFTP-ERROR-00024 : Unable to parse command  : cd bbftp://h\n"
    );
}

#[test]
fn version_help_and_completions_need_nothing_else() {
    let caller = Caller::new();
    for option in ["-v", "--version", "-Vv"] {
        let run = caller.run(&[option]);
        assert_eq!(run.code, Some(0));
        assert!(run.out.starts_with("bbftp version "), "{}", run.out);
        let line = "                   default number of tries = 5  \n";
        assert!(run.out.contains(line), "{}", run.out);
    }
    let help = caller.run(&["--help"]).out;
    for text in [
        "-p <N>",
        "--tls-pin <SHA256:…>",
        "mput PATTERN",
        "~/.bbftprc",
    ] {
        assert!(help.contains(text), "{text}: {help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let run = caller.run(&["--completions", shell]);
        assert_eq!(run.code, Some(0), "{}", run.err);
        assert!(run.out.contains("tls-pin"), "{}", run.out);
    }
    assert_eq!(caller.run(&["--completions", "csh"]).code, Some(6));
}

#[test]
fn an_rc_file_that_can_not_be_used_ends_the_program() {
    let caller = Caller::new();
    let run = |rc| caller.run(&["-R", rc, "-u", "a", "-e", "df", "h"]);
    let missing = run("none-such");
    assert_eq!(missing.code, Some(1));
    let text = "BBFTP-ERROR-00200 : Error opening file none-such : No such file or directory\n";
    assert_eq!(missing.err, text);
    caller.write("rc", "setnbstream many\n");
    let wrong = run("rc");
    assert_eq!(wrong.code, Some(1));
    let text = "Number of streams in bbftprc file must be numeric and > 0";
    assert_eq!(wrong.err, format!("BBFTP-WARNING-00019 : {text}\n"));
}

#[test]
fn output_goes_to_the_files_that_are_named() {
    let caller = Caller::new();
    let run = caller.run(&["-o", "out", "-f", "err", "-Z"]);
    assert_eq!((run.code, &*run.out, &*run.err), (Some(6), "", ""));
    assert!(caller.read("out").contains("bbftp [OPTIONS]"));
    assert!(caller.read("err").starts_with("BBFTP-ERROR-00006 : "));
    let run = caller.run(&["-f", "/no/file"]);
    assert_eq!(run.code, Some(10));
}

#[test]
fn ssh_gets_its_arguments_and_asks_no_password() {
    let caller = Caller::new();
    caller.write("ssh", "#!/bin/sh\nprintf '%s\\n' \"$@\" >called\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(caller.path("ssh"), mode).expect("mode");
    let arguments = [
        "-r",
        "1",
        "-u",
        "ann",
        "-S",
        "-L",
        "./ssh -q",
        "-E",
        "tfd bbftp --stdin",
    ];
    let run = caller.run(&[&arguments[..], &["-I", "pw", "-e", "df .", "127.0.0.1"]].concat());
    assert_ne!(run.code, Some(0), "{}", run.err);
    assert_eq!(run.out, "");
    let expected = "-q\n-x\n-a\n-oFallBackToRsh no\n-oBatchMode yes\n\
                    -oStrictHostKeyChecking no\n-i\npw\n-l\nann\n127.0.0.1\ntfd bbftp --stdin\n";
    assert_eq!(caller.read("called"), expected);
}
