//! What ingest asks of the rest: keys from the read models, events onto the topic.

use anyhow::bail;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use lemonair_consumers::{Kafka, Watermark, watermarks};
use lemonair_gateway::hash_stream_key;
use lemonair_ingest::{BackstageError, Lifecycle, OpenBroadcast, What};
use lemonair_producers::Log;
use lemonair_projections::{Checkpoints, broadcasts, channels};
use lemonair_schemas::stream::{StreamEnded, StreamInterrupted, StreamResumed, StreamStarted};
use lemonair_schemas::{Event, RoomId, Topic};
use sqlx::MySqlPool;

/// How long the start of ingest waits at a time for the read model of broadcasts.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Backstage {
    pub(crate) kafka: Kafka,
    pub(crate) pool: MySqlPool,
    pub(crate) log: Log,
    pub(crate) checkpoints: Checkpoints,
}

impl lemonair_ingest::Backstage for Backstage {
    fn room_of<'a>(
        &'a self,
        stream_key: &'a str,
    ) -> BoxFuture<'a, Result<Option<RoomId>, BackstageError>> {
        async move {
            let channel =
                channels::room_by_stream_key(&self.pool, &hash_stream_key(stream_key)).await?;
            Ok(channel.map(|channel| channel.room))
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
            self.log
                .append(fact(event, title.unwrap_or_default()))
                .await?;
            Ok(())
        }
        .boxed()
    }

    /// The read model must have all that was appended before us, or we would end a broadcast twice.
    fn left_open<'a>(
        &'a self,
        ingest: &'a str,
    ) -> BoxFuture<'a, Result<Vec<OpenBroadcast>, BackstageError>> {
        async move {
            for end in watermarks(&self.kafka, &[Topic::Streams])
                .await?
                .iter()
                .map(Watermark::end)
            {
                let mut last = end;
                last.offset -= 1;
                if end.offset > 0 && !self.checkpoints.wait("broadcasts", last, PATIENCE).await {
                    bail!("the read model of broadcasts lags; does `lemonair project` run?");
                }
            }
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
}

fn fact(event: Lifecycle, title: String) -> Event {
    let Lifecycle {
        id,
        at,
        room,
        stream,
        what,
        origin,
        ingest,
    } = event;
    let actor = None;
    match what {
        What::Started => StreamStarted {
            id,
            at,
            room,
            actor,
            title,
            ingest,
            origin,
        }
        .into(),
        What::Interrupted => StreamInterrupted {
            id,
            at,
            room,
            actor,
            stream,
        }
        .into(),
        What::Resumed => StreamResumed {
            id,
            at,
            room,
            actor,
            stream,
        }
        .into(),
        What::Ended(reason) => StreamEnded {
            id,
            at,
            room,
            actor,
            stream,
            reason: reason.as_str().to_owned(),
        }
        .into(),
    }
}
