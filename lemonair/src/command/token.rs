//! `lemonair token`: an access token for load tests and scripts.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use lemonair_gateway::token::{Audience, Claims, Tokens};
use lemonair_schemas::Timestamp;

use super::account::{find_or_create, grant};
use crate::services::Ground;
use crate::settings::Settings;

#[derive(Args)]
pub(crate) struct Token {
    /// Whose token; the account is created if it is missing
    name: String,
    /// Give the account this role for the whole site
    #[arg(long)]
    role: Option<Role>,
    /// How long it is good
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    Viewer,
    Moderator,
    Operator,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Moderator => "moderator",
            Role::Operator => "operator",
        }
    }
}

impl Token {
    pub(crate) async fn run(self, settings: &Settings) -> anyhow::Result<()> {
        let ground = Ground::lay(settings).await?;
        let mut account = find_or_create(&ground, &self.name).await?;
        if let Some(role) = self.role
            && account.role != role.name()
        {
            account.role = role.name().to_owned();
            grant(&ground, account.id, role).await?;
        }
        let now = Timestamp::now();
        let mut claims = Claims::new(
            Audience::Access,
            account.id,
            &account.name,
            &account.role,
            now,
            self.ttl,
        );
        claims.unlimited = true;
        let token = Tokens::new(&settings.secret()?)
            .sign(&claims)
            .context("sign the token")?;
        println!("{token}");
        Ok(())
    }
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let span: jiff::Span = text
        .parse()
        .context("not a duration such as 90s, 1h or 7 days")?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours())?;
    match Duration::try_from(duration) {
        Ok(duration) if duration >= Duration::from_secs(1) => Ok(duration),
        _ => bail!("a token is good for a second at least"),
    }
}
