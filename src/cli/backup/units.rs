//! Units of the user's own systemd: a timer that starts backups, and a keeper that serves.
//! Nothing is started: the user switches them on.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Context, Record, Result};
use crate::backup::{BackupError, local};
use crate::cli::servers::usual_file;
use crate::replace::{Access, replace};

/// The unit of a keeper.
pub(super) const KEEPER_UNIT: &str = "tf-holder.service";

/// How often a timer starts a backup.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Every {
    Hour,
    Day,
    Week,
}

impl Every {
    fn calendar(self) -> &'static str {
        match self {
            Every::Hour => "hourly",
            Every::Day => "daily",
            Every::Week => "weekly",
        }
    }
}

/// Has a timer run this program with these arguments.
pub(super) fn save_timer(context: &Context, every: Every, words: &[&OsStr]) -> Result<()> {
    let program = std::env::current_exe().map_err(local(Path::new("tf-backup")))?;
    let words = std::iter::once(program.as_os_str()).chain(words.iter().copied());
    let words = words.map(quoted).collect::<Result<Vec<String>>>()?;
    let service = format!(
        "[Unit]\nDescription=Backup\nDocumentation=man:tf-backup(1)\n\n\
         [Service]\nType=oneshot\nNice=10\nExecStart={}\n",
        words.join(" ")
    );
    let timer = format!(
        "[Unit]\nDescription=Backups\nDocumentation=man:tf-backup(1)\n\n\
         [Timer]\nOnCalendar={}\n# Not all machines at once, and later if this one was off.\n\
         RandomizedDelaySec=10min\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n",
        every.calendar()
    );
    let service = save_unit("tf-backup.service", &service)?;
    let timer = save_unit("tf-backup.timer", &timer)?;
    shown(context, &[timer, service])
}

/// Has a tfd serve what this configuration says.
pub(super) fn save_keeper(context: &Context, config: &Path) -> Result<()> {
    let program = match beside("tfd")? {
        beside if beside.is_absolute() => quoted(beside.as_os_str())?,
        found => found.display().to_string(),
    };
    let text = format!(
        "[Unit]\nDescription=Keeper of others' backups\nDocumentation=man:tfd(8)\n\n\
         [Service]\nType=notify\nExecStart={program} serve --config {}\n\
         ExecReload=kill -HUP $MAINPID\nRestart=on-failure\nRestartSec=10\n\n[Install]\nWantedBy=default.target\n",
        quoted(config.as_os_str())?
    );
    let unit = save_unit(KEEPER_UNIT, &text)?;
    shown(context, &[unit, config.to_owned()])
}

/// A program of the same installation, or else the one that the path finds.
pub(super) fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(local(Path::new("tf-backup")))?;
    let beside = own.with_file_name(name);
    Ok(match beside.is_file() {
        true => beside,
        false => PathBuf::from(name),
    })
}

/// A word of a command as systemd reads it.
fn quoted(word: &OsStr) -> Result<String> {
    let text = word.to_str().filter(|it| !it.contains(char::is_control));
    let text = text.ok_or_else(|| {
        let text = format!("{}: systemd can't name this", word.display());
        BackupError::Failed(text)
    })?;
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

/// Writes a unit, in place of an earlier one.
fn save_unit(name: &str, text: &str) -> Result<PathBuf> {
    let file = usual_file();
    let base = file
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::parent);
    let missing = || BackupError::Failed("no home directory for a unit".to_owned());
    let directory = base.ok_or_else(missing)?.join("systemd/user");
    fs::create_dir_all(&directory).map_err(local(&directory))?;
    let unit = directory.join(name);
    replace(&unit, text.as_bytes(), Access::Kept).map_err(local(&unit))?;
    Ok(unit)
}

/// Says how the first of these files, a unit, is switched on.
fn shown(context: &Context, files: &[PathBuf]) -> Result<()> {
    let name = files.first().and_then(|unit| unit.file_name());
    let name = name.unwrap_or_default().display();
    let enable = format!("systemctl --user daemon-reload && systemctl --user enable --now {name}");
    let files: Vec<String> = files.iter().map(|it| it.display().to_string()).collect();
    let text = format!(
        "{} made; switch it on:\n  {enable}\n  loginctl enable-linger    so that it runs while you \
         are logged out",
        files.join(", ")
    );
    context.show(&Record::Units { files, enable }, || text)
}
