//! `tf login`: puts an account's password into the system's keyring, once it has
//! logged in with it.

use super::prelude::*;
use crate::cli::place::ServerName;
use crate::cli::secrets::Keyring;
use crate::cli::servers::keep;
use crate::cli::settings::Settings;

/// Keep the password of a server's account in the keyring
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf login files\n  tf login --user ann files\n  tf login --forget files\n\n\
                  The server is one that tf trust saved. The entry then takes its password from the\n\
                  keyring: password_keyring = true. The keyring is reached by secret-tool(1)."
)]
pub(crate) struct Login {
    /// Remove the password from the keyring
    #[arg(long)]
    forget: bool,
    /// The name of the server's entry
    #[arg(value_name = "NAME", add = Names::Server)]
    server: String,
}

impl Login {
    pub(super) fn run(self, context: &mut Context) -> Result<()> {
        let name = self.server.trim_end_matches(':');
        let directory = &context.directory;
        let Some(entry) = directory.servers.entries.get(name) else {
            let text =
                format!("no server is named {name}: see tf servers, or save it with tf trust");
            return Err(Failure::Usage(text));
        };
        let user = directory.options().settings.user.clone();
        let Some(user) = user.or_else(|| entry.user.clone()) else {
            return Err(Failure::usage("which account? give --user NAME"));
        };
        let address = entry.addresses().next().unwrap_or_default();
        let keyring = Keyring::of(&address, &user);
        if self.forget {
            keyring.clear().map_err(Failure::Usage)?;
            complain!("removed the password of {user} at {name} from the keyring");
            return Ok(());
        }
        let access = directory.asking_access(&ServerName::Named(name.to_owned()), &user)?;
        access.open()?.end()?;
        let (_, password) = access.login.unwrap_or_default();
        keyring.store(&password).map_err(Failure::Usage)?;
        let settings = Settings::of_keyring(&user);
        keep(&directory.servers.file, name, &settings)?;
        complain!("saved the password of {user} at {name} in the keyring");
        Ok(())
    }
}
