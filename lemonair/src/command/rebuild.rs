//! `lemonair rebuild`: a read model made anew from the topics, beside the live one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use lemonair_projections::rebuild::{
    Difference, Options, Phase, Progress, Report, note, pause, rebuild, rebuild_room, rollback,
};
use lemonair_projections::{ALL, Projection, Projector, projection};
use lemonair_schemas::{RoomId, Timestamp};
use tokio::time::Instant;

use crate::services::Ground;
use crate::settings::Settings;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Rebuild {
    /// A read model, or all
    #[arg(required = true)]
    name: Option<String>,
    /// Compare only, and change nothing
    #[arg(long)]
    verify_only: bool,
    /// Begin anew instead of going on where a rebuild was cut off
    #[arg(long)]
    fresh: bool,
    /// Keep the rows from before a time: live ones where a read model allows it, else those of a snapshot;
    /// 2026-01-02T03:04:05Z, or 2h ago
    #[arg(long, value_name = "TIME", value_parser = super::time, conflicts_with_all = ["verify_only", "fresh"])]
    from: Option<Timestamp>,
    /// Only one room's rows, where a read model keeps them by room
    #[arg(long, conflicts_with_all = ["from", "fresh"])]
    room: Option<RoomId>,
    /// Hold a rebuild that runs elsewhere
    #[arg(long, conflicts_with_all = ["verify_only", "from", "fresh", "room"])]
    pause: bool,
    /// Let it go on
    #[arg(long, conflicts_with_all = ["verify_only", "from", "fresh", "room", "pause"])]
    r#continue: bool,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand)]
enum Other {
    /// Go back to what was live before the last rebuild; done twice, forth again
    Rollback { name: String },
}

/// Differences that are printed, at most.
const SHOWN: usize = 20;

impl Rebuild {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let chosen = match (&self.other, &self.name) {
            (Some(Other::Rollback { name }), _) => vec![projection::named(name)?],
            (None, Some(name)) if name != "all" => vec![projection::named(name)?],
            (None, _) => ALL.to_vec(),
        };
        if self.pause || self.r#continue {
            return hold(settings, &chosen, self.pause).await;
        }
        let ground = Ground::lay(settings).await?;
        let projector = Projector {
            pool: ground.pool,
            kafka: ground.kafka,
            codec: ground.codec,
        };
        let snapshots = settings.snapshots();
        let options = Options {
            verify_only: self.verify_only,
            fresh: self.fresh,
            from: self.from,
            snapshots: Some(&snapshots),
        };
        let mut different = 0;
        for projection in chosen {
            let bar = Bar::new(projection.name());
            let mut tell = |progress| bar.tell(progress);
            let report = match (&self.other, &self.room) {
                (Some(Other::Rollback { .. }), _) => {
                    rollback(&projector, projection, &mut tell).await
                }
                (None, Some(room)) => {
                    rebuild_room(&projector, projection, room, options, &mut tell).await
                }
                (None, None) => rebuild(&projector, projection, options, &mut tell).await,
            };
            bar.clear();
            let report = report?;
            note(&projector.pool, &report).await?;
            different += print(&report);
        }
        if self.verify_only && different > 0 {
            bail!("{different} read models differ from the topics; `lemonair rebuild` mends them");
        }
        Ok(())
    }
}

async fn hold(
    settings: &Settings,
    chosen: &[&'static dyn Projection],
    paused: bool,
) -> anyhow::Result<()> {
    let pool = lemonair_projections::connect(settings.database_url()?, 1).await?;
    for projection in chosen {
        pause(&pool, *projection, paused).await?;
        let how = if paused { "is held" } else { "goes on" };
        println!("the rebuild of {} {how}", projection.name());
    }
    Ok(())
}

/// Prints what came of it; 1 if the live model differed.
fn print(report: &Report) -> usize {
    let Report {
        projection,
        snapshot,
        records,
        dead_letters,
        comparison,
        swapped,
    } = report;
    let begun = match snapshot {
        Some(at) => format!("the snapshot of {at}, and "),
        None => String::new(),
    };
    let swapped = if *swapped {
        "swapped in"
    } else {
        "left as it was"
    };
    let dead = if *dead_letters > 0 {
        format!(", {dead_letters} dead letters")
    } else {
        String::new()
    };
    let Some(comparison) = comparison else {
        println!(
            "{projection:<11} {begun}{records} records{dead}; nothing to compare with; {swapped}"
        );
        return 0;
    };
    if comparison.differing == 0 {
        println!(
            "{projection:<11} {begun}{records} records{dead}; equal to the live model; {swapped}"
        );
        return 0;
    }
    println!(
        "{projection:<11} {begun}{records} records{dead}; {} groups of rows differ; {swapped}",
        comparison.differing
    );
    for Difference {
        table,
        group,
        live,
        rebuilt,
    } in comparison.differences.iter().take(SHOWN)
    {
        let unlike = if live.rows == rebuilt.rows {
            ", unlike each other"
        } else {
            ""
        };
        println!(
            "  {table} of {group}: {} rows live, {} rebuilt{unlike}",
            live.rows, rebuilt.rows
        );
    }
    let more = comparison.differing.saturating_sub(SHOWN as u64);
    if more > 0 {
        println!("  and {more} more");
    }
    1
}

/// A progress bar on a terminal; elsewhere a line now and then.
struct Bar {
    bar: ProgressBar,
    lined: Mutex<Option<(Instant, Phase)>>,
}

/// Between two lines.
const LINES: Duration = Duration::from_secs(10);

impl Bar {
    fn new(name: &'static str) -> Bar {
        let bar = ProgressBar::new(0).with_prefix(name);
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:<11} {bar:30} {pos}/{len} {per_sec} {eta} left {msg}",
        ) {
            bar.set_style(style);
        }
        Bar {
            bar,
            lined: Mutex::new(None),
        }
    }

    fn tell(&self, progress: Progress) {
        if self.bar.is_hidden() {
            self.line(progress);
        }
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
        self.bar.set_message(match progress.phase {
            Phase::Filling => "",
            Phase::Restoring => "restoring",
            Phase::Paused => "paused",
            Phase::Comparing => "comparing",
            Phase::Swapping => "swapping",
            Phase::Done => "done",
        });
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, progress: Progress) {
        let now = Instant::now();
        let mut lined = self.lined.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = |(at, phase): (Instant, Phase)| phase == progress.phase && now - at < LINES;
        if lined.is_some_and(soon) || progress.phase == Phase::Done {
            return;
        }
        *lined = Some((now, progress.phase));
        let Progress {
            projection,
            phase,
            done,
            total,
        } = progress;
        let rate = self.bar.per_sec();
        eprintln!(
            "{projection:<11} {} {done}/{total} {rate:.0}/s",
            phase.name()
        );
    }
}
