//! What ingest asks of the rest: keys from the read models, and the decider's word on broadcasts.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use lemonair_consumers::{Feed, Kafka, Watermark, watermarks};
use lemonair_gateway::find_stream_key;
use lemonair_ingest::{
    BackstageError, Ingest, Lifecycle, OpenBroadcast, Permit, Recorded, RecordingNews, Revoked,
    What,
};
use lemonair_producers::{Desk, Log};
use lemonair_projections::{Checkpoints, broadcasts, channels};
use lemonair_schemas::command::{Broadcast, Turn};
use lemonair_schemas::stream::{RecordingBegun, RecordingDeleted, RecordingKept};
use lemonair_schemas::{Codec, Event, EventId, Position, RoomId, Timestamp, Topic};
use sqlx::MySqlPool;

/// How long is waited for a read model at a time.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Backstage {
    pub(crate) kafka: Kafka,
    pub(crate) codec: Arc<Codec>,
    pub(crate) pool: MySqlPool,
    pub(crate) log: Log,
    pub(crate) desk: Desk,
    pub(crate) lease: Duration,
    pub(crate) checkpoints: Checkpoints,
}

impl lemonair_ingest::Backstage for Backstage {
    fn permit<'a>(
        &'a self,
        stream_key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Permit>, BackstageError>> {
        async move {
            let found = find_stream_key(&self.pool, stream_key).await?;
            Ok(found.map(|found| Permit {
                room: found.room,
                key: found.id,
            }))
        }
        .boxed()
    }

    fn append(&self, event: Lifecycle) -> BoxFuture<'_, Result<(), BackstageError>> {
        async move {
            let title = match event.what {
                What::Started => channels::by_room(&self.pool, &event.room)
                    .await?
                    .map(|channel| channel.title),
                _ => None,
            };
            let (turn, reason) = match event.what {
                What::Started => (Turn::Start, ""),
                What::Interrupted => (Turn::Interrupt, ""),
                What::Resumed => (Turn::Resume, ""),
                What::Ended(reason) => (Turn::End, reason.as_str()),
            };
            let ask = Broadcast {
                title: title.unwrap_or_default(),
                ingest: event.ingest,
                origin: event.origin,
                reason: reason.to_owned(),
                figures: event.figures,
                ..self.ask(event.room, event.stream, turn)
            };
            // One that has ended by another's word has nothing more to tell; `hold` says so.
            self.desk.ask(ask).await?;
            Ok(())
        }
        .boxed()
    }

    fn hold<'a>(
        &'a self,
        room: &'a RoomId,
        stream: EventId,
    ) -> BoxFuture<'a, Result<bool, BackstageError>> {
        async move {
            let ask = self.ask(room.clone(), stream, Turn::Hold);
            Ok(self.desk.ask(ask).await?.refusal.is_none())
        }
        .boxed()
    }

    /// The read model must have all that was appended before us, or we would end a broadcast twice.
    fn left_open<'a>(
        &'a self,
        ingest: &'a str,
    ) -> BoxFuture<'a, Result<Vec<OpenBroadcast>, BackstageError>> {
        async move {
            read(&self.kafka, &self.checkpoints, Topic::Streams, "broadcasts").await?;
            let open = broadcasts::left_open(&self.pool, ingest).await?;
            Ok(open
                .into_iter()
                .map(|open| OpenBroadcast {
                    room: open.room,
                    stream: open.id,
                })
                .collect())
        }
        .boxed()
    }

    fn recorded<'a>(
        &'a self,
        streams: &'a [EventId],
    ) -> BoxFuture<'a, Result<Vec<Recorded>, BackstageError>> {
        async move {
            let known = broadcasts::among(&self.pool, streams).await?;
            let recorded = known.into_iter().map(|broadcast| {
                let recording = broadcast.recording;
                Recorded {
                    // Whoever is erased shall not be seen either.
                    deleted: recording.is_some_and(|recording| recording.deleted_at.is_some())
                        || self.codec.erased().owned(&broadcast.room),
                    room: broadcast.room,
                    stream: broadcast.id,
                    ingest: broadcast.ingest,
                    started_at: broadcast.started_at,
                    ended_at: broadcast.ended_at,
                    begun: recording.is_some(),
                    bytes: recording
                        .and_then(|recording| recording.whole)
                        .map(|whole| whole.bytes.cast_unsigned()),
                }
            });
            Ok(recorded.collect())
        }
        .boxed()
    }

    fn tell_recording<'a>(
        &'a self,
        room: &'a RoomId,
        stream: EventId,
        news: RecordingNews,
    ) -> BoxFuture<'a, Result<(), BackstageError>> {
        async move {
            let (id, at, room, actor) = (EventId::new(), Timestamp::now(), room.clone(), None);
            let event: Event = match news {
                RecordingNews::Begun => RecordingBegun {
                    id,
                    at,
                    room,
                    actor,
                    stream,
                }
                .into(),
                RecordingNews::Whole {
                    begins,
                    duration,
                    bytes,
                } => RecordingKept {
                    id,
                    at,
                    room,
                    actor,
                    stream,
                    begins,
                    duration_ms: i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
                    bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
                }
                .into(),
                RecordingNews::Expired => RecordingDeleted {
                    id,
                    at,
                    room,
                    actor,
                    stream,
                    reason: "expired".to_owned(),
                }
                .into(),
            };
            let position = self.log.append(event).await?;
            // Or it would be told again.
            if !self
                .checkpoints
                .wait("broadcasts", position, PATIENCE)
                .await
            {
                bail!("the read model of broadcasts lags; does `lemonair project` run?");
            }
            Ok(())
        }
        .boxed()
    }
}

