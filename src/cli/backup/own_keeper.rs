//! `tf keep`: the keeper on this machine, which has files of others. It is a tfd of its
//! own; what it does is asked of it by `tfd status`, and its configuration is changed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, value};

use super::hub::parsed_share;
use super::units::{KEEPER_UNIT, beside};
use super::{Context, Exit, Record, Result, say};
use crate::backup::{BackupError, local};
use crate::replace::{Access, replace, sync_above};
use crate::text::{human_size, parse_size};

/// How long a keeper may take to follow its configuration.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often one that leaves is asked what it still has.
const PAUSE: Duration = Duration::from_secs(5);

/// The keeper on this machine, which has files of others
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf keep status\n  tf keep share 200G\n  tf keep leave --wait\n  \
                  tf keep call anna.example.org:7171\n\n\
                  tf hub join --share SIZE makes a keeper."
)]
pub(super) struct Keep {
    /// Its configuration [default: the one in ~/.config/tf/hub]
    #[arg(long, value_name = "FILE", global = true, value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Show whether the hub hears it, and what it has
    Status,
    /// Keep at most so much
    Share {
        #[arg(value_name = "SIZE", value_parser = parsed_share)]
        size: String,
    },
    /// Take nothing more, so that the hub gives other keepers what it has
    Leave {
        /// Wait until it has nothing that others need
        #[arg(long)]
        wait: bool,
    },
    /// Connect to an owner whose hub is gone, and who can't connect to this machine
    ///
    /// It goes on until Ctrl-C. The owner runs tf restore with --from-keeper NAME@:PORT,
    /// NAME being the user of this keeper, and reads what is his.
    Call {
        /// Where the owner waits
        #[arg(value_name = "HOST:PORT")]
        owner: String,
    },
}

/// What a keeper says of itself.
#[derive(Debug, Serialize)]
pub(super) struct OwnKeeper {
    config: String,
    online: bool,
    files: u64,
    lost: u64,
    held: u64,
    share: u64,
    #[serde(skip)]
    process: i32,
}

/// What of the report of `tfd status` is of use here; tfd(8) has its keys.
#[derive(Deserialize)]
struct Report {
    pid: i32,
    services: Services,
}

#[derive(Deserialize)]
struct Services {
    holder: Option<Figures>,
}

#[derive(Deserialize)]
struct Figures {
    online: u64,
    files: u64,
    files_lost: u64,
    held_bytes: u64,
    shared_bytes: u64,
}

impl Keep {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let config = match self.config {
            Some(config) => config,
            None => only_config(&context.directory()?)?,
        };
        match self.what {
            What::Status => {}
            What::Share { size } => set_share(&config, &size)?,
            What::Leave { wait } => {
                set_share(&config, "0")?;
                if wait {
                    wait_for_end(context, &config)?;
                }
            }
            What::Call { owner } => return call(&config, &owner),
        }
        let keeper = look(&config)?;
        context.show(&Record::OwnKeeper(&keeper), || sentence(&keeper))?;
        Ok(Exit::Done)
    }
}

/// The only configuration that `tf hub join --share` has made.
fn only_config(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_config = |path: &PathBuf| {
        path.extension().is_some_and(|it| it == "toml") && path.with_extension("holder").exists()
    };
    let mut found = entries.map(|it| it.path()).filter(is_config);
    match (found.next(), found.next()) {
        (Some(config), None) => Ok(config),
        (Some(_), Some(_)) => Err(BackupError::Failed(format!(
            "{}: several keepers: name one by --config FILE",
            directory.display()
        ))),
        (None, _) => Err(BackupError::Failed(format!(
            "{}: no keeper: tf hub join --share SIZE makes one; --config FILE names the \
             configuration of another",
            directory.display()
        ))),
    }
}

/// The configuration of a keeper.
fn read(config: &Path) -> Result<DocumentMut> {
    let text = fs::read_to_string(config).map_err(local(config))?;
    text.parse()
        .map_err(|e| BackupError::Failed(format!("{}: {e}", config.display())))
}

