//! `tf raw`.

use std::time::Instant;

use super::prelude::*;
use crate::client::{ClientError, refusal};
use crate::hex;
use crate::tf::wire::WireError;

/// Send one request and print the reply
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf raw FSTAT reports/may.pdf\n  tf raw -x PROCKEY\n  tf raw --at files: DATE\n\n\
                  For requests with a reply of one message, not for transfers and listings.\n\
                  If the reply begins with FAILED or is UNKNOWN, the exit status is that of the refusal,\n\
                  usually 1."
)]
pub(crate) struct Raw {
    /// The server, as NAME: or tf://HOST
    #[arg(long, value_name = "SERVER", default_value = "", hide_default_value = true, add = Names::Server)]
    at: RemoteArg,
    /// Print the reply in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// The command and its arguments, joined by spaces
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    request: Vec<String>,
}

impl Raw {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let server = context.server(&self.at)?;
        let timeout = context.access(&server)?.target.timeout;
        let connection = context.connection(&server)?;
        let request = self.request.join(" ");
        let lost = |e: std::io::Error| ClientError::Lost(WireError::Io(e));
        connection
            .wire()
            .set_deadline(Some(Instant::now() + timeout))
            .map_err(lost)?;
        let reply = connection.request(request.as_bytes())?;
        connection.wire().set_deadline(None).map_err(lost)?;
        let mut printer = Printer::new(context.output.json);
        let text = String::from_utf8_lossy(&reply);
        let hex = hex::digits(&reply);
        let line = if self.hex { hex.clone() } else { shown(&reply) };
        printer.show(&Record::Reply { text: &text, hex }, || line)?;
        printer.flush()?;
        match reply.starts_with(b"FAILED") || reply == b"UNKNOWN" {
            true => Err(Failure::Reported(Exit::of(&refusal(&request, &reply)))),
            false => Ok(()),
        }
    }
}
