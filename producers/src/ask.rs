//! Sends a command and waits for its answer.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use lemonair_consumers::{Feed, Kafka, Watermark, watermarks};
use lemonair_schemas::command::{Answer, Answered, Command};
use lemonair_schemas::{Codec, EventId, Topic};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{Error, Log};

const PATIENCE: Duration = Duration::from_secs(15);

/// Where commands are handed in. One a process, shared by all requests.
#[derive(Debug, Clone)]
pub struct Desk {
    /// How long a command may take. Longer means that no decider runs, or that it is being replaced.
    pub patience: Duration,
    log: Log,
    waiting: Arc<DashMap<EventId, oneshot::Sender<Answered>>>,
}

impl Desk {
    /// Opens the desk, and the loop that hands out answers; the loop runs until `shutdown`.
    pub async fn open(
        kafka: &Kafka,
        codec: Arc<Codec>,
        log: Log,
        shutdown: CancellationToken,
    ) -> Result<
        (
            Desk,
            impl Future<Output = Result<(), Error>> + Send + 'static,
        ),
        Error,
    > {
        let desk = Desk {
            patience: PATIENCE,
            log,
            waiting: Arc::default(),
        };
        // Whoever asks is in this process, so only answers from now on matter.
        let ends: Vec<_> = watermarks(kafka, &[Topic::Answers])
            .await?
            .iter()
            .map(Watermark::end)
            .collect();
        let feed = Feed::open(kafka, codec, &ends)?;
        let hand_out = desk.clone().hand_out(feed, shutdown);
        Ok((desk, hand_out))
    }

    /// Resolves when the command is decided and the decision can never be undone.
    pub async fn ask(&self, command: impl Into<Command>) -> Result<Answered, Error> {
        let command = command.into();
        let (answer, answered) = oneshot::channel();
        self.waiting.insert(command.id(), answer);
        let result = async {
            self.log.enqueue_command(&command)?.confirmed().await?;
            match tokio::time::timeout(self.patience, answered).await {
                Ok(Ok(answered)) => Ok(answered),
                Ok(Err(_)) => Err(Error::Stopped),
                Err(_) => Err(Error::Unanswered),
            }
        }
        .await;
        self.waiting.remove(&command.id());
        result
    }

    async fn hand_out(
        self,
        mut feed: Feed<Answer>,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        while let Some(batch) = shutdown.run_until_cancelled(feed.next(1000)).await {
            for consumed in batch?.records {
                let Ok(Answer::Answered(answered)) = consumed.content else {
                    tracing::error!(position = ?consumed.position, "an answer cannot be read; whoever asked will ask again");
                    continue;
                };
                if let Some((_, waiting)) = self.waiting.remove(&answered.id) {
                    // Whoever asked may have gone; the decision stands.
                    waiting.send(answered).ok();
                }
            }
        }
        Ok(())
    }
}
