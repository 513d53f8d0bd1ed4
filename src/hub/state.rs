//! Which command a peer may send in which state of its line to the hub, and in which
//! role: one table. Nothing here knows what a command does.

use super::wire::{Code, Command, Role};

/// Where a line to the hub stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is new.
    Fresh,
    /// It has a challenge.
    Asked,
    /// The peer is in, and its key is not known.
    Keyless,
    /// The peer is in, and what it shares is not known. Owners don't share.
    Shareless,
    /// All is known.
    Ready,
    /// The owner has an open run.
    Backup,
    /// The owner recovers.
    Recover,
    /// The holder gets back what it has lost.
    Reverse,
}

/// A cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// The command is done.
    Done,
    /// Done for a holder.
    Holder,
    /// `302`: the key first.
    KeyFirst,
    /// `301`: the share first.
    ShareFirst,
    /// `407`: not yet.
    Later,
    /// `504`.
    No,
}

use Cell::{Done, Holder, KeyFirst, Later, No, ShareFirst};

/// The cells of a command, by the states in their order.
#[rustfmt::skip]
const fn row(command: Command) -> Option<[Cell; 8]> {
    use Command as C;
    Some(match command {
        //                          FRESH ASKED KEYLESS   SHARELESS   READY   BACKUP  RECOVER REVERSE
        C::Log =>                  [Done, No,   No,       No,         No,     No,     No,     No],
        C::Rsp =>                  [No,   Done, No,       No,         No,     No,     No,     No],
        C::SendKey =>              [No,   No,   Done,     ShareFirst, Done,   No,     No,     No],
        C::Sha =>                  [No,   No,   KeyFirst, Holder,     Holder, Holder, Holder, Holder],
        C::Bck =>                  [No,   No,   KeyFirst, ShareFirst, Done,   No,     No,     No],
        C::Put | C::Pix | C::Dbu =>[No,   No,   KeyFirst, ShareFirst, No,     Done,   No,     No],
        C::Dfi =>                  [No,   No,   KeyFirst, ShareFirst, Done,   Done,   Done,   Done],
        C::Nst =>                  [No,   No,   KeyFirst, ShareFirst, Holder, Done,   Done,   Holder],
        C::Abt =>                  [No,   No,   KeyFirst, Done,       Done,   Done,   Done,   Done],
        C::Del =>                  [No,   No,   KeyFirst, ShareFirst, Done,   Done,   Done,   No],
        C::Rec | C::Gix | C::Get =>[No,   No,   KeyFirst, ShareFirst, Done,   No,     Done,   No],
        C::Gip | C::Stp =>         [No,   No,   KeyFirst, Done,       Done,   Done,   Done,   Done],
        C::Rrc =>                  [No,   No,   KeyFirst, Holder,     Holder, No,     No,     Later],
        C::Mov =>                  [No,   No,   KeyFirst, ShareFirst, Holder, Holder, Holder, Holder],
        C::Wrn =>                  [No,   No,   KeyFirst, ShareFirst, Holder, Holder, Holder, Holder],
        C::Out =>                  [Done; 8],
        _ => return None,
    })
}

/// Whether a holder's line may not send it, whatever its state.
const fn is_of_owners(command: Command) -> bool {
    use Command as C;
    matches!(
        command,
        C::Bck | C::Put | C::Pix | C::Dbu | C::Del | C::Rec | C::Gix | C::Get
    )
}

impl State {
    const ALL: [State; 8] = [
        State::Fresh,
        State::Asked,
        State::Keyless,
        State::Shareless,
        State::Ready,
        State::Backup,
        State::Recover,
        State::Reverse,
    ];

    /// Whether the hub does in any state what a peer of this role asks.
    pub fn admits_ever(role: Role, command: Command) -> bool {
        let mut all = State::ALL.iter();
        all.any(|state| state.admit(role, command).is_ok())
    }