impl Backstage {
    fn ask(&self, room: RoomId, stream: EventId, turn: Turn) -> Broadcast {
        Broadcast {
            id: EventId::new(),
            at: Timestamp::now(),
            room,
            stream,
            turn,
            lease_ms: i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX),
            title: String::new(),
            ingest: String::new(),
            origin: String::new(),
            reason: String::new(),
            figures: None,
        }
    }
}

/// Where a topic ends, once a read model has all of it.
async fn read(
    kafka: &Kafka,
    checkpoints: &Checkpoints,
    topic: Topic,
    model: &'static str,
) -> anyhow::Result<Vec<Position>> {
    let ends = watermarks(kafka, &[topic]).await?;
    let ends: Vec<Position> = ends.iter().map(Watermark::end).collect();
    for end in ends.iter().filter(|end| end.offset > 0) {
        let last = Position {
            offset: end.offset - 1,
            ..*end
        };
        if !checkpoints.wait(model, last, PATIENCE).await {
            bail!("the read model of {model} lags; does `lemonair project` run?");
        }
    }
    Ok(ends)
}

/// From where on keys have to be followed: all that was before, the read model knows. Until then it
/// would let in who has a key that is void, and nobody would hear of it again.
pub(crate) async fn until_keys_are_read(kafka: &Kafka, checkpoints: &Checkpoints) -> Vec<Position> {
    loop {
        match read(kafka, checkpoints, Topic::Channels, "stream_keys").await {
            Ok(ends) => return ends,
            Err(error) => {
                tracing::warn!("publishers have to wait: {error:#}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Follows the keys: whoever is on air with one that is void is not for long.
pub(crate) async fn follow_keys(
    kafka: &Kafka,
    codec: Arc<Codec>,
    checkpoints: &Checkpoints,
    mut next: Vec<Position>,
    ingest: &Ingest,
) -> anyhow::Result<()> {
    loop {
        let mut feed = Feed::<Event>::open(kafka, Arc::clone(&codec), &next)?;
        loop {
            let batch = match feed.next(100).await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!("failed to follow the stream keys: {error}");
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
            };
            let void: Vec<(Position, &RoomId, Revoked)> = batch
                .records
                .iter()
                .filter_map(|record| {
                    let (room, revoked) = revoked(record.content.as_ref().ok()?)?;
                    Some((record.position, room, revoked))
                })
                .collect();
            for (_, room, revoked) in &void {
                ingest.revoke(room, *revoked).await;
            }
            // Somebody may have been let in by a read model that did not know yet.
            let known = void
                .iter()
                .map(|(position, ..)| checkpoints.wait("stream_keys", *position, PATIENCE));
            if join_all(known).await.contains(&false) {
                tracing::warn!("the read model of stream keys lags; does `lemonair project` run?");
            }
            for (_, room, revoked) in &void {
                ingest.revoke(room, *revoked).await;
            }
            next = batch.next;
        }
    }
}

fn revoked(event: &Event) -> Option<(&RoomId, Revoked)> {
    match event {
        Event::StreamKeyRevoked(event) => Some((&event.room, Revoked::Key(event.issued))),
        Event::StreamKeyIssued(event) if !event.beside => {
            Some((&event.room, Revoked::AllBut(event.id)))
        }
        _ => None,
    }
}
