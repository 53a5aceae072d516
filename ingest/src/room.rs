//! One task a room: asks [`Broadcast`] what each arrival, departure and pause means, and tells the
//! topic, in order, until it is acknowledged.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use lemonair_schemas::{EventId, RoomId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broadcast::{Broadcast, Effect, Farewell, PublisherId, What};
use crate::feed::Feed;
use crate::publisher::Publisher;
use crate::thumbnail::Thumbnailer;
use crate::{Backstage, Config, Lifecycle, OpenBroadcast, Permit, Refused, Revoked};

/// All rooms that have, or just had, a broadcast here.
#[derive(Debug)]
pub(crate) struct Rooms {
    config: Config,
    /// Which ingest this is, over restarts.
    ingest: String,
    backstage: Arc<dyn Backstage>,
    thumbnailer: Arc<Thumbnailer>,
    doors: Mutex<HashMap<RoomId, mpsc::Sender<Knock>>>,
    feeds: RwLock<HashMap<RoomId, Arc<Feed>>>,
    tasks: TaskTracker,
    /// End all broadcasts, then the tasks.
    closing: CancellationToken,
    /// End the tasks, whatever is left to tell.
    abandon: CancellationToken,
}

/// What comes to the door of a room.
#[derive(Debug)]
enum Knock {
    Arrival(Arrival),
    Revoked(Revoked),
}

/// A publisher.
#[derive(Debug)]
struct Arrival {
    key: EventId,
    answer: oneshot::Sender<Publisher>,
}

/// More publishers than this at one door at once are turned away.
const QUEUE: usize = 16;
/// While so many events wait for the topic, no publisher is let in.
const MAX_OUTBOX: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// A room's task.
struct Room {
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
}

/// An event under way to the topic.
type Append = Pin<Box<dyn Future<Output = Result<(), crate::BackstageError>> + Send>>;
/// The word that a broadcast goes on, under way.
type Hold = Pin<Box<dyn Future<Output = (EventId, Result<bool, crate::BackstageError>)> + Send>>;

/// So many times within a lease it is said that the broadcast goes on.
const HOLDS: u32 = 4;

// === impl Rooms ===

impl Rooms {
    pub(crate) fn new(config: Config, ingest: String, backstage: Arc<dyn Backstage>) -> Rooms {
        Rooms {
            thumbnailer: Arc::new(Thumbnailer::new(config.thumbnails.clone())),
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
        publisher.await.map_err(|_| Refused::Busy)
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
            let mut room = Room::new(Arc::clone(self), room);
            room.broadcast.take_up(stream, Instant::now());
            room.tell(stream, What::Interrupted);
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

    fn doors(&self) -> MutexGuard<'_, HashMap<RoomId, mpsc::Sender<Knock>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Room ===

impl Room {
    fn new(rooms: Arc<Rooms>, id: RoomId) -> Room {
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

    async fn run(mut self, mut arrivals: mpsc::Receiver<Knock>) {
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
                if leave_at <= Instant::now() && self.leave(&mut arrivals) {
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
        });
        tracing::info!(room = %self.id, publisher = id, "publisher is on air");
        // A publisher that went meanwhile is dropped here, which is its farewell.
        let _ = arrival.answer.send(publisher);
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
        self.outbox.push_back(Lifecycle {
            room: self.id.clone(),
            stream,
            what,
            origin: self.rooms.config.origin.clone(),
            ingest: self.rooms.ingest.clone(),
        });
    }

    fn begin(&mut self, stream: EventId) {
        let feed = Arc::new(Feed::new(stream, self.rooms.config.hls.clone()));
        let follow = Arc::clone(&self.rooms.thumbnailer).follow(Arc::clone(&feed));
        self.thumbnails = Some(self.rooms.tasks.spawn(follow));
        self.show(Some(feed));
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

    fn show(&mut self, feed: Option<Arc<Feed>>) {
        let mut feeds = self
            .rooms
            .feeds
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match &feed {
            Some(feed) => feeds.insert(self.id.clone(), Arc::clone(feed)),
            None => feeds.remove(&self.id),
        };
        drop(feeds);
        self.feed = feed;
    }

    /// Shuts the door, unless someone is at it.
    fn leave(&mut self, arrivals: &mut mpsc::Receiver<Knock>) -> bool {
        let rooms = Arc::clone(&self.rooms);
        let mut doors = rooms.doors();
        if !arrivals.is_empty() {
            return false;
        }
        doors.remove(&self.id);
        // Before the door's lock is let go, so that a new broadcast's feed is not removed.
        self.show(None);
        true
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
