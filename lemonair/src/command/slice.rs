//! A slice of history, as people name it on the command line.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use lemonair_consumers::{Bound, Kafka, Selection, Who};
use lemonair_schemas::topic::UnknownTopic;
use lemonair_schemas::{Codec, Event, EventId, RoomId, Timestamp, Topic};

#[derive(Args)]
pub(crate) struct Slice {
    /// Topics, such as lemonair.chat
    #[arg(required = true, value_name = "TOPIC", value_parser = topic_of_events)]
    topics: Vec<Topic>,
    #[command(flatten)]
    window: Window,
    /// Only this type of event, such as chat.message; may be given more than once, as may the account
    #[arg(long = "type", value_name = "TYPE")]
    kinds: Vec<String>,
    /// Only what is by or about this account: its id, or a name that it had
    #[arg(long = "account", value_name = "WHO")]
    accounts: Vec<String>,
}

/// Rooms and times.
#[derive(Args)]
pub(crate) struct Window {
    /// Only this room; may be given more than once
    #[arg(long = "room", value_name = "ROOM")]
    rooms: Vec<RoomId>,
    /// Begin here: a time (2026-01-02T03:04:05Z), an offset, a duration ago (2h, 3 days), or where the
    /// broadcast with this id began. The last one given holds, as with the end
    #[arg(long, value_name = "X", overrides_with = "from")]
    from: Option<Point>,
    /// End before this, or where the broadcast with this id ended
    #[arg(long, value_name = "X", overrides_with = "to")]
    to: Option<Point>,
}

/// A point in a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point {
    At(Bound),
    Ago(Duration),
    Broadcast(EventId),
}

/// What deciders are asked, answer and remember is no history, and not for readers outside.
fn topic_of_events(name: &str) -> Result<Topic, String> {
    let topic: Topic = name
        .parse()
        .map_err(|error: UnknownTopic| error.to_string())?;
    if matches!(topic, Topic::Commands | Topic::Answers | Topic::Decider) {
        return Err(format!(
            "lemonair.{topic} holds no events, but what deciders are asked, answer or remember"
        ));
    }
    Ok(topic)
}

impl Slice {
    /// The times as they were asked for, whatever they stand for now.
    pub(crate) fn asked(&self) -> String {
        format!("{:?}", (self.window.from, self.window.to))
    }

    pub(crate) async fn selection(
        self,
        kafka: &Kafka,
        codec: &Arc<Codec>,
        now: Timestamp,
    ) -> anyhow::Result<Selection> {
        for kind in &self.kinds {
            if !Event::KINDS.contains(&kind.as_str()) {
                bail!(
                    "no type {kind:?} of event; there are {}",
                    Event::KINDS.join(", ")
                );
            }
        }
        let mut selection = self.window.selection(kafka, codec, now).await?;
        selection.topics = self.topics;
        selection.kinds = self.kinds;
        selection.accounts = self
            .accounts
            .iter()
            .map(|who| Who::from(who.as_str()))
            .collect();
        Ok(selection)
    }
}

impl Window {
    /// Of no topic yet.
    pub(super) async fn selection(
        self,
        kafka: &Kafka,
        codec: &Arc<Codec>,
        now: Timestamp,
    ) -> anyhow::Result<Selection> {
        let mut selection = Selection {
            rooms: self.rooms,
            ..Selection::default()
        };
        if let Some(from) = self.from {
            selection.from = match from {
                Point::Broadcast(id) => Some(Bound::Time(broadcast(kafka, codec, id).await?.0)),
                from => from.bound(now),
            };
        }
        if let Some(to) = self.to {
            selection.to = match to {
                // Its last event belongs to it.
                Point::Broadcast(id) => broadcast(kafka, codec, id)
                    .await?
                    .1
                    .map(|end| Bound::Time(end.plus(Duration::from_millis(1)))),
                to => to.bound(now),
            };
        }
        Ok(selection)
    }
}

/// When a broadcast began and, unless it is on air, ended.
async fn broadcast(
    kafka: &Kafka,
    codec: &Arc<Codec>,
    id: EventId,
) -> anyhow::Result<(Timestamp, Option<Timestamp>)> {
    let streams = Selection::of(&[Topic::Streams]);
    let ranges = streams.ranges(kafka).await?;
    let mut replay =
        lemonair_consumers::Replay::open(kafka, Arc::clone(codec), streams, ranges).await?;
    let mut began = None;
    while let Some(record) = replay.next().await? {
        match record.content {
            Ok(Event::StreamStarted(event)) if event.id == id => began = Some(record.at),
            Ok(Event::StreamEnded(event)) if event.stream == id => {
                return Ok((began.unwrap_or(record.at), Some(record.at)));
            }
            _ => {}
        }
    }
    match began {
        Some(began) => Ok((began, None)),
        None => bail!(
            "no broadcast {id}; `lemonair replay lemonair.streams --type stream.started` lists all"
        ),
    }
}

impl Point {
    pub(super) fn bound(self, now: Timestamp) -> Option<Bound> {
        match self {
            Point::At(bound) => Some(bound),
            Point::Ago(ago) => Some(Bound::Time(Timestamp(
                now.millis()
                    .saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)),
            ))),
            Point::Broadcast(_) => None,
        }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Point, String> {
        if let Ok(bound) = text.parse() {
            return Ok(Point::At(bound));
        }
        if let Ok(id) = text.parse() {
            return Ok(Point::Broadcast(id));
        }
        let ago = text.parse::<jiff::Span>().ok().and_then(|span| {
            // A day ago is 24 hours ago.
            let duration = span
                .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
                .ok()?;
            Duration::try_from(duration).ok()
        });
        ago.map(Point::Ago).ok_or_else(|| {
            "not a time (2026-01-02T03:04:05Z), an offset (42), a duration ago (90s, 2h, 3 days) or a broadcast's id"
                .to_owned()
        })
    }
}
