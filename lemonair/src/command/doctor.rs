//! `lemonair doctor`: checks the settings and everything behind them, and says what to do.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};
use lemonair_consumers::watermarks;
use lemonair_schemas::Topic;
use object_store::{ObjectStore, RetryConfig};

use crate::bucket::{Bucket, say};
use crate::services::open_registry;
use crate::settings::Settings;

const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let kafka = settings.kafka();
    let faults = [
        check("kafka", async {
            let marks = watermarks(&kafka, &Topic::ALL).await?;
            let records: i64 = marks.iter().map(|mark| mark.high - mark.low).sum();
            let topics = Topic::ALL.len();
            Ok(format!(
                "{}: {topics} topics, {} partitions, {records} records",
                kafka.brokers,
                marks.len()
            ))
        })
        .await,
        check("registry", async {
            open_registry(settings)?.ping().await?;
            Ok(settings.registry_url.clone())
        })
        .await,
        check("database", async {
            let pool = lemonair_projections::connect(settings.database_url()?, 1).await?;
            Ok(lemonair_projections::database::version(&pool).await?)
        })
        .await,
        check("data", async {
            settings.secret()?;
            Ok(format!("{} is ours to write", settings.data_dir.display()))
        })
        .await,
        check("recordings", async {
            let place = settings.recordings.as_deref().unwrap_or_default();
            if !settings.recordings_are_shared() {
                let nowhere = settings.open_recordings()?.is_none();
                return Ok(if nowhere {
                    "off"
                } else {
                    "a folder is ours to write"
                }
                .to_owned());
            }
            let Bucket { store, within } = Bucket::open(settings, place, RetryConfig::default())?;
            let found = store.list_with_delimiter(Some(&within)).await;
            let found = found.map_err(|error| say(error, place))?;
            let broadcasts = found.common_prefixes.len();
            Ok(format!("{place} answers: {broadcasts} broadcasts"))
        })
        .await,
        check("ffmpeg", async {
            let version = tokio::process::Command::new("ffmpeg")
                .arg("-version")
                .output()
                .await;
            let version = version
                .context("is not installed: no thumbnails; install it with your package manager")?;
            let version = String::from_utf8_lossy(&version.stdout);
            Ok(version
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(60)
                .collect())
        })
        .await,
        check("lemonair", async {
            match tokio::net::TcpStream::connect(settings.http).await {
                Ok(_) => Ok(format!("answers at {}", settings.public_url())),
                Err(_) => Ok(format!(
                    "does not run here; `lemonair up` will use {} and {}",
                    settings.http, settings.rtmp
                )),
            }
        })
        .await,
    ];
    let faults = faults.iter().filter(|fault| **fault).count();
    if faults > 0 {
        bail!("{faults} of the checks failed");
    }
    Ok(())
}

/// Prints a line; `true` if something is wrong.
async fn check(name: &str, work: impl Future<Output = anyhow::Result<String>>) -> bool {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(fine)) => {
            println!("ok     {name:<10} {fine}");
            false
        }
        Ok(Err(error)) => {
            println!("FAULT  {name:<10} {error:#}");
            true
        }
        Err(_) => {
            println!(
                "FAULT  {name:<10} no answer within {} s",
                PATIENCE.as_secs()
            );
            true
        }
    }
}
