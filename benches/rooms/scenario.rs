//! The crowds that are played.

use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::crowd::{Crowd, State};
use crate::report::{Row, latency, mib, micros_each, millis};
use crate::server::{Server, Usage};

/// What runs unless scenarios are named.
pub(crate) const SCENARIOS: &[&str] = &[
    "spike=2000",
    "spike=5000",
    "room=25",
    "room=250",
    "paced=400",
    "paced=100",
    "gentle=5",
    "idle=2000",
    "idle=5000",
    "rooms=10000",
    "rooms=10000,1",
    "slow=400",
    "storm=5000",
];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Scenario {
    /// So many enter one room at the same instant.
    Spike { viewers: usize },
    /// A fifth of the members sends as fast as acks come, `each` times.
    Room { each: usize, members: usize },
    /// So many messages a second, by a hundred senders in turn.
    Paced {
        rate: usize,
        seconds: usize,
        members: usize,
    },
    /// Viewers who only watch an empty room.
    Idle { viewers: usize },
    /// As many rooms with one viewer each, against one room with all of them.
    Rooms { viewers: usize, members: bool },
    /// Like `Paced`, and then again with a tenth of the members no longer reading.
    Slow { rate: usize, seconds: usize },
    /// The server is killed, and everybody comes back at once when it is there again.
    Storm { viewers: usize },
}

const PATIENCE: Duration = Duration::from_secs(20);
const SENDERS: usize = 100;
/// Messages that a room has before a crowd storms in; each gets as many.
const HISTORY: usize = 50;

impl FromStr for Scenario {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Scenario> {
        let (name, sizes) = text.split_once('=').unwrap_or((text, ""));
        let sizes = sizes.split(',').filter(|size| !size.is_empty());
        let sizes: Vec<usize> = sizes
            .map(|size| size.parse())
            .collect::<Result<_, _>>()
            .with_context(|| text.to_owned())?;
        let size = |index: usize, usual: usize| sizes.get(index).copied().unwrap_or(usual);
        Ok(match name {
            "spike" => Scenario::Spike {
                viewers: size(0, 2000),
            },
            "room" => Scenario::Room {
                each: size(0, 25),
                members: size(1, 500),
            },
            "sent" => Scenario::Room {
                each: size(0, 12_500),
                members: size(1, 500),
            },
            "paced" => Scenario::Paced {
                rate: size(0, 400),
                seconds: size(1, 10),
                members: 500,
            },
            "gentle" => Scenario::Paced {
                rate: size(0, 5),
                seconds: 20,
                members: size(1, 2000),
            },
            "idle" => Scenario::Idle {
                viewers: size(0, 2000),
            },
            "rooms" => Scenario::Rooms {
                viewers: size(0, 10_000),
                members: size(1, 0) > 0,
            },
            "slow" => Scenario::Slow {
                rate: size(0, 400),
                seconds: size(1, 10),
            },
            "storm" => Scenario::Storm {
                viewers: size(0, 5000),
            },
            _ => bail!("there is no scenario {name:?}"),
        })
    }
}

impl Scenario {
    /// Whether a peer can be asked for the same.
    pub(crate) fn has_peer(self) -> bool {
        matches!(
            self,
            Scenario::Spike { .. }
                | Scenario::Room { .. }
                | Scenario::Paced { .. }
                | Scenario::Idle { .. }
        )
    }

    pub(crate) fn play(self, server: &mut Server) -> anyhow::Result<Row> {
        match self {
            Scenario::Spike { viewers } => spike(server, viewers),
            Scenario::Room { each, members } => room(server, each, members),
            Scenario::Paced {
                rate,
                seconds,
                members,
            } => paced(server, rate, seconds, members),
            Scenario::Idle { viewers } => idle(server, viewers),
            Scenario::Rooms { viewers, members } => rooms(server, viewers, members),
            Scenario::Slow { rate, seconds } => slow(server, rate, seconds),
            Scenario::Storm { viewers } => storm(server, viewers),
        }
    }
}

