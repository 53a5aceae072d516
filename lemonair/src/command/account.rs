//! `lemonair account`: accounts from a shell.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use lemonair_gateway::Passwords;
use lemonair_producers::Desk;
use lemonair_projections::accounts;
use lemonair_schemas::account::RoleGranted;
use lemonair_schemas::command::Register;
use lemonair_schemas::{AccountId, EventId, RoomId, Timestamp};
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
        }
        Ok(())
    }
}

pub(super) async fn find(ground: &Ground, name: &str) -> anyhow::Result<accounts::Account> {
    let account = accounts::by_name(&ground.pool, name).await?;
    account.with_context(|| {
        format!("there is no account {name}; `lemonair account create {name}` makes it")
    })
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
