//! `tf hub`: an account at a hub, whose keepers are other people's machines.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::init::{may_show, save_phrase};
use super::secrets::{ask, phrase};
use super::units::save_keeper;
use super::{Context, Exit, Record, Result, say};
use crate::backup::{
    Account, BackupError, Entrance, KeeperAt, Keepers, KeyFile, Repository, Seed, Standing,
    Undeleted, enrol, factor_of, is_known, keepers_of, local, standing, undelete, user_of,
    write_secret,
};
use crate::text::{human_size, parse_size};

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
    Keepers(KeepersCommand),
    Kit(Kit),
    HolderKey(HolderKey),
    Undelete(Undelete),
}

impl Hub {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        match self.what {
            What::Join(it) => it.run(context),
            What::Recover(it) => it.run(context),
            What::Status(it) => it.run(context),
            What::Keepers(it) => it.run(context),
            What::Kit(it) => it.run(context),
            What::HolderKey(it) => it.run(context),
            What::Undelete(it) => it.run(context),
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
    /// Keep files of others on this machine, at most so much: make a configuration and a
    /// unit of your systemd
    #[arg(long, value_name = "SIZE", conflicts_with = "no_holder", value_parser = parsed_share)]
    share: Option<String>,
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

/// List the keepers that have your files, as they list each other
#[derive(Args)]
#[command(name = "keepers")]
pub(super) struct KeepersCommand {}

/// Print what a restore needs besides the phrase, for paper
#[derive(Args)]
pub(super) struct Kit {}

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

/// Bring back what was deleted in the last 7 days, from the keepers' trash
#[derive(Args)]
#[command(
    after_help = "Example:\n  tf hub undelete\n\nWhat a prune has removed comes back with it; the next prune removes it again.\n\
                  With --from-keeper, once for each keeper, those are asked that no book names."
)]
pub(super) struct Undelete {}

impl Undelete {
    fn run(self, context: &Context) -> Result<Exit> {
        let (account, seed) = context.account()?;
        let undeleted = undelete(&account, &seed, context.keepers_without_hub())?;
        say(&undeleted.notes);
        context.show(&Record::Undelete(&undeleted), || come_back(&undeleted))?;
        Ok(match undeleted.lost {
            0 => Exit::Done,
            _ => Exit::Incomplete,
        })
    }
}

fn come_back(it: &Undeleted) -> String {
    format!(
        "{} files back, {}, {} of them snapshots; {} lost",
        it.files,
        human_size(it.bytes),
        it.snapshots,
        it.lost
    )
}

impl Join {
    fn run(self, context: &Context) -> Result<Exit> {
        let key = self.place.new_key_file(context)?;
        let place = self.place.entrance()?;
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
            shown(context, &key, &account)?;
            if let Some(share) = &self.share {
                save_keeper(context, &save_holder_config(&file, share)?)?;
            }
            return Ok(Exit::Done);
        }
        shown(context, &key, &account)
    }
}

impl Recover {
    fn run(self, context: &Context) -> Result<Exit> {
        let key = self.place.new_key_file(context)?;
        let user = user_of(&self.place.user)?;
        let factor = factor_of(self.place.factor)?;
        let words = || phrase(self.phrase_file.as_deref());
        let (seed, account) = match context.from_keeper.is_empty() {
            true => {
                let entrance = self.place.entrance()?;
                let seed = Seed::from_phrase(&words()?)?;
                let hub = is_known(&entrance, &user, &seed)?;
                let account = Account {
                    entrance,
                    hub,
                    user,
                    factor,
                };
                (seed, account)
            }
            false => {
                let address = Entrance::address(&self.place.hub)?;
                let entrance = Entrance::unseen(address, self.place.pin.clone());
                let seed = Seed::from_phrase(&words()?)?;
                let account = Account::unseen(entrance, user, factor)?;
                let keepers = Keepers::without_hub(&account, &seed, context.keepers_without_hub())?;
                Repository::open(Arc::new(keepers), &seed)?;
                (seed, account)
            }
        };
        let passphrase = self.place.passphrase(context)?;
        let passphrase = passphrase.as_ref().map(|it| it.as_str());
        KeyFile::of(account.clone(), seed, passphrase)?.save(&key)?;
        shown(context, &key, &account)
    }
}

impl Place {
    fn new_key_file(&self, context: &Context) -> Result<PathBuf> {
        let host = self.hub.replace(['/', ':', '[', ']'], "_");
        context.new_key_file(&format!("{host}.key"))
    }

