use lemonair_schemas::chat::HeldMessageApproved;
use lemonair_schemas::donation::{DonationAccepted, DonationRefunded};
use lemonair_schemas::presence::{RoomViewers, ViewersCounted};
use lemonair_schemas::{Event, EventId, GatewayId};
use uuid::Uuid;

use super::*;
use crate::chatters::Chatters;
use crate::donations::Donations;
use crate::scratch::{Scratch, accepted, actor, at, room, said};
use crate::viewers::Viewers;

/// The first full minute behind `at(0)`.
const MINUTE: i64 = 40;

fn message(by: &str, seconds: i64) -> Event {
    let mut message = said("mint", by, "hello");
    message.at = at(MINUTE + seconds);
    message.into()
}

fn counted(gateway: u128, seconds: i64, viewers: i64) -> Event {
    let rooms = [("mint", viewers), ("lime", 50)];
    let count = |(name, viewers): (&str, i64)| RoomViewers {
        room: room(name),
        viewers,
    };
    ViewersCounted {
        id: EventId::new(),
        at: at(MINUTE + seconds),
        gateway: GatewayId(Uuid::from_u128(gateway)),
        actor: None,
        anew: false,
        rooms: rooms.map(count).to_vec(),
    }
    .into()
}

fn given(amount: i64, seconds: i64) -> DonationAccepted {
    DonationAccepted {
        at: at(MINUTE + seconds),
        ..accepted("lime", amount)
    }
}

fn refunded(donation: &DonationAccepted, amount: i64) -> Event {
    DonationRefunded {
        id: EventId::new(),
        at: at(MINUTE + 1000),
        room: room("mint"),
        actor: None,
        donation: donation.id,
        donor: actor("lime").id,
        streamer: actor("mint").id,
        amount,
        left: donation.amount - amount,
        anonymous: false,
    }
    .into()
}

#[tokio::test]
async fn a_broadcast_has_a_course_and_totals() {
    let db = Scratch::new().await;
    let approved = HeldMessageApproved {
        id: EventId::new(),
        at: at(MINUTE + 70),
        room: room("mint"),
        actor: Some(actor("mint")),
        message: EventId::new(),
        author: actor("kiwi"),
        text: "waited".to_owned(),
        nonce: None,
        reply_to: None,
    };
    let said = [
        message("lime", -100),
        message("lime", 1),
        message("lime", 2),
        message("kiwi", 3),
        approved.into(),
        message("lime", 500),
    ];
    db.given(&Chatters, &said).await;
    // Two gateways in the first minute; the highest of each counts.
    let watched = [
        counted(1, 0, 3),
        counted(1, 5, 7),
        counted(1, 9, 2),
        counted(2, 30, 4),
        counted(1, 60, 1),
    ];
    db.given(&Viewers, &watched).await;
    let (all, part, none) = (given(5, 10), given(100, 70), given(9, 75));
    let donations = [
        all.clone().into(),
        part.clone().into(),
        none.clone().into(),
        refunded(&part, 40),
        refunded(&none, 9),
    ];
    db.given(&Donations, &donations).await;

    let span = Span {
        from: at(MINUTE),
        to: at(MINUTE + 125),
    };
    let course = course(&db.pool, &room("mint"), span).await.unwrap();
    assert_eq!(course.step_seconds, 60);
    let points: Vec<[i64; 5]> = course
        .points
        .iter()
        .map(|point| {
            [
                point.viewers,
                point.messages,
                point.chatters,
                point.donations,
                point.donated,
            ]
        })
        .collect();
    assert_eq!(points, [[11, 3, 2, 1, 5], [1, 1, 1, 1, 60], [0; 5]]);
    assert_eq!(course.points[1].at, at(MINUTE + 60));
    let expected = Totals {
        peak_viewers: 11,
        messages: 4,
        chatters: 2,
        donations: 2,
        donated: 65,
        new_followers: 0,
    };
    let found = totals(&db.pool, &room("mint"), span).await.unwrap();
    assert_eq!(found, expected);
    let nowhere = totals(&db.pool, &room("kiwi"), span).await.unwrap();
    assert_eq!(nowhere, Totals::default());
}

#[tokio::test]
async fn a_long_broadcast_has_longer_steps_and_loses_nothing() {
    let db = Scratch::new().await;
    let days = 3 * 24 * 3600;
    let said: Vec<Event> = (0..days / 600).map(|n| message("lime", n * 600)).collect();
    db.given(&Chatters, &said).await;
    let span = Span {
        from: at(MINUTE),
        to: at(MINUTE + days),
    };
    let course = course(&db.pool, &room("mint"), span).await.unwrap();
    assert!(course.points.len() <= 241, "{}", course.points.len());
    let messages: i64 = course.points.iter().map(|point| point.messages).sum();
    assert_eq!(messages, days / 600);
}
