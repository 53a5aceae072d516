//! `lemonair account`: accounts from a shell.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use lemonair_consumers::{Replay, Selection, erasures};
use lemonair_gateway::Passwords;
use lemonair_producers::Desk;
use lemonair_projections::accounts;
use lemonair_projections::erasure::{self, Trace};
use lemonair_schemas::account::RoleGranted;
use lemonair_schemas::chat::{MessageHeld, MessagePosted};
use lemonair_schemas::command::Register;
use lemonair_schemas::donation::DonationAccepted;
use lemonair_schemas::erasure::{AccountErased, room_hash};
use lemonair_schemas::{AccountId, Event, EventId, Position, RoomId, Timestamp, Topic};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::token::Role;
use crate::services::Ground;
use crate::settings::Settings;

#[derive(Subcommand)]
pub(crate) enum Account {
    /// Create an account; its password is read from standard input
    Create { name: String },
    /// Show an account
    Show { name: String },
    /// Give an account a role for the whole site
    Role { name: String, role: Role },
    /// Erase a person: their name and all that they wrote, everywhere, for ever; run again, it proves it again
    Erase {
        /// Or their id; of who is erased, the name that they had, or the one that they have since
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// How long a read model may take to show what was just written.
const PATIENCE: Duration = Duration::from_secs(10);

impl Account {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let ground = Ground::lay(settings).await?;
        match self {
            Account::Create { name } => {
                if accounts::by_name(&ground.pool, &name).await?.is_some() {
                    bail!("the name {name} is taken");
                }
                eprintln!("Password for {name}, then Enter:");
                let mut password = String::new();
                std::io::stdin()
                    .read_line(&mut password)
                    .context("read the password")?;
                let password = password.trim_end_matches(['\r', '\n']).to_owned();
                Passwords::check_strength(&password)?;
                let hash = Passwords::new().hash(password).await;
                let account = create(&ground, &name, Some(hash)).await?;
                println!("{} {}", account.id, account.name);
            }
            Account::Show { name } => {
                let account = find(&ground, &name).await?;
                println!("id          {}", account.id);
                println!("name        {}", account.name);
                println!("role        {}", account.role);
                println!("registered  {}", account.registered_at);
            }
            Account::Role { name, role } => {
                let account = find(&ground, &name).await?;
                grant(&ground, account.id, role).await?;
                println!(
                    "{} is {} now; it takes effect at the next log-in",
                    account.name,
                    role.name()
                );
            }
            Account::Erase { name, yes } => {
                let account = find_or_former(&ground, &name).await?;
                let is_erased = ground.codec.erased().contains(account.id);
                if !is_erased && !yes && !confirmed(&account.name)? {
                    bail!("nothing was erased");
                }
                erase(&ground, &name, &account).await?;
                tell_of_snapshots(settings)?;
            }
        }
        Ok(())
    }
}

fn confirmed(name: &str) -> anyhow::Result<bool> {
    eprintln!(
        "This takes away the name and every word of {name}, everywhere. It cannot be undone."
    );
    eprintln!("Points and totals stay as they are, under a pseudonym. The name stays taken.");
    eprintln!("Type the name to go on:");
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .context("read the answer")?;
    Ok(answer.trim() == name)
}

/// Erases, if that was not done before, and looks whether anything can still be read.
async fn erase(ground: &Ground, name: &str, account: &accounts::Account) -> anyhow::Result<()> {
    let erased = match ground.codec.erased().of(account.id) {
        Some(erased) => erased,
        None => {
            let room: RoomId = account.name.parse().context("read the name")?;
            let erased = AccountErased::new(account.id, &room, Timestamp::now());
            ground.log.append(erased.clone()).await?;
            erased
        }
    };
    let marks = erasures::marks(&ground.kafka).await?;
    let last = marks.iter().filter(|mark| mark.high > mark.low);
    let last: Vec<Position> = last
        .map(|mark| Position {
            offset: mark.high - 1,
            ..mark.end()
        })
        .collect();
    // Rows are looked for in whole tables.
    if !ground.checkpoints.wait_all(&last, 12 * PATIENCE).await {
        bail!("it is written down, but the read models lag; does `lemonair project` run?");
    }
    let traces = erasure::traces(&ground.pool, &erased.room_hash, account.id).await?;
    for Trace {
        database,
        table,
        column,
        rows,
    } in &traces
    {
        eprintln!("  {rows} rows of {database}.{table} still say it in {column}");
    }
    let (theirs, named) = reread(ground, &erased).await?;
    println!(
        "{name} is erased; {} stands in its place",
        RoomId::of_erased(account.id)
    );
    println!(
        "MySQL    {} columns still hold the name or a text",
        traces.len()
    );
    println!(
        "topics   {theirs} records by the account or in its room, {named} of them still name it"
    );
    if !traces.is_empty() || named > 0 {
        bail!(
            "something is left: run it again in a moment; what stays then goes with `lemonair rebuild all --fresh`, run twice, as the rows from before the first are kept until the second"
        );
    }
    Ok(())
}

/// What was taken before an erasure is erased when it is restored, and on the disk until then it is not.
fn tell_of_snapshots(settings: &Settings) -> anyhow::Result<()> {
    let kept = lemonair_projections::snapshot::list(&settings.snapshots())?.len();
    if kept > 0 {
        println!(
            "files    {kept} snapshots are from before; no rebuild brings anything of it back, and to have them gone: lemonair snapshot all && lemonair snapshot prune --keep 1"
        );
    }
    Ok(())
}

/// Reads all topics once more, as every reader does: records that have to do with the account, and
/// those that still say its name anywhere, or what it wrote.
async fn reread(ground: &Ground, erased: &AccountErased) -> anyhow::Result<(u64, u64)> {
    let everything = Selection::of(&Topic::FACTS);
    let ranges = everything.ranges(&ground.kafka).await?;
    let mut replay =
        Replay::open(&ground.kafka, Arc::clone(&ground.codec), everything, ranges).await?;
    let pseudonym = RoomId::of_erased(erased.account);
    let (mut theirs, mut named) = (0, 0);
    while let Some(record) = replay.next().await? {
        let Ok(event) = record.content else { continue };
        let is_theirs = event
            .actor()
            .is_some_and(|actor| actor.id == erased.account);
        if is_theirs || event.room().as_ref() == Some(&pseudonym) {
            theirs += 1;
        }
        let words = match &event {
            Event::MessagePosted(MessagePosted { text, .. })
            | Event::MessageHeld(MessageHeld { text, .. })
            | Event::DonationAccepted(DonationAccepted { message: text, .. }) => text,
            _ => "",
        };
        let json = Value::Object(event.json());
        if says(&json, &erased.room_hash) || is_theirs && !words.is_empty() {
            named += 1;
        }
    }
    Ok((theirs, named))
}

/// Fields that hold what people wrote, which may be anything.
const WORDS: [&str; 4] = ["text", "message", "reason", "blocked_words"];

/// Whether any field of it, however deep, is just the name with this hash.
fn says(value: &Value, hash: &str) -> bool {
    match value {
        Value::String(text) => text
            .parse::<RoomId>()
            .is_ok_and(|room| room_hash(&room) == hash),
        Value::Array(values) => values.iter().any(|value| says(value, hash)),
        Value::Object(fields) => fields
            .iter()
            .any(|(field, value)| !WORDS.contains(&field.as_str()) && says(value, hash)),
        _ => false,
    }
}

pub(super) async fn find(ground: &Ground, name: &str) -> anyhow::Result<accounts::Account> {
    let account = accounts::by_name(&ground.pool, name).await?;
    account.with_context(|| {
        format!("there is no account {name}; `lemonair account create {name}` makes it")
    })
}

/// Also by id, and by the name that somebody had before they were erased.
async fn find_or_former(ground: &Ground, name: &str) -> anyhow::Result<accounts::Account> {
    let former = name.parse::<RoomId>().ok();
    let former = former.and_then(|room| ground.codec.erased().former(&room));
    let id = former.map_or_else(
        || name.parse::<AccountId>().ok(),
        |erased| Some(erased.account),
    );
    let Some(id) = id else {
        return find(ground, name).await;
    };
    let account = accounts::by_id(&ground.pool, id).await?;
    account.with_context(|| format!("there is no account {name}"))
}

pub(super) async fn find_or_create(
    ground: &Ground,
    name: &str,
) -> anyhow::Result<accounts::Account> {
    match accounts::by_name(&ground.pool, name).await? {
        Some(account) => Ok(account),
        None => create(ground, name, None).await,
    }
}

async fn create(
    ground: &Ground,
    name: &str,
    password_hash: Option<String>,
) -> anyhow::Result<accounts::Account> {
    name.parse::<RoomId>()
        .with_context(|| format!("{name:?} cannot be a name"))?;
    let stop = CancellationToken::new();
    let (desk, answers) = Desk::open(
        &ground.kafka,
        Arc::clone(&ground.codec),
        ground.log.clone(),
        stop.clone(),
    )
    .await?;
    let _answers = AbortOnDropHandle::new(tokio::spawn(answers));
    let account = AccountId::new();
    let register = Register {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        name: name.to_owned(),
        password_hash,
        email: None,
    };
    let answered = desk
        .ask(register)
        .await
        .context("create the account (does `lemonair up` run?)")?;
    for position in &answered.positions {
        let projection = if position.topic == lemonair_schemas::Topic::Accounts {
            "accounts"
        } else {
            "channels"
        };
        if !ground
            .checkpoints
            .wait(projection, *position, PATIENCE)
            .await
        {
            bail!("the account is made, but the read models lag; does `lemonair project` run?");
        }
    }
    // Somebody else may have been quicker with the same name: for a script that is as good.
    find(ground, name).await
}

pub(super) async fn grant(ground: &Ground, account: AccountId, role: Role) -> anyhow::Result<()> {
    let granted = RoleGranted {
        id: EventId::new(),
        at: Timestamp::now(),
        account,
        actor: None,
        role: role.name().to_owned(),
    };
    let position = ground.log.append(granted).await?;
    if !ground
        .checkpoints
        .wait("accounts", position, PATIENCE)
        .await
    {
        bail!("the role is given, but the read models lag; does `lemonair project` run?");
    }
    Ok(())
}
