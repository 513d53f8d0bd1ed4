//! `bbftp`: the command line, the commands and the output of the public client, so
//! that scripts run on unchanged. It reaches servers through [`crate::client::bbftp`]
//! alone. See bbftp(1).

mod arguments;
mod engine;
mod failure;
mod options;
mod password;
mod run;
mod script;
mod server;
mod settings;
mod speaker;
mod stop;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::Shell;
use rustix::stdio::{dup2_stderr, dup2_stdout};

use self::arguments::{Arguments, Part, parts};
use self::engine::Engine;
use self::failure::{Failure, Result, reason, shown_path};
use self::options::Opt;
use self::run::{Patience, Runner, Style};
use self::script::Script;
use self::server::{Server, ssh_command};
use self::settings::Settings;
use self::speaker::{Manner, Speaker, out};
use crate::client::bbftp::{Target, Transport};
use crate::sys::process::fork;

/// `bbftp` with the arguments of this process: its exit status.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let parts = parts(&arguments);
    let has = |opt| {
        parts
            .iter()
            .any(|part| matches!(part, Part::Option(it, _) if *it == opt))
    };
    if has(Opt::Version) {
        out(version().as_bytes());
        return ExitCode::SUCCESS;
    }
    if has(Opt::Help) {
        out(options::command().render_help().to_string().as_bytes());
        return ExitCode::SUCCESS;
    }
    let mut speaker = Speaker {
        manner: Manner {
            timestamps: has(Opt::Timestamps),
            ..Manner::default()
        },
        results: None,
    };
    match start(parts, &mut speaker) {
        Ok(code) => code.into(),
        Err(failure) => {
            if matches!(failure.code, 6 | 14 | 18) {
                out(options::command().render_usage().to_string().as_bytes());
                out(b"\n");
            }
            if failure.code != 1 {
                speaker.failed(&failure);
            }
            failure.code.into()
        }
    }
}

/// Everything before the first connection, in the order in which the public
/// client complains, and then the commands: the exit status.
fn start(parts: Vec<Part>, speaker: &mut Speaker) -> Result<u8> {
    for part in &parts {
        match part {
            Part::Option(Opt::Completions, Some(shell)) => return completions(shell),
            Part::Option(Opt::Errors, Some(file)) => redirect(file, 10, |file| dup2_stderr(file))?,
            Part::Option(Opt::Output, Some(file)) => redirect(file, 12, |file| dup2_stdout(file))?,
            _ => {}
        }
    }
    let arguments = Arguments::of(parts)?;
    speaker.manner = arguments.manner;
    let mut settings = Settings::default();
    arguments.apply(&mut settings);
    script::rc::read(arguments.rc_file.as_deref(), &mut settings, speaker)?;
    let script = script(&arguments, speaker)?;
    let (host, port) = match (&arguments.host, script.server) {
        (Some(host), _) => (host.clone(), arguments.port),
        (None, Some(server)) => (server.host, server.port.or(arguments.port)),
        (None, None) => return Err(Failure::end(14, "No hostname on command line")),
    };
    let server = Server::find(&host, port, &arguments)?;
    if arguments.user.is_none() && arguments.ssh.is_none() {
        return Err(Failure::end(18, "No username given"));
    }
    let engine = engine(&arguments, server)?;
    show_settings(&arguments, &settings, speaker);
    let background = arguments.background;
    let go = || go(&arguments, &engine, speaker, settings, &script.commands);
    if !background {
        return Ok(go());
    }
    let forked = fork(|| {
        // It has no terminal to lose: a failure changes nothing.
        let _ = rustix::process::setsid();
        speaker.say(&format!("Starting under pid {}", std::process::id()));
        go().into()
    });
    match forked {
        Ok(_) => Ok(0),
        Err(_) => Err(Failure::end(
            31,
            "Error forking while setting in background",
        )),
    }
}

/// The commands of `-e` or of the file of `-i`, whose results go to a file beside.
fn script(arguments: &Arguments, speaker: &mut Speaker) -> Result<Script> {
    let has_server = arguments.host.is_some();
    let wrong = |text: &str| Err(Failure::end(20, format!("Error on command line ({text})")));
    match (&arguments.commands, &arguments.input) {
        (None, None) => wrong("-i or -e option are mandatory"),
        (Some(_), Some(_)) => wrong("Only one of -i or -e option are permitted"),
        (Some(commands), None) => Script::of_line(commands, has_server),
        (None, Some(input)) => {
            let mut results = input.clone().into_os_string();
            results.push(".res");
            speaker.results = Some(create(&results, 22, "result file")?);
            let text = fs::read(input).map_err(|e| {
                let text = format!("Error reading file {} : {}", shown_path(input), reason(&e));
                speaker.failed(&Failure::end(201, &*text));
                Failure::end(1, text)
            })?;
            Script::of_file(&text, has_server)
        }
    }
}

