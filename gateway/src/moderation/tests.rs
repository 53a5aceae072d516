use lemonair_schemas::chat::{
    ChatCleared, ChatSettingsChanged, HeldMessageApproved, HeldMessageDenied, MemberBanned,
    MemberTimedOut, MemberUnbanned, MessageHeld, MessagePosted, ModeratorAdded, ModeratorRemoved,
    TimeoutLifted,
};
use lemonair_schemas::{Actor, RoomId};
use proptest::prelude::*;

use super::*;

fn account(n: u128) -> AccountId {
    AccountId(format!("018bcfe5-6800-7000-8000-{n:012x}").parse().unwrap())
}

fn message(n: u128) -> EventId {
    EventId(format!("018bcfe5-6800-7000-9000-{n:012x}").parse().unwrap())
}

fn at(ms: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + ms)
}

fn room() -> RoomId {
    "mint".parse().unwrap()
}

fn actor(n: u128) -> Actor {
    Actor {
        id: account(n),
        name: format!("n{n}"),
        roles: Vec::new(),
    }
}

fn viewer(n: u128) -> Speaker {
    Speaker {
        account: account(n),
        rank: Rank::Viewer,
        following_since: None,
    }
}

/// An event of the moderator, about somebody or something.
macro_rules! event {
    ($name:ident, $id:expr, $at:expr, { $($field:ident: $value:expr),* $(,)? }) => {
        Event::from($name {
            id: message($id),
            at: at($at),
            room: room(),
            actor: Some(actor(99)),
            $($field: $value),*
        })
    };
}

fn said(id: u128, by: u128, text: &str, ms: i64) -> Event {
    MessagePosted {
        id: message(id),
        at: at(ms),
        room: room(),
        actor: Some(actor(by)),
        text: text.to_owned(),
        nonce: None,
        reply_to: None,
    }
    .into()
}

fn held(id: u128, by: u128, text: &str, ms: i64) -> Event {
    MessageHeld {
        id: message(id),
        at: at(ms),
        room: room(),
        actor: Some(actor(by)),
        text: text.to_owned(),
        nonce: None,
        reply_to: None,
    }
    .into()
}

fn set(change: impl Fn(&mut ChatSettings)) -> Event {
    let mut settings = ChatSettings::default();
    change(&mut settings);
    let ChatSettings {
        slow_mode_ms,
        followers_only_ms,
        unique_messages,
        emote_only,
        blocked_words,
        links_allowed,
        hold_for_review,
    } = settings;
    event!(ChatSettingsChanged, 0, 0, {
        slow_mode_ms: slow_mode_ms,
        followers_only_ms: followers_only_ms,
        unique_messages: unique_messages,
        emote_only: emote_only,
        blocked_words: blocked_words,
        links_allowed: links_allowed,
        hold_for_review: hold_for_review,
    })
}

fn given(events: &[Event]) -> Moderation {
    let mut moderation = Moderation::default();
    for event in events {
        moderation.apply(event);
    }
    moderation
}

