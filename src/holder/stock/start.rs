//! At the start: the files must be those of the database. Then what lies on disk and what
//! the database says are made to agree. A file without a row gets one, and is checked
//! before it counts; a row without a file is a copy that is lost.

use std::collections::HashMap;
use std::io;

use super::{Result, Stock, Time, Trouble};
use crate::holder::store::catalog::{Filed, Owner, State};
use crate::holder::store::shelves::{Found, Mark, Shelf};
use crate::hub::proofs::Statement;
use crate::hub::wire::Name;

impl Stock {
    /// Makes both agree.
    pub(super) fn reconcile(&mut self) -> Result<()> {
        self.recognize()?;
        self.shelves.sweep_parts()?;
        self.catalog.begin()?;
        for (user, key) in self.shelves.owners()? {
            if self.catalog.owner(&user)?.is_none() {
                self.catalog.add_owner(&user, key)?;
            }
        }
        for owner in self.catalog.owners()? {
            self.shelves.add_owner(&owner.user, &owner.key)?;
            self.reconcile_owner(&owner)?;
        }
        self.catalog.commit()?;
        self.count()
    }

    /// Makes sure that the files are those of this database, and marks a new store.
    fn recognize(&self) -> Result<()> {
        match (self.catalog.mark()?, self.shelves.mark()?) {
            (Some(known), Some(found)) if known == found => {}
            (Some(_), _) => return Err(Trouble::NotMounted),
            // The database is a new one.
            (None, Some(found)) => self.catalog.set_mark(&found)?,
            (None, None) => {
                let mut mark = Mark::default();
                getrandom::fill(&mut mark).map_err(io::Error::other)?;
                self.shelves.begin(&mark)?;
                self.catalog.set_mark(&mark)?;
            }
        }
        Ok(self.shelves.make()?)
    }

    /// Makes sure that the files are still there.
    ///
    /// # Errors
    /// `NotMounted`, and the disk's.
    pub(super) fn look_at_store(&self) -> Result<()> {
        match self.catalog.mark()? == self.shelves.mark()? {
            true => Ok(()),
            false => Err(Trouble::NotMounted),
        }
    }

    fn reconcile_owner(&mut self, owner: &Owner) -> Result<()> {
        let mut found: HashMap<Name, Found> = HashMap::new();
        self.shelves.walk(&owner.key, |it| {
            // A stored one comes before one in the trash.
            found.entry(it.name).or_insert(it);
        })?;
        let mut behind = None;
        loop {
            let rows = self.catalog.rows(owner.id, behind, 1000)?;
            let Some(last) = rows.last() else { break };
            behind = Some(last.name);
            for row in rows {
                match found.remove(&row.name) {
                    Some(it) => self.place(owner, &row, &it)?,
                    None if row.until.is_some() => self.catalog.forget(owner.id, row.name)?,
                    None if row.state == State::Whole || row.state == State::Unchecked => {
                        self.give_up(owner, &row, State::Missing)?;
                    }
                    None => {}
                }
            }
        }
        for it in found.into_values() {
            self.adopt(owner, &it)?;
        }
        Ok(())
    }

    /// A row is where its file lies.
    fn place(&mut self, owner: &Owner, row: &Filed, found: &Found) -> Result<()> {
        match (Stock::shelf(row), found.shelf) {
            (Shelf::Live, Shelf::Trash) => {
                let until = self.now + self.settings.trash;
                self.catalog.discard(owner.id, row.name, until, false)?;
            }
            (Shelf::Trash, Shelf::Live) => {
                self.catalog.bring_back(owner.id, row.name, self.now)?;
            }
            _ => {}
        }
        if row.state == State::Missing {
            let state = State::Unchecked;
            self.catalog.scrubbed(owner.id, row.name, state, 0)?;
        }
        Ok(())
    }

    /// A file without a row gets one, if its owner has signed it.
    fn adopt(&mut self, owner: &Owner, found: &Found) -> Result<()> {
        let end = self.shelves.read_end(&owner.key, found)?;
        let signed = end.filter(|(size, sig)| {
            let statement = Statement::File {
                hub: &self.settings.hub,
                owner: &owner.user,
                name: found.name,
                size: *size,
            };
            statement.is_signed(&owner.key, sig)
        });
        let Found { shelf, kind, name } = *found;
        let Some((size, sig)) = signed else {
            log::error!(owner = owner.user.as_str(), name:? = name; "file without its signature");
            return Ok(self.shelves.set_aside(shelf, &owner.key, kind, name)?);
        };
        let until: Option<Time> = match shelf {
            Shelf::Live => None,
            Shelf::Trash => Some(self.now + self.settings.trash),
        };
        log::warn!(owner = owner.user.as_str(), name:? = name; "file without a row");
        Ok(self.catalog.put(&Filed {
            owner: owner.id,
            name,
            size,
            kind,
            sig,
            state: State::Unchecked,
            since: self.now,
            until,
            is_proven: false,
        })?)
    }
}
