//! Many equal remarks on different files: the first are printed, the others
//! counted.

use std::collections::BTreeMap;

/// How many of one kind are printed.
const PRINTED: u64 = 10;

/// How often each remark was made.
#[derive(Default)]
pub(super) struct Alike(BTreeMap<String, u64>);

impl Alike {
    /// Whether to print a remark of this kind.
    pub(super) fn count(&mut self, kind: &str) -> bool {
        if let Some(count) = self.0.get_mut(kind) {
            *count += 1;
            return *count <= PRINTED;
        }
        self.0.insert(kind.to_owned(), 1);
        true
    }

    /// A line for those of each kind that were not printed, once.
    pub(super) fn rest(&mut self) -> Vec<String> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.filter(|(_, count)| *count > PRINTED)
            .map(|(kind, count)| format!("... and {} more like this: {kind}", count - PRINTED))
            .collect()
    }
}
