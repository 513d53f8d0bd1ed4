//! Answers to an operator, as tables and as JSON.

use serde_json::{Value as Json, json};

use super::Question;
use crate::hub::book::{Account, Book, Settings, Trouble};
use crate::hub::proofs::{enrolment_key, new_code};
use crate::hub::wire::{Name, User, Value};
use crate::text::{columns, human_size, json_line};

/// How long a code can be used, in seconds.
const CODE: i64 = 7 * 86_400;

/// The most files that are asked for at once.
const AT_ONCE: u32 = 4096;

type Answer = Result<String, String>;

fn trouble(trouble: Trouble) -> String {
    match trouble {
        Trouble::Sql(e) => format!("hub.db: {e}"),
        refused @ Trouble::Refused(_) => refused.to_string(),
    }
}

pub(super) fn answer(book: &Book, question: &Question, now: i64) -> Answer {
    match question {
        Question::Add { user, settings } => add(book, user, settings, now),
        Question::Remove { user } => {
            let id = find(book, user)?.id;
            match book.whole(|book| book.remove(id)).map_err(trouble)? {
                true => Ok(String::new()),
                false => Err(format!(
                    "{}: has files here, or keeps some of others: they have to go first",
                    user.as_str()
                )),
            }
        }
        Question::OpenWindow { user, seconds } => {
            let account = find(book, user)?;
            if !account.is_append_only {
                return Err(format!("{}: may delete at any time", user.as_str()));
            }
            let opened = book.whole(|book| book.open_window(account.id, now + seconds));
            opened.map_err(trouble).map(|()| String::new())
        }
        Question::List { as_json } => users(book, *as_json),
        Question::Status { as_json } => status(book, *as_json),
        Question::Holders { as_json } => holders(book, *as_json),
        Question::Files { user, as_json } => files(book, &find(book, user)?, *as_json),
        Question::Heal { holder } => {
            let holder = holder.as_ref().map(|holder| find(book, holder));
            let holder = holder.transpose()?;
            let healed = book.whole(|book| {
                if let Some(holder) = &holder {
                    book.give_up_holder(holder.id, now)?;
                }
                book.heal_now(now)
            });
            healed.map_err(trouble).map(|()| String::new())
        }
        Question::Dump { .. } | Question::Restore { .. } => Ok(String::new()),
    }
}

fn find(book: &Book, user: &User) -> Result<Account, String> {
    let found = book.find_user(user).map_err(trouble)?;
    found.ok_or_else(|| format!("{}: no such user", user.as_str()))
}

