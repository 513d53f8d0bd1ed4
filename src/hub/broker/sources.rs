//! Where owners find their files: lists of them, holders that send one, and the
//! addresses of peers.

use super::Broker;
use super::line::{Asked, Asker, Search};
use crate::hub::book::{Account, Book, Result, UserId};
use crate::hub::wire::request::{Acc, Get, Gip, Gix, Let, Off, Rec, Src, Tip};
use crate::hub::wire::{
    Code, Key, Kind, Kinds, Name, NotStored, Purpose, Reply, Request, Role, User, Way,
};

/// The most files that a list begins with, in one query.
const AT_ONCE: u32 = 4096;

impl Broker {
    /// How who has this line reaches a holder that is ready: its way, its name and its
    /// key.
    pub(super) fn way_to(
        &mut self,
        book: &Book,
        dialler: u64,
        holder: UserId,
    ) -> Result<Option<(Way, User, Key)>> {
        let account = book.account(holder)?;
        let way = match self.holders.contains_key(&holder) {
            true => self.way_by_line(book, dialler, holder)?,
            false => None,
        };
        Ok(way
            .zip(account.holder_key)
            .map(|(way, key)| (way, account.name, key)))
    }

    pub(super) fn recover(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Rec,
    ) -> Result<()> {
        if it.username == user.name {
            return self.list(book, asker, user, it.kind);
        }
        let holder = book.find_user(&it.username)?;
        let holder = holder.ok_or(Reply::NoSuchUser)?;
        // One of the other version has nothing of this user's.
        if holder.holder_key.is_none() || holder.is_base != user.is_base {
            return Err(Reply::NoSuchFile.into());
        }
        // It says itself whether it has something, if only in its trash.
        let holder = holder.id;
        let search = Search {
            file: None,
            rest: vec![holder],
            is_elsewhere: false,
        };
        self.search(book, asker, user, search)
    }

    fn list(
        &mut self,
        book: &Book,
        (number, id): Asker,
        user: &Account,
        kinds: Option<Kinds>,
    ) -> Result<()> {
        let count = book.count_files(user.id, kinds)?;
        let mut files = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        loop {
            let behind = files
                .last()
                .map(|file: &crate::hub::book::Listed| file.name);
            let more = book.files(user.id, kinds, behind, AT_ONCE)?;
            if more.is_empty() {
                break;
            }
            files.extend(more);
        }
        if files.is_empty() {
            return Err(Reply::NoSuchFile.into());
        }
        if let Some(line) = self.lines.get_mut(&number) {
            line.list(id, files);
        }
        Ok(())
    }

    pub(super) fn find_listed(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Gix,
    ) -> Result<()> {
        if it.username != user.name {
            return Err(Reply::NoSuchFile.into());
        }
        let file = match it.name {
            Some(name) => book.live_file(user.id, name)?,
            // Version 1.0 has no other kind.
            None if user.is_base => book.newest(user.id, Kind::Index)?,
            None => book.newest(user.id, Kind::Snapshot)?,
        };
        let file = file.filter(|file| file.kind != Kind::Data);
        let file = file.ok_or(Reply::NoSuchFile)?;
        self.find(book, asker, user, (file.name, file.size), None)
    }

    pub(super) fn find_file(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Get,
    ) -> Result<()> {
        let file = book.live_file(user.id, it.filename)?;
        let file = file.ok_or(Reply::NoSuchFile)?;
        if file.size != it.filesize {
            return Err(Reply::NotMine.into());
        }
        self.find(book, asker, user, (file.name, file.size), None)
    }

    /// Gives up a copy that could not be fetched, and finds another one.
    pub(super) fn not_sent(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        name: Name,
        (holder, reason): (UserId, NotStored),
    ) -> Result<()> {
        let file = book.live_file(user.id, name)?.ok_or(Reply::NoSuchFile)?;
        book.give_up(user.id, name, (holder, reason), self.now)?;
        let file = (file.name, file.size);
        self.find(book, asker, user, file, Some(holder))
    }

    fn find(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        (name, size): (Name, u64),
        but: Option<UserId>,
    ) -> Result<()> {
        let mut sources = book.sources(user.id, name)?;
        sources.retain(|holder| Some(*holder) != but);
        if sources.is_empty() {
            self.reply(asker, Reply::NoSuchFile);
            return Ok(());
        }
        let all = sources.len();
        sources.retain(|holder| self.online.contains(holder));
        let is_elsewhere = sources.len() < all;
        let search = Search {
            file: Some((name, size)),
            rest: sources,
            is_elsewhere,
        };
        self.search(book, asker, user, search)
    }

