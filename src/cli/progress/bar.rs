//! A progress bar for one transfer on a terminal; nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// The bar of one transfer.
pub(in crate::cli) struct Bar(ProgressBar);

impl Bar {
    /// A bar for `length` bytes, or for an unknown number.
    pub(in crate::cli) fn new(quiet: bool, name: String, length: Option<u64>) -> Bar {
        if quiet || !std::io::stderr().is_terminal() {
            return Bar(ProgressBar::hidden());
        }
        let (bar, form) = match length {
            Some(length) => (
                ProgressBar::new(length),
                "{msg} [{bar:30}] {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{msg} {spinner} {bytes} {binary_bytes_per_sec}",
            ),
        };
        Bar(bar.with_style(style(form)).with_message(name))
    }

    /// Shows how many bytes have moved.
    pub(in crate::cli) fn set(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

/// What a bar of this form looks like.
pub(super) fn style(form: &str) -> ProgressStyle {
    ProgressStyle::with_template(form)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Drop for Bar {
    fn drop(&mut self) {
        if !self.0.is_finished() {
            self.0.abandon();
        }
    }
}
