//! Rate limits, for an account and for an address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lemonair_schemas::AccountId;

use crate::places::Peer;
use crate::token::Claims;

/// Keyed limiters are swept of those that have long recovered, this often.
const SWEEP: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Limits {
    clock: DefaultClock,
    accounts: DefaultKeyedRateLimiter<AccountId>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    logins: DefaultKeyedRateLimiter<IpAddr>,
    money: DefaultKeyedRateLimiter<AccountId>,
}

/// Too much; not before this time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limited {
    pub(crate) retry_after: Duration,
}

impl Limits {
    /// Messages a second and at once, for an account; an address may do ten times as much, as many
    /// people may sit behind it.
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Limits {
        let ten = NonZeroU32::new(10).unwrap_or(NonZeroU32::MIN);
        let account = Quota::per_second(per_second).allow_burst(burst);
        let address = Quota::per_second(per_second.saturating_mul(ten))
            .allow_burst(burst.saturating_mul(ten));
        let sixty = NonZeroU32::new(60).unwrap_or(NonZeroU32::MIN);
        // Argon2 makes each try dear for us; this makes many dear for whoever guesses.
        let logins = Quota::per_second(ten).allow_burst(sixty);
        // Deciders remember each answer for two days, and a refusal costs whoever asks nothing.
        let money = Quota::per_second(NonZeroU32::MIN).allow_burst(sixty);
        Limits {
            clock: DefaultClock::default(),
            accounts: RateLimiter::keyed(account),
            addresses: RateLimiter::keyed(address),
            logins: RateLimiter::keyed(logins),
            money: RateLimiter::keyed(money),
        }
    }

    /// Many people speak through a balancer: there, each account has its own limit only.
    pub(crate) fn chat(&self, account: AccountId, peer: Peer) -> Result<(), Limited> {
        self.check(&self.accounts, &account)?;
        if peer.shared {
            return Ok(());
        }
        self.check(&self.addresses, &peer.address)
    }

    pub(crate) fn login(&self, address: IpAddr) -> Result<(), Limited> {
        self.check(&self.logins, &address)
    }

    /// For whoever asks that points be moved.
    pub(crate) fn money(&self, asker: &Claims) -> Result<(), Limited> {
        if asker.unlimited {
            return Ok(());
        }
        self.check(&self.money, &asker.sub)
    }

    fn check<K: std::hash::Hash + Eq + Clone>(
        &self,
        limiter: &DefaultKeyedRateLimiter<K>,
        key: &K,
    ) -> Result<(), Limited> {
        limiter.check_key(key).map_err(|until| Limited {
            retry_after: until.wait_time_from(self.clock.now()),
        })
    }

    /// Forgets who has long recovered, for ever.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.accounts.retain_recent();
            self.addresses.retain_recent();
            self.logins.retain_recent();
            self.money.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use lemonair_schemas::Timestamp;

    use super::*;
    use crate::token::{ACCESS, Audience};

    #[test]
    fn nobody_asks_for_money_without_end() {
        let limits = Limits::new(NonZeroU32::MIN, NonZeroU32::MIN);
        let somebody = || {
            let (audience, account) = (Audience::Access, AccountId::new());
            Claims::new(audience, account, "mint", "viewer", Timestamp(0), ACCESS)
        };
        let asked = |claims: &Claims| (0..1000).find_map(|_| limits.money(claims).err());
        let one = somebody();
        assert!(asked(&one).is_some());
        assert!(limits.money(&somebody()).is_ok(), "each by themselves");
        let script = Claims {
            unlimited: true,
            ..one
        };
        assert!(asked(&script).is_none());
    }
}
