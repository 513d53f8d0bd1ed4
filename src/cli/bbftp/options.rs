//! The options: one table for the command line, the help and the completions.

use clap::{Arg, ArgAction, Command, ValueHint};

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opt {
    User,
    Commands,
    Input,
    Port,
    Streams,
    Compress,
    Active,
    Tries,
    RetryWait,
    Tls,
    TlsPin,
    TlsCa,
    PasswordFile,
    PasswordDescriptor,
    Ssh,
    SshBatch,
    SshRemote,
    SshLocal,
    SshIdentity,
    Verbose,
    Statistics,
    Warnings,
    Debug,
    Timestamps,
    NoProgress,
    Output,
    Errors,
    Background,
    Simulate,
    Qbss,
    RcFile,
    Private,
    Service,
    Version,
    Help,
    Completions,
}

/// What follows an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    /// A value, as it is named in the help.
    Value(&'static str),
    /// The name of a file.
    File,
    /// A value right behind the letter, or none.
    Attached,
}

/// How an option is written.
pub(super) struct Spec {
    pub(super) opt: Opt,
    /// Empty if it has none.
    pub(super) letter: &'static str,
    /// Empty if it has a letter only.
    pub(super) long: &'static str,
    pub(super) takes: Takes,
    group: &'static str,
    help: &'static str,
}

const WHERE: &str = "Server";
const WHAT: &str = "Commands";
const HOW: &str = "Transfers";
const SSH: &str = "Over ssh";
const SHOW: &str = "Output";
/// Not shown: accepted to be refused with the right number.
const HIDDEN: &str = "";

macro_rules! options {
    ($($group:ident $opt:ident $letter:literal, $long:literal, $takes:expr, $help:literal;)*) => {
        &[$(Spec {
            opt: Opt::$opt,
            letter: $letter,
            long: $long,
            takes: $takes,
            group: $group,
            help: $help,
        },)*]
    };
}

/// All of them, in the order of the help.
pub(super) static OPTIONS: &[Spec] = options! {
    WHAT Commands "e", "", Takes::Value("COMMANDS"), "What to do: commands with semicolons between them";
    WHAT Input "i", "", Takes::File, "A file with a command on each line; results go to FILE.res";
    WHERE User "u", "", Takes::Value("USER"), "The account to log in with";
    WHERE Port "w", "", Takes::Value("PORT"), "The server's control port [default: 5021, with TLS 5022]";
    WHERE PasswordFile "", "password-file", Takes::File, "A file whose first line is the password [default: ask]";
    WHERE PasswordDescriptor "", "password-fd", Takes::Value("N"), "An open file descriptor to read the password from";
    WHERE Tls "", "tls", Takes::Nothing, "Connect with TLS to the server that tf trust has saved, or that one of the system's authorities has certified";
    WHERE TlsPin "", "tls-pin", Takes::Value("SHA256:…"), "Connect with TLS to the server whose certificate has this public key";
    WHERE TlsCa "", "tls-ca", Takes::File, "Connect with TLS to a server that one of these authorities, PEM, has certified";
    SSH Ssh "s", "", Takes::Nothing, "Start the server by ssh";
    SSH SshBatch "S", "", Takes::Nothing, "The same without questions: no passwords, no check of host keys";
    SSH SshRemote "E", "", Takes::Value("COMMAND"), "What to run there [default: bbftpd -s]; with tfd: tfd bbftp --stdin";
    SSH SshLocal "L", "", Takes::Value("COMMAND"), "The ssh command here [default: ssh -q]";
    SSH SshIdentity "I", "", Takes::File, "The private key for ssh";
    HOW Streams "p", "", Takes::Value("N"), "Parallel streams of a transfer [default: 1]";
    HOW Compress "c", "", Takes::Nothing, "Compress what is sent";
    HOW Active "D", "", Takes::Attached, "Let the server connect (version 2), to a port from MIN to MAX: -DMIN:MAX";
    HOW Tries "r", "", Takes::Value("N"), "How often to try a command and a connection [default: 5]";
    HOW RetryWait "", "retry-wait", Takes::Value("SECONDS"), "The pause before another try [default: 30]";
    HOW Simulate "n", "", Takes::Nothing, "Simulate transfers: connections are made, nothing is written";
    HOW Qbss "q", "", Takes::Nothing, "Mark packets for the QBone scavenger service";
    HOW RcFile "R", "", Takes::File, "The rc file, or none [default: ~/.bbftprc, /etc/bbftp.conf]";
    SHOW Verbose "V", "", Takes::Nothing, "Show commands, answers and speeds";
    SHOW Statistics "m", "", Takes::Nothing, "Print numbers for programs, and the entries of dir";
    SHOW Warnings "W", "", Takes::Nothing, "Show warnings";
    SHOW Debug "d", "", Takes::Nothing, "Show settings";
    SHOW Timestamps "t", "", Takes::Nothing, "Put the time in front of lines";
    SHOW NoProgress "", "no-progress", Takes::Nothing, "Draw no bars on a terminal";
    SHOW Output "o", "", Takes::File, "Write standard output to this file";
    SHOW Errors "f", "", Takes::File, "Write standard error to this file";
    SHOW Background "b", "", Takes::Nothing, "Go on in the background once the password is known";
    SHOW Completions "", "completions", Takes::Value("SHELL"), "Print completions for bash, zsh or fish";
    SHOW Help "", "help", Takes::Nothing, "Print this help";
    SHOW Version "v", "version", Takes::Nothing, "Print the version and the defaults";
    HIDDEN Private "P", "", Takes::Value("STRING"), "";
    HIDDEN Service "g", "", Takes::Value("SERVICE"), "";
};

