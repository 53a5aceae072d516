//! One task a room: asks [`Broadcast`] what each arrival, departure and pause means, and tells the
//! topic, in order, until it is acknowledged.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lemonair_schemas::{EventId, RoomId};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::broadcast::{Broadcast, Effect, Farewell, PublisherId, What};
use crate::feed::Feed;
use crate::publisher::Publisher;
use crate::rooms::{Arrival, FIRST_RETRY, Knock, LAST_RETRY, Rooms};
use crate::{Backstage, Lifecycle, Refused, Revoked};

/// A room's task.
pub(crate) struct Room {
    rooms: Arc<Rooms>,
    id: RoomId,
    broadcast: Broadcast,
    publishers: PublisherId,
    /// With which the latest of them came.
    key: Option<EventId>,
    current: Option<Current>,
    feed: Option<Arc<Feed>>,
    thumbnails: Option<JoinHandle<()>>,
    /// Events that the topic does not hold yet, in order.
    outbox: VecDeque<Lifecycle>,
    /// When it is to be said again that the broadcast goes on.
    hold_at: Instant,
}

/// The publisher on air.
struct Current {
    id: PublisherId,
    dismissed: CancellationToken,
    farewell: oneshot::Receiver<Farewell>,
    /// Until another takes it over.
    place: Option<OwnedSemaphorePermit>,
}

/// An event under way to the topic.
type Append = Pin<Box<dyn Future<Output = Result<(), crate::BackstageError>> + Send>>;
/// The word that a broadcast goes on, under way.
type Hold = Pin<Box<dyn Future<Output = (EventId, Result<bool, crate::BackstageError>)> + Send>>;

/// So many times within a lease it is said that the broadcast goes on.
const HOLDS: u32 = 4;
/// While so many events wait for the topic, no publisher is let in.
const MAX_OUTBOX: usize = 64;

// === impl Room ===

impl Room {
    pub(crate) fn new(rooms: Arc<Rooms>, id: RoomId) -> Room {
        let broadcast = Broadcast::new(rooms.config.grace, rooms.config.longest);
        Room {
            rooms,
            id,
            broadcast,
            publishers: 0,
            key: None,
            current: None,
            feed: None,
            thumbnails: None,
            outbox: VecDeque::new(),
            hold_at: Instant::now(),
        }
    }

    /// One whose broadcast an earlier run left open: its publisher may come back.
    pub(crate) fn left_open(rooms: Arc<Rooms>, id: RoomId, stream: EventId) -> Room {
        let mut room = Room::new(rooms, id);
        room.broadcast.take_up(stream, Instant::now());
        room.tell(stream, What::Interrupted);
        room
    }

