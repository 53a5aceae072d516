//! How far a long command is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

pub(super) struct Progress {
    bar: ProgressBar,
    plain: bool,
    told: tokio::time::Instant,
}

const EVERY: Duration = Duration::from_secs(10);

impl Progress {
    pub(super) fn new(total: u64) -> Progress {
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:30} {human_pos}/{human_len} records {per_sec} {eta} left",
        ) {
            bar.set_style(style);
        }
        Progress {
            bar,
            plain: !std::io::stderr().is_terminal(),
            told: tokio::time::Instant::now(),
        }
    }

    /// Where more may turn out to be read than it seemed.
    pub(super) fn tell_of(&mut self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.tell(done);
    }

    pub(super) fn tell(&mut self, done: u64) {
        self.bar.set_position(done);
        if self.plain && self.told.elapsed() >= EVERY {
            self.told = tokio::time::Instant::now();
            eprintln!(
                "{done} of {} records, {:.0} a second, {} left",
                self.bar.length().unwrap_or(0),
                self.bar.per_sec(),
                HumanDuration(self.bar.eta())
            );
        }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