    /// The hub, whose key somebody has compared.
    fn entrance(&self) -> Result<Entrance> {
        let entrance = Entrance::look(Entrance::address(&self.hub)?)?;
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
        Ok(entrance)
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

pub(super) fn parsed_share(text: &str) -> std::result::Result<String, String> {
    match parse_size(text) {
        Some(1..) => Ok(text.to_owned()),
        _ => Err("use bytes above 0, as 500G or 2T".to_owned()),
    }
}

/// Writes the configuration of a keeper next to its key file.
fn save_holder_config(key: &Path, share: &str) -> Result<PathBuf> {
    let home = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|it| it.is_absolute())
    };
    let data = home("XDG_DATA_HOME").or_else(|| Some(home("HOME")?.join(".local/share")));
    let missing = || BackupError::Failed("no home directory for what is kept".to_owned());
    let store = data.ok_or_else(missing)?.join("tf");
    std::fs::create_dir_all(&store).map_err(local(&store))?;
    let key = std::path::absolute(key).map_err(local(key))?;
    let quoted = |path: &Path| {
        let text = path.to_str().ok_or_else(|| {
            let text = format!("{}: not UTF-8", path.display());
            BackupError::Failed(text)
        });
        text.map(|text| toml_edit::Value::from(text).to_string())
    };
    let text = format!(
        "# See tfd.toml(5). Owners have to reach this port from outside.\n\
         [server]\ncontrol = {}\n\n[holder]\nlisten = [\"0.0.0.0:7171\"]\nkey = {}\nstore = {}\n\
         share = \"{share}\"\n",
        quoted(&key.with_extension("control"))?,
        quoted(&key)?,
        quoted(&store.join("kept"))?
    );
    let config = key.with_extension("toml");
    write_secret(&config, text.as_bytes())?;
    Ok(config)
}

fn save_holder_key(account: &Account, seed: &Seed, file: &Path) -> Result<()> {
    let saved = account.holder_key(seed)?.save(file);
    saved.map_err(local(file))
}

fn shown(context: &Context, key: &Path, account: &Account) -> Result<Exit> {
    let use_of_it = format!(
        "copies of each file at keepers of {}: {}",
        account.hub(),
        account.copies()
    );
    show_key(context, key, account, &use_of_it)
}

fn show_key(context: &Context, key: &Path, account: &Account, use_of_it: &str) -> Result<Exit> {
    let (hub, user) = (account.hub(), account.user());
    let keepers = vec![format!("hub:{hub}/{user}")];
    let text = format!("key file {}; {use_of_it}", key.display());
    let key = key.to_string_lossy().into_owned();
    context.show(&Record::Key { key, keepers }, || text)?;
    Ok(Exit::Done)
}

impl Status {
    fn run(self, context: &Context) -> Result<Exit> {
        let (account, seed) = context.account()?;
        let (standing, notes) = standing(&account, &seed)?;
        say(&notes);
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

impl KeepersCommand {
    fn run(self, context: &Context) -> Result<Exit> {
        let (account, seed) = context.account()?;
        let (keepers, notes) = keepers_of(&account, &seed)?;
        say(&notes);
        for keeper in keepers {
            context.show(&Record::Keeper(&keeper), || row(&keeper))?;
        }
        Ok(Exit::Done)
    }
}

fn row(keeper: &KeeperAt) -> String {
    match &keeper.address {
        Some(address) => format!("{}@{address}  {}", keeper.user, keeper.key),
        None => format!("{} by the hub's relay  {}", keeper.user, keeper.key),
    }
}

impl Kit {
    fn run(self, context: &Context) -> Result<Exit> {
        let (account, seed) = context.account()?;
        let (keepers, notes) = keepers_of(&account, &seed)?;
        say(&notes);
        let Entrance { address, pin } = &account.entrance;
        let sheet = Sheet {
            hub: address,
            pin,
            user: account.user(),
            keepers: &keepers,
        };
        context.show(&Record::Kit(&sheet), || sheet.text())?;
        Ok(Exit::Done)
    }
}

/// What a restore needs besides the phrase.
#[derive(serde::Serialize)]
pub(super) struct Sheet<'a> {
    hub: &'a str,
    pin: &'a str,
    user: &'a str,
    keepers: &'a [KeeperAt],
}

impl Sheet<'_> {
    fn text(&self) -> String {
        let Sheet { hub, pin, user, .. } = self;
        let mut text = format!(
            "tf hub recover {hub} --user {user} --pin {pin}\n\
             tf restore latest --target restored\n\n\
             If the hub is gone, with one of these keepers that answers:\n"
        );
        for KeeperAt {
            user: keeper,
            address,
            ..
        } in self.keepers
        {
            text.push_str(&match address {
                Some(address) => {
                    format!("tf --from-keeper {keeper}@{address} hub recover {hub} --user {user}\n")
                }
                None => format!("({keeper} answers by the hub alone)\n"),
            });
        }
        text.trim_end().to_owned()
    }
}

impl HolderKey {
    fn run(self, context: &Context) -> Result<Exit> {
        let (account, seed) = context.account()?;
        save_holder_key(&account, &seed, &self.file)?;
        let use_of_it = "for a keeper of your own: [holder] key in tfd.toml(5)";
        show_key(context, &self.file, &account, use_of_it)
    }
}
