//! Any interleaving of records, deliveries, joins, returns by cursor, lost connections and restarts, at
//! two gateways: each client sees the room's order in each of its topics, without gap or repeat.

use std::task::{Context, Poll};

use futures::task::noop_waker;
use lemonair_schemas::chat::MessagePosted;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::stream::StreamInterrupted;
use lemonair_schemas::{AccountId, EventId, Topic};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::audience::tests::payload;

/// Events that a room of these tests keeps: few, so that cursors often reach further back.
const KEPT: usize = SHOWN;
const CLIENTS: usize = 4;
const GATEWAYS: usize = 2;

/// So many records of each topic.
type Counts = [usize; LANES];

#[derive(Debug, Clone)]
enum Step {
    /// Records come onto a topic, of this room or of another one.
    Append { lane: usize, ours: Vec<bool> },
    /// A gateway's feed brings some.
    Deliver { gateway: usize, counts: Counts },
    /// A client comes, or comes back with the cursor that it read last; what the feed brings while
    /// its gap or the history is being read.
    Enter {
        client: usize,
        gateway: usize,
        meanwhile: Counts,
    },
    /// A client reads what was sent to it.
    Read { client: usize },
    /// A connection is gone, with all that was not read.
    Vanish { client: usize },
    /// A gateway starts anew, or nobody was in the room for long.
    Close { gateway: usize },
}

/// What stands on the room's topics; `None` where a record is another room's.
#[derive(Default)]
struct Topics {
    records: [Vec<Option<Event>>; LANES],
    places: HashMap<EventId, (usize, i64)>,
    clock: i64,
}

#[derive(Default)]
struct Gateway {
    reached: [i64; LANES],
    room: Option<Room>,
}

#[derive(Default)]
struct Client {
    at: Option<usize>,
    outbox: Arc<Outbox>,
    cursor: Option<Cursor>,
    /// The offsets seen in each topic.
    seen: [Vec<i64>; LANES],
    /// Where it came in first: all from here on is to be seen.
    start: [i64; LANES],
}

struct World {
    topics: Topics,
    gateways: [Gateway; GATEWAYS],
    clients: [Client; CLIENTS],
}

// === impl Topics ===

impl Topics {
    fn append(&mut self, lane: usize, ours: bool) {
        self.clock += 1;
        let event = ours.then(|| event(lane, Timestamp(self.clock)));
        if let Some(event) = &event {
            let offset = self.records[lane].len() as i64;
            self.places.insert(event.id(), (lane, offset));
        }
        self.records[lane].push(event);
    }

    fn position(lane: usize, offset: i64) -> Position {
        Position {
            topic: Topic::ROOM[lane],
            partition: 0,
            offset,
        }
    }

    /// The room's events of a topic between two offsets.
    fn ours(&self, lane: usize, from: i64, to: i64) -> impl Iterator<Item = (i64, &Event)> {
        let skipped = usize::try_from(from).unwrap();
        let records = self.records[lane].iter().zip(0..).skip(skipped);
        let records = records.take_while(move |(_, offset)| *offset < to);
        records.filter_map(|(event, offset)| Some((offset, event.as_ref()?)))
    }

    /// As `Hub::read_gap` reads them.
    fn gap(&self, since: &Cursor, to: [i64; LANES]) -> ([i64; LANES], Vec<Earlier>) {
        let mut from = to;
        let mut found = Vec::new();
        for lane in 0..LANES {
            let Place { next, mark } = since.0[lane];
            let start = if mark == 0 { next } else { next - 1 };
            from[lane] = start.min(to[lane]);
            for (offset, event) in self.ours(lane, start, to[lane]) {
                found.push(Earlier {
                    at: event.at(),
                    position: Topics::position(lane, offset),
                    event: event.clone(),
                });
            }
        }
        found.sort_by_key(|earlier| (earlier.at, earlier.position));
        (from, found)
    }
}

