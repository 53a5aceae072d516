//! `lemonair replay`: events in one deterministic order, as JSON lines or played again elsewhere.

mod output;

use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use lemonair_consumers::batch::Consumed;
use lemonair_consumers::{Feed, Kafka, Range, Selection, Watermark, erasures};
use lemonair_schemas::{Codec, Event, Position, Records, RoomId, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::output::Output;
pub(crate) use self::output::write_line;
use super::slice::Slice;
use crate::services::open_registry;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    slice: Slice,
    /// Go on with what is written from now on
    #[arg(long, conflicts_with = "to")]
    follow: bool,
    /// Pace by the records' times: 1x is as it was, 4x four times as fast, max without pause
    #[arg(long, value_name = "SPEED", default_value = "max")]
    speed: Speed,
    /// Go on where a replay was stopped: what it printed then
    #[arg(long, value_name = "PLACES", value_delimiter = ',')]
    resume: Vec<Range>,
    /// Play into the topics of another deployment, with this prefix. Records keep their times: behind
    /// younger ones, slices by time do not find them
    #[arg(long, value_name = "PREFIX", conflicts_with = "to_ws")]
    to_topic: Option<String>,
    /// Play the messages into a room of this gateway, such as ws://127.0.0.1:8080/ws
    #[arg(long, value_name = "URL", requires = "as_room")]
    to_ws: Option<String>,
    /// The room to play into
    #[arg(long, value_name = "ROOM")]
    as_room: Option<RoomId>,
    /// Whoever speaks there: see `lemonair token`
    #[arg(long, value_name = "TOKEN", requires = "to_ws")]
    token: Option<String>,
}

/// How many times as fast as it was; `None` without any pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speed(Option<f64>);

/// A replay, and what came of it so far.
struct Run {
    output: Output,
    pace: Pace,
    stop: CancellationToken,
    unreadable: u64,
}

/// Why a replay goes no further.
enum End {
    Reached,
    /// With what is left.
    Stopped(Vec<Range>),
    Failed(Vec<Range>, anyhow::Error),
    /// Nobody reads any more, as in `| head`.
    Unheard,
}

/// What became of a record.
enum Taken {
    Out,
    /// We were stopped before.
    NotYet,
    ByNobody,
}

/// How long a record that is on its way holds up who stops us.
const PATIENCE: Duration = Duration::from_secs(2);

impl Replay {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        // At once: who stops us while we connect wants us to stop too.
        let stop = stop()?;
        let kafka = settings.kafka();
        let codec = Arc::new(Codec::reading(open_registry(settings)?, Event::SCHEMAS).await?);
        let output = match (self.to_topic, self.to_ws, self.as_room) {
            (Some(prefix), _, room) => Output::topics(settings, &prefix, room).await?,
            (_, Some(url), Some(room)) => Output::socket(&url, &room, self.token).await?,
            (None, None, None) => Output::lines(),
            _ => bail!("--as-room needs --to-topic or --to-ws: nothing else has rooms"),
        };
        let selection = self
            .slice
            .selection(&kafka, &codec, Timestamp::now())
            .await?;
        // Looked at once: what is followed begins where what there is ends.
        let marks = selection.marks(&kafka).await?;
        let ranges = match (self.resume, self.follow) {
            (rest, _) if rest.is_empty() => selection.ranges_within(&kafka, marks.clone()).await?,
            (rest, true) => up_to(&marks, rest),
            (rest, false) => rest,
        };
        let mut run = Run {
            output,
            pace: Pace::new(self.speed),
            stop,
            unreadable: 0,
        };
        let end = if self.follow {
            run.follow(&kafka, codec, &selection, ranges, &marks).await
        } else {
            run.history(&kafka, codec, &selection, ranges).await
        };
        let (mut rest, mut failed) = match end? {
            End::Reached | End::Unheard => (Vec::new(), None),
            End::Stopped(rest) => (rest, None),
            End::Failed(rest, error) => (rest, Some(error)),
        };
        if failed.is_none() {
            failed = run.output.finish().await.err();
        }
        if failed.is_some() {
            // What it cannot let go now comes again.
            run.output.flush().await.ok();
            for position in run.output.unconfirmed() {
                put_back(&mut rest, position);
            }
        }
        if run.unreadable > 0 {
            eprintln!("{} records could not be decoded", run.unreadable);
        }
        if !rest.is_empty() {
            // As times: two days ago will be another one then.
            let mut how = String::new();
            for (name, bound) in [("--from", selection.from), ("--to", selection.to)] {
                if let Some(bound) = bound {
                    how += &format!("{name} {bound} ");
                }
            }
            let places: Vec<String> = rest.iter().map(Range::to_string).collect();
            eprintln!(
                "stopped; the same command goes on with {how}--resume {}",
                places.join(",")
            );
        }
        failed.map_or(Ok(()), Err)
    }
}