    /// Asks the next holder whether it sends. A change that came before stays, so a
    /// failure is answered here.
    fn search(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        mut search: Search,
    ) -> Result<()> {
        while let Some(holder) = search.rest.pop() {
            let Some(key) = user.key else {
                self.reply(asker, Reply::NotAllowed);
                return Ok(());
            };
            let Some(way) = self.way_from(book, asker.0, holder)? else {
                search.is_elsewhere = true;
                continue;
            };
            let send = Let {
                name: search.file.map(|(name, _)| name),
                size: search.file.map(|(_, size)| size),
                purpose: Some(Purpose::Recover),
                ..Let::new(way, user.name.clone(), key)
            };
            let to = self.holders.get(&holder).copied();
            let asked = Asked::Send(asker, search.clone());
            if self.ask(to, send, asked, self.patience) {
                return Ok(());
            }
            search.is_elsewhere = true;
        }
        let refusal = match search.is_elsewhere {
            true => Reply::NotOnline { until: None },
            false => Reply::NoSuchFile,
        };
        self.reply(asker, refusal);
        Ok(())
    }

    /// Takes what a holder says about sending.
    pub(super) fn may_send(
        &mut self,
        book: &Book,
        holder: UserId,
        asker: Asker,
        mut search: Search,
        answer: Option<Code>,
    ) -> Result<()> {
        let Some(user) = self.lines.get(&asker.0).and_then(|line| line.user) else {
            return Ok(());
        };
        let user = book.account(user)?;
        if answer == Some(Code::MaySend)
            && let Some((way, name, key)) = self.way_to(book, asker.0, holder)?
        {
            let source = Src {
                name: search.file.map(|(name, _)| name),
                size: search.file.map(|(_, size)| size),
                ..Src::new(way, name, key)
            };
            if let Some(line) = self.lines.get_mut(&asker.0) {
                line.tickets.insert(holder);
            }
            self.say(asker, Request::Src(source).into(), true);
            return Ok(());
        }
        match (answer, search.file) {
            (Some(Code::NoSuchFile), Some((name, _))) => {
                let failed = (holder, NotStored::Missing);
                book.give_up(user.id, name, failed, self.now)?;
            }
            (Some(Code::NoSuchFile), None) => {}
            _ => search.is_elsewhere = true,
        }
        self.search(book, asker, &user, search)
    }

    pub(super) fn find_user(
        &mut self,
        book: &Book,
        asker: Asker,
        user: &Account,
        it: Gip,
    ) -> Result<()> {
        let (number, _) = asker;
        let Some(own) = self.lines.get(&number) else {
            return Ok(());
        };
        if it.username == user.name {
            let tip = Tip::new(it.username, own.way());
            self.say(asker, Request::Tip(tip).into(), true);
            return Ok(());
        }
        let other = book.find_user(&it.username)?.ok_or(Reply::NoSuchUser)?;
        let role = own.card.role;
        // A holder is asked by its owner, an owner by its holder.
        let to = if role != Role::Holder && book.keeps_for(other.id, user.id)? {
            self.holders.get(&other.id).copied()
        } else if role != Role::Owner && book.keeps_for(user.id, other.id)? {
            self.owners_lines(other.id).next().map(|line| line.number)
        } else {
            None
        };
        let key = self.key_on(number, user);
        let expect = Acc {
            key,
            purpose: Some(Purpose::Check),
            ..Acc::new(user.name.clone())
        };
        if !self.ask(to, expect, Asked::Expect(asker), self.patience) {
            self.say(asker, Request::Off(Off::new(it.username)).into(), true);
        }
        Ok(())
    }

    /// Takes what a peer says about a line that it is to expect.
    pub(super) fn may_expect(
        &mut self,
        book: &Book,
        other: UserId,
        asker: Asker,
        answer: Option<Code>,
    ) -> Result<()> {
        let account = book.account(other)?;
        let is_holder = self.role(asker.0) != Some(Role::Holder);
        let way = match is_holder {
            true => self
                .address_of(book, other)?
                .map(|address| (Way::Direct(address), account.holder_key)),
            false => self
                .owners_lines(other)
                .next()
                .map(|line| line.way())
                .map(|way| (way, account.key)),
        };
        let found = way.filter(|_| answer == Some(Code::UsernameOk));
        let answer = match found {
            Some((way, key)) => Request::Tip(Tip {
                key,
                ..Tip::new(account.name, way)
            }),
            None => Request::Off(Off::new(account.name)),
        };
        self.say(asker, answer.into(), true);
        Ok(())
    }
}
