//! `tf hub`: an account at a hub, whose keepers are other people's machines.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::init::{may_show, save_phrase};
use super::secrets::{ask, phrase};
use super::{Context, Exit, Record, Result};
use crate::backup::{
    Account, BackupError, Entrance, KeyFile, Seed, Standing, enrol, factor_of, is_known, local,
    standing, user_of,
};
use crate::text::human_size;

/// Back up to other people's machines, which a hub knows
#[derive(Args)]
#[command(
    after_help = "Examples:\n  tf hub join hub.example.org --user anna\n  tf backup ~/photos ~/doc\n  \
                        tf hub recover hub.example.org --user anna      on a new machine"
)]
pub(super) struct Hub {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Join(Join),
    Recover(Recover),
    Status(Status),
    HolderKey(HolderKey),
}

impl Hub {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        match self.what {
            What::Join(it) => it.run(context),
            What::Recover(it) => it.run(context),
            What::Status(it) => it.run(context),
            What::HolderKey(it) => it.run(context),
        }
    }
}

/// Which account, and what of it is on this machine.
#[derive(Args)]
struct Place {
    /// Where the hub is
    #[arg(value_name = "HOST[:PORT]")]
    hub: String,
    /// Your name at the hub
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The fingerprint that the hub's key must have; tf does not ask then
    #[arg(long, value_name = "SHA256:…")]
    pin: Option<String>,
    /// How many keepers get a copy of each file
    #[arg(long, value_name = "N", default_value_t = 2)]
    factor: u8,
    /// Protect the key file by its mode alone, for runs that nobody attends
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

/// Take up an account by the code that the hub's administrator gave you
#[derive(Args)]
#[command(after_help = "Example:\n  tf hub join hub.example.org --user anna --factor 2")]
pub(super) struct Join {
    #[command(flatten)]
    place: Place,
    /// The code [default: ask]
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Write the phrase into this new file rather than show it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    phrase_file: Option<PathBuf>,
    /// Write no key file for a keeper of your own
    #[arg(long)]
    no_holder: bool,
}

/// Bring a key file back, from the phrase and the hub
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf hub recover hub.example.org --user anna\n  tf restore latest --target restored"
)]
pub(super) struct Recover {
    #[command(flatten)]
    place: Place,
    /// A file that has the phrase [default: ask]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    phrase_file: Option<PathBuf>,
}

/// Show the account, what it uses, and what is stored
#[derive(Args)]
pub(super) struct Status {}

/// Write the key file of your own keeper, which can neither read nor delete your backups
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf hub holder-key keeper.key    then [holder] key in tfd.toml of that machine"
)]
pub(super) struct HolderKey {
    /// A new file
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
}

impl Join {
    fn run(self, context: &Context) -> Result<Exit> {
        let (place, key) = self.place.begin(context)?;
        may_show(self.phrase_file.as_deref())?;
        let code = match self.code {
            Some(code) => Zeroizing::new(code),
            None => ask("code of the hub's administrator: ")?,
        };
        let passphrase = self.place.passphrase(context)?;
        let seed = Seed::generate()?;
        save_phrase(&seed, self.phrase_file.as_deref())?;
        let (user, factor) = (user_of(&self.place.user)?, factor_of(self.place.factor)?);
        let mut made = None;
        let joined = enrol(&place, &user, code.trim(), &seed, |hub| {
            let account = Account {
                entrance: place.clone(),
                hub: hub.clone(),
                user: user.clone(),
                factor,
            };
            let passphrase = passphrase.as_ref().map(|it| it.as_str());
            KeyFile::of(account.clone(), seed.clone(), passphrase)?.save(&key)?;
            made = Some(account);
            Ok(())
        });
        if let (Err(e), Some(_)) = (&joined, &made) {
            let text = format!(
                "{e}; {} is there: tf hub status says whether the hub has taken its key; else remove \
                 it and join again",
                key.display()
            );
            return Err(BackupError::NoHub(text));
        }
        joined?;
        let account = made.ok_or_else(|| BackupError::Failed("no key file".to_owned()))?;
        if !self.no_holder {
            let file = key.with_extension("holder");
            save_holder_key(&account, &seed, &file)?;
        }
        shown(context, &key, &account)
    }
}

