//! What comes unasked: changes of other devices, and the end.

use nix::sys::signal::Signal;
use tfd::vault::own::message::*;

use super::peer::*;
use crate::common::{pids, wait_until};
use crate::peer::Vault;
use crate::processes::handles;

fn listening(server: &Vault, account: &Account) -> Client {
    let mut client = Client::logged_in(server, account);
    assert_eq!(client.ask(&Request::Listen), Reply::Done);
    client
}

#[test]
fn a_change_is_at_a_hundred_devices() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut first = Client::registered(&server, &ann);
    let mut stranger = Client::registered(&server, &Account::new("bob"));
    assert_eq!(stranger.ask(&Request::Listen), Reply::Done);
    let mut others: Vec<Client> = (0..100)
        .map(|_| listening(&server, &ann.on_another()))
        .collect();
    for turn in 1..=2 {
        let revision = first.store([turn; 16], 0, Some(b"a"));
        for other in &mut others {
            assert_eq!(other.news(), Some(Reply::Changed { revision }));
            assert_eq!(other.pull(0, true).items.len(), usize::from(turn));
        }
    }
    assert_eq!(stranger.ask(&Request::LogOut), Reply::Done);
    assert!(stranger.news.is_empty());
    let Reply::Devices { devices } = first.ask(&Request::Devices) else {
        panic!("no list");
    };
    assert_eq!(devices.iter().filter(|it| it.is_online).count(), 101);
}

#[test]
fn nobody_waits_for_a_device_that_does_not_read_and_it_misses_nothing() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut first = Client::registered(&server, &ann);
    let mut idle = listening(&server, &ann.on_another());
    let mut revision = 0;
    for turn in 0..500_u32 {
        revision = first.store([1; 16], revision, Some(&turn.to_be_bytes()));
    }
    let mut heard = 0;
    while heard < revision {
        match idle.news().expect("news") {
            Reply::Changed { revision } => heard = revision,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(idle.pull(0, true).upto, revision);
    // Nor does it hear of its own changes.
    idle.store([2; 16], 0, Some(b"own"));
    assert_eq!(idle.ask(&Request::LogOut), Reply::Done);
    assert!(idle.news.is_empty());
}

/// Waits until no session has its database open.
fn await_rest(server: &Vault) {
    let is_open = |pid: &u32| {
        let handles = handles(*pid);
        handles.iter().any(|to| to.contains("items.db"))
    };
    wait_until("closed databases", || {
        !pids(server, "tfd-session").iter().any(is_open)
    });
}

#[test]
fn a_session_that_waits_has_no_database_open_and_misses_nothing() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut first = Client::registered(&server, &ann);
    let mut other = listening(&server, &ann.on_another());
    await_rest(&server);
    let revision = first.store([1; 16], 0, Some(b"a"));
    assert_eq!(other.news(), Some(Reply::Changed { revision }));
    assert_eq!(first.ask(&Request::Listen), Reply::Done);
    await_rest(&server);
    assert_eq!(other.pull_all().len(), 1);
    let revision = other.store([2; 16], 0, Some(b"b"));
    assert_eq!(first.news(), Some(Reply::Changed { revision }));
    await_rest(&server);
    assert_eq!(
        first.push([2; 16], revision, None),
        first.push([2; 16], revision, None)
    );
    assert!(matches!(other.news(), Some(Reply::Changed { .. })));
    assert_eq!(other.ask(&Request::LogOut), Reply::Done);
    assert_eq!(first.ask(&Request::LogOut), Reply::Done);
    assert!(other.news.is_empty() && first.news.is_empty());
}

