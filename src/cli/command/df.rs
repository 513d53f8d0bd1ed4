//! `tf df`.

use clap::ArgAction;

use super::prelude::*;
use crate::text::human_size;

/// Show how many bytes are free
#[derive(Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:\n  tf df -h\n  tf df files: archive:"
)]
pub(crate) struct Df {
    /// Show sizes such as 1.5T
    #[arg(short, long)]
    human: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The servers, as NAME: or tf://HOST [default: the default server]
    #[arg(default_value = "", hide_default_value = true, add = Names::Server)]
    servers: Vec<RemoteArg>,
}

impl Df {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let mut printer = Printer::new(context.output.json);
        let done = for_each(&self.servers, |written| {
            let server = context.server(written)?;
            let free = context.connection(&server)?.free_space()?;
            let name = server.to_string();
            let text = if self.human {
                human_size(free)
            } else {
                free.to_string()
            };
            let record = Record::Space {
                server: &name,
                free,
            };
            Ok(printer.show(&record, || format!("{text} free on {name}"))?)
        });
        printer.finish(done)
    }
}
