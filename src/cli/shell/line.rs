//! One line of a shell: a command of the shell itself, or one of `tf`.

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::local::{LOCAL_COMMANDS, Where, change_local, escape, print, print_local, run, usage};
use super::words::split;
use crate::cli::command::Command;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Result};
use crate::cli::options::OutputOptions;

/// A command of `tf` in a shell, where the server is known.
#[derive(Parser)]
#[command(name = "tf", no_binary_name = true, disable_help_subcommand = true)]
pub(super) struct Line {
    #[command(flatten)]
    output: OutputOptions,
    #[command(subcommand)]
    command: Command,
}

/// The commands of `tf` that make sense in a shell.
pub(super) fn commands() -> clap::Command {
    let mut commands = Line::command();
    for outside in ["shell", "completions"] {
        commands = commands.mut_subcommand(outside, |command| command.hide(true));
    }
    commands.build();
    commands
}

/// What follows on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The next one.
    GoOn,
    /// The end of the shell.
    End,
}

/// Does what a line says.
///
/// # Errors
/// That of its command; a line that makes no sense is `Usage`.
pub(super) fn carry_out(line: &str, at: &mut Where, context: &mut Context) -> Result<Then> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix('!') {
        return escape(rest).map(|()| Then::GoOn);
    }
    let words = split(line).ok_or_else(|| usage("a quote is not closed"))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((&name, arguments)) = words.split_first() else {
        return Ok(Then::GoOn);
    };
    let at_most = |most: usize| match arguments.len() > most {
        true => Err(usage(format!(
            "{name} takes {most} arguments at most: see help"
        ))),
        false => Ok(arguments.first().copied()),
    };
    match name {
        "exit" | "quit" => at_most(0).map(|_| Then::End),
        "cd" => at.change(context, at_most(1)?).map(|()| Then::GoOn),
        "pwd" => at_most(0)
            .and_then(|_| print([at.shown()]))
            .map(|()| Then::GoOn),
        "lcd" => change_local(at_most(1)?).map(|()| Then::GoOn),
        "lpwd" => at_most(0).and_then(|_| print_local()).map(|()| Then::GoOn),
        "lls" => run("ls", arguments).map(|()| Then::GoOn),
        "help" | "?" => help(at_most(1)?).map(|()| Then::GoOn),
        _ => command(&words, context).map(|()| Then::GoOn),
    }
}

fn command(words: &[&str], context: &mut Context) -> Result<()> {
    let Line { output, command } = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(e) if e.kind() == ErrorKind::InvalidSubcommand => {
            return Err(usage(format!("there is no command {}: see help", words[0])));
        }
        Err(e) => {
            // Help asked for is printed as such.
            let printed = e.print().is_ok() && !e.use_stderr();
            return if printed {
                Ok(())
            } else {
                Err(Failure::Told(Exit::Usage))
            };
        }
    };
    let usual = context.output.clone();
    context.output.quiet |= output.quiet;
    context.output.json |= output.json;
    let done = command.run(context);
    context.output = usual;
    done
}

fn help(name: Option<&str>) -> Result<()> {
    let mut commands = commands();
    let Some(name) = name else {
        let local = LOCAL_COMMANDS
            .iter()
            .map(|local| (local.name, local.about.to_owned()));
        let all = commands
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let all = all.map(|command| {
            let about = command.get_about().map(ToString::to_string);
            (command.get_name(), about.unwrap_or_default())
        });
        let lines = local
            .chain(all)
            .map(|(name, about)| format!("{name:<12} {about}"));
        return print(lines);
    };
    if let Some(local) = LOCAL_COMMANDS.iter().find(|local| local.name == name) {
        return print([format!("{name:<12} {}", local.about)]);
    }
    match commands.find_subcommand_mut(name) {
        Some(command) => print([command.render_long_help().to_string()]),
        None => Err(usage(format!("there is no command {name}: see help"))),
    }
}