/// Cancelled by Ctrl-C, and by whoever ends services.
fn stop() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stopped.cancel();
    });
    Ok(stop)
}

/// What was left, and what came behind it.
fn up_to(marks: &[Watermark], mut rest: Vec<Range>) -> Vec<Range> {
    for range in &mut rest {
        let mark = marks.iter().find(|mark| same(range, &mark.end()));
        range.end = mark.map_or(0, |mark| mark.high);
    }
    rest.retain(|range| range.start < range.end);
    rest
}

impl Run {
    async fn history(
        &mut self,
        kafka: &Kafka,
        codec: Arc<Codec>,
        selection: &Selection,
        ranges: Vec<Range>,
    ) -> anyhow::Result<End> {
        let mut replay =
            lemonair_consumers::Replay::open(kafka, codec, selection.clone(), ranges).await?;
        while !self.stop.is_cancelled() {
            let record = tokio::select! {
                biased;
                record = replay.next() => record,
                () = self.stop.cancelled() => break,
                error = self.output.listen() => return Ok(End::Failed(replay.rest(), error)),
            };
            let record = match record {
                Ok(Some(record)) => record,
                Ok(None) => return Ok(End::Reached),
                Err(error) => return Ok(End::Failed(replay.rest(), error.into())),
            };
            match self.take(&record).await {
                Ok(Taken::Out) => {}
                Ok(Taken::NotYet) => return Ok(End::Stopped(replay.rest_with(record.position))),
                Ok(Taken::ByNobody) => return Ok(End::Unheard),
                Err(error) => return Ok(End::Failed(replay.rest_with(record.position), error)),
            }
        }
        Ok(End::Stopped(replay.rest()))
    }

    /// What there was when the marks were taken, then what comes.
    async fn follow(
        &mut self,
        kafka: &Kafka,
        codec: Arc<Codec>,
        selection: &Selection,
        ranges: Vec<Range>,
        marks: &[Watermark],
    ) -> anyhow::Result<End> {
        let known = erasures::load(kafka, &codec).await?;
        let (stop, heeding) = (self.stop.clone(), Arc::clone(&codec));
        tokio::spawn(erasures::follow(kafka.clone(), heeding, known, stop));
        let end = |mark: &Watermark| Range {
            topic: mark.topic,
            partition: mark.partition,
            start: mark.high,
            end: mark.high,
        };
        let mut places: Vec<Range> = marks.iter().map(end).collect();
        let history = self.history(kafka, Arc::clone(&codec), selection, ranges);
        let with = |rest: Vec<Range>| {
            let mut places = places.clone();
            places.retain(|place| !rest.iter().any(|range| same(range, &place.start())));
            places.extend(rest);
            places
        };
        match history.await? {
            End::Reached => {}
            End::Stopped(rest) => return Ok(End::Stopped(with(rest))),
            End::Failed(rest, error) => return Ok(End::Failed(with(rest), error)),
            End::Unheard => return Ok(End::Unheard),
        }
        loop {
            let ended = self.live(kafka, &codec, selection, &mut places).await;
            return match ended {
                Ok(Taken::ByNobody) => Ok(End::Unheard),
                Ok(Taken::Out | Taken::NotYet) => Ok(End::Stopped(places)),
                Err(error) if is_stuck(&error) => {
                    tracing::warn!(%error, "taking a new consumer");
                    continue;
                }
                Err(error) => Ok(End::Failed(places, error)),
            };
        }
    }

