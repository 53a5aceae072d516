//! `lemonair replay`: events to stdout as JSON lines, in one deterministic order.

use std::io::{BufWriter, ErrorKind, Write};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use lemonair_consumers::batch::Consumed;
use lemonair_consumers::replay::{Bound, Selection};
use lemonair_consumers::{Feed, replay};
use lemonair_schemas::{Event, RoomId, Timestamp, Topic};
use serde_json::json;

use crate::services::{open_registry, schemas};
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Replay {
    /// Topics, such as lemonair.chat
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<Topic>,
    /// Only this room
    #[arg(long)]
    room: Option<RoomId>,
    /// Only this type of event, such as chat.message; may be given more than once
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<String>,
    /// Begin here: a time (2026-01-02T03:04:05Z), an offset, or a duration ago (2h, 3 days)
    #[arg(long, value_name = "X")]
    from: Option<Point>,
    /// End before this
    #[arg(long, value_name = "X")]
    to: Option<Point>,
    /// Go on with what is written from now on
    #[arg(long, conflicts_with = "to")]
    follow: bool,
    /// Pace by the records' times: 1x is as it was, 4x four times as fast
    #[arg(long, value_name = "SPEED")]
    speed: Option<Speed>,
}

/// A point in a topic, as people name it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point {
    At(Bound),
    Ago(Duration),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed(f64);

impl Replay {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let kafka = settings.kafka();
        let registry = open_registry(settings)?;
        let codec =
            std::sync::Arc::new(lemonair_schemas::Codec::register(registry, &schemas()).await?);
        let now = Timestamp::now();
        let selection = Selection {
            topics: self.topics,
            room: self.room,
            kinds: self.kinds,
            from: self.from.map(|point| point.bound(now)),
            to: self.to.map(|point| point.bound(now)),
        };
        let ends = lemonair_consumers::watermarks(&kafka, &selection.topics).await?;
        let mut replay =
            replay::Replay::open(&kafka, std::sync::Arc::clone(&codec), selection.clone()).await?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        let mut pace = self.speed.map(Pace::new);
        while let Some(record) = replay.next().await? {
            if let Some(pace) = &mut pace {
                out.flush()?;
                pace.wait(record.at).await;
            }
            if !print(&mut out, &record)? {
                return Ok(());
            }
        }
        out.flush()?;
        if !self.follow {
            return Ok(());
        }
        let from: Vec<_> = ends
            .iter()
            .map(lemonair_consumers::Watermark::end)
            .collect();
        let mut feed = Feed::<Event>::open(&kafka, codec, &from)?;
        loop {
            for record in feed
                .next(1000)
                .await?
                .records
                .iter()
                .filter(|record| selection.wants(record))
            {
                if !print(&mut out, record)? {
                    return Ok(());
                }
            }
            out.flush()?;
        }
    }
}

/// Prints a record; `false` when nobody reads any more (as in `| head`).
fn print(out: &mut impl Write, record: &Consumed<Event>) -> anyhow::Result<bool> {
    let mut line = serde_json::Map::new();
    line.insert(
        "topic".to_owned(),
        json!(format!("lemonair.{}", record.position.topic)),
    );
    line.insert("partition".to_owned(), json!(record.position.partition));
    line.insert("offset".to_owned(), json!(record.position.offset));
    match &record.content {
        Ok(event) => line.extend(event.json()),
        Err(poison) => {
            line.insert("type".to_owned(), json!("unreadable"));
            line.insert("at".to_owned(), json!(record.at));
            line.insert("cause".to_owned(), json!(poison.cause));
        }
    }
    let line = serde_json::to_string(&line).context("write a line")?;
    match writeln!(out, "{line}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("write a line"),
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

    async fn wait(&mut self, at: Timestamp) {
        let (began, first) = *self
            .began
            .get_or_insert_with(|| (tokio::time::Instant::now(), at));
        tokio::time::sleep_until(began + at.since(first).div_f64(self.speed.0)).await;
    }
}

impl Point {
    pub(crate) fn bound(self, now: Timestamp) -> Bound {
        match self {
            Point::At(bound) => bound,
            Point::Ago(ago) => Bound::Time(Timestamp(
                now.millis()
                    .saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)),
            )),
        }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        if let Ok(offset) = text.parse() {
            return Ok(Point::At(Bound::Offset(offset)));
        }
        if let Ok(time) = text.parse() {
            return Ok(Point::At(Bound::Time(time)));
        }
        let ago = text.parse::<jiff::Span>().ok().and_then(|span| {
            // A day ago is 24 hours ago.
            let duration = span
                .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
                .ok()?;
            Duration::try_from(duration).ok()
        });
        ago.map(Point::Ago).ok_or_else(|| {
            "not a time (2026-01-02T03:04:05Z), an offset (42) or a duration ago (90s, 2h, 3 days)".to_owned()
        })
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        match text.trim_end_matches('x').parse() {
            Ok(speed) if (0.01..=10_000.0).contains(&speed) => Ok(Speed(speed)),
            _ => Err("not a speed such as 1x, 0.5x or 4x".to_owned()),
        }
    }
}