#[test]
fn a_device_that_is_unlinked_is_sent_away_and_is_a_new_one_then() {
    let Some(server) = server("new_device = \"operator\"") else {
        return;
    };
    let ann = Account::new("ann");
    let mut first = Client::registered(&server, &ann);
    let other = ann.on_another();
    let recovery = Request::LogIn(LogIn {
        proof: Proof::Recovery(ann.recovery.into()),
        ..other.log_in()
    });
    let mut sessions: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = Client::hello(&server, "ann");
            client.welcome(&recovery);
            client
        })
        .collect();
    let device = other.device.id;
    assert_eq!(first.ask(&Request::Unlink { device }), Reply::Done);
    for session in &mut sessions {
        let over = Reply::Over {
            why: Over::Unlinked,
        };
        assert_eq!(session.news(), Some(over));
        assert!(session.is_over());
    }
    let again = first.ask(&Request::Unlink { device });
    assert_eq!(
        again,
        Reply::Failed {
            why: Failure::NotFound
        }
    );
    let mut client = Client::hello(&server, "ann");
    let wanted = client.ask(&Request::LogIn(other.log_in()));
    assert_eq!(wanted, code_wanted(CodeFor::Device));
    first.store([1; 16], 0, Some(b"a"));
    // A device may unlink itself.
    let device = ann.device.id;
    assert_eq!(first.ask(&Request::Unlink { device }), Reply::Done);
    assert!(matches!(first.news(), Some(Reply::Over { .. })));
    assert!(first.is_over());
}

#[test]
fn a_deleted_account_is_gone_with_its_entries_and_its_sessions() {
    let Some(server) = server("") else { return };
    let ann = Account::new("ann");
    let mut first = Client::registered(&server, &ann);
    let mut other = listening(&server, &ann.on_another());
    first.store([1; 16], 0, Some(b"a"));
    let wrong = Proof::Password([0; 32].into());
    let no = first.ask(&Request::DeleteAccount { proof: wrong });
    let why = Failure::Credentials;
    assert_eq!(no, Reply::Failed { why });
    let proof = Proof::Password(ann.auth.into());
    assert_eq!(first.ask(&Request::DeleteAccount { proof }), Reply::Done);
    let over = Reply::Over { why: Over::Deleted };
    assert_eq!(first.news(), Some(over.clone()));
    assert!(first.is_over());
    let last = std::iter::from_fn(|| other.news()).last();
    assert_eq!(last, Some(over));
    assert!(!server.data().join("roots/store/users/1").exists());
    let mut client = Client::hello(&server, "ann");
    let no = client.ask(&Request::LogIn(ann.log_in()));
    assert_eq!(no, refused(Refusal::Credentials));
    // The name is free, and its store another one.
    let mut client = Client::registered(&server, &Account::new("ann"));
    assert_eq!(client.pull_all(), []);
}

#[test]
fn a_reload_that_changes_the_vault_lets_clients_come_again() {
    let Some(mut server) = server("") else { return };
    let ann = Account::new("ann");
    let mut client = Client::registered(&server, &ann);
    server.signal(Signal::SIGHUP);
    server.wait_for_lines("configuration read again", 1);
    client.store([1; 16], 0, Some(b"a"));
    let path = server.config_path();
    let text = std::fs::read_to_string(&path).expect("configuration");
    std::fs::write(&path, text.replace("\"open\"", "\"closed\"")).expect("configuration");
    server.signal(Signal::SIGHUP);
    server.wait_for_lines("configuration read again", 2);
    let over = Reply::Over {
        why: Over::Stopping,
    };
    assert_eq!(client.news(), Some(over));
    let mut client = Client::logged_in(&server, &ann);
    assert_eq!(client.pull_all().len(), 1);
    let mut stranger = Client::hello(&server, "bob");
    let no = stranger.ask(&Request::Register(Account::new("bob").register()));
    assert_eq!(no, refused(Refusal::Closed));
}

#[test]
fn a_server_that_stops_says_so() {
    let Some(mut server) = server("") else { return };
    let mut client = Client::registered(&server, &Account::new("ann"));
    server.signal(Signal::SIGTERM);
    let over = Reply::Over {
        why: Over::Stopping,
    };
    assert_eq!(client.news(), Some(over));
    assert!(client.is_over());
    server.wait_for_end();
}
