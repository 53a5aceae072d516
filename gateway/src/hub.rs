//! All rooms of this gateway, fed by one consumer, however many rooms there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use lemonair_consumers::kafka::{offsets_at, partition_of};
use lemonair_consumers::{Batch, Feed, Kafka, Watermark, watermarks};
use lemonair_producers::Log;
use lemonair_projections::{Checkpoints, broadcasts};
use lemonair_schemas::{
    AccountId, Codec, Event, EventId, GatewayId, Position, RoomId, Timestamp, Topic,
};
use serde_json::Value;
use sqlx::MySqlPool;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::audience::Member;
use crate::connections::Connections;
use crate::cursor::{Cursor, lane};
use crate::frame::Joined;
use crate::outbox::Outbox;
use crate::presence::Presence;
use crate::room::{Resume, Room};

use together::Together;

mod goal;
mod moderate;
mod past;
mod together;
mod watched;

/// How long the feed rests for each frame that it has sent. Sending is a system call for each viewer,
/// however much is in it: what comes meanwhile is sent together. A quiet chat is sent at once.
const REST: Duration = Duration::from_micros(50);
/// How long it rests at most: nobody notices so little.
const LONGEST_REST: Duration = Duration::from_millis(25);
/// Reads of the topics for cursors older than a room's tail, at once.
const CATCH_UPS: usize = 8;
/// How long a room that opens waits for the read models before it reads the topics instead.
const READ_MODEL: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub struct Hub {
    kafka: Kafka,
    codec: Arc<Codec>,
    pool: MySqlPool,
    checkpoints: Checkpoints,
    log: Log,
    rooms: DashMap<RoomId, Arc<Entry>>,
    /// How far the feed has been handed to the rooms. Held while that happens, so that a room that
    /// opens meanwhile knows exactly which events it has missed.
    reached: Mutex<HashMap<(Topic, i32), i64>>,
    /// How many watch at other gateways. Whoever holds this lock waits for no other.
    presence: Mutex<Presence>,
    partitions: i32,
    /// Stirred after every batch.
    delivered: Notify,
    /// Rooms whose goal may have moved, and what moved it.
    goals: Mutex<HashMap<RoomId, Position>>,
    goal_moved: Notify,
    connections: Arc<Connections>,
    next_connection: AtomicU64,
    catch_ups: Semaphore,
    /// What rooms begin with: whether they are on air, what was said last, what to enforce.
    lives: Together<bool>,
    recents: Together<past::Recent>,
    moderations: Together<moderate::Stored>,
}

/// A room, and the right to read the topics for it: one at a time, for all who wait.
#[derive(Debug)]
pub struct Entry {
    room: Mutex<Room>,
    reading: tokio::sync::Mutex<()>,
}