fn spike(server: &Server, viewers: usize) -> anyhow::Result<Row> {
    let mut crowd = Crowd::new(server)?;
    let room = crowd.open_room("stage");
    let token = token(server)?;
    // Somebody was here before, and has talked.
    let host = crowd.enter(room, Some(&token))?;
    entered(&mut crowd, 1)?;
    for _ in 0..HISTORY {
        crowd.say(host)?;
    }
    crowd.until("the history is there", PATIENCE, |crowd| {
        Ok(crowd.tally.acks == HISTORY && crowd.complete())
    })?;
    settle(&mut crowd, Duration::from_secs(1))?;
    let before = server.usage()?;
    let begin = Instant::now();
    for _ in 0..viewers {
        crowd.enter(room, Some(&token))?;
    }
    let everybody = entered(&mut crowd, 1 + viewers);
    let time = begin.elapsed();
    let after = server.usage()?;
    let inside = crowd.tally.entered - 1;
    Ok(Row {
        scenario: format!("{viewers} enter one room at once"),
        verdict: format!(
            "{:.1} % in{}",
            100.0 * inside as f64 / viewers as f64,
            told(everybody)
        ),
        speed: format!("all within {}", millis(time)),
        cost: format!("{} a join", micros_each(before, after, viewers as u64)),
        latency: "–".to_owned(),
        memory: format!("{} peak", mib(after.peak)),
    })
}

fn room(server: &Server, each: usize, members: usize) -> anyhow::Result<Row> {
    let (mut crowd, _) = gather(server, members)?;
    settle(&mut crowd, Duration::from_secs(2))?;
    let senders = SENDERS.min(members);
    let total = senders * each;
    let mut left = vec![each - 1; senders];
    let before = server.usage()?;
    let begin = Instant::now();
    for sender in 0..senders {
        crowd.say(sender)?;
    }
    let result = crowd.until("everything is delivered", PATIENCE, |crowd| {
        for sender in std::mem::take(&mut crowd.acked) {
            if left[sender] > 0 {
                left[sender] -= 1;
                crowd.say(sender)?;
            }
        }
        Ok(crowd.tally.acks == total && crowd.complete())
    });
    let time = begin.elapsed();
    let after = server.usage()?;
    let tally = &crowd.tally;
    Ok(Row {
        scenario: format!(
            "{senders} of {members} send {each} each: {} deliveries",
            total * members
        ),
        verdict: verdict(&crowd, result),
        speed: format!(
            "{:.0} deliveries/s, {:.0} sends/s, {:.1} a frame",
            tally.deliveries as f64 / time.as_secs_f64(),
            total as f64 / time.as_secs_f64(),
            tally.deliveries as f64 / tally.frames.max(1) as f64
        ),
        cost: format!(
            "{} a delivery",
            micros_each(before, after, tally.deliveries)
        ),
        latency: latency(tally),
        memory: memory(before, after),
    })
}

fn paced(server: &Server, rate: usize, seconds: usize, members: usize) -> anyhow::Result<Row> {
    let (mut crowd, _) = gather(server, members)?;
    settle(&mut crowd, Duration::from_secs(2))?;
    let before = server.usage()?;
    let begin = Instant::now();
    let result = pace(&mut crowd, rate, seconds);
    let time = begin.elapsed();
    let after = server.usage()?;
    let tally = &crowd.tally;
    Ok(Row {
        scenario: format!("{rate} messages/s into {members}"),
        verdict: verdict(&crowd, result),
        speed: format!(
            "{:.0} deliveries/s, {:.1} a frame",
            tally.deliveries as f64 / time.as_secs_f64(),
            tally.deliveries as f64 / tally.frames.max(1) as f64
        ),
        cost: format!(
            "{} a delivery",
            micros_each(before, after, tally.deliveries)
        ),
        latency: latency(tally),
        memory: memory(before, after),
    })
}

/// The senders speak in turn, so many messages a second, until everybody has everything.
fn pace(crowd: &mut Crowd, rate: usize, seconds: usize) -> anyhow::Result<()> {
    let total = rate * seconds;
    let acked = crowd.tally.acks + total;
    let begin = Instant::now();
    let mut sent = 0;
    crowd.until("everything is delivered", PATIENCE, |crowd| {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as usize;
        while sent < total && sent <= due {
            crowd.say(sent % SENDERS)?;
            sent += 1;
        }
        if sent < total {
            let next = Duration::from_secs_f64(sent as f64 / rate as f64);
            crowd.turn(next.saturating_sub(begin.elapsed()))?;
        }
        Ok(crowd.tally.acks == acked && crowd.complete())
    })
}

