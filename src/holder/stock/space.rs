//! How much room there is: the share, and what must stay free on the disk. Files whose
//! owners have signed them away make room for others.

use super::{Result, Stock};
use crate::holder::store::catalog::Filed;
use crate::hub::wire::Code;

impl Stock {
    /// Counts a file that lies in the store from now on.
    pub(super) fn comes(&mut self, file: &Filed) {
        self.held += file.size;
    }

    /// Counts one that no longer does.
    pub(super) fn leaves(&mut self, file: &Filed) {
        if file.state.is_there() {
            self.held = self.held.saturating_sub(file.size);
            self.loosened(file, false);
        }
    }

    /// Counts whether a file may go at once, which was so before or not.
    pub(super) fn loosened(&mut self, file: &Filed, may_go: bool) {
        if file.is_proven {
            self.loose = self.loose.saturating_sub(file.size);
        }
        if may_go {
            self.loose += file.size;
        }
    }

    /// Reads what there is.
    pub(super) fn count(&mut self) -> Result<()> {
        (self.held, self.loose) = self.catalog.held()?;
        Ok(())
    }

    /// Makes room for so many bytes more than may come already.
    pub(super) fn make_room(&mut self, size: u64) -> Result<()> {
        let reserved = self.tickets.reserved() + self.errands.reserved();
        let wanted = size.saturating_add(reserved);
        let free = self.shelves.free()?.saturating_sub(self.settings.spare);
        let least = self.held.saturating_sub(self.loose);
        let in_share = least.saturating_add(wanted) <= self.settings.share;
        if !in_share || wanted > free.saturating_add(self.loose) {
            return Err(Code::NoSpace.into());
        }
        let has_room = |stock: &Stock| -> Result<bool> {
            let free = stock.shelves.free()?.saturating_sub(stock.settings.spare);
            let in_share = stock.held.saturating_add(wanted) <= stock.settings.share;
            Ok(in_share && wanted <= free)
        };
        while !has_room(self)? {
            let file = self.catalog.first_to_go()?.ok_or(Code::NoSpace)?;
            self.remove(&file)?;
        }
        Ok(())
    }

    /// Removes a file for good.
    pub(super) fn remove(&mut self, file: &Filed) -> Result<()> {
        let owner = self.catalog.owner_of(file.owner)?;
        let shelf = Stock::shelf(file);
        self.shelves
            .remove(shelf, &owner.key, file.kind, file.name)?;
        self.catalog.forget(file.owner, file.name)?;
        self.leaves(file);
        Ok(())
    }
}