/// A command of `tfd` for the one that runs with a configuration.
fn tfd(config: &Path, words: &[&str]) -> Result<Command> {
    let mut command = Command::new(beside("tfd")?);
    command.args(words);
    let document = read(config)?;
    let control = document.get("server").and_then(|it| it.get("control"));
    if let Some(control) = control.and_then(|it| it.as_str()) {
        let directory = config.parent().unwrap_or(Path::new("."));
        command.arg("--control").arg(directory.join(control));
    }
    Ok(command)
}

/// Becomes the command of `tfd` that has the keeper call an owner.
fn call(config: &Path, owner: &str) -> Result<Exit> {
    look(config)?;
    let failure = tfd(config, &["holder", "call", owner])?.exec();
    Err(local(Path::new("tfd"))(failure))
}

/// What the keeper says now.
fn look(config: &Path) -> Result<OwnKeeper> {
    let mut command = tfd(config, &["status", "--json"])?;
    let output = command.output().map_err(local(Path::new("tfd")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let text = text.trim().trim_start_matches("tfd: ");
        return Err(BackupError::Failed(format!(
            "{text}: the keeper does not run: systemctl --user start {KEEPER_UNIT}"
        )));
    }
    let strange = |why: String| BackupError::Failed(format!("{}: {why}", config.display()));
    let report: Report =
        serde_json::from_slice(&output.stdout).map_err(|e| strange(format!("tfd status: {e}")))?;
    let figures = report.services.holder;
    let it = figures.ok_or_else(|| strange("there is no [holder] in it".to_owned()))?;
    Ok(OwnKeeper {
        config: config.display().to_string(),
        online: it.online > 0,
        files: it.files,
        lost: it.files_lost,
        held: it.held_bytes,
        share: it.shared_bytes,
        process: report.pid,
    })
}

/// Changes the configuration, in one step, and has the keeper follow it if it runs.
fn set_share(config: &Path, size: &str) -> Result<()> {
    let wrong = |why: String| BackupError::Failed(format!("{}: {why}", config.display()));
    let mut document = read(config)?;
    let holder = document.get_mut("holder").and_then(|it| it.as_table_mut());
    let holder = holder.ok_or_else(|| wrong("no [holder]".to_owned()))?;
    holder["share"] = value(size);
    // A link leads to the file itself.
    let file = fs::canonicalize(config).map_err(local(config))?;
    let text = document.to_string();
    let saved = replace(&file, text.as_bytes(), Access::Kept).and_then(|()| sync_above(&file));
    saved.map_err(local(&file))?;
    let keeper = match look(config) {
        Ok(keeper) => keeper,
        Err(e) => return Err(BackupError::Failed(format!("saved, but {e}"))),
    };
    let pid = Pid::from_raw(keeper.process);
    let sent = pid.map(|pid| kill_process(pid, Signal::HUP));
    if let Some(Err(e)) = sent {
        return Err(wrong(format!(
            "saved, but tfd did not get the signal to follow it: {e}"
        )));
    }
    let wanted = parse_size(size);
    let end = Instant::now() + PATIENCE;
    while Some(look(config)?.share) != wanted {
        if Instant::now() > end {
            let text = "saved, but tfd does not follow it: its log says why";
            return Err(wrong(text.to_owned()));
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Waits until others have all that it has.
fn wait_for_end(context: &Context, config: &Path) -> Result<()> {
    let mut before = None;
    loop {
        let keeper = look(config)?;
        if keeper.files == 0 {
            return Ok(());
        }
        if before != Some(keeper.files) && !context.quiet {
            say(&[format!("{} files until others have them", keeper.files)]);
        }
        before = Some(keeper.files);
        thread::sleep(PAUSE);
    }
}

fn sentence(it: &OwnKeeper) -> String {
    let mut text = format!(
        "{}: {} files, {} of {} shared",
        match it.online {
            true => "the hub hears it",
            false => "the hub does not hear it",
        },
        it.files,
        human_size(it.held),
        human_size(it.share)
    );
    if it.lost > 0 {
        text += &format!(
            "; {} files missing or damaged, which the hub gives it again",
            it.lost
        );
    }
    if it.share == 0 {
        text += &match it.files {
            0 => format!("; it has left: systemctl --user disable --now {KEEPER_UNIT}"),
            _ => "; it stays until other keepers have these files".to_owned(),
        };
    }
    text
}
