//! `lemonair ledger verify`: proves from the topics alone that no point was lost, doubled or made up,
//! and holds MySQL and the deciders' memory against them.
//!
//! A donation, its entry and what the decider remembers of both are written in one transaction, but
//! topics are read one after the other while more is written. So each read ends where its topic ended
//! when it began, and what was written in between is read afterwards, for what was already seen.

mod audit;

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::bail;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use lemonair_consumers::{Consumed, Feed, Kafka, Watermark, watermarks};
use lemonair_projections::wallets;
use lemonair_schemas::decider::Memory;
use lemonair_schemas::{AccountId, Codec, Event, EventId, Position, Records, Topic};
use uuid::Uuid;

use self::audit::{Audit, Remembered};
use crate::services::Ground;
use crate::settings::Settings;

#[derive(Subcommand)]
pub(crate) enum Ledger {
    /// Prove that no point was lost, doubled or made up
    Verify,
}

/// How often the deciders' memory is read on for accounts that move while they are looked at.
const ROUNDS: usize = 10;

impl Ledger {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let Ledger::Verify = self;
        let ground = Ground::lay(settings).await?;
        let mut rows = Vec::new();
        let take = |account: &str, book, amount| rows.push((account.to_owned(), book, amount));
        let snapshot = wallets::snapshot(&ground.pool, take).await?;
        let mut reader = Reader::new(&ground.kafka, &ground.codec);
        let mut audit = Audit::new(settings.terms().kept);

        reader
            .read(Topic::Donations, |record: Consumed<Event>| {
                match record.content {
                    Ok(Event::DonationAccepted(event)) => audit.accepted(record.position, &event),
                    Ok(Event::DonationRefunded(event)) => audit.refunded(&event),
                    Ok(_) => {}
                    Err(poison) => audit.fault(record.position, poison.cause),
                }
            })
            .await?;
        let (remembered, differing) = memory(&mut reader, &mut audit, &snapshot.next).await?;
        let before = audit.faults;
        for id in differing {
            audit.tell_differing(id, &remembered);
        }
        let by_memory = audit.faults - before;
        reader
            .read(Topic::Donations, |record: Consumed<Event>| {
                match record.content {
                    Ok(Event::DonationAccepted(event)) => {
                        audit.accepted_late(record.position, &event)
                    }
                    Ok(Event::DonationRefunded(event)) => audit.refunded_late(&event),
                    _ => {}
                }
            })
            .await?;
        reader.bar.finish_and_clear();

        audit.close();
        let by_topics = audit.faults - by_memory;
        for (account, book, amount) in rows {
            audit.compare_row(&account, book, amount);
        }
        audit.close_rows(snapshot.entries);
        print(&audit, by_topics, by_topics + by_memory);
        if audit.faults > 0 {
            bail!(
                "{} faults in the ledger; the lines above say where",
                audit.faults
            );
        }
        Ok(())
    }
}

/// Reads what the deciders remember, then the ledger, until both say the same of every account, or
/// something else of one that stands still.
async fn memory(
    reader: &mut Reader,
    audit: &mut Audit,
    stored: &[Position],
) -> anyhow::Result<(Remembered, Vec<Uuid>)> {
    let mut remembered = Remembered::default();
    let mut moved: HashSet<Uuid> = HashSet::new();
    let mut round = 0;
    loop {
        round += 1;
        moved.clear();
        audit.moved.clear();
        reader
            .read(Topic::Decider, |record: Consumed<Memory>| {
                // A kind, a colon, and an id where the kind is one of these.
                let id = record
                    .key
                    .get(2..)
                    .and_then(|id| Uuid::try_parse_ascii(id).ok());
                let Some(id) = id else { return };
                moved.insert(id);
                match record.content {
                    Ok(Memory::Wallet(wallet)) => {
                        remembered.wallets.insert(AccountId(id), wallet.balance);
                    }
                    Ok(Memory::Debt(debt)) => {
                        remembered.debts.insert(AccountId(id), debt.amount);
                    }
                    Ok(Memory::PaidOut(paid)) => {
                        remembered.paid_out.insert(AccountId(id), paid.amount);
                    }
                    Ok(Memory::Donation(donation)) => {
                        remembered.donations.insert(EventId(id), donation.amount);
                    }
                    Err(_) if record.bytes.is_empty() => {
                        remembered.donations.remove(&EventId(id));
                    }
                    _ => {}
                }
            })
            .await?;
        reader
            .read(Topic::Ledger, |record: Consumed<Event>| {
                match record.content {
                    Ok(Event::EntryPosted(entry)) => {
                        let has = stored.iter().any(|next| {
                            next.partition == record.position.partition
                                && record.position.offset < next.offset
                        });
                        audit.entry(record.position, &entry, !has);
                    }
                    Ok(_) => {}
                    Err(poison) => audit.fault(record.position, poison.cause),
                }
            })
            .await?;
        let differing = audit.differing(&remembered);
        let moving = |id: &Uuid| moved.contains(id) || audit.moved.contains(id);
        if round == ROUNDS || !differing.iter().any(moving) {
            return Ok((remembered, differing));
        }
    }
}

