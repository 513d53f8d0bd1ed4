//! The clipboard, for a while: through wl-copy(1) or xclip(1), which read the secret
//! from their input, or through the terminal where it is asked to (OSC 52).

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use openssl::base64::encode_block;

use crate::cli::failure::{Failure, Result};
use crate::cli::output::complain;
use crate::client::Cancel;

/// A way to the clipboard.
enum Way {
    Tool(&'static [&'static str], &'static [&'static str]),
    Terminal,
}

impl Way {
    fn choose(by_terminal: bool) -> Result<Way> {
        let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match (by_terminal, has("WAYLAND_DISPLAY"), has("DISPLAY")) {
            (true, _, _) => Ok(Way::Terminal),
            (_, true, _) => Ok(Way::Tool(&["wl-copy"], &["wl-copy", "--clear"])),
            (_, _, true) => {
                const XCLIP: &[&str] = &["xclip", "-selection", "clipboard", "-in"];
                Ok(Way::Tool(XCLIP, XCLIP))
            }
            _ => Err(Failure::usage(
                "no clipboard: there is neither a Wayland nor an X display: see --osc52",
            )),
        }
    }

    fn put(&self, secret: &str) -> Result<()> {
        match self {
            Way::Tool(tool, _) => feed(tool, secret),
            Way::Terminal => to_terminal(&encode_block(secret.as_bytes())),
        }
    }

    fn clear(&self) -> Result<()> {
        match self {
            Way::Tool(_, tool) => feed(tool, ""),
            Way::Terminal => to_terminal(""),
        }
    }
}

fn feed(tool: &[&str], text: &str) -> Result<()> {
    let [program, arguments @ ..] = tool else {
        return Ok(());
    };
    let failed =
        |e: std::io::Error| Failure::usage(format!("{program}: {e}: install it, or see --osc52"));
    let mut command = Command::new(program);
    let command = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // If it has ended, its status says why.
        let _ = input.write_all(text.as_bytes());
    }
    match child.wait().map_err(failed)? {
        status if status.success() => Ok(()),
        status => Err(Failure::usage(format!("{program}: {status}"))),
    }
}

/// Sets the clipboard of the terminal, which may not know how.
fn to_terminal(encoded: &str) -> Result<()> {
    let mut terminal = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/tty")
        .map_err(Failure::local("/dev/tty"))?;
    let sequence = zeroize::Zeroizing::new(format!("\x1b]52;c;{encoded}\x07"));
    terminal
        .write_all(sequence.as_bytes())
        .map_err(Failure::local("/dev/tty"))
}

/// Puts a secret into the clipboard and clears it after this time, or once the person
/// breaks it off.
pub(super) fn lend(
    what: &str,
    secret: &str,
    time: Duration,
    by_terminal: bool,
    cancel: &Cancel,
) -> Result<()> {
    let way = Way::choose(by_terminal)?;
    way.put(secret)?;
    complain!(
        "copied the {what}; the clipboard is cleared in {} s, or with Ctrl-C",
        time.as_secs()
    );
    // Either way it is time.
    let _ = cancel.sleep(time);
    way.clear()?;
    Ok(())
}