    /// Gives out what comes, until we are stopped or nobody reads; `places` says how far it came.
    async fn live(
        &mut self,
        kafka: &Kafka,
        codec: &Arc<Codec>,
        selection: &Selection,
        places: &mut [Range],
    ) -> anyhow::Result<Taken> {
        let from: Vec<_> = places.iter().map(Range::start).collect();
        let mut feed = Feed::<Event>::open(kafka, Arc::clone(codec), &from)?;
        loop {
            self.output.flush().await?;
            let batch = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Taken::NotYet),
                batch = feed.next(1000) => batch?,
                error = self.output.listen() => return Err(error),
            };
            for record in batch.records {
                if selection.wants(&record) {
                    match self.take(&record).await? {
                        Taken::Out => {}
                        taken => return Ok(taken),
                    }
                }
                go_on(places, record.position, record.position.offset + 1);
            }
            for next in batch.next {
                go_on(places, next, next.offset);
            }
        }
    }

    /// Gives a record out when its time has come.
    async fn take(&mut self, record: &Consumed<Event>) -> anyhow::Result<Taken> {
        if self.pace.holds(record.at) {
            self.output.flush().await?;
            tokio::select! {
                biased;
                () = self.pace.wait(record.at) => {}
                () = self.stop.cancelled() => return Ok(Taken::NotYet),
                error = self.output.listen() => return Err(error),
            }
        }
        let event = match &record.content {
            Ok(event) => event,
            Err(poison) => {
                self.unreadable += 1;
                let position = record.position;
                writeln!(
                    std::io::stderr(),
                    "cannot be decoded: lemonair.{} partition {} offset {}: {}",
                    position.topic,
                    position.partition,
                    position.offset,
                    poison.cause
                )
                .context("write to stderr")?;
                return Ok(Taken::Out);
            }
        };
        let Run { output, stop, .. } = self;
        // What has begun to go out is let go, or it would be said twice.
        let patience = async {
            stop.cancelled().await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            biased;
            heard = output.give(record, event) => {
                Ok(if heard? { Taken::Out } else { Taken::ByNobody })
            }
            () = patience => Ok(Taken::NotYet),
        }
    }
}

/// Whether its consumer stopped, and another one may go on.
fn is_stuck(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<lemonair_consumers::Error>();
    matches!(error, Some(lemonair_consumers::Error::Stuck { .. }))
}

fn same(range: &Range, position: &Position) -> bool {
    (range.topic, range.partition) == (position.topic, position.partition)
}

/// Leaves a record that was taken, and what came behind it, to do once more.
fn put_back(rest: &mut Vec<Range>, position: Position) {
    let Position {
        topic,
        partition,
        offset,
    } = position;
    match rest.iter_mut().find(|range| same(range, &position)) {
        Some(range) => {
            range.start = range.start.min(offset);
            range.end = range.end.max(offset + 1);
        }
        None => rest.push(Range {
            topic,
            partition,
            start: offset,
            end: offset + 1,
        }),
    }
}

/// Notes that the partition was read up to `offset`.
fn go_on(places: &mut [Range], position: Position, offset: i64) {
    if let Some(place) = places.iter_mut().find(|place| same(place, &position)) {
        (place.start, place.end) = (offset, offset);
    }
}

/// Holds records back until their time has come.
struct Pace {
    speed: Speed,
    began: Option<(tokio::time::Instant, Timestamp)>,
}

impl Pace {
    fn new(speed: Speed) -> Pace {
        Pace { speed, began: None }
    }

    fn holds(&self, at: Timestamp) -> bool {
        self.speed.0.is_some() && self.began.is_none_or(|(_, first)| at > first)
    }

    async fn wait(&mut self, at: Timestamp) {
        let Some(speed) = self.speed.0 else { return };
        let (began, first) = *self
            .began
            .get_or_insert_with(|| (tokio::time::Instant::now(), at));
        tokio::time::sleep_until(began + at.since(first).div_f64(speed)).await;
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Speed, String> {
        if text == "max" {
            return Ok(Speed(None));
        }
        match text.trim_end_matches('x').parse() {
            Ok(speed) if (0.01..=10_000.0).contains(&speed) => Ok(Speed(Some(speed))),
            _ => Err("not a speed such as 1x, 0.5x, 4x or max".to_owned()),
        }
    }
}
