//! `lemonair snapshot`: read models in files, for when a topic does not hold everything any more.

use anyhow::bail;
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use lemonair_projections::snapshot::{Snapshot, list, prune, take};
use lemonair_projections::{ALL, Error, projection};
use lemonair_schemas::Timestamp;

use crate::settings::Settings;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct SnapshotCommand {
    /// A read model, or all
    #[arg(required = true)]
    name: Option<String>,
    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Subcommand)]
enum Other {
    /// Show the snapshots there are, the newest first
    List,
    /// Remove old snapshots of each read model
    Prune {
        /// So many of each are kept, the newest
        #[arg(long, default_value_t = 2, value_name = "N")]
        keep: usize,
    },
}

impl SnapshotCommand {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let folder = settings.snapshots();
        match (&self.other, &self.name) {
            (Some(Other::List), _) => {
                for snapshot in list(&folder)? {
                    println!("{}", line(&snapshot));
                }
                return Ok(());
            }
            (Some(Other::Prune { keep }), _) => {
                for snapshot in prune(&folder, *keep)? {
                    println!("removed  {}", line(&snapshot));
                }
                return Ok(());
            }
            (None, _) => {}
        }
        let chosen = match &self.name {
            Some(name) if name != "all" => vec![projection::named(name)?],
            _ => ALL.to_vec(),
        };
        let all = chosen.len() > 1;
        let kafka = settings.kafka();
        let pool = lemonair_projections::connect(settings.database_url()?, 2).await?;
        let mut taken = 0;
        for projection in chosen {
            match take(&pool, &kafka, projection, &folder, Timestamp::now()).await {
                Ok(snapshot) => {
                    taken += 1;
                    println!("{}", line(&snapshot));
                }
                // Of all, some may never have had anything to read.
                Err(error @ Error::NothingToTake(_)) if all => println!("{error}"),
                Err(error) => return Err(error.into()),
            }
        }
        if taken == 0 {
            bail!("no snapshot was taken; does `lemonair project` run?");
        }
        Ok(())
    }
}

fn line(snapshot: &Snapshot) -> String {
    let Snapshot { path, bytes, head } = snapshot;
    format!(
        "{:<11} {}  {:>10} rows  {:>11}  {}",
        head.projection,
        head.taken_at,
        head.rows,
        HumanBytes(*bytes).to_string(),
        path.display()
    )
}