fn slow(server: &Server, rate: usize, seconds: usize) -> anyhow::Result<Row> {
    const MEMBERS: usize = 500;
    const DEAF: usize = MEMBERS / 10;
    let (mut crowd, _) = gather(server, MEMBERS)?;
    settle(&mut crowd, Duration::from_secs(2))?;
    pace(&mut crowd, rate, seconds)?;
    let undisturbed = std::mem::take(&mut crowd.tally.latencies);
    for member in &mut crowd.members[MEMBERS - DEAF..] {
        member.turn_deaf()?;
    }
    let (before, deliveries) = (server.usage()?, crowd.tally.deliveries);
    let result = pace(&mut crowd, rate, seconds);
    let after = server.usage()?;
    let verdict = verdict(&crowd, result);
    // What the slow ones read in the end is not what the others had.
    let tally = crowd.tally.clone();
    crowd.listen()?;
    let closed = |crowd: &Crowd| {
        let states = crowd.members.iter().map(|member| member.state());
        states
            .filter(|state| matches!(state, State::Closed(_)))
            .count()
    };
    // The kernel still has something for them, and tries ever more seldom.
    let begin = Instant::now();
    while closed(&crowd) < DEAF && begin.elapsed() < PATIENCE {
        crowd.turn(Duration::from_millis(20))?;
    }
    let too_slow = server.count("lemonair_too_slow_total")?;
    Ok(Row {
        scenario: format!("{rate} messages/s into {MEMBERS}, then {DEAF} stop reading"),
        verdict: format!(
            "{verdict}; {too_slow} found too slow, {} of {DEAF} slow ones closed",
            closed(&crowd)
        ),
        speed: format!(
            "p99 of the others {}, was {}",
            millis(tally.latencies.quantile(0.99)),
            millis(undisturbed.quantile(0.99))
        ),
        cost: format!(
            "{} a delivery",
            micros_each(before, after, tally.deliveries - deliveries)
        ),
        latency: latency(&tally),
        memory: memory(before, after),
    })
}

fn storm(server: &mut Server, viewers: usize) -> anyhow::Result<Row> {
    let (mut crowd, _) = gather(server, viewers)?;
    settle(&mut crowd, Duration::from_secs(2))?;
    for sender in 0..SENDERS {
        crowd.say(sender)?;
    }
    // Not everybody has seen what was acked.
    crowd.until("all are acked", PATIENCE, |crowd| {
        Ok(crowd.tally.acks == SENDERS)
    })?;
    let killed = Instant::now();
    server.restart()?;
    let up = killed.elapsed();
    let before = server.usage()?;
    crowd.come_back()?;
    let mut most = None;
    let result = crowd.until("all are back", PATIENCE, |crowd| {
        if crowd.tally.entered * 100 >= viewers * 99 {
            most.get_or_insert_with(|| killed.elapsed());
        }
        Ok(crowd.tally.entered == viewers && crowd.complete())
    });
    let all = killed.elapsed();
    let after = server.usage()?;
    let reads = server.count("lemonair_topic_reads_total")?;
    let unrecovered = crowd.tally.unrecovered;
    Ok(Row {
        scenario: format!("{viewers} come back after a kill -9"),
        verdict: format!(
            "{}, {unrecovered} told to reload, {reads} reads of the topics",
            verdict(&crowd, result)
        ),
        speed: format!(
            "up after {}, 99 % back after {}, all after {}",
            millis(up),
            most.map_or_else(|| "–".to_owned(), millis),
            millis(all)
        ),
        cost: format!("{} a join", micros_each(before, after, viewers as u64)),
        latency: "–".to_owned(),
        memory: memory(before, after),
    })
}

fn idle(server: &Server, viewers: usize) -> anyhow::Result<Row> {
    let mut crowd = Crowd::new(server)?;
    let room = crowd.open_room("stage");
    crowd.enter(room, None)?;
    entered(&mut crowd, 1)?;
    settle(&mut crowd, Duration::from_secs(1))?;
    let before = server.usage()?;
    for viewer in 0..viewers {
        crowd.enter(room, None)?;
        if viewer % 100 == 0 {
            entered(&mut crowd, 1 + viewer)?;
        }
    }
    entered(&mut crowd, 1 + viewers)?;
    settle(&mut crowd, Duration::from_secs(3))?;
    let after = server.usage()?;
    crowd.until("nothing", PATIENCE, |_| Ok(true))?;
    settle(&mut crowd, Duration::from_secs(5))?;
    let later = server.usage()?;
    let kib = after.resident.saturating_sub(before.resident) as f64 / 1024.0 / viewers as f64;
    Ok(Row {
        scenario: format!("{viewers} watch and nothing happens"),
        verdict: format!("{} in", crowd.tally.entered - 1),
        speed: "–".to_owned(),
        cost: format!(
            "{:.1} % of a core",
            (later.cpu - after.cpu).as_secs_f64() / 5.0 * 100.0
        ),
        latency: "–".to_owned(),
        memory: format!("{kib:.1} KiB a viewer; {}", memory(before, after)),
    })
}

