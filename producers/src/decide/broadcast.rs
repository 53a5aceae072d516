//! The life of a broadcast: one start and one end each, whichever ingest asks, and even if none does.

use std::time::Duration;

use lemonair_schemas::command::{Broadcast, Turn};
use lemonair_schemas::decider::{Memory, OnAir};
use lemonair_schemas::stream::{
    Figures, StreamEnded, StreamInterrupted, StreamResumed, StreamStarted,
};
use lemonair_schemas::{Event, EventId, RoomId, Timestamp};

use super::state::{State, room_key};
use super::{Acceptance, Refusal};

/// Longer ones would keep a dead broadcast on air.
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// What was decided already is accepted again and changes nothing: an ingest asks until it is
/// answered.
pub(super) fn decide(
    state: &State,
    ask: &Broadcast,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Result<Acceptance, Refusal> {
    let on_air = state.on_air(&ask.room);
    let ours = on_air.filter(|on_air| on_air.stream == ask.stream);
    let (room, stream) = (ask.room.clone(), ask.stream);
    let interrupted = match ask.turn {
        Turn::Start | Turn::Resume => false,
        Turn::Interrupt => true,
        Turn::Hold | Turn::End => ours.is_some_and(|ours| ours.interrupted),
    };
    let mut events: Vec<Event> = Vec::new();
    match (ask.turn, ours) {
        (Turn::Start, None) => {
            // Another ingest had the room; a streamer is on air once.
            if let Some(other) = on_air {
                let other = other.stream;
                events.push(ended(room.clone(), other, "superseded", None, now, ids));
            }
            let started = StreamStarted {
                id: stream,
                at: now,
                room,
                actor: None,
                title: ask.title.clone(),
                ingest: ask.ingest.clone(),
                origin: ask.origin.clone(),
            };
            events.push(started.into());
        }
        (Turn::End, None) => return Ok(accepted(stream, events, Vec::new())),
        (_, None) => return Err(Refusal::OffAir),
        (Turn::Interrupt, Some(ours)) if !ours.interrupted => {
            let interrupted = StreamInterrupted {
                id: ids(),
                at: now,
                room,
                actor: None,
                stream,
                figures: ask.figures.clone(),
            };
            events.push(interrupted.into());
        }
        (Turn::Resume, Some(ours)) if ours.interrupted => {
            let resumed = StreamResumed {
                id: ids(),
                at: now,
                room,
                actor: None,
                stream,
            };
            events.push(resumed.into());
        }
        (Turn::End, Some(_)) => {
            let figures = ask.figures.clone();
            events.push(ended(room, stream, &ask.reason, figures, now, ids));
            let forget = vec![(room_key(&ask.room), None)];
            return Ok(accepted(stream, events, forget));
        }
        (Turn::Start | Turn::Hold | Turn::Interrupt | Turn::Resume, Some(_)) => {}
    }
    let longest = LONGEST_LEASE.as_millis() as i64;
    let lease_ms = ask.lease_ms.clamp(0, longest);
    let on_air = OnAir {
        room: ask.room.clone(),
        stream,
        interrupted,
        until: Timestamp(now.0.saturating_add(lease_ms)),
        lease_ms,
    };
    let remember = vec![(room_key(&ask.room), Some(Memory::OnAir(on_air)))];
    Ok(accepted(stream, events, remember))
}

/// The end of a broadcast whose lease is over.
pub(super) fn lapse(
    on_air: &OnAir,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Acceptance {
    let (room, stream) = (on_air.room.clone(), on_air.stream);
    let forget = vec![(room_key(&room), None)];
    let event = ended(room, stream, "lapsed", None, now, ids);
    accepted(stream, vec![event], forget)
}

fn ended(
    room: RoomId,
    stream: EventId,
    reason: &str,
    figures: Option<Figures>,
    now: Timestamp,
    ids: &mut dyn FnMut() -> EventId,
) -> Event {
    let ended = StreamEnded {
        id: ids(),
        at: now,
        room,
        actor: None,
        stream,
        reason: reason.to_owned(),
        figures,
    };
    ended.into()
}

fn accepted(
    stream: EventId,
    events: Vec<Event>,
    memories: Vec<(String, Option<Memory>)>,
) -> Acceptance {
    Acceptance {
        event: stream,
        amount: None,
        balance: None,
        events,
        memories,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::decide::{decide, lapsed};

    const LEASE: i64 = 60_000;

    fn ask(room: u8, stream: u8, turn: Turn) -> Broadcast {
        Broadcast {
            id: EventId::new(),
            at: Timestamp(0),
            room: format!("room{room}").parse().expect("a room"),
            stream: EventId(Uuid::from_u128(stream.into())),
            turn,
            lease_ms: LEASE,
            title: "Tea".to_owned(),
            ingest: "one".to_owned(),
            origin: "http://one".to_owned(),
            reason: "unpublished".to_owned(),
            figures: Some(Figures {
                codec: None,
                width: None,
                height: None,
                fps: None,
                key_frame_ms: None,
                kbps: i64::from(stream),
                dropped: 0,
            }),
        }
    }

    #[derive(Default)]
    struct Run {
        state: State,
        told: Vec<String>,
        ids: u128,
    }

    impl Run {
        fn take(&mut self, decided: crate::decide::Decided) -> bool {
            for (key, memory) in decided.memories {
                self.state.remember(&key, memory);
            }
            for event in decided.events {
                let event = event.json();
                let stream = event.get("stream").unwrap_or_else(|| &event["id"]);
                let stream = stream
                    .as_str()
                    .expect("an id")
                    .trim_start_matches(['0', '-']);
                let kind = event["type"].as_str().expect("a kind");
                let reason = event.get("reason").and_then(|reason| reason.as_str());
                let mut told = format!("{stream} {kind}");
                if let Some(reason) = reason {
                    told += &format!(" {reason}");
                }
                if let Some(figures) = event.get("figures") {
                    told += &format!(" {}k", figures["kbps"]);
                }
                self.told.push(told);
            }
            decided.outcome.is_ok()
        }

        fn ask(&mut self, ask: Broadcast, now: i64) -> bool {
            let ids = &mut self.ids;
            let decided = decide(&self.state, &ask.into(), Timestamp(now), &mut || {
                *ids += 1;
                EventId(Uuid::from_u128(1000 + *ids))
            });
            self.take(decided)
        }

        fn wait(&mut self, since: i64, now: i64) {
            let (since, now) = (Timestamp(since), Timestamp(now));
            for decided in lapsed(&self.state, since, now, now, &mut EventId::new) {
                self.take(decided);
            }
        }
    }

    #[test]
    fn a_broadcast_lives_once_however_often_it_is_told() {
        let mut run = Run::default();
        for turn in [
            Turn::Start,
            Turn::Start,
            Turn::Hold,
            Turn::Interrupt,
            Turn::Interrupt,
            Turn::Hold,
            Turn::Resume,
            Turn::Resume,
            Turn::End,
            Turn::End,
        ] {
            assert!(run.ask(ask(1, 1, turn), 0), "{turn:?}");
        }
        let life = [
            "1 stream.started",
            "1 stream.interrupted 1k",
            "1 stream.resumed",
            "1 stream.ended unpublished 1k",
        ];
        assert_eq!(run.told, life);
        for turn in [Turn::Hold, Turn::Interrupt, Turn::Resume] {
            assert!(!run.ask(ask(1, 1, turn), 0), "{turn:?}");
        }
        assert_eq!(run.told.len(), 4);
    }

    #[test]
    fn another_ingest_takes_the_room_over() {
        let mut run = Run::default();
        assert!(run.ask(ask(1, 1, Turn::Start), 0));
        assert!(run.ask(ask(1, 2, Turn::Start), 0));
        // The first learns of it.
        assert!(!run.ask(ask(1, 1, Turn::Hold), 0));
        assert!(run.ask(ask(1, 1, Turn::End), 0));
        let told = [
            "1 stream.started",
            "1 stream.ended superseded",
            "2 stream.started",
        ];
        assert_eq!(run.told, told);
    }

    #[test]
    fn what_nobody_holds_lapses_once() {
        let mut run = Run::default();
        run.ask(ask(1, 1, Turn::Start), 0);
        run.ask(ask(2, 2, Turn::Start), 0);
        run.ask(ask(2, 2, Turn::Hold), 30_000);
        run.wait(0, LEASE);
        assert_eq!(run.told.len(), 2);
        run.wait(0, LEASE + 1);
        run.wait(0, LEASE + 1);
        assert_eq!(run.told[2..], ["1 stream.ended lapsed"]);
        // A decider that just came hears everybody first.
        run.wait(80_000, 95_000);
        assert_eq!(run.told.len(), 3);
        run.wait(80_000, 80_000 + LEASE + 1);
        assert_eq!(run.told[3..], ["2 stream.ended lapsed"]);
    }

    proptest! {
        #[test]
        fn one_start_and_one_end_each(
            steps in prop::collection::vec((0..2u8, 1..4u8, 0..6u8, 0..40_000i64), 0..80),
        ) {
            let mut run = Run::default();
            let mut now = 0;
            let mut begun = std::collections::HashSet::new();
            for (room, stream, turn, later) in steps {
                now += later;
                let turn = match turn {
                    // A broadcast's id is new: no ingest begins one twice.
                    0 if begun.insert(stream) => Turn::Start,
                    1 => Turn::Hold,
                    2 => Turn::Interrupt,
                    3 => Turn::Resume,
                    4 => Turn::End,
                    _ => {
                        run.wait(0, now);
                        continue;
                    }
                };
                run.ask(ask(room, stream, turn), now);
            }
            run.wait(0, now + LEASE + 1);
            let mut ends: HashMap<&str, (u32, u32)> = HashMap::new();
            for told in &run.told {
                let (stream, kind) = told.split_once(' ').expect("two words");
                let counts = ends.entry(stream).or_default();
                counts.0 += u32::from(kind == "stream.started");
                counts.1 += u32::from(kind.starts_with("stream.ended"));
            }
            prop_assert!(ends.values().all(|counts| *counts == (1, 1)), "{:?}", run.told);
        }
    }
}