    /// Whether the hub does what a peer of this role asks.
    ///
    /// # Errors
    /// The code of the refusal.
    pub fn admit(self, role: Role, command: Command) -> Result<(), Code> {
        let cells = row(command).ok_or(Code::NotUnderstood)?;
        match cells[self as usize] {
            Done if role == Role::Holder && is_of_owners(command) => Err(Code::NotAllowed),
            Holder if role == Role::Owner => Err(Code::NotAllowed),
            Done | Holder => Ok(()),
            KeyFirst => Err(Code::KeyNeeded),
            ShareFirst => Err(Code::ShareNeeded),
            Later => Err(Code::Later),
            No => Err(Code::NotAllowed),
        }
    }

    /// The state after a command that was admitted, by the reply to it. Other answers
    /// than replies leave it, but a source begins a recovery: [`State::recovers`].
    #[must_use]
    pub fn after(self, command: Command, reply: Code) -> State {
        match (self, command, reply) {
            (State::Fresh, Command::Log, Code::UsernameOk) => State::Asked,
            (State::Asked, Command::Rsp, reply) => match reply {
                Code::LoggedIn => State::Ready,
                Code::ShareNeeded => State::Shareless,
                Code::KeyNeeded => State::Keyless,
                _ => State::Fresh,
            },
            (State::Shareless, Command::Sha, Code::ShareOk)
            | (State::Backup, Command::Dbu, Code::UpdateDone)
            | (State::Backup | State::Recover | State::Reverse, Command::Abt, Code::Aborted)
            | (State::Reverse, Command::Rrc, Code::ReverseRecoveryDone | Code::Later) => {
                State::Ready
            }
            (State::Ready, Command::Bck, Code::MayBegin) => State::Backup,
            (state, _, _) => state,
        }
    }

    /// The state in which a holder gets back what it has lost, once it has asked.
    #[must_use]
    pub fn reverses(self) -> State {
        match self {
            State::Shareless | State::Ready => State::Reverse,
            state => state,
        }
    }

    /// The state after a source was named.
    #[must_use]
    pub fn recovers(self) -> State {
        match self {
            State::Ready => State::Recover,
            state => state,
        }
    }

