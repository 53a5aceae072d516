//! Events as the outside sees them.

use expect_test::{Expect, expect};
use lemonair_schemas::Event;
use lemonair_testkit::codec;
use serde_json::Value;

use crate::sample::{Seed, samples, sorted};

async fn check(full: bool, expected: Expect) {
    let codec = codec().await;
    let mut text = String::new();
    for sample in samples(&codec, &Seed::fixed(full)) {
        let Some(event) = sample.event else { continue };
        let mut written = vec![b'{'];
        event.write_json(&mut written);
        written.push(b'}');
        assert_eq!(
            String::from_utf8(written).expect("UTF-8"),
            Value::Object(event.json()).to_string()
        );
        text += &sorted(Value::Object(event.json())).to_string();
        text.push('\n');
    }
    assert!(!text.contains("SECRET"));
    expected.assert_eq(&text);
}

#[tokio::test]
async fn every_event_has_its_json() {
    check(true, expect![[r#"
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","nonce":"tea","reply_to":"018bcfe5-6800-7000-8000-000000000003","room":"mint","text":"🍋 lemonade","type":"chat.message"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","room":"mint","type":"chat.deleted"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","nonce":"tea","reply_to":"018bcfe5-6800-7000-8000-000000000003","room":"mint","text":"🍋 lemonade","type":"chat.held"}
        {"at":"2023-11-14T22:13:20.123Z","author":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","nonce":"tea","reply_to":"018bcfe5-6800-7000-8000-000000000003","room":"mint","text":"🍋 lemonade","type":"chat.approved"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","name":"Größe","room":"mint","type":"chat.denied"}
        {"at":"2023-11-14T22:13:20.123Z","author":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","room":"mint","text":"🍋 lemonade","type":"chat.pinned"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","room":"mint","type":"chat.unpinned"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"chat.cleared"}
        {"at":"2023-11-14T22:13:20.123Z","blocked_words":["🍋 lemonade","tea"],"emote_only":false,"followers_only_ms":250,"from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"hold_for_review":true,"id":"018bcfe5-6800-7000-8000-000000000001","links_allowed":true,"room":"mint","slow_mode_ms":250,"type":"chat.settings","unique_messages":true}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","reason":"tea","room":"mint","type":"member.banned"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"member.unbanned"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","reason":"tea","room":"mint","type":"member.timed_out","until":"2023-11-14T22:13:20.123Z"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"member.timeout_lifted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"moderator.added"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"moderator.removed"}
        {"amount":250,"anonymous":false,"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"held":true,"id":"018bcfe5-6800-7000-8000-000000000001","message":"🍋 lemonade","room":"mint","streamer":"018bcfe5-6800-7000-8000-000000000003","type":"donation.accepted"}
        {"amount":250,"anonymous":false,"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","donor":"018bcfe5-6800-7000-8000-000000000002","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","left":250,"room":"mint","streamer":"018bcfe5-6800-7000-8000-000000000003","type":"donation.refunded"}
        {"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","donor":"018bcfe5-6800-7000-8000-000000000002","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","message":"🍋 lemonade","room":"mint","type":"donation.approved"}
        {"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"donation.denied"}
        {"accepts_offline":true,"alert_minimum":250,"alert_ms":250,"alert_volume":50,"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","minimum":250,"review":"blocked","room":"mint","type":"donation.settings"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","target":250,"title":"🍋 lemonade","type":"goal.started"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"goal":"018bcfe5-6800-7000-8000-000000000003","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"goal.closed"}
        {"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"alert.shown"}
        {"action":"replay","at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"overlay.cued"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","ingest":"tea","room":"mint","title":"🍋 lemonade","type":"stream.started"}
        {"at":"2023-11-14T22:13:20.123Z","figures":{"codec":"tea","dropped":3,"fps":30,"height":720,"kbps":250,"key_frame_ms":250,"width":1280},"from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"stream.interrupted"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"stream.resumed"}
        {"at":"2023-11-14T22:13:20.123Z","figures":{"codec":"tea","dropped":3,"fps":30,"height":720,"kbps":250,"key_frame_ms":250,"width":1280},"from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","reason":"tea","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"stream.ended"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"recording.begun"}
        {"at":"2023-11-14T22:13:20.123Z","begins":"2023-11-14T22:13:20.123Z","bytes":250,"duration_ms":250,"from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"recording.kept"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","reason":"tea","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"recording.deleted"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","owner":"018bcfe5-6800-7000-8000-000000000002","room":"mint","type":"channel.opened"}
        {"at":"2023-11-14T22:13:20.123Z","category":"🍋 lemonade","description":"tea","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","title":"Größe","type":"channel.updated"}
        {"at":"2023-11-14T22:13:20.123Z","beside":true,"from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","label":"🍋 lemonade","prefix":"tea","room":"mint","type":"channel.stream_key_issued"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","issued":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.stream_key_revoked"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.overlay_key_rotated"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.followed"}
        {"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.unfollowed"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","type":"account.registered"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","display_name":"Größe","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","type":"account.display_name_chosen"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","type":"account.password_changed"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","role":"tea","type":"account.role_granted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","action":"tea","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","target":"018bcfe5-6800-7000-8000-000000000002","type":"operator.acted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","agent":"Größe","at":"2023-11-14T22:13:20.123Z","expires":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","session":"018bcfe5-6800-7000-8000-000000000001","type":"session.opened"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","session":"018bcfe5-6800-7000-8000-000000000001","type":"session.closed"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","kind":"CORRECTION","payment":"tea","postings":[{"account":"018bcfe5-6800-7000-8000-000000000002","amount":250,"book":"WALLET"},{"account":"tea","amount":-250,"book":"PLATFORM"}],"room":"mint","type":"ledger.posted"}
        {"anew":true,"at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"gateway":"018bcfe5-6800-7000-8000-000000000002","id":"018bcfe5-6800-7000-8000-000000000001","rooms":[{"room":"mint","viewers":250}],"type":"viewers.counted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","from":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":["streamer","operator"]},"id":"018bcfe5-6800-7000-8000-000000000001","room_hash":"tea","type":"account.erased"}
    "#]]).await;
}

#[tokio::test]
async fn absent_fields_are_left_out() {
    check(false, expect![[r#"
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","text":"🍋 lemonade","type":"chat.message"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","room":"mint","type":"chat.deleted"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","text":"🍋 lemonade","type":"chat.held"}
        {"at":"2023-11-14T22:13:20.123Z","author":{"id":"018bcfe5-6800-7000-8000-000000000002","name":"Größe","roles":[]},"id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","room":"mint","text":"🍋 lemonade","type":"chat.approved"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","name":"Größe","room":"mint","type":"chat.denied"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","room":"mint","text":"🍋 lemonade","type":"chat.pinned"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","message":"018bcfe5-6800-7000-8000-000000000003","room":"mint","type":"chat.unpinned"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"chat.cleared"}
        {"at":"2023-11-14T22:13:20.123Z","blocked_words":[],"emote_only":true,"hold_for_review":false,"id":"018bcfe5-6800-7000-8000-000000000001","links_allowed":false,"room":"mint","slow_mode_ms":250,"type":"chat.settings","unique_messages":false}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"member.banned"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"member.unbanned"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"member.timed_out","until":"2023-11-14T22:13:20.123Z"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"member.timeout_lifted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"moderator.added"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","room":"mint","type":"moderator.removed"}
        {"amount":250,"anonymous":true,"at":"2023-11-14T22:13:20.123Z","held":false,"id":"018bcfe5-6800-7000-8000-000000000001","message":"🍋 lemonade","room":"mint","streamer":"018bcfe5-6800-7000-8000-000000000003","type":"donation.accepted"}
        {"amount":250,"anonymous":true,"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","donor":"018bcfe5-6800-7000-8000-000000000002","id":"018bcfe5-6800-7000-8000-000000000001","left":250,"room":"mint","streamer":"018bcfe5-6800-7000-8000-000000000003","type":"donation.refunded"}
        {"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","donor":"018bcfe5-6800-7000-8000-000000000002","id":"018bcfe5-6800-7000-8000-000000000001","message":"🍋 lemonade","room":"mint","type":"donation.approved"}
        {"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"donation.denied"}
        {"accepts_offline":false,"alert_minimum":250,"alert_ms":250,"alert_volume":50,"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","minimum":250,"review":"none","room":"mint","type":"donation.settings"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","target":250,"title":"🍋 lemonade","type":"goal.started"}
        {"at":"2023-11-14T22:13:20.123Z","goal":"018bcfe5-6800-7000-8000-000000000003","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"goal.closed"}
        {"at":"2023-11-14T22:13:20.123Z","donation":"018bcfe5-6800-7000-8000-000000000003","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"alert.shown"}
        {"action":"test","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"overlay.cued"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","ingest":"tea","room":"mint","title":"🍋 lemonade","type":"stream.started"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"stream.interrupted"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"stream.resumed"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","reason":"tea","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"stream.ended"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"recording.begun"}
        {"at":"2023-11-14T22:13:20.123Z","begins":"2023-11-14T22:13:20.123Z","bytes":250,"duration_ms":250,"id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"recording.kept"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","reason":"tea","room":"mint","stream":"018bcfe5-6800-7000-8000-000000000003","type":"recording.deleted"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","owner":"018bcfe5-6800-7000-8000-000000000002","room":"mint","type":"channel.opened"}
        {"at":"2023-11-14T22:13:20.123Z","category":"🍋 lemonade","description":"tea","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","title":"Größe","type":"channel.updated"}
        {"at":"2023-11-14T22:13:20.123Z","beside":false,"id":"018bcfe5-6800-7000-8000-000000000001","label":"🍋 lemonade","prefix":"tea","room":"mint","type":"channel.stream_key_issued"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","issued":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.stream_key_revoked"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.overlay_key_rotated"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.followed"}
        {"at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room":"mint","type":"channel.unfollowed"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","name":"Größe","type":"account.registered"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","display_name":"Größe","id":"018bcfe5-6800-7000-8000-000000000001","type":"account.display_name_chosen"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","type":"account.password_changed"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","role":"tea","type":"account.role_granted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","action":"tea","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","target":"018bcfe5-6800-7000-8000-000000000002","type":"operator.acted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","expires":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","session":"018bcfe5-6800-7000-8000-000000000001","type":"session.opened"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","session":"018bcfe5-6800-7000-8000-000000000001","type":"session.closed"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","kind":"TOP_UP","postings":[],"type":"ledger.posted"}
        {"anew":false,"at":"2023-11-14T22:13:20.123Z","gateway":"018bcfe5-6800-7000-8000-000000000002","id":"018bcfe5-6800-7000-8000-000000000001","rooms":[],"type":"viewers.counted"}
        {"account":"018bcfe5-6800-7000-8000-000000000002","at":"2023-11-14T22:13:20.123Z","id":"018bcfe5-6800-7000-8000-000000000001","room_hash":"tea","type":"account.erased"}
    "#]]).await;
}

/// `type` names the kind, and nothing else has its name.
#[tokio::test]
async fn kinds_are_different() {
    let codec = codec().await;
    let samples = samples(&codec, &Seed::fixed(true));
    let events = Vec::from_iter(samples.into_iter().filter_map(|sample| sample.event));
    let mut kinds = Vec::from_iter(events.iter().map(Event::kind));
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), events.len());
    for event in events {
        assert_eq!(event.json()["type"], event.kind());
    }
}
