//! Events for systemd's journal, by its native protocol
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL>): a datagram of fields each.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use super::output::priority;
use crate::logging::{Event, Value, text};

/// Where the journal receives them.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The variable with another place.
const VARIABLE: &str = "TFD_JOURNAL_SOCKET";

/// A socket that is connected to the journal's.
///
/// # Errors
/// One line with the reason.
pub(crate) fn connect() -> Result<OwnedFd, String> {
    let place = std::env::var_os(VARIABLE).unwrap_or_else(|| SOCKET.into());
    let connect = || {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&place)?;
        Ok(socket.into())
    };
    connect().map_err(|e: std::io::Error| {
        let place = place.display();
        format!("server.log_format: {place}: {e}: without systemd's journal use \"text\"")
    })
}

/// The datagram of an event.
pub(super) fn datagram(from: (&str, u32), event: &Event) -> Vec<u8> {
    let mut fields = Vec::new();
    add(&mut fields, "MESSAGE", &text(from, event));
    add(
        &mut fields,
        "PRIORITY",
        &priority(event.level()).to_string(),
    );
    add(&mut fields, "SYSLOG_IDENTIFIER", "tfd");
    add(&mut fields, "SYSLOG_PID", &from.1.to_string());
    add(&mut fields, "TFD_PROCESS", from.0);
    for (key, value) in &event.fields {
        // Keys are words of lower-case letters, digits and `_`.
        let mut name = format!("TFD_{}", key.to_ascii_uppercase());
        if key == "process" {
            name.push('_');
        }
        match value {
            Value::Word(text) | Value::Text(text) => add(&mut fields, &name, text),
            Value::Unsigned(number) => add(&mut fields, &name, &number.to_string()),
            Value::Signed(number) => add(&mut fields, &name, &number.to_string()),
            Value::Flag(flag) => add(&mut fields, &name, &flag.to_string()),
        }
    }
    fields
}

/// Adds a field: with its length if it has more than one line.
fn add(fields: &mut Vec<u8>, name: &str, value: &str) {
    fields.extend(name.as_bytes());
    if value.contains('\n') {
        fields.push(b'\n');
        fields.extend((value.len() as u64).to_le_bytes());
    } else {
        fields.push(b'=');
    }
    fields.extend(value.as_bytes());
    fields.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_has_its_length() {
        let mut fields = Vec::new();
        add(&mut fields, "A", "b");
        add(&mut fields, "C", "d\nE=f");
        assert_eq!(fields, b"A=b\nC\n\x05\0\0\0\0\0\0\0d\nE=f\n");
    }
}
