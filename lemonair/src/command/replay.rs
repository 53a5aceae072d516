//! `lemonair replay`: events in one deterministic order, as JSON lines or played again elsewhere.

mod output;

use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use lemonair_consumers::batch::Consumed;
use lemonair_consumers::{Feed, Kafka, Range, Selection};
use lemonair_schemas::{Codec, Event, Records, RoomId, Timestamp};
use tokio::signal::unix::{SignalKind, signal};

use self::output::Output;
pub(crate) use self::output::write_line;
use super::slice::Slice;
use crate::services::open_registry;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    slice: Slice,
    /// Go on with what is written from now on
    #[arg(long, conflicts_with = "to")]
    follow: bool,
    /// Pace by the records' times: 1x is as it was, 4x four times as fast, max without pause
    #[arg(long, value_name = "SPEED", default_value = "max")]
    speed: Speed,
    /// Go on where a replay was stopped: what it printed then
    #[arg(long, value_name = "PLACES", value_delimiter = ',', conflicts_with_all = ["from", "to", "follow"])]
    resume: Vec<Range>,
    /// Play into the topics of another deployment, with this prefix
    #[arg(long, value_name = "PREFIX", conflicts_with = "to_ws")]
    to_topic: Option<String>,
    /// Play the messages into a room of this gateway, such as ws://127.0.0.1:8080/ws
    #[arg(long, value_name = "URL", requires = "as_room")]
    to_ws: Option<String>,
    /// The room to play into
    #[arg(long, value_name = "ROOM")]
    as_room: Option<RoomId>,
    /// Whoever speaks there: see `lemonair token`
    #[arg(long, value_name = "TOKEN", requires = "to_ws")]
    token: Option<String>,
}

/// How many times as fast as it was; `None` without any pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed(Option<f64>);

/// A replay, and what came of it so far.
struct Run {
    output: Output,
    pace: Pace,
    unreadable: u64,
}

impl Replay {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        // At once: who stops us while we connect wants us to stop too.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let kafka = settings.kafka();
        let codec = Arc::new(Codec::reading(open_registry(settings)?, Event::SCHEMAS).await?);
        let output = match (self.to_topic, self.to_ws, self.as_room) {
            (Some(prefix), _, room) => Output::topics(settings, &prefix, room).await?,
            (_, Some(url), Some(room)) => Output::socket(&url, &room, self.token).await?,
            (None, None, None) => Output::lines(),
            _ => bail!("--as-room needs --to-topic or --to-ws: nothing else has rooms"),
        };
        let selection = self
            .slice
            .selection(&kafka, &codec, Timestamp::now())
            .await?;
        let ranges = if self.resume.is_empty() {
            selection.ranges(&kafka).await?
        } else {
            self.resume
        };
        let mut run = Run {
            output,
            pace: Pace::new(self.speed),
            unreadable: 0,
        };
        let rest = run
            .slice(&kafka, &codec, &selection, ranges, self.follow, stop)
            .await;
        run.output.finish().await?;
        if run.unreadable > 0 {
            eprintln!("{} records could not be decoded", run.unreadable);
        }
        let rest = rest?;
        if !rest.is_empty() {
            let places: Vec<String> = rest.iter().map(Range::to_string).collect();
            eprintln!(
                "stopped; the same command goes on with --resume {}",
                places.join(",")
            );
        }
        Ok(())
    }
}

impl Run {
    /// Replays until the end, or until `stop`; returns what is left.
    async fn slice(
        &mut self,
        kafka: &Kafka,
        codec: &Arc<Codec>,
        selection: &Selection,
        ranges: Vec<Range>,
        follow: bool,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Vec<Range>> {
        tokio::pin!(stop);
        let ends = if follow {
            lemonair_consumers::watermarks(kafka, &selection.topics).await?
        } else {
            Vec::new()
        };
        let mut replay =
            lemonair_consumers::Replay::open(kafka, Arc::clone(codec), selection.clone(), ranges)
                .await?;
        loop {
            let record = tokio::select! {
                biased;
                () = &mut stop => return Ok(replay.rest()),
                record = replay.next() => record?,
            };
            let Some(record) = record else { break };
            let taken = tokio::select! {
                biased;
                taken = self.take(&record) => taken?,
                // It was not given out: the rest begins with it.
                () = &mut stop => return Ok(replay.rest_with(record.position)),
            };
            if !taken {
                return Ok(Vec::new());
            }
        }
        if !follow {
            return Ok(Vec::new());
        }
        let from: Vec<_> = ends
            .iter()
            .map(lemonair_consumers::Watermark::end)
            .collect();
        let mut feed = Feed::<Event>::open(kafka, Arc::clone(codec), &from)?;
        loop {
            self.output.flush().await?;
            let batch = tokio::select! {
                biased;
                () = &mut stop => return Ok(Vec::new()),
                batch = feed.next(1000) => batch?,
            };
            for record in batch.records {
                if selection.wants(&record) && !self.take(&record).await? {
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Gives a record out when its time has come; `false` when nobody reads any more.
    async fn take(&mut self, record: &Consumed<Event>) -> anyhow::Result<bool> {
        if self.pace.holds(record.at) {
            self.output.flush().await?;
            self.pace.wait(record.at).await;
        }
        match &record.content {
            Ok(event) => self.output.give(record, event).await,
            Err(poison) => {
                self.unreadable += 1;
                let position = record.position;
                writeln!(
                    std::io::stderr(),
                    "cannot be decoded: lemonair.{} partition {} offset {}: {}",
                    position.topic,
                    position.partition,
                    position.offset,
                    poison.cause
                )
                .context("write to stderr")?;
                Ok(true)
            }
        }
    }
}

/// Holds records back until their time has come.
struct Pace {
    speed: Speed,
    began: Option<(tokio::time::Instant, Timestamp)>,
}

impl Pace {
    fn new(speed: Speed) -> Pace {
        Pace { speed, began: None }
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.speed.0.is_some() && self.began.is_none_or(|(_, first)| at > first)
    }

    async fn wait(&mut self, at: Timestamp) {
        let Some(speed) = self.speed.0 else { return };
        let (began, first) = *self
            .began
            .get_or_insert_with(|| (tokio::time::Instant::now(), at));
        tokio::time::sleep_until(began + at.since(first).div_f64(speed)).await;
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        if text == "max" {
            return Ok(Speed(None));
        }
        match text.trim_end_matches('x').parse() {
            Ok(speed) if (0.01..=10_000.0).contains(&speed) => Ok(Speed(Some(speed))),
            _ => Err("not a speed such as 1x, 0.5x, 4x or max".to_owned()),
        }
    }
}
