//! What the stock publishes for metrics and status.

use super::message::{ToLine, ToSession};
use super::{Result, Stock};
use crate::hub::wire::{Line, Message, Request};
use crate::ipc::figures::{Board, Figure, Pace};

/// All of it, in the order of the constants below.
pub static FIGURES: [Figure; 10] = [
    Figure::gauge("online", "Whether the hub hears the keeper: 1 or 0."),
    Figure::gauge("lines", "Lines of owners and of other keepers."),
    Figure::gauge("held_bytes", "Bytes of what is kept, with the trash."),
    Figure::gauge("shared_bytes", "The most bytes that are kept."),
    Figure::gauge("files", "Files that are kept."),
    Figure::gauge("files_lost", "Files that are missing or damaged."),
    Figure::counter("received", "Files that have come."),
    Figure::counter("sent", "Files that were sent for."),
    Figure::counter("audits", "Audits that were answered."),
    Figure::counter("refused", "Requests of peers that were refused."),
];
const ONLINE: usize = 0;
const LINES: usize = 1;
const HELD: usize = 2;
const SHARED: usize = 3;
const FILES: usize = 4;
const LOST: usize = 5;
const RECEIVED: usize = 6;
const SENT: usize = 7;
const AUDITS: usize = 8;
const REFUSED: usize = 9;

/// Publishes them.
#[derive(Debug)]
pub(super) struct Publisher {
    board: Board,
    /// When files are counted.
    pub(super) pace: Pace,
}

impl Publisher {
    pub(super) fn new(board: Board) -> Publisher {
        let pace = Pace::default();
        Publisher { board, pace }
    }

    /// Counts what a peer is answered.
    pub(super) fn answered(&self, answer: &ToSession) {
        let figure = match answer {
            ToSession::Receipt(_) => RECEIVED,
            ToSession::Give { .. } => SENT,
            ToSession::Refused(_) => REFUSED,
            _ => return,
        };
        self.board.count(figure);
    }

    /// Counts what the hub is answered.
    pub(super) fn told(&self, message: &ToLine) {
        let is_sum = |line: &Line| matches!(line.message, Message::Request(Request::Crc(_)));
        if matches!(message, ToLine::Line(line) if is_sum(line)) {
            self.board.count(AUDITS);
        }
    }

    /// Publishes what there is.
    pub(super) fn publish(&mut self, stock: &Stock, lines: usize) -> Result<()> {
        let Publisher { board, pace } = self;
        board.set(ONLINE, stock.is_online.into());
        board.set(LINES, lines as u64);
        board.set(HELD, stock.held);
        board.set(SHARED, stock.settings.share);
        pace.count(|| {
            let (files, lost) = stock.catalog.count()?;
            board.set(FILES, files);
            board.set(LOST, lost);
            Ok(())
        })
    }
}