    /// The state after the key was taken, of a peer that has to share, or not.
    #[must_use]
    pub fn has_key(self, needs_share: bool) -> State {
        match self {
            State::Keyless if needs_share => State::Shareless,
            State::Keyless => State::Ready,
            state => state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::wire::{Party, Sort};

    const STATES: [State; 8] = State::ALL;

    /// The table of the protocol, a letter for each state: `+` done, `k` done unless the
    /// role is owner, `-` 504, `2` 302, `1` 301, `7` 407.
    const TABLE: &[(&str, &str)] = &[
        ("LOG", "+-------"),
        ("RSP", "-+------"),
        ("KEY", "--+1+---"),
        ("SHA", "--2kkkkk"),
        ("BCK", "--21+---"),
        ("PUT PIX", "--21-+--"),
        ("DFI", "--21++++"),
        ("NST", "--21k++k"),
        ("DBU", "--21-+--"),
        ("ABT", "--2+++++"),
        ("DEL", "--21+++-"),
        ("REC GIX GET", "--21+-+-"),
        ("GIP STP", "--2+++++"),
        ("RRC", "--2kk--7"),
        ("MOV", "--21kkkk"),
        ("WRN", "--21kkkk"),
        ("OUT", "++++++++"),
    ];

    const OF_OWNERS: &str = "BCK PUT PIX DBU DEL REC GIX GET";

    fn expected(letter: char, role: Role, word: &str) -> Result<(), Code> {
        match letter {
            '+' if role == Role::Holder && OF_OWNERS.contains(word) => Err(Code::NotAllowed),
            'k' if role == Role::Owner => Err(Code::NotAllowed),
            '+' | 'k' => Ok(()),
            '2' => Err(Code::KeyNeeded),
            '1' => Err(Code::ShareNeeded),
            '7' => Err(Code::Later),
            _ => Err(Code::NotAllowed),
        }
    }

    #[test]
    fn each_command_is_done_or_refused_as_the_table_says() {
        for (words, cells) in TABLE {
            for word in words.split(' ') {
                let command = Command::of(word).expect(word);
                for (state, letter) in STATES.into_iter().zip(cells.chars()) {
                    for role in Role::ALL {
                        let found = state.admit(*role, command);
                        let expected = expected(letter, *role, word);
                        assert_eq!(found, expected, "{word} {state:?} {role:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_role_has_its_commands_in_whatever_state() {
        for (role, command, is_its) in [
            (Role::Owner, Command::Sha, false),
            (Role::Owner, Command::Wrn, false),
            (Role::Owner, Command::Del, true),
            (Role::Holder, Command::Del, false),
            (Role::Holder, Command::Rec, false),
            (Role::Holder, Command::Mov, true),
            (Role::Holder, Command::Rem, false),
        ] {
            assert_eq!(State::admits_ever(role, command), is_its, "{command:?}");
        }
    }

    #[test]
    fn what_the_table_does_not_have_is_not_understood() {
        let is_known = |command: &Command| {
            let words = TABLE.iter().flat_map(|(words, _)| words.split(' '));
            words.into_iter().any(|word| word == command.word())
        };
        for command in Command::ALL {
            // All that a peer sends to the hub, but answers to it.
            let is_sent = command
                .uses()
                .iter()
                .any(|it| it.to == Party::Hub && it.sort != Sort::Answer);
            assert_eq!(is_known(command), is_sent, "{command:?}");
            for state in STATES {
                let found = state.admit(Role::Both, *command);
                let is_unknown = found == Err(Code::NotUnderstood);
                assert_eq!(is_unknown, !is_known(command), "{command:?}");
            }
        }
    }

    #[test]
    fn a_login_leads_by_key_and_share_to_ready_and_a_run_back_to_it() {
        let asked = State::Fresh.after(Command::Log, Code::UsernameOk);
        assert_eq!(asked, State::Asked);
        for (reply, next) in [
            (Code::LoggedIn, State::Ready),
            (Code::ShareNeeded, State::Shareless),
            (Code::KeyNeeded, State::Keyless),
            (Code::NotVerified, State::Fresh),
            (Code::AccountBlocked, State::Fresh),
        ] {
            assert_eq!(asked.after(Command::Rsp, reply), next);
        }
        assert_eq!(State::Keyless.has_key(true), State::Shareless);
        assert_eq!(State::Keyless.has_key(false), State::Ready);
        assert_eq!(State::Ready.has_key(true), State::Ready);
        let ready = State::Shareless.after(Command::Sha, Code::ShareOk);
        assert_eq!(ready, State::Ready);
        assert_eq!(ready.after(Command::Bck, Code::NoSpace), State::Ready);
        let backup = ready.after(Command::Bck, Code::MayBegin);
        assert_eq!(backup, State::Backup);
        assert_eq!(backup.after(Command::Dbu, Code::NoHolder), State::Backup);
        assert_eq!(backup.after(Command::Dbu, Code::UpdateDone), State::Ready);
        assert_eq!(backup.after(Command::Abt, Code::Aborted), State::Ready);
        assert_eq!(backup.after(Command::Sha, Code::ShareOk), State::Backup);
        assert_eq!(backup.recovers(), State::Backup);
        let recover = ready.recovers();
        assert_eq!(recover, State::Recover);
        assert_eq!(recover.after(Command::Abt, Code::Aborted), State::Ready);
        let reverse = ready.reverses();
        assert_eq!(reverse, State::Reverse);
        let done = Code::ReverseRecoveryDone;
        assert_eq!(reverse.after(Command::Rrc, done), State::Ready);
        assert_eq!(backup.reverses(), State::Backup);
        let refused = State::Fresh.after(Command::Log, Code::AddressBlocked);
        assert_eq!(refused, State::Fresh);
    }
}