fn create(file: &OsStr, code: u8, what: &str) -> Result<File> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(file);
    opened.map_err(|e| {
        let file = shown_path(Path::new(file));
        let text = format!("Error opening {what} ({file}) : {}", reason(&e));
        Failure::end(code, text)
    })
}

/// Makes a file standard output or standard error.
fn redirect(
    file: &OsStr,
    code: u8,
    dup: impl FnOnce(&File) -> rustix::io::Result<()>,
) -> Result<()> {
    let to = create(file, code, "file")?;
    dup(&to).map_err(|e| Failure::end(code + 1, format!("Error dup on file : {e}")))
}

/// The way to the server, with the password if one is needed.
fn engine(arguments: &Arguments, server: Server) -> Result<Engine> {
    let mut target = Target::new(&server.host, server.port);
    target.transport = match (&arguments.ssh, server.tls) {
        (Some(ssh), _) => {
            let user = arguments.user.as_deref();
            Transport::Command(ssh_command(ssh, user, &server.host)?)
        }
        (None, Some(tls)) => Transport::Tls(tls),
        (None, None) => Transport::Tcp,
    };
    if let (None, Some(user)) = (&arguments.ssh, &arguments.user) {
        let password = password::get(arguments.password.as_deref())?;
        let password = password.as_bytes().to_vec();
        target.login = Some((user.clone().into_bytes(), password.into()));
    }
    if let Some(ports) = arguments.active {
        target.versions = 1..=2;
        target.ports = ports.map(|(min, max)| min..=max);
    }
    Ok(Engine { target })
}

/// Carries out the commands: the exit status.
fn go(
    arguments: &Arguments,
    engine: &Engine,
    speaker: &Speaker,
    settings: Settings,
    commands: &[Vec<u8>],
) -> u8 {
    let patience = Patience {
        tries: arguments.tries,
        wait: arguments.retry_wait,
        cancel: engine.target.cancel.clone(),
    };
    let manner = arguments.manner;
    let is_told = manner.verbose || manner.debug || manner.statistics;
    let style = Style {
        bars: arguments.progress && !is_told && !arguments.background,
        simulate: arguments.simulate,
    };
    if let Err(e) = stop::follow(engine.target.cancel.clone()) {
        let text = format!("Error setting signal SIGINT : {}", reason(&e));
        speaker.failed(&Failure::end(32, text));
        return 32;
    }
    if let Some(umask) = settings.local_umask {
        rustix::process::umask(umask.into());
    }
    let code = Runner::new(engine, speaker, settings, patience, style).run(commands);
    match stop::reason() {
        Some(killed) => {
            speaker.failed(&killed);
            killed.code
        }
        None => code,
    }
}

/// What `-d` shows before anything is done.
fn show_settings(arguments: &Arguments, settings: &Settings, speaker: &Speaker) {
    if arguments.simulate {
        speaker.debug("** SIMULATION MODE: No data written **");
    }
    speaker.debug("Starting parameters -----------------");
    speaker.debug(&format!("number of tries   = {}", arguments.tries));
    for line in settings.lines() {
        speaker.debug(&line);
    }
    speaker.debug("-------------------------------------");
}

/// Prints the completions of a shell.
fn completions(shell: &OsStr) -> Result<u8> {
    let named = shell.to_str().unwrap_or_default();
    let Ok(shell) = Shell::from_str(named, true) else {
        let text = format!("No completions for {}", shown_path(Path::new(shell)));
        return Err(Failure::end(6, text));
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut options::command(), "bbftp", &mut text);
    out(&text);
    Ok(0)
}

/// What `-v` prints.
fn version() -> String {
    let tries = arguments::TRIES;
    let settings = Settings::default();
    let (send, receive) = (settings.send_window, settings.receive_window);
    let streams = settings.streams;
    format!(
        "bbftp version {} (tfd)\n\
         Compiled with  :   default port 5021\n\
         \x20                  compression with zlib\n\
         \x20                  encryption with RSA and TLS 1.3\n\
         \x20                  default ssh command = ssh -q \n\
         \x20                  default ssh remote command = bbftpd -s \n\
         \x20                  default number of tries = {tries}  \n\
         \x20                  default sendwinsize = {send} Kbytes\n\
         \x20                  default recvwinsize = {receive} Kbytes\n\
         \x20                  default number of stream = {streams} \n",
        env!("CARGO_PKG_VERSION")
    )
}
