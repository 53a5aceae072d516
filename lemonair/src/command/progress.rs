//! How far a long command is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    plain: bool,
    told: tokio::time::Instant,
}

/// How often a bar moves.
const EVERY: Duration = Duration::from_millis(200);

/// How often there is a line.
const EVERY_LINE: Duration = Duration::from_secs(10);

/// Says how far `work` is until it is done, whatever it waits for. `reached` gives how much is done, and
/// of how much.
pub(super) async fn during<T>(
    unit: &'static str,
    reached: impl Fn() -> (u64, u64),
    work: impl Future<Output = T>,
) -> T {
    let mut progress = Progress::new(unit);
    let mut ticks = tokio::time::interval(EVERY);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                progress.bar.finish_and_clear();
                return done;
            }
            _ = ticks.tick() => progress.tell(reached()),
        }
    }
}

impl Progress {
    fn new(unit: &'static str) -> Progress {
        let bar = ProgressBar::new(0).with_message(unit);
        if let Ok(style) = ProgressStyle::with_template(
            "{bar:30} {human_pos}/{human_len} {msg} {per_sec} {eta} left",
        ) {
            bar.set_style(style);
        }
        Progress {
            bar,
            unit,
            plain: !std::io::stderr().is_terminal(),
            told: tokio::time::Instant::now(),
        }
    }

    fn tell(&mut self, (done, of): (u64, u64)) {
        self.bar.set_length(of);
        self.bar.set_position(done);
        if self.plain && self.told.elapsed() >= EVERY_LINE {
            self.told = tokio::time::Instant::now();
            eprintln!(
                "{done} of {of} {}, {:.0} a second, {} left",
                self.unit,
                self.bar.per_sec(),
                HumanDuration(self.bar.eta())
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::Notify;

    use super::*;

    /// As where few of many records are wanted, or one large file is sent.
    #[tokio::test]
    async fn it_is_told_while_nothing_comes_of_the_work() {
        let (told, enough) = (Cell::new(0), Notify::new());
        let reached = || {
            told.set(told.get() + 1);
            if told.get() == 3 {
                enough.notify_one();
            }
            (told.get(), 10)
        };
        during("records", reached, enough.notified()).await;
        assert_eq!(told.get(), 3);
    }
}