fn code(result: Result<Verdict, Refusal>) -> &'static str {
    match result {
        Ok(Verdict::Post) => "post",
        Ok(Verdict::Hold) => "hold",
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn each_rule_refuses_what_it_is_for() {
    for (rule, text, expected) in [
        (set(|_| {}), "anything https://x", "post"),
        (set(|s| s.emote_only = true), "words", "emote_only"),
        (set(|s| s.emote_only = true), "🍋 :lemon:", "post"),
        (
            set(|s| s.blocked_words = vec!["Bad".to_owned()]),
            "b a d!",
            "blocked_word",
        ),
        (set(|s| s.links_allowed = false), "see evil.com", "links"),
        (
            set(|s| s.followers_only_ms = Some(0)),
            "hi",
            "followers_only",
        ),
        (set(|s| s.hold_for_review = true), "hi", "hold"),
    ] {
        let moderation = given(&[rule]);
        assert_eq!(
            code(moderation.check(&viewer(1), text, at(0))),
            expected,
            "{text}"
        );
        // The rules are for viewers.
        for rank in [Rank::Moderator, Rank::Streamer, Rank::Operator] {
            let speaker = Speaker { rank, ..viewer(1) };
            assert_eq!(code(moderation.check(&speaker, text, at(0))), "post");
        }
        let moderator =
            event!(ModeratorAdded, 1, 0, { account: account(1), name: "n1".to_owned() });
        let mut moderation = moderation;
        moderation.apply(&moderator);
        assert_eq!(code(moderation.check(&viewer(1), text, at(0))), "post");
    }
}

#[test]
fn a_time_out_tells_what_is_left_and_ends() {
    let moderation = given(&[event!(MemberTimedOut, 1, 0, {
        account: account(1), name: "n1".to_owned(), until: at(10_000), reason: None,
    })]);
    let refusal = moderation.check(&viewer(1), "hi", at(4000)).unwrap_err();
    assert_eq!(refusal, Refusal::TimedOut(Duration::from_secs(6)));
    assert_eq!(code(moderation.check(&viewer(1), "hi", at(10_000))), "post");
    assert_eq!(code(moderation.check(&viewer(2), "hi", at(4000))), "post");
}

#[test]
fn nobody_bans_the_streamer_or_an_operator() {
    let moderation = given(&[event!(MemberBanned, 1, 0, {
        account: account(1), name: "n1".to_owned(), reason: None,
    })]);
    for (rank, expected) in [
        (Rank::Viewer, "banned"),
        (Rank::Moderator, "banned"),
        (Rank::Streamer, "post"),
        (Rank::Operator, "post"),
    ] {
        let speaker = Speaker { rank, ..viewer(1) };
        assert_eq!(code(moderation.check(&speaker, "hi", at(0))), expected);
    }
}

#[test]
fn slow_mode_counts_what_was_seen_and_what_was_just_accepted() {
    let rule = set(|s| s.slow_mode_ms = 5000);
    let mut moderation = given(&[rule, said(1, 1, "one", 0)]);
    let refusal = moderation.check(&viewer(1), "two", at(2000)).unwrap_err();
    assert_eq!(refusal, Refusal::SlowMode(Duration::from_secs(3)));
    assert_eq!(code(moderation.check(&viewer(2), "two", at(2000))), "post");
    moderation.note(message(2), account(2), "two", at(2000));
    assert_eq!(
        code(moderation.check(&viewer(2), "3", at(2001))),
        "slow_mode"
    );
    // It never got there.
    moderation.take_back(message(2));
    assert_eq!(code(moderation.check(&viewer(2), "3", at(2001))), "post");
    assert_eq!(code(moderation.check(&viewer(1), "two", at(5000))), "post");
}

#[test]
fn a_repeat_is_refused_for_a_while() {
    let rule = set(|s| s.unique_messages = true);
    let moderation = given(&[rule, said(1, 1, "Hello  there", 0)]);
    let check = |by, text, ms| code(moderation.check(&viewer(by), text, at(ms)));
    assert_eq!(check(2, "hello\u{200B} there", 1), "duplicate");
    assert_eq!(check(2, "hello you", 1), "post");
    assert_eq!(check(2, "hello there", 600_000), "post");
}

#[test]
fn who_follows_long_enough_may_chat() {
    let moderation = given(&[set(|s| s.followers_only_ms = Some(60_000))]);
    let since = |ms| Speaker {
        following_since: Some(at(ms)),
        ..viewer(1)
    };
    let refusal = moderation.check(&since(0), "hi", at(15_000)).unwrap_err();
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(45)));
    assert_eq!(code(moderation.check(&since(0), "hi", at(60_000))), "post");
}

#[test]
fn only_so_much_waits_for_a_moderator() {
    let mut moderation = given(&[set(|s| s.hold_for_review = true)]);
    for n in 0..MOST_HELD_OF_ONE as u128 {
        assert_eq!(code(moderation.check(&viewer(1), "hi", at(0))), "hold");
        moderation.apply(&held(n, 1, "hi", 0));
    }
    assert_eq!(
        code(moderation.check(&viewer(1), "hi", at(0))),
        "review_full"
    );
    assert_eq!(code(moderation.check(&viewer(2), "hi", at(0))), "hold");
    moderation.apply(&event!(ChatCleared, 1000, 1, {
        account: Some(account(1)), name: Some("n1".to_owned()),
    }));
    assert_eq!(code(moderation.check(&viewer(1), "hi", at(0))), "hold");
}

#[test]
fn a_crowd_is_forgotten_in_time() {
    let mut moderation = Moderation::default();
    for n in 0..3 * MOST_SPEAKERS as u128 {
        moderation.note(message(n), account(n), "hi", at(i64::try_from(n).unwrap()));
    }
    assert!(moderation.spoke.len() <= MOST_SPEAKERS);
    assert!(moderation.recent.len() <= MOST_RECENT);
    let last = account(3 * MOST_SPEAKERS as u128 - 1);
    assert!(moderation.spoke.contains_key(&last));
}

// === Properties ===

/// Something that happens to one of four accounts or one of eight messages.
fn any_event() -> impl Strategy<Value = (u8, u128, u128, i64)> {
    (0u8..14, 0u128..4, 0u128..8, 1i64..60_000)
}

