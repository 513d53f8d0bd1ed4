//! Where the password comes from: a file, a descriptor, the terminal, or
//! standard input where there is none.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use zeroize::Zeroizing;

use super::failure::{Failure, Result};
use super::speaker::out;
use crate::cli::secrets::{first_line, read_line};

/// The number of what is wrong with a password.
const NO_PASSWORD: u8 = 19;

/// The password. It is asked for unless a file has it; the prompt goes to
/// standard output, even if nobody reads it there: scripts skip it.
pub(super) fn get(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let failed = |text: String| {
        let text = format!("Error while entering password : {text}");
        Failure::end(NO_PASSWORD, text)
    };
    if let Some(file) = file {
        return first_line(file).map_err(failed);
    }
    out(b"Password: ");
    let password = match File::open("/dev/tty") {
        Ok(_) => rpassword::read_password().map(Zeroizing::new),
        Err(_) => std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .and_then(|input| read_line(File::from(input))),
    };
    let password = password.map_err(|e| failed(e.to_string()))?;
    match password.is_empty() {
        true => Err(Failure::end(NO_PASSWORD, "Password is mandatory")),
        false => Ok(password),
    }
}
