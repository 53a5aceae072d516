use lemonair_schemas::presence::RoomViewers;
use lemonair_schemas::{EventId, Topic};
use proptest::prelude::*;

use super::*;

const ROOMS: [&str; 3] = ["mint", "lime", "kiwi"];

fn gateway(n: usize) -> GatewayId {
    GatewayId(format!("018bcfe5-6800-7000-8000-{n:012x}").parse().unwrap())
}

fn room(n: usize) -> RoomId {
    ROOMS[n].parse().unwrap()
}

fn at(offset: i64) -> Position {
    Position {
        topic: Topic::Presence,
        partition: 0,
        offset,
    }
}

fn told(by: usize, at: Timestamp, anew: bool, rooms: &[(usize, i64)]) -> ViewersCounted {
    let rooms = rooms.iter().map(|(n, viewers)| RoomViewers {
        room: room(*n),
        viewers: *viewers,
    });
    ViewersCounted {
        id: EventId::new(),
        at,
        gateway: gateway(by),
        actor: None,
        anew,
        rooms: rooms.collect(),
    }
}

fn counts(presence: &Presence) -> [usize; 3] {
    [0, 1, 2].map(|n| presence.elsewhere(&room(n)))
}

#[test]
fn who_falls_silent_is_not_counted_until_it_is_heard_again() {
    let mut presence = Presence::new(gateway(0), []);
    let second = |n: i64| Timestamp(n * 1000);
    presence.take(at(0), &told(0, second(0), true, &[(0, 50)]), second(0));
    assert_eq!(counts(&presence), [0, 0, 0], "its own");
    presence.take(
        at(1),
        &told(1, second(0), true, &[(0, 2), (1, 1)]),
        second(0),
    );
    // Its clock is an hour behind.
    presence.take(at(2), &told(2, second(-3600), true, &[(0, 3)]), second(0));
    assert_eq!(counts(&presence), [5, 1, 0]);
    presence.take(at(3), &told(2, second(-3591), false, &[]), second(9));
    presence.expire(second(10));
    assert_eq!(counts(&presence), [3, 0, 0], "one was killed");
    presence.take(
        at(4),
        &told(1, second(11), false, &[(1, 0), (2, 4)]),
        second(11),
    );
    assert_eq!(counts(&presence), [5, 0, 4], "no, it was cut off");
    presence.take(at(5), &told(2, second(12), true, &[]), second(12));
    assert_eq!(counts(&presence), [2, 0, 4], "one has ended");
}

#[test]
fn who_starts_late_knows_who_is_alive() {
    let mut presence = Presence::new(gateway(0), [at(3)]);
    let now = Timestamp(100_000);
    presence.take(at(0), &told(1, Timestamp(60_000), true, &[(0, 2)]), now);
    presence.take(at(1), &told(2, Timestamp(62_000), true, &[(0, 3)]), now);
    presence.take(at(2), &told(2, Timestamp(98_000), false, &[]), now);
    assert_eq!(
        counts(&presence),
        [3, 0, 0],
        "the first was killed meanwhile"
    );
}

proptest! {
    /// The sums are those of what each gateway told last, as long as it was heard lately.
    #[test]
    fn sums_are_what_was_told_last(
        steps in prop::collection::vec(
            (0usize..4, any::<bool>(), prop::collection::vec((0usize..3, 0i64..5), 0..4), 0i64..8000),
            0..40,
        ),
    ) {
        let mut presence = Presence::new(gateway(0), []);
        let mut model: HashMap<usize, (Timestamp, [i64; 3])> = HashMap::new();
        let mut now = Timestamp(0);
        for (offset, (by, anew, rooms, later)) in steps.into_iter().enumerate() {
            now = Timestamp(now.0 + later);
            presence.expire(now);
            presence.take(at(offset as i64), &told(by, now, anew, &rooms), now);
            if by > 0 {
                let (heard, counts) = model.entry(by).or_default();
                *heard = now;
                if anew {
                    *counts = [0; 3];
                }
                for (n, viewers) in rooms {
                    counts[n] = viewers;
                }
            }
            let alive = model.values().filter(|(heard, _)| now.since(*heard) < SILENCE);
            let sums = alive.fold([0; 3], |sums: [i64; 3], (_, counts)| [0, 1, 2].map(|n| sums[n] + counts[n]));
            prop_assert_eq!(counts(&presence).map(|n| n as i64), sums);
        }
    }
}