// === impl World ===

impl World {
    fn new() -> World {
        World {
            topics: Topics::default(),
            gateways: Default::default(),
            clients: Default::default(),
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append { lane, ours } => {
                for ours in ours {
                    self.topics.append(lane, ours);
                }
            }
            Step::Deliver { gateway, counts } => self.deliver(gateway, counts),
            Step::Enter {
                client,
                gateway,
                meanwhile,
            } => self.enter(client, gateway, meanwhile),
            Step::Read { client } => self.read(client),
            Step::Vanish { client } => self.vanish(client),
            Step::Close { gateway } => {
                self.gateways[gateway].room = None;
                for client in &mut self.clients {
                    client.at = client.at.filter(|at| *at != gateway);
                }
            }
        }
    }

    fn deliver(&mut self, gateway: usize, counts: Counts) {
        let Gateway { reached, room } = &mut self.gateways[gateway];
        let mut batch = Vec::new();
        for lane in 0..LANES {
            let end = self.topics.records[lane].len() as i64;
            let to = end.min(reached[lane] + counts[lane] as i64);
            for (offset, event) in self.topics.ours(lane, reached[lane], to) {
                batch.push((Topics::position(lane, offset), event));
            }
            reached[lane] = to;
        }
        if let Some(room) = room {
            room.take(batch.into_iter());
        }
    }

    fn room(&mut self, gateway: usize) -> &mut Room {
        let Gateway { reached, room } = &mut self.gateways[gateway];
        room.get_or_insert_with(|| {
            let id = "mint".parse().unwrap();
            let mut room = Room::open(id, *reached, false, Timestamp(0));
            room.kept = KEPT;
            room
        })
    }

    /// As `Hub::join` does it, with what happens while it waits.
    fn enter(&mut self, client: usize, gateway: usize, mut meanwhile: Counts) {
        self.vanish(client);
        let since = self.clients[client].cursor;
        let events = loop {
            let reached = self.gateways[gateway].reached;
            let room = self.room(gateway);
            let from = room.from();
            let Some(since) = since else {
                if let Some(events) = room.newest(None) {
                    break events;
                }
                let nowhere = Cursor::default();
                let (_, history) = self.topics.gap(&nowhere, from);
                self.deliver(gateway, std::mem::take(&mut meanwhile));
                let history = history.iter().map(|earlier| View::of(&earlier.event));
                self.room(gateway).remember(from, history.collect());
                continue;
            };
            match room.resume(&since, &reached) {
                Resume::Tail => break room.behind(&since, None),
                Resume::Ahead => {
                    let missing = |lane: usize| (since.0[lane].next - reached[lane]).max(0);
                    self.deliver(gateway, [0, 1, 2].map(|lane| missing(lane) as usize));
                }
                Resume::Older(from) => {
                    let (start, earlier) = self.topics.gap(&since, from);
                    self.deliver(gateway, std::mem::take(&mut meanwhile));
                    self.room(gateway).prepend_if(from, start, earlier);
                }
                other => panic!("{other:?} of a history that is whole"),
            }
        };
        let outbox = Arc::<Outbox>::default();
        let room = self.room(gateway);
        room.enter(client as u64, Arc::clone(&outbox), None);
        let cursor = room.cursor();
        let list = events.json();
        let list = list.strip_suffix(b"}").unwrap();
        self.see(client, &serde_json::from_slice(list).unwrap());
        let client = &mut self.clients[client];
        if since.is_none() {
            for lane in 0..LANES {
                let first = client.seen[lane].first();
                client.start[lane] = first.copied().unwrap_or(cursor.0[lane].next);
            }
        }
        (client.at, client.outbox, client.cursor) = (Some(gateway), outbox, Some(cursor));
    }

    fn vanish(&mut self, client: usize) {
        if let Some(gateway) = self.clients[client].at.take() {
            self.room(gateway).leave(client as u64, Timestamp(0));
        }
    }

