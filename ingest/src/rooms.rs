//! All rooms of this ingest: their doors, their feeds, and their end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use lemonair_schemas::{EventId, RoomId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::feed::Feed;
use crate::ladder::Ladder;
use crate::publisher::Publisher;
use crate::recording::{Journal, Keeper, Recorder};
use crate::room::Room;
use crate::thumbnail::Thumbnailer;
use crate::{Backstage, Config, OpenBroadcast, Permit, Refused, Revoked};

/// All rooms that have, or just had, a broadcast here.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) config: Config,
    /// Which ingest this is, over restarts.
    pub(crate) ingest: String,
    pub(crate) backstage: Arc<dyn Backstage>,
    pub(crate) thumbnailer: Arc<Thumbnailer>,
    ladder: Arc<Ladder>,
    /// Places on air.
    pub(crate) publishers: Arc<Semaphore>,
    doors: Mutex<HashMap<RoomId, mpsc::Sender<Knock>>>,
    feeds: RwLock<HashMap<RoomId, Arc<Feed>>>,
    pub(crate) tasks: TaskTracker,
    /// End all broadcasts, then the tasks.
    pub(crate) closing: CancellationToken,
    /// End the tasks, whatever is left to tell.
    pub(crate) abandon: CancellationToken,
}

/// What comes to the door of a room.
#[derive(Debug)]
pub(crate) enum Knock {
    Arrival(Arrival),
    Revoked(Revoked),
}

/// A publisher.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) key: EventId,
    pub(crate) answer: oneshot::Sender<Result<Publisher, Refused>>,
}

/// More publishers than this at one door at once are turned away.
const QUEUE: usize = 16;
/// Pauses before what failed is tried again.
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(100);
pub(crate) const LAST_RETRY: Duration = Duration::from_secs(5);

// === impl Rooms ===

impl Rooms {
    pub(crate) fn new(config: Config, ingest: String, backstage: Arc<dyn Backstage>) -> Rooms {
        Rooms {
            thumbnailer: Arc::new(Thumbnailer::new(config.thumbnails.clone())),
            ladder: Arc::new(Ladder::new(config.ladder.clone(), config.cut.clone())),
            publishers: Arc::new(Semaphore::new(config.publishers)),
            config,
            ingest,
            backstage,
            doors: Mutex::default(),
            feeds: RwLock::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            abandon: CancellationToken::new(),
        }
    }

    /// Puts a publisher on air.
    pub(crate) async fn publish(self: &Arc<Rooms>, permit: Permit) -> Result<Publisher, Refused> {
        let Permit { room, key } = permit;
        let (answer, publisher) = oneshot::channel();
        {
            let mut doors = self.doors();
            if self.closing.is_cancelled() {
                return Err(Refused::ShuttingDown);
            }
            let arrival = Knock::Arrival(Arrival { key, answer });
            match doors.get(&room) {
                Some(door) if !door.is_closed() => {
                    door.try_send(arrival).map_err(|_| Refused::Busy)?;
                }
                _ => {
                    let (door, arrivals) = mpsc::channel(QUEUE);
                    door.try_send(arrival).map_err(|_| Refused::Busy)?;
                    doors.insert(room.clone(), door);
                    let task = Room::new(Arc::clone(self), room).run(arrivals);
                    self.tasks.spawn(task);
                }
            }
        }
        // The room drops the answer when it cannot let anyone in.
        publisher.await.unwrap_or(Err(Refused::Busy))
    }

    /// Waits for a place in the room's queue: this must not be lost.
    pub(crate) async fn revoke(&self, room: &RoomId, revoked: Revoked) {
        let door = self.doors().get(room).cloned();
        if let Some(door) = door {
            // A room that is gone has no broadcast.
            let _ = door.send(Knock::Revoked(revoked)).await;
        }
    }

    pub(crate) fn feed(&self, room: &RoomId) -> Option<Arc<Feed>> {
        self.feeds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(room)
            .cloned()
    }

    /// What viewers of the room get from now on.
    pub(crate) fn show(&self, room: &RoomId, feed: Option<Arc<Feed>>) {
        let mut feeds = self.feeds.write().unwrap_or_else(PoisonError::into_inner);
        match feed {
            Some(feed) => feeds.insert(room.clone(), feed),
            None => feeds.remove(room),
        };
    }

    /// Shuts the room's door, unless someone is at it.
    pub(crate) fn shut(&self, room: &RoomId, knocks: &mpsc::Receiver<Knock>) -> bool {
        let mut doors = self.doors();
        if !knocks.is_empty() {
            return false;
        }
        doors.remove(room);
        // Before the door's lock is let go, so that a new broadcast's feed is not removed.
        self.show(room, None);
        true
    }

    /// Takes up broadcasts that an earlier run of this ingest left open, before new ones begin: their
    /// publishers have the grace time to come back.
    pub(crate) async fn recover(self: &Arc<Rooms>) {
        let mut pause = FIRST_RETRY;
        let open = loop {
            match self.backstage.left_open(&self.ingest).await {
                Ok(open) => break open,
                Err(error) => {
                    tracing::warn!("failed to look for broadcasts left open: {error:#}");
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        };
        let mut doors = self.doors();
        for OpenBroadcast { room, stream } in open {
            tracing::info!(%room, %stream, "broadcast was left open, waiting for its publisher");
            let (door, knocks) = mpsc::channel(QUEUE);
            doors.insert(room.clone(), door);
            let room = Room::left_open(Arc::clone(self), room, stream);
            self.tasks.spawn(room.run(knocks));
        }
    }

    /// Ends all broadcasts; after `deadline` gives up on telling so.
    pub(crate) async fn close(&self, deadline: Duration) {
        {
            // Under the lock, so that no room opens after it.
            let _doors = self.doors();
            self.closing.cancel();
        }
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!(
                rooms = self.tasks.len(),
                "broadcasts could not be ended in time, the next start will"
            );
            self.abandon.cancel();
            self.tasks.wait().await;
        }
    }

    /// Records a broadcast from its beginning here to its end, if there is a place for it.
    pub(crate) fn record(&self, feed: &Arc<Feed>) {
        let Some(recordings) = self.config.recordings.clone() else {
            return;
        };
        let journal = Journal::new(self.config.journals());
        let recorder = Recorder::new(recordings, Arc::clone(feed), journal);
        self.tasks.spawn(recorder.run(self.abandon.clone()));
    }

    /// Makes its smaller pictures, from the beginning to the end of a broadcast.
    pub(crate) fn climb(&self, feed: &Arc<Feed>) {
        for rung in self.config.ladder.rungs.clone() {
            let (ladder, feed) = (Arc::clone(&self.ladder), Arc::clone(feed));
            let (abandon, coming) = (self.abandon.clone(), feed.expect_rendition());
            self.tasks.spawn(async move {
                let follow = ladder.follow(feed, rung, coming);
                abandon.run_until_cancelled(follow).await;
            });
        }
    }

    /// Who looks after the recordings, if there are any.
    pub(crate) fn keeper(&self) -> Option<Keeper> {
        let config = &self.config;
        Some(Keeper {
            recordings: config.recordings.clone()?,
            backstage: Arc::clone(&self.backstage),
            ingest: self.ingest.clone(),
            retention: config.retention.clone(),
            journals: config.journals(),
            interval: config.keep_every,
        })
    }

    fn doors(&self) -> MutexGuard<'_, HashMap<RoomId, mpsc::Sender<Knock>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
