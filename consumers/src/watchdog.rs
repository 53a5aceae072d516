//! Notices a consumer that stands still while its topic grows: fetchers have been seen to stop without
//! an error. Whoever reads takes a new consumer then, from where the effect ended.

use std::collections::HashMap;
use std::time::Duration;

use lemonair_schemas::{Position, Topic};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{Error, Kafka, Watermark, watermarks};

pub(crate) struct Watchdog {
    kafka: Kafka,
    /// Longer than any transaction of a producer stays open: until it ends, nobody may read on.
    pub(crate) patience: Duration,
    stands: HashMap<(Topic, i32), Stand>,
    asked: Option<Asked>,
}

/// Where a partition stands, and since when.
#[derive(Clone, Copy)]
struct Stand {
    offset: i64,
    since: Instant,
    /// The topic was found to end further on, and when: a record may just have come.
    behind: Option<(i64, Instant)>,
}

/// The ends of partitions that have stood still, on their way.
struct Asked {
    stands: HashMap<(Topic, i32), Stand>,
    ends: AbortOnDropHandle<Result<Vec<Watermark>, Error>>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Watchdog {
    pub(crate) fn new(kafka: &Kafka) -> Watchdog {
        Watchdog {
            kafka: kafka.clone(),
            patience: PATIENCE,
            stands: HashMap::new(),
            asked: None,
        }
    }

    /// Told where the consumer is, as often as it is polled. Does not wait for the brokers.
    pub(crate) async fn watch(&mut self, positions: &[Position]) -> Result<(), Error> {
        let now = Instant::now();
        let mut stands = HashMap::with_capacity(positions.len());
        for position in positions {
            let key = (position.topic, position.partition);
            let offset = position.offset;
            let stand = match self.stands.get(&key) {
                Some(stand) if stand.offset == offset => *stand,
                _ => Stand {
                    offset,
                    since: now,
                    behind: None,
                },
            };
            if let Some((end, found)) = stand.behind
                && now - found >= self.patience / 3
            {
                return Err(Error::Stuck {
                    topic: position.topic.in_kafka(&self.kafka.prefix),
                    partition: position.partition,
                    offset,
                    end,
                });
            }
            stands.insert(key, stand);
        }
        self.stands = stands;
        match self.asked.take_if(|asked| asked.ends.is_finished()) {
            Some(asked) => self.judge(asked, now).await,
            None if self.asked.is_none() => self.ask(now),
            None => {}
        }
        Ok(())
    }

    fn ask(&mut self, now: Instant) {
        let mut stands = self.stands.clone();
        stands.retain(|_, stand| stand.behind.is_none() && now - stand.since >= self.patience);
        if stands.is_empty() {
            return;
        }
        let mut topics: Vec<Topic> = stands.keys().map(|(topic, _)| *topic).collect();
        topics.sort_by_key(|topic| topic.name());
        topics.dedup();
        let kafka = self.kafka.clone();
        let ends = tokio::spawn(async move { watermarks(&kafka, &topics).await });
        self.asked = Some(Asked {
            stands,
            ends: AbortOnDropHandle::new(ends),
        });
    }

    async fn judge(&mut self, asked: Asked, now: Instant) {
        // Brokers that are away hold everybody up, and new consumers too.
        let Ok(Ok(ends)) = asked.ends.await else {
            return;
        };
        for end in ends {
            let key = (end.topic, end.partition);
            let (Some(then), Some(stand)) = (asked.stands.get(&key), self.stands.get_mut(&key))
            else {
                continue;
            };
            if stand.offset != then.offset {
                continue;
            }
            // One that is at its end is not asked about for as long again.
            stand.since = now;
            stand.behind = (end.high > stand.offset).then_some((end.high, now));
        }
    }
}