fn history() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(any_event(), 0..60).prop_map(|steps| {
        let mut now = 0;
        let make = |(index, (kind, who, what, pause)): (usize, (u8, u128, u128, i64))| {
            now += pause / 10;
            let id = 100 + index as u128;
            let (whom, name) = (account(who), format!("n{who}"));
            let text = format!("text {what}");
            match kind {
                0 | 1 => said(id, who, &text, now),
                2 => held(what, who, &text, now),
                3 => event!(HeldMessageApproved, id, now, {
                    message: message(what), author: actor(who), text: text, nonce: None, reply_to: None,
                }),
                4 => event!(HeldMessageDenied, id, now, {
                    message: message(what), account: whom, name: name,
                }),
                5 => event!(MemberBanned, id, now, { account: whom, name: name, reason: None }),
                6 => event!(MemberUnbanned, id, now, { account: whom, name: name }),
                7 => event!(MemberTimedOut, id, now, {
                    account: whom, name: name, until: at(now + pause), reason: None,
                }),
                8 => event!(TimeoutLifted, id, now, { account: whom, name: name }),
                9 => event!(ModeratorAdded, id, now, { account: whom, name: name }),
                10 => event!(ModeratorRemoved, id, now, { account: whom, name: name }),
                11 => event!(ChatCleared, id, now, { account: Some(whom), name: Some(name) }),
                12 => set(|s| {
                    s.slow_mode_ms = if what % 2 == 0 { pause } else { 0 };
                    s.unique_messages = what % 3 == 0;
                    s.hold_for_review = what % 5 == 0;
                }),
                _ => event!(ChatCleared, id, now, { account: None, name: None }),
            }
        };
        steps.into_iter().enumerate().map(make).collect()
    })
}

/// What the events say, found by looking through them from the end: no state at all.
fn expected(events: &[Event], speaker: &Speaker, text: &str, now: Timestamp) -> &'static str {
    let who = speaker.account;
    let last = |wanted: &dyn Fn(&Event) -> Option<bool>| {
        events.iter().rev().find_map(wanted).unwrap_or(false)
    };
    let banned = last(&|event| match event {
        Event::MemberBanned(e) if e.account == who => Some(true),
        Event::MemberUnbanned(e) if e.account == who => Some(false),
        _ => None,
    });
    if banned {
        return "banned";
    }
    let timed_out = last(&|event| match event {
        Event::MemberTimedOut(e) if e.account == who => Some(e.until > now),
        Event::TimeoutLifted(e) if e.account == who => Some(false),
        _ => None,
    });
    if timed_out {
        return "timed_out";
    }
    let moderator = last(&|event| match event {
        Event::ModeratorAdded(e) if e.account == who => Some(true),
        Event::ModeratorRemoved(e) if e.account == who => Some(false),
        Event::MemberBanned(e) if e.account == who => Some(false),
        _ => None,
    });
    if moderator {
        return "post";
    }
    let settings = events.iter().rev().find_map(|event| match event {
        Event::ChatSettingsChanged(e) => Some(ChatSettings::from(e)),
        _ => None,
    });
    let settings = settings.unwrap_or_default();
    let messages = || {
        events.iter().filter_map(|event| match event {
            Event::MessagePosted(e) => Some((e.actor.as_ref()?.id, e.text.as_str(), e.at)),
            Event::MessageHeld(e) => Some((e.actor.as_ref()?.id, e.text.as_str(), e.at)),
            _ => None,
        })
    };
    let repeat = |(_, said, at): (AccountId, &str, Timestamp)| {
        said == text && now.since(at) < Duration::from_secs(600)
    };
    if settings.unique_messages && messages().any(repeat) {
        return "duplicate";
    }
    let spoke = messages().rfind(|(by, _, _)| *by == who);
    if spoke.is_some_and(|(_, _, at)| now.since(at) < millis(settings.slow_mode_ms)) {
        return "slow_mode";
    }
    if settings.hold_for_review {
        "hold"
    } else {
        "post"
    }
}

proptest! {
    #[test]
    fn what_is_refused_follows_from_the_events(
        events in history(),
        who in 0u128..4,
        what in 0u128..8,
        later in 0i64..30_000,
    ) {
        // Each message is held once: ids are never used again.
        let mut seen = HashSet::new();
        let events: Vec<Event> = events.into_iter().filter(|event| seen.insert(event.id())
            || !matches!(event, Event::MessageHeld(_))).collect();
        let now = events.iter().map(Event::at).max().unwrap_or_else(|| at(0)).0 + later;
        let text = format!("text {what}");
        let found = given(&events).check(&viewer(who), &text, Timestamp(now));
        prop_assert_eq!(code(found), expected(&events, &viewer(who), &text, Timestamp(now)));
    }

    #[test]
    fn a_history_in_two_parts_is_the_same_history(events in history(), cut in 0usize..60) {
        let cut = cut.min(events.len());
        let mut parts = given(&events[..cut]);
        for event in &events[cut..] {
            parts.apply(event);
        }
        prop_assert_eq!(&parts, &given(&events));
        // The end of it once more, as when a read model is ahead: where everybody stands is the same.
        for event in &events[cut..] {
            parts.apply(event);
        }
        let once = given(&events);
        prop_assert_eq!(
            (&parts.settings, &parts.banned, &parts.moderators),
            (&once.settings, &once.banned, &once.moderators)
        );
    }
}