    pub(crate) async fn run(mut self, mut arrivals: mpsc::Receiver<Knock>) {
        let closing = self.rooms.closing.clone();
        let abandon = self.rooms.abandon.clone();
        let mut append: Option<Append> = None;
        let mut hold: Option<Hold> = None;
        let mut pause = Duration::ZERO;
        let mut closed = false;
        // When the last broadcast's picture goes, and this task with it.
        let mut leave_at = None;
        loop {
            if append.is_none()
                && let Some(event) = self.outbox.front()
            {
                append = Some(Box::pin(self::append(
                    Arc::clone(&self.rooms.backstage),
                    event.clone(),
                    pause,
                )));
            }
            if self.broadcast.is_off() && self.outbox.is_empty() {
                let linger = if closed {
                    Duration::ZERO
                } else {
                    self.rooms.config.linger
                };
                let leave_at = *leave_at.get_or_insert_with(|| Instant::now() + linger);
                if leave_at <= Instant::now() && self.rooms.shut(&self.id, &arrivals) {
                    return;
                }
            } else {
                leave_at = None;
            }

            tokio::select! {
                biased;
                () = abandon.cancelled() => return,
                () = closing.cancelled(), if !closed => {
                    closed = true;
                    let effects = self.broadcast.close();
                    self.obey(effects);
                }
                told = wait_for(&mut append) => {
                    append = None;
                    pause = match told {
                        Ok(()) => {
                            self.outbox.pop_front();
                            Duration::ZERO
                        }
                        Err(error) => {
                            tracing::warn!(room = %self.id, "failed to append to the topic: {error:#}");
                            (pause * 2).clamp(FIRST_RETRY, LAST_RETRY)
                        }
                    };
                }
                (publisher, how) = farewell(&mut self.current) => {
                    self.current = None;
                    tracing::info!(room = %self.id, publisher, ?how, "publisher left");
                    let effects = self.broadcast.farewell(publisher, how, Instant::now());
                    self.obey(effects);
                }
                held = wait_for(&mut hold) => {
                    hold = None;
                    self.held(held.0, held.1);
                }
                () = sleep_until(self.hold_at), if hold.is_none() && self.outbox.is_empty() && !self.broadcast.is_off() => {
                    hold = self.broadcast.stream().map(|stream| {
                        let (backstage, room) = (Arc::clone(&self.rooms.backstage), self.id.clone());
                        Box::pin(async move { (stream, backstage.hold(&room, stream).await) }) as Hold
                    });
                }
                Some(knock) = arrivals.recv() => match knock {
                    Knock::Arrival(arrival) => self.arrive(arrival),
                    Knock::Revoked(revoked) => self.revoke(revoked),
                },
                () = at(self.broadcast.deadline()) => {
                    let effects = self.broadcast.tick(Instant::now());
                    self.obey(effects);
                }
                () = at(leave_at) => {}
            }
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        if self.outbox.len() >= MAX_OUTBOX {
            tracing::warn!(room = %self.id, "publisher refused: the topic does not take events");
            return;
        }
        // Who takes over needs no place beside the one that it replaces.
        let place = self.current.as_mut().and_then(|one| one.place.take());
        let place = place.or_else(|| {
            let publishers = Arc::clone(&self.rooms.publishers);
            publishers.try_acquire_owned().ok()
        });
        let Some(place) = place else {
            let _ = arrival.answer.send(Err(Refused::Full));
            return;
        };
        let id = self.publishers + 1;
        let Ok(effects) = self.broadcast.publish(id, EventId::new(), Instant::now()) else {
            return;
        };
        self.publishers = id;
        self.key = Some(arrival.key);
        self.obey(effects);
        let Some(feed) = self.feed.clone() else {
            return;
        };
        let dismissed = CancellationToken::new();
        let (goodbye, farewell) = oneshot::channel();
        let start = feed.begin(id);
        let publisher = Publisher::new(
            id,
            self.id.clone(),
            feed,
            &self.rooms.config,
            start,
            dismissed.clone(),
            goodbye,
        );
        self.current = Some(Current {
            id,
            dismissed,
            farewell,
            place: Some(place),
        });
        tracing::info!(room = %self.id, publisher = id, "publisher is on air");
        // A publisher that went meanwhile is dropped here, which is its farewell.
        let _ = arrival.answer.send(Ok(publisher));
    }

    fn revoke(&mut self, revoked: Revoked) {
        if self.key.is_some_and(|key| revoked.includes(key)) {
            let effects = self.broadcast.revoke();
            self.obey(effects);
        }
    }

    fn held(&mut self, stream: EventId, held: Result<bool, crate::BackstageError>) {
        // The answer may come after the end of what it is about.
        if self.broadcast.stream() != Some(stream) {
            return;
        }
        let pause = self.rooms.config.lease / HOLDS;
        match held {
            Ok(true) => self.hold_at = Instant::now() + pause,
            Ok(false) => {
                tracing::warn!(room = %self.id, "broadcast was ended by another ingest, or by its lease");
                let effects = self.broadcast.lapse();
                self.obey(effects);
                self.over();
            }
            Err(error) => {
                tracing::warn!(room = %self.id, "failed to hold the broadcast: {error:#}");
                self.hold_at = Instant::now() + pause.min(LAST_RETRY);
            }
        }
    }

    fn obey(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Tell { stream, what } => self.tell(stream, what),
                Effect::Dismiss(publisher) => {
                    if let Some(current) = self.current.take_if(|current| current.id == publisher) {
                        current.dismissed.cancel();
                    }
                }
            }
        }
    }

    fn tell(&mut self, stream: EventId, what: What) {
        tracing::info!(room = %self.id, %stream, ?what, "broadcast");
        match what {
            What::Started => self.begin(stream),
            // What an earlier run had of it is gone.
            What::Resumed if self.thumbnails.is_none() => self.begin(stream),
            What::Interrupted | What::Resumed => {}
            What::Ended(_) => self.over(),
        }
        // Every word about it holds it.
        self.hold_at = Instant::now() + self.rooms.config.lease / HOLDS;
        let figures = match what {
            What::Interrupted | What::Ended(_) => {
                let feed = self.feed.as_ref().filter(|feed| feed.stream == stream);
                feed.and_then(|feed| feed.figures())
            }
            What::Started | What::Resumed => None,
        };
        self.outbox.push_back(Lifecycle {
            room: self.id.clone(),
            stream,
            what,
            origin: self.rooms.config.origin.clone(),
            ingest: self.rooms.ingest.clone(),
            figures,
        });
    }

    fn begin(&mut self, stream: EventId) {
        let feed = Arc::new(Feed::new(stream, self.rooms.config.hls.clone()));
        let follow = Arc::clone(&self.rooms.thumbnailer).follow(Arc::clone(&feed));
        self.thumbnails = Some(self.rooms.tasks.spawn(follow));
        self.rooms.record(&feed);
        self.rooms.climb(&feed);
        self.rooms.show(&self.id, Some(Arc::clone(&feed)));
        self.feed = Some(feed);
        metrics::gauge!("lemonair_ingest_broadcasts").increment(1.0);
    }

    fn over(&mut self) {
        // Without a picture there is nothing to end.
        let Some(thumbnails) = self.thumbnails.take() else {
            return;
        };
        thumbnails.abort();
        if let Some(feed) = &self.feed {
            feed.end();
        }
        metrics::gauge!("lemonair_ingest_broadcasts").decrement(1.0);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(thumbnails) = &self.thumbnails {
            thumbnails.abort();
        }
    }
}

async fn append(
    backstage: Arc<dyn Backstage>,
    event: Lifecycle,
    pause: Duration,
) -> Result<(), crate::BackstageError> {
    sleep(pause).await;
    backstage.append(event).await
}

/// For ever, if nothing is under way.
async fn wait_for<T>(work: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// For ever, if there is no publisher. One that drops its end is lost.
async fn farewell(current: &mut Option<Current>) -> (PublisherId, Farewell) {
    match current {
        Some(current) => (
            current.id,
            (&mut current.farewell).await.unwrap_or(Farewell::Lost),
        ),
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