    fn read(&mut self, client: usize) {
        let outbox = Arc::clone(&self.clients[client].outbox);
        let waker = noop_waker();
        let mut frames = VecDeque::new();
        let closed = outbox.poll_take(&Context::from_waker(&waker), &mut frames);
        outbox.sent(frames.iter().map(|frame| frame.len()).sum());
        for frame in frames {
            let frame: Value = serde_json::from_slice(payload(&frame)).unwrap();
            self.see(client, &frame["events"]);
            let cursor = frame["cursor"].as_str().unwrap().parse().unwrap();
            self.clients[client].cursor = Some(cursor);
        }
        assert!(matches!(closed, Poll::Pending | Poll::Ready(None)));
    }

    /// What a client is shown must go on where it was, in each topic.
    fn see(&mut self, client: usize, events: &Value) {
        let client = &mut self.clients[client];
        for event in events.as_array().unwrap() {
            let id: EventId = event["id"].as_str().unwrap().parse().unwrap();
            let (lane, offset) = self.topics.places[&id];
            if let Some(last) = client.seen[lane].last() {
                let next = self.topics.ours(lane, last + 1, i64::MAX).next();
                let next = next.map(|(offset, _)| offset);
                assert_eq!(Some(offset), next, "behind {last} of topic {lane}");
            }
            client.seen[lane].push(offset);
        }
    }

    /// When everything is delivered and everybody has come back, nobody lacks anything.
    fn finish(&mut self) {
        for gateway in 0..GATEWAYS {
            self.deliver(gateway, [100_000; LANES]);
        }
        for client in 0..CLIENTS {
            self.read(client);
            if self.clients[client].at.is_none() {
                self.enter(client, client % GATEWAYS, [0; LANES]);
            }
            let Client { seen, start, .. } = &self.clients[client];
            for lane in 0..LANES {
                let ours = self.topics.ours(lane, start[lane], i64::MAX);
                let expected: Vec<i64> = ours.map(|(offset, _)| offset).collect();
                assert_eq!(seen[lane], expected, "client {client}, topic {lane}");
            }
        }
    }
}

fn event(lane: usize, at: Timestamp) -> Event {
    let (id, room) = (EventId::new(), "mint".parse().unwrap());
    match lane {
        0 => MessagePosted {
            id,
            at,
            room,
            actor: None,
            text: "hello".to_owned(),
            nonce: None,
            reply_to: None,
        }
        .into(),
        1 => DonationAccepted {
            id,
            at,
            room,
            actor: None,
            streamer: AccountId::new(),
            amount: 5,
            message: String::new(),
            key: String::new(),
            anonymous: false,
            held: false,
        }
        .into(),
        _ => StreamInterrupted {
            id,
            at,
            room,
            actor: None,
            stream: id,
            figures: None,
        }
        .into(),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (client, gateway) = (0..CLIENTS, 0..GATEWAYS);
    let counts = || prop::array::uniform3(0usize..30);
    prop_oneof![
        // Chat is what there is most of.
        8 => (
            prop::sample::select(vec![0, 0, 0, 1, 2]),
            prop::collection::vec(prop::bool::weighted(0.7), 1..20),
        )
            .prop_map(|(lane, ours)| Step::Append { lane, ours }),
        5 => (gateway.clone(), counts())
            .prop_map(|(gateway, counts)| Step::Deliver { gateway, counts }),
        4 => (client.clone(), gateway.clone(), counts())
            .prop_map(|(client, gateway, meanwhile)| Step::Enter { client, gateway, meanwhile }),
        3 => client.clone().prop_map(|client| Step::Read { client }),
        2 => client.prop_map(|client| Step::Vanish { client }),
        1 => gateway.prop_map(|gateway| Step::Close { gateway }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn each_sees_the_rooms_order_without_gap_or_repeat(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.finish();
    }
}