/// Who wants into a room.
#[derive(Debug, Clone, Copy)]
pub struct Joining<'a> {
    /// The client's own id of the request.
    pub ask: &'a Option<Value>,
    pub since: Option<Cursor>,
    pub connection: u64,
    pub outbox: &'a Arc<Outbox>,
    /// Who they are, if they said so.
    pub member: Option<Member>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Consume(#[from] lemonair_consumers::Error),
    #[error(transparent)]
    Read(#[from] Arc<lemonair_projections::Error>),
    #[error("they are banned from the room")]
    Banned,
}

// === impl Hub ===

impl Hub {
    /// Opens the hub and its consumer at the topics' ends; what gateways tell of themselves is read
    /// from a while before, so that they are known at once.
    pub async fn open(
        kafka: &Kafka,
        codec: Arc<Codec>,
        pool: MySqlPool,
        checkpoints: Checkpoints,
        log: Log,
        connections: Arc<Connections>,
    ) -> Result<(Hub, Feed<Event>), Error> {
        let marks = watermarks(kafka, &Topic::ROOM).await?;
        let ends: Vec<Position> = marks.iter().map(Watermark::end).collect();
        let told = watermarks(kafka, &[Topic::Presence]).await?;
        let offsets = offsets_at(kafka, &told, watched::lately()).await?;
        let told_since = told.iter().zip(offsets).map(|(mark, offset)| Position {
            offset,
            ..mark.end()
        });
        // Log-ins that end from now on: nobody is in yet by one that ended before.
        let people = watermarks(kafka, &[Topic::Accounts]).await?;
        let starts = ends.iter().copied().chain(told_since);
        let starts: Vec<Position> = starts.chain(people.iter().map(Watermark::end)).collect();
        let feed = Feed::open(kafka, Arc::clone(&codec), &starts)?;
        let hub = Hub {
            kafka: kafka.clone(),
            codec,
            pool,
            checkpoints,
            log,
            rooms: DashMap::new(),
            reached: Mutex::new(
                ends.iter()
                    .map(|end| ((end.topic, end.partition), end.offset))
                    .collect(),
            ),
            presence: Mutex::new(Presence::new(
                GatewayId::new(),
                told.iter().map(Watermark::end),
            )),
            partitions: marks
                .iter()
                .map(|mark| mark.partition + 1)
                .max()
                .unwrap_or(1),
            delivered: Notify::new(),
            goals: Mutex::default(),
            goal_moved: Notify::new(),
            connections,
            next_connection: AtomicU64::new(1),
            catch_ups: Semaphore::new(CATCH_UPS),
            lives: Together::default(),
            recents: Together::default(),
            moderations: Together::default(),
        };
        Ok((hub, feed))
    }

    /// Hands what the topics hold to the rooms, until `shutdown`.
    pub async fn run(&self, feed: Feed<Event>, shutdown: CancellationToken) -> Result<(), Error> {
        tokio::select! {
            () = shutdown.cancelled() => {
                self.sign_off();
                Ok(())
            }
            result = self.follow(feed) => result,
            () = self.tell_presence() => Ok(()),
            () = self.share_presence() => Ok(()),
            () = self.tell_goals() => Ok(()),
        }
    }

    async fn follow(&self, mut feed: Feed<Event>) -> Result<(), Error> {
        loop {
            let batch = feed.next(2000).await?;
            let begin = Instant::now();
            let frames = u32::try_from(self.deliver(&batch)).unwrap_or(u32::MAX);
            let rest = REST.saturating_mul(frames).min(LONGEST_REST);
            // The clock of the runtime has milliseconds.
            if rest >= Duration::from_millis(1) {
                tokio::time::sleep_until(begin + rest).await;
            }
        }
    }

    /// Returns how many frames it has given out.
    fn deliver(&self, batch: &Batch<Event>) -> usize {
        let mut reached = lock(&self.reached);
        let mut shares: BTreeMap<RoomId, Vec<(Position, &Event)>> = BTreeMap::new();
        for record in &batch.records {
            match &record.content {
                Ok(Event::ViewersCounted(told)) => {
                    lock(&self.presence).take(record.position, told, Timestamp::now());
                }
                Ok(Event::SessionClosed(closed)) => self.connections.end(closed.session),
                Ok(event) => {
                    let Some(room) = event.room() else { continue };
                    shares
                        .entry(room)
                        .or_default()
                        .push((record.position, event));
                }
                // The projections keep it as a dead letter; viewers have nothing to see.
                Err(poison) => {
                    tracing::warn!(position = ?record.position, cause = poison.cause, "unreadable record")
                }
            }
        }
        let mut frames = 0;
        for (id, events) in shares {
            if let Some(entry) = self.entry(&id) {
                self.note_goal(&id, &events);
                frames += lock(&entry.room).take(events.into_iter());
            }
        }
        for next in &batch.next {
            reached.insert((next.topic, next.partition), next.offset);
        }
        drop(reached);
        self.delivered.notify_waiters();
        frames
    }

    /// A number for a new connection.
    pub fn connection(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// The recent message of this account that already carries this nonce.
    pub fn sent(&self, id: &RoomId, account: AccountId, nonce: &str) -> Option<EventId> {
        lock(&self.entry(id)?.room).sent(account, nonce)
    }

    /// Whether everybody may read a message, as far as the room remembers it.
    pub fn says(&self, id: &RoomId, message: EventId) -> Option<bool> {
        lock(&self.entry(id)?.room).says(message)
    }

    /// The same of a message that the feed may bring in a moment.
    pub async fn will_say(&self, id: &RoomId, message: EventId, within: Duration) -> Option<bool> {
        let deadline = Instant::now() + within;
        loop {
            let delivered = self.delivered.notified();
            if let Some(stands) = self.says(id, message) {
                return Some(stands);
            }
            tokio::time::timeout_at(deadline, delivered).await.ok()?;
        }
    }

    /// Up to where the room's chat was told: a read model may be behind what its pages show.
    pub fn told(&self, id: &RoomId) -> Option<Position> {
        let place = lock(&self.entry(id)?.room).cursor().0[lane(Topic::Chat)?];
        Some(Position {
            topic: Topic::Chat,
            partition: self.partition(id),
            offset: place.next - 1,
        })
    }

    pub fn leave(&self, id: &RoomId, connection: u64, now: Timestamp) {
        if let Some(entry) = self.entry(id) {
            lock(&entry.room).leave(connection, now);
        }
    }

    /// Forgets what is remembered of an account that was erased, and sends it away.
    pub fn forget(&self, account: AccountId) {
        for entry in &self.rooms {
            lock(&entry.room).forget(account);
        }
    }

    fn entry(&self, id: &RoomId) -> Option<Arc<Entry>> {
        self.rooms.get(id).map(|entry| Arc::clone(&entry))
    }

    /// Lets a connection into a room: `joined` with all that it missed goes into its outbox, and
    /// every later event of the room follows, none twice.
    pub async fn join(&self, id: &RoomId, joining: Joining<'_>) -> Result<(), Error> {
        let mut since = joining.since;
        loop {
            let entry = self.open_room(id).await?;
            if joining.member.is_some() {
                self.moderate(id, &entry, since.as_ref()).await?;
            }
            let resume = self.enter(&entry, since, joining);
            let Some(resume) = resume else { return Ok(()) };
            if resume == Resume::Barred {
                return Err(Error::Banned);
            }
            if resume == Resume::Ahead {
                if !self.catch_up_with(id, since).await? {
                    since = None;
                }
                continue;
            }
            // The rest needs the topics or MySQL. One reads for all who wait, then all look again.
            let _reading = entry.reading.lock().await;
            match (self.enter(&entry, since, joining), since) {
                (None, _) => return Ok(()),
                (Some(Resume::Older(from)), Some(place)) => match self
                    .read_gap(id, &place, None, &from)
                    .await?
                {
                    Some((start, earlier)) => lock(&entry.room).prepend_if(from, start, earlier),
                    None => since = None,
                },
                (Some(Resume::Changed), _) => {
                    since = None;
                    let from = lock(&entry.room).from();
                    let history = self.history(id, &from).await?;
                    lock(&entry.room).remember(from, history);
                }
                (Some(_), _) => {}
            }
        }
    }

    /// Lets the connection in if the tail has all that it needs; else says what is in the way.
    fn enter(&self, entry: &Entry, since: Option<Cursor>, joining: Joining<'_>) -> Option<Resume> {
        let reached = lock(&self.reached);
        let mut room = lock(&entry.room);
        if room.is_closed() {
            // Opened anew by the next look.
            return Some(Resume::Tail);
        }
        let member = joining.member.as_ref();
        if member.is_some() && room.moderated.known().is_none() {
            return Some(Resume::Tail);
        }
        if room.bars(member) {
            return Some(Resume::Barred);
        }
        let events = match since {
            Some(since) => {
                let partition = self.partition(&room.id);
                let reached =
                    Topic::ROOM.map(|topic| reached.get(&(topic, partition)).copied().unwrap_or(0));
                match room.resume(&since, &reached) {
                    Resume::Tail => room.behind(&since, member),
                    obstacle => return Some(obstacle),
                }
            }
            None => match room.newest(member) {
                Some(events) => events,
                None => return Some(Resume::Changed),
            },
        };
        room.enter(
            joining.connection,
            Arc::clone(joining.outbox),
            joining.member,
        );
        let viewers = room.viewers() + lock(&self.presence).elsewhere(&room.id);
        room.told(viewers);
        let joined = Joined {
            id: joining.ask,
            room: room.id.as_str(),
            cursor: room.cursor().to_string(),
            // Whoever came without a cursor has nothing to recover.
            recovered: since.is_some() || joining.since.is_none(),
            viewers,
            live: room.live,
        };
        let outbox = joining.outbox;
        outbox.push_all(joined.pieces(&events, outbox.form));
        None
    }

    /// Waits until the feed has reached a cursor that another gateway gave out. `false` if the
    /// topics do not reach that far: then it is a cursor of another history.
    async fn catch_up_with(&self, id: &RoomId, since: Option<Cursor>) -> Result<bool, Error> {
        let Some(since) = since else { return Ok(true) };
        let partition = self.partition(id);
        let marks = watermarks(&self.kafka, &Topic::ROOM).await?;
        let behind = |mark: &Watermark| {
            let lane = lane(mark.topic)?;
            (mark.partition == partition && mark.high < since.0[lane].next).then_some(())
        };
        if marks.iter().find_map(behind).is_some() {
            return Ok(false);
        }
        let delivered = self.delivered.notified();
        tokio::time::timeout(Duration::from_millis(100), delivered)
            .await
            .ok();
        Ok(true)
    }

    async fn open_room(&self, id: &RoomId) -> Result<Arc<Entry>, Error> {
        if let Some(entry) = self.entry(id) {
            return Ok(entry);
        }
        let live = self.lives.ask(id, |rooms| self.read_live(rooms)).await?;
        let reached = lock(&self.reached);
        let partition = self.partition(id);
        let from = Topic::ROOM.map(|topic| reached.get(&(topic, partition)).copied().unwrap_or(0));
        let open = || {
            let room = Mutex::new(Room::open(id.clone(), from, live, Timestamp::now()));
            Arc::new(Entry {
                room,
                reading: tokio::sync::Mutex::default(),
            })
        };
        Ok(Arc::clone(
            &self.rooms.entry(id.clone()).or_insert_with(open),
        ))
    }

    async fn read_live(
        &self,
        rooms: Vec<RoomId>,
    ) -> lemonair_projections::Result<HashMap<RoomId, bool>> {
        let mut connection = self.pool.acquire().await?;
        let live = broadcasts::live_among(&mut connection, &rooms).await?;
        Ok(live.into_iter().map(|room| (room, true)).collect())
    }

    fn partition(&self, id: &RoomId) -> i32 {
        partition_of(id.as_str(), self.partitions)
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
