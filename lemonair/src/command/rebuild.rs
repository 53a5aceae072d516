//! `lemonair rebuild`: a read model made anew from the topics, beside the live one.

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use lemonair_projections::rebuild::{Difference, Options, Phase, Progress, Report, rebuild};
use lemonair_projections::{ALL, Projection, Projector, projection};

use crate::services::Ground;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Rebuild {
    /// A read model, or all
    name: String,
    /// Compare only, and change nothing
    #[arg(long)]
    verify_only: bool,
    /// Begin anew instead of going on where a rebuild was cut off
    #[arg(long)]
    fresh: bool,
}

/// Differences that are printed, at most.
const SHOWN: usize = 20;

impl Rebuild {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let chosen: Vec<&'static dyn Projection> = if self.name == "all" {
            ALL.to_vec()
        } else {
            vec![projection::named(&self.name)?]
        };
        let ground = Ground::lay(settings).await?;
        let projector = Projector {
            pool: ground.pool,
            kafka: ground.kafka,
            codec: ground.codec,
        };
        let options = Options {
            verify_only: self.verify_only,
            fresh: self.fresh,
        };
        let mut different = 0;
        for projection in chosen {
            let bar = Bar::new(projection.name());
            let report = rebuild(&projector, projection, options, &mut |progress| {
                bar.tell(progress)
            })
            .await?;
            bar.clear();
            different += print(&report);
        }
        if self.verify_only && different > 0 {
            bail!("{different} read models differ from the topics; `lemonair rebuild` mends them");
        }
        Ok(())
    }
}

/// Prints what came of it; 1 if the live model differed.
fn print(report: &Report) -> usize {
    let Report {
        projection,
        records,
        dead_letters,
        comparison,
        swapped,
    } = report;
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
        println!("{projection:<11} {records} records{dead}; nothing to compare with; {swapped}");
        return 0;
    };
    if comparison.differing == 0 {
        println!("{projection:<11} {records} records{dead}; equal to the live model; {swapped}");
        return 0;
    }
    println!(
        "{projection:<11} {records} records{dead}; {} groups of rows differ; {swapped}",
        comparison.differing
    );
    for Difference {
        table,
        group,
        live,
        rebuilt,
    } in comparison.differences.iter().take(SHOWN)
    {
        println!(
            "  {table} of {group}: {} rows live, {} rebuilt",
            live.rows, rebuilt.rows
        );
    }
    let more = comparison.differing.saturating_sub(SHOWN as u64);
    if more > 0 {
        println!("  and {more} more");
    }
    1
}

/// A progress bar on a terminal, nothing elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new(name: &'static str) -> Bar {
        let bar = ProgressBar::new(0).with_prefix(name);
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:<11} {bar:30} {pos}/{len} {per_sec} {eta} left {msg}",
        ) {
            bar.set_style(style);
        }
        Bar(bar)
    }

    fn tell(&self, progress: Progress) {
        self.0.set_length(progress.total);
        self.0.set_position(progress.done);
        self.0.set_message(match progress.phase {
            Phase::Filling => "",
            Phase::Comparing => "comparing",
            Phase::Swapping => "swapping",
            Phase::Done => "done",
        });
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