fn add(book: &Book, user: &User, settings: &Settings, now: i64) -> Answer {
    let code = new_code().map_err(|e| e.to_string())?;
    let key = enrolment_key(&code, book.hub(), user);
    let key = key.map_err(|e| e.to_string())?.ok_or("no code")?;
    let added = book.whole(|book| {
        let account = book.enter(user, settings, now)?;
        book.enrol(account.id, &key, now + CODE)
    });
    match added {
        Ok(()) => Ok(format!("{code}\n")),
        Err(Trouble::Refused(_)) => Err(format!(
            "{}: has logged in and needs no code",
            user.as_str()
        )),
        Err(Trouble::Sql(e)) => Err(format!("hub.db: {e}")),
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn users(book: &Book, as_json: bool) -> Answer {
    let mut rows = vec![["USER", "KEY", "KEEPS", "USED", "DELETES"].map(str::to_owned)];
    let mut all: Vec<Json> = Vec::new();
    for user in book.users().map_err(trouble)? {
        let space = book.space(user.id).map_err(trouble)?;
        let (name, has_key) = (user.name.as_str(), user.key.is_some());
        all.push(json!({
            "user": name, "key": has_key, "share": space.share, "used": space.used,
            "left": space.left, "append_only": user.is_append_only,
            "version": has_key.then_some(if user.is_base { "1.0" } else { "1.1" }),
        }));
        rows.push([
            name.to_owned(),
            if user.is_base {
                "1.0".to_owned()
            } else {
                yes(has_key)
            },
            space.share.to_string(),
            space.used.to_string(),
            yes(!user.is_append_only),
        ]);
    }
    Ok(if as_json {
        json_line(&all)
    } else {
        columns(&rows)
    })
}

fn status(book: &Book, as_json: bool) -> Answer {
    let it = book.report().map_err(trouble)?;
    if as_json {
        return Ok(json_line(&json!({
            "hub": book.hub().as_str(), "users": it.users, "keepers": it.holders,
            "online": it.online, "unreached": it.unreached, "gone": it.gone, "files": it.files,
            "held": it.held, "shared": it.shared, "runs": it.runs, "below": it.heals, "orders": it.orders,
            "audits": it.audits, "failures": it.failures,
        })));
    }
    let (held, shared) = (human_size(it.held), human_size(it.shared));
    let rows = [
        ["users".to_owned(), it.users.to_string()],
        [
            "keepers".to_owned(),
            format!(
                "{}, {} online ({} not reached), {} gone",
                it.holders, it.online, it.unreached, it.gone
            ),
        ],
        ["kept".to_owned(), format!("{held} of {shared}")],
        ["files".to_owned(), it.files.to_string()],
        ["runs".to_owned(), it.runs.to_string()],
        ["to heal".to_owned(), it.heals.to_string()],
        ["orders".to_owned(), it.orders.to_string()],
        [
            "audits".to_owned(),
            format!("{}, {} failed", it.audits, it.failures),
        ],
    ];
    Ok(columns(&rows))
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

fn holders(book: &Book, as_json: bool) -> Answer {
    let head = [
        "KEEPER", "STATE", "REACHED", "SINCE", "HELD", "SHARE", "SCORE", "SITE",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let mut all: Vec<Json> = Vec::new();
    for it in book.holders().map_err(trouble)? {
        let state = match (it.is_online, it.is_gone, it.target) {
            (_, true, _) => "gone",
            (_, _, Some(_)) => "leaves",
            (true, ..) => "online",
            (false, ..) => "away",
        };
        all.push(json!({
            "keeper": it.name, "state": state, "reached": it.is_reached, "since": time(it.latest),
            "held": it.held, "share": it.share, "score": it.score, "failures": it.failures, "site": it.site,
        }));
        rows.push([
            it.name,
            state.to_owned(),
            it.is_reached.map_or_else(|| "-".to_owned(), yes),
            time(it.latest),
            human_size(it.held),
            human_size(it.share),
            it.score.to_string(),
            it.site.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    Ok(if as_json {
        json_line(&all)
    } else {
        columns(&rows)
    })
}

fn files(book: &Book, user: &Account, as_json: bool) -> Answer {
    let mut rows = vec![["FILE", "KIND", "SIZE", "COPIES"].map(str::to_owned)];
    let mut all: Vec<Json> = Vec::new();
    let mut behind: Option<Name> = None;
    loop {
        let some = book.files_with_copies(user.id, behind, AT_ONCE);
        let some = some.map_err(trouble)?;
        let Some(last) = some.last() else { break };
        behind = Some(last.name);
        for it in some {
            let copies = it
                .copies
                .iter()
                .map(|(who, state)| format!("{who}:{state}"));
            let copies: Vec<String> = copies.collect();
            if as_json {
                let copies = it.copies.iter();
                let copies = copies.map(|(who, state)| json!({ "keeper": who, "state": state }));
                all.push(json!({
                    "file": it.name.text(), "kind": it.kind.word(), "size": it.size,
                    "factor": it.factor, "copies": copies.collect::<Vec<_>>(),
                }));
                continue;
            }
            rows.push([
                it.name.text(),
                it.kind.word().to_owned(),
                it.size.to_string(),
                copies.join(" "),
            ]);
        }
    }
    Ok(if as_json {
        json_line(&all)
    } else {
        columns(&rows)
    })
}