/// Reads topics, each time from where it stopped to where the topic ends by then.
struct Reader {
    kafka: Kafka,
    codec: Arc<Codec>,
    reached: Vec<Position>,
    bar: ProgressBar,
}

impl Reader {
    fn new(kafka: &Kafka, codec: &Arc<Codec>) -> Reader {
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{prefix:<11} {bar:30} {pos}/{len} {per_sec} {eta} left")
        {
            bar.set_style(style);
        }
        Reader {
            kafka: kafka.clone(),
            codec: Arc::clone(codec),
            reached: Vec::new(),
            bar,
        }
    }

    async fn read<R: Records>(
        &mut self,
        topic: Topic,
        mut take: impl FnMut(Consumed<R>),
    ) -> anyhow::Result<()> {
        let marks = watermarks(&self.kafka, &[topic]).await?;
        let from: Vec<Position> = marks.iter().map(|mark| self.start(mark)).collect();
        let ends: Vec<Position> = marks.iter().map(Watermark::end).collect();
        self.reached.retain(|reached| reached.topic != topic);
        self.reached.extend(&ends);
        let left = |next: &[Position]| -> i64 {
            let left = next
                .iter()
                .zip(&ends)
                .map(|(next, end)| end.offset - next.offset);
            left.map(|left| left.max(0)).sum()
        };
        let all = left(&from);
        if all == 0 {
            return Ok(());
        }
        self.bar.set_prefix(topic.name());
        self.bar.set_length(u64::try_from(all).unwrap_or(0));
        let mut feed = Feed::open(&self.kafka, Arc::clone(&self.codec), &from)?;
        loop {
            let batch = feed.next(10_000).await?;
            for record in batch.records {
                let Position {
                    partition, offset, ..
                } = record.position;
                if ends
                    .iter()
                    .any(|end| end.partition == partition && offset < end.offset)
                {
                    take(record);
                }
            }
            let left = left(&batch.next);
            self.bar
                .set_position(u64::try_from(all - left).unwrap_or(0));
            if left == 0 {
                return Ok(());
            }
        }
    }

    fn start(&self, mark: &Watermark) -> Position {
        let start = mark.start();
        let reached = self
            .reached
            .iter()
            .find(|reached| (reached.topic, reached.partition) == (start.topic, start.partition));
        *reached.unwrap_or(&start)
    }
}

fn print(audit: &Audit, by_topics: u64, by_memory: u64) {
    let verdict = |faults: u64| match faults {
        0 => "ok".to_owned(),
        faults => format!("{faults} FAULTS"),
    };
    let Audit {
        entries,
        late,
        accepted,
        refunded,
        faults,
        ..
    } = audit;
    for line in &audit.told {
        println!("{line}");
    }
    let more = faults.saturating_sub(audit.told.len() as u64);
    if more > 0 {
        println!("and {more} more");
    }
    println!(
        "topics   {} entries over {} wallets, {accepted} donations, {refunded} refunds   {}",
        entries,
        audit.accounts(),
        verdict(by_topics)
    );
    println!(
        "decider  the same balances, payouts and donations   {}",
        verdict(by_memory - by_topics)
    );
    println!(
        "mysql    the same balances at its position, {late} entries behind   {}",
        verdict(faults - by_memory)
    );
}
