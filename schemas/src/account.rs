//! Accounts and their sessions: topic `lemonair.accounts`.

use crate::event::event;
use crate::record::record;
use crate::{SessionId, Timestamp};

event! {
    /// Somebody signed up.
    AccountRegistered of account {
        /// As spelled; unique without regard to case.
        name: String,
        /// Argon2id, PHC string; `None` where nobody can log in by password.
        password_hash: Option<String>,
        email: Option<String>,
    }

    /// The account got a role for the whole site.
    RoleGranted of account {
        /// `viewer`, `moderator` or `operator`.
        role: String,
    }

    /// The account chose what it is called beside its name.
    DisplayNameChosen of account {
        /// Composed (NFC), any script; empty for none.
        display_name: String,
    }

    /// An operator did something to the whole site that no other event tells. The account is the
    /// operator's.
    OperatorActed of account {
        /// Such as `rebuild.started` or `letter.dropped`.
        action: String,
        /// A read model, a dead letter, or the id of an account.
        target: String,
    }

    /// The account logged in.
    SessionOpened of account {
        session: SessionId,
        expires: Timestamp,
        /// What the client calls itself, cut to 200 characters.
        #[serde(default)]
        agent: Option<String>,
    }

    /// The account's password was changed; the one before it is void.
    PasswordChanged of account {
        /// Argon2id, PHC string.
        password_hash: String,
    }

    /// The account logged out, or was logged out.
    SessionClosed of account {
        session: SessionId,
    }
}

record!(
    Accounts, "accounts":
    AccountRegistered, DisplayNameChosen, PasswordChanged, RoleGranted, OperatorActed,
    SessionOpened, SessionClosed,
);