fn rooms(server: &mut Server, viewers: usize, members: bool) -> anyhow::Result<Row> {
    let one = shape(server, viewers, members, false)?;
    // With a heap that nobody has used.
    server.restart()?;
    let many = shape(server, viewers, members, true)?;
    let ratio = |figure: fn(&Shape) -> f64| format!("{:.2} ×", figure(&many) / figure(&one));
    Ok(Row {
        scenario: format!(
            "one room with {viewers}{}, against {viewers} rooms with one",
            if members { " logged in" } else { "" }
        ),
        verdict: "all in".to_owned(),
        speed: "–".to_owned(),
        cost: format!(
            "{:.0} µs against {:.0} µs a join ({}); {:.1} % against {:.1} % of a core at rest",
            one.join,
            many.join,
            ratio(|shape| shape.join),
            one.rest,
            many.rest
        ),
        latency: "–".to_owned(),
        memory: format!(
            "{:.0} MiB against {:.0} MiB ({}); {} threads against {} ({})",
            one.memory,
            many.memory,
            ratio(|shape| shape.memory),
            one.threads,
            many.threads,
            ratio(|shape| shape.threads)
        ),
    })
}

/// What it costs to hold viewers in one room or in many.
struct Shape {
    /// Microseconds.
    join: f64,
    /// Percent of a core.
    rest: f64,
    /// Of the whole process, in MiB.
    memory: f64,
    threads: f64,
}

fn shape(server: &Server, viewers: usize, members: bool, many: bool) -> anyhow::Result<Shape> {
    const REST: Duration = Duration::from_secs(10);
    let mut crowd = Crowd::new(server)?;
    let token = members.then(|| token(server)).transpose()?;
    let before = server.usage()?;
    let mut room = crowd.open_room("hall");
    for viewer in 0..viewers {
        if many && viewer > 0 {
            room = crowd.open_room(&format!("room{viewer}"));
        }
        crowd.enter(room, token.as_ref())?;
        if viewer % 100 == 0 {
            entered(&mut crowd, viewer)?;
        }
    }
    entered(&mut crowd, viewers)?;
    let joined = server.usage()?;
    // They are told how many they are.
    settle(&mut crowd, Duration::from_secs(3))?;
    let resting = server.usage()?;
    settle(&mut crowd, REST)?;
    let after = server.usage()?;
    Ok(Shape {
        join: (joined.cpu - before.cpu).as_secs_f64() * 1e6 / viewers as f64,
        rest: (after.cpu - resting.cpu).as_secs_f64() / REST.as_secs_f64() * 100.0,
        memory: after.resident as f64 / f64::from(1 << 20),
        threads: after.threads as f64,
    })
}

/// A room with its members, the first of whom can send.
fn gather(server: &Server, members: usize) -> anyhow::Result<(Crowd, usize)> {
    let mut crowd = Crowd::new(server)?;
    let room = crowd.open_room("stage");
    for member in 0..members {
        let token = if member < SENDERS {
            Some(token(server)?)
        } else {
            None
        };
        crowd.enter(room, token.as_ref())?;
        if member % 100 == 0 {
            entered(&mut crowd, member)?;
        }
    }
    entered(&mut crowd, members)?;
    Ok((crowd, room))
}

fn token(server: &Server) -> anyhow::Result<Rc<str>> {
    Ok(server.token("mint")?.into())
}

fn entered(crowd: &mut Crowd, count: usize) -> anyhow::Result<()> {
    crowd.until("all are in", PATIENCE, |crowd| {
        Ok(crowd.tally.entered >= count)
    })
}

fn settle(crowd: &mut Crowd, time: Duration) -> anyhow::Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < time {
        crowd.turn(Duration::from_millis(20))?;
    }
    Ok(())
}

fn verdict(crowd: &Crowd, result: anyhow::Result<()>) -> String {
    let tally = &crowd.tally;
    let closed: usize = tally.closed.values().sum();
    let mut verdict = format!(
        "{} lost, {} doubled",
        tally.skipped + crowd.missing() + crowd.unseen() as u64,
        tally.doubled
    );
    if closed > 0 {
        verdict = format!("{verdict}, {closed} closed");
    }
    if !tally.refused.is_empty() {
        verdict = format!("{verdict}, refused {:?}", tally.refused);
    }
    verdict + &told(result)
}

fn told(result: anyhow::Result<()>) -> String {
    result
        .err()
        .map(|error| format!("; {error:#}"))
        .unwrap_or_default()
}

fn memory(before: Usage, after: Usage) -> String {
    format!("{} before, {} peak", mib(before.resident), mib(after.peak))
}
