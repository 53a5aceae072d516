//! Of whom nothing is read any more. Decoding an erasure makes the codec heed it: here they are
//! decoded, before anything else is and as they come.

use std::sync::Arc;
use std::time::Duration;

use lemonair_schemas::{Codec, Event, Position, Topic};
use tokio_util::sync::CancellationToken;

use crate::{Error, Feed, Kafka, Watermark, watermarks};

/// How long to wait before another try.
const PAUSE: Duration = Duration::from_secs(1);

/// Which erasures there are now.
pub async fn marks(kafka: &Kafka) -> Result<Vec<Watermark>, Error> {
    match watermarks(kafka, &[Topic::Erasures]).await {
        // Older than erasures, and not brought up by a newer version yet.
        Err(Error::NoTopic(_)) => Ok(Vec::new()),
        marks => marks,
    }
}

/// Reads all erasures up to now, and says where the next ones will be. Whoever reads history begins
/// with this.
pub async fn load(kafka: &Kafka, codec: &Arc<Codec>) -> Result<Vec<Position>, Error> {
    let marks = marks(kafka).await?;
    let mut next: Vec<Position> = marks.iter().map(Watermark::start).collect();
    if marks.iter().all(|mark| mark.low == mark.high) {
        return Ok(next);
    }
    let mut feed: Feed<Event> = Feed::open(kafka, Arc::clone(codec), &next)?;
    while next
        .iter()
        .zip(&marks)
        .any(|(next, mark)| next.offset < mark.high)
    {
        next = feed.next(1000).await?.next;
    }
    Ok(next)
}

/// Goes on from where [`load`] ended, until `stop`.
pub async fn follow(
    kafka: Kafka,
    codec: Arc<Codec>,
    mut from: Vec<Position>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let read = async {
            let mut feed: Feed<Event> = Feed::open(&kafka, Arc::clone(&codec), &from)?;
            loop {
                from = feed.next(1000).await?.next;
            }
        };
        let failed: Result<(), Error> = tokio::select! {
            () = stop.cancelled() => return,
            failed = read => failed,
        };
        if let Err(error) = failed {
            tracing::warn!(%error, "read erasures");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
