//! What the broker publishes for metrics and status.

use crate::hub::book::{Book, Report, Result};
use crate::ipc::figures::{Board, Figure, Pace};

/// All of it, in the order of the constants below.
pub static FIGURES: [Figure; 16] = [
    Figure::gauge("users", "Users of the hub."),
    Figure::gauge("keepers", "Keepers that share something."),
    Figure::gauge("keepers_online", "Those that are online."),
    Figure::gauge(
        "keepers_unreached",
        "Those of them that nobody can connect to.",
    ),
    Figure::gauge("lines", "Lines of owners and keepers."),
    Figure::gauge("files", "Files that are kept."),
    Figure::gauge("held_bytes", "Bytes of all their copies."),
    Figure::gauge("shared_bytes", "Bytes that keepers share."),
    Figure::gauge("runs", "Open runs."),
    Figure::gauge(
        "copies_missing",
        "Files that wait for a copy, or for another place of one.",
    ),
    Figure::gauge("orders", "Orders that wait for their keepers."),
    Figure::counter("heals", "Copies that were made without their owner."),
    Figure::counter(
        "audits_passed",
        "Answers of keepers to audits that were right.",
    ),
    Figure::counter("audits_failed", "Those that were wrong, late or missing."),
    Figure::counter("refused", "Requests that were refused."),
    Figure::gauge(
        "relay_lines",
        "Pairs of peers that speak to each other by the relay.",
    ),
];
const LINES: usize = 4;
pub(super) const HEALS: usize = 11;
pub(super) const PASSED: usize = 12;
pub(super) const FAILED: usize = 13;
pub(super) const REFUSED: usize = 14;
const RELAYS: usize = 15;

/// Publishes them.
#[derive(Debug)]
pub(super) struct Publisher {
    board: Board,
    /// When what the book has is counted.
    pub(super) pace: Pace,
}

impl Publisher {
    pub(super) fn new(board: Board) -> Publisher {
        let pace = Pace::default();
        Publisher { board, pace }
    }

    /// Counts something that has happened.
    pub(super) fn count(&self, figure: usize) {
        self.board.count(figure);
    }

    /// Publishes what there is.
    pub(super) fn publish(&mut self, book: &Book, lines: usize, relays: usize) -> Result<()> {
        let Publisher { board, pace } = self;
        board.set(LINES, lines as u64);
        board.set(RELAYS, relays as u64);
        pace.count(|| {
            let Report {
                users,
                holders,
                online,
                unreached,
                files,
                held,
                shared,
                runs,
                heals,
                orders,
                ..
            } = book.report()?;
            let before = (0..LINES).zip([users, holders, online, unreached]);
            let after = (LINES + 1..).zip([files, held, shared, runs, heals, orders]);
            for (figure, value) in before.chain(after) {
                board.set(figure, value);
            }
            Ok(())
        })
    }
}