impl Recover {
    fn run(self, context: &Context) -> Result<Exit> {
        let (place, key) = self.place.begin(context)?;
        let seed = Seed::from_phrase(&phrase(self.phrase_file.as_deref())?)?;
        let user = user_of(&self.place.user)?;
        let hub = is_known(&place, &user, &seed)?;
        let passphrase = self.place.passphrase(context)?;
        let account = Account {
            entrance: place,
            hub,
            user,
            factor: factor_of(self.place.factor)?,
        };
        let passphrase = passphrase.as_ref().map(|it| it.as_str());
        KeyFile::of(account.clone(), seed, passphrase)?.save(&key)?;
        shown(context, &key, &account)
    }
}

impl Place {
    /// The hub, whose key somebody has compared, and where the key file will be.
    fn begin(&self, context: &Context) -> Result<(Entrance, PathBuf)> {
        let address = Entrance::address(&self.hub)?;
        let host = self.hub.replace(['/', ':', '[', ']'], "_");
        let key = context.new_key_file(&format!("{host}.key"))?;
        let entrance = Entrance::look(address)?;
        match &self.pin {
            Some(pin) if *pin == entrance.pin => {}
            Some(pin) => {
                let text = format!(
                    "{}: its key is {}, not {pin}: this is not the hub",
                    self.hub, entrance.pin
                );
                return Err(BackupError::WrongKey(text));
            }
            None => self.compare(&entrance)?,
        }
        Ok((entrance, key))
    }

    fn compare(&self, entrance: &Entrance) -> Result<()> {
        let (hub, pin) = (&self.hub, &entrance.pin);
        if !std::io::stdin().is_terminal() {
            let text = format!(
                "{hub}: its key is {pin}: if that is what its administrator says, --pin {pin}"
            );
            return Err(BackupError::Failed(text));
        }
        let question =
            format!("{hub} has the key {pin}. Is it what its administrator says? (yes/no) ");
        match ask(&question)?.trim() {
            "yes" => Ok(()),
            _ => Err(BackupError::Failed(
                "the key is not confirmed; nothing was made".to_owned(),
            )),
        }
    }

    fn passphrase(&self, context: &Context) -> Result<Option<Zeroizing<String>>> {
        match self.no_passphrase {
            true => Ok(None),
            false => context.secrets.new_passphrase(),
        }
    }
}

fn save_holder_key(account: &Account, seed: &Seed, file: &Path) -> Result<()> {
    let saved = account.holder_key(seed)?.save(file);
    saved.map_err(local(file))
}

fn shown(context: &Context, key: &Path, account: &Account) -> Result<Exit> {
    let (hub, user) = (account.hub(), account.user());
    let keepers = vec![format!("hub:{hub}/{user}")];
    let text = format!(
        "key file {}; {} copies at keepers of {hub}",
        key.display(),
        account.copies()
    );
    let key = key.to_string_lossy().into_owned();
    context.show(&Record::Key { key, keepers }, || text)?;
    Ok(Exit::Done)
}

impl Status {
    fn run(self, context: &Context) -> Result<Exit> {
        let (account, seed) = context.account()?;
        let standing = standing(&account, &seed)?;
        context.show(&Record::Hub(&standing), || sentence(&standing))?;
        Ok(Exit::Done)
    }
}

fn sentence(it: &Standing) -> String {
    format!(
        "{} at {} ({}): {} files, {}; {} used with all copies, {} left; shares {}",
        it.user,
        it.hub,
        it.address,
        it.files,
        human_size(it.bytes),
        human_size(it.used),
        human_size(it.left),
        human_size(it.share)
    )
}

impl HolderKey {
    fn run(self, context: &Context) -> Result<Exit> {
        let (account, seed) = context.account()?;
        save_holder_key(&account, &seed, &self.file)?;
        shown(context, &self.file, &account)
    }
}
