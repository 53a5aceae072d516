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

    /// The account logged in.
    SessionOpened of account {
        session: SessionId,
        expires: Timestamp,
    }

    /// The account logged out, or was logged out.
    SessionClosed of account {
        session: SessionId,
    }
}

record!(Accounts, "accounts": AccountRegistered, RoleGranted, SessionOpened, SessionClosed);