/// The command for help and completions; the command line is read elsewhere.
pub(super) fn command() -> Command {
    let command = Command::new("bbftp")
        .about("Transfer files in parallel streams")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .override_usage(
            "bbftp [OPTIONS] -u USER -e COMMANDS HOST\n       bbftp [OPTIONS] -u USER -i FILE HOST",
        )
        .after_help(COMMANDS);
    let shown = OPTIONS.iter().filter(|spec| spec.group != HIDDEN);
    let command = shown.fold(command, |command, spec| command.arg(argument(spec)));
    command.arg(
        Arg::new("host")
            .value_name("HOST")
            .help("The server; TURLs in commands may name it instead: bbftp://HOST[:PORT]/path")
            .value_hint(ValueHint::Hostname),
    )
}

fn argument(spec: &Spec) -> Arg {
    let id = match spec.letter {
        "" => spec.long,
        letter => letter,
    };
    let mut argument = Arg::new(id).help(spec.help).help_heading(spec.group);
    if let Some(letter) = spec.letter.chars().next() {
        argument = argument.short(letter);
    }
    if !spec.long.is_empty() {
        argument = argument.long(spec.long);
    }
    match spec.takes {
        Takes::Nothing => argument.action(ArgAction::SetTrue),
        Takes::Attached => argument.value_name("MIN:MAX").num_args(0..=1),
        Takes::Value(name) => argument.value_name(name),
        Takes::File => argument.value_name("FILE").value_hint(ValueHint::FilePath),
    }
}

/// What follows the options in the help.
const COMMANDS: &str = "\
Commands: put LOCAL [REMOTE]     get REMOTE [LOCAL]      one file
          mput PATTERN [DIR]     mget PATTERN [DIR]      all files that match
          cd DIR   lcd DIR   mkdir DIR   dir DIR   rm FILE   stat FILE   df DIR
          setnbstream N    setbuffersize KIB    setoption [no]OPTION
OPTION is createdir, tmpfile, keepmode, keepaccess, gzip, resume, sha256, qbss.
A name with blanks is written in quotes. A line that begins with ! or # is a comment.

Examples:
  bbftp -u ann -p 4 --tls -e 'put big.tar' files.example.org
  bbftp -u ann -e 'setoption resume; cd in; mget *.dat data' files.example.org
  bbftp -s -E 'tfd bbftp --stdin' -e 'get \"a b\"' files.example.org
bbftp(1) has all commands, exit statuses and what protects a password.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_completions_can_be_made() {
        command().debug_assert();
        let help = command().render_help().to_string();
        for word in ["-e", "--tls-pin", "bbftp://HOST", "setnbstream"] {
            assert!(help.contains(word), "{word}");
        }
    }
}
