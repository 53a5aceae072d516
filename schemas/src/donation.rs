//! Donations and refunds: topic `lemonair.donations`.

use crate::event::event;
use crate::record::record;
use crate::{AccountId, EventId};

event! {
    /// Points went from the actor to the room's streamer. The event id is the donation's id.
    DonationAccepted of room {
        streamer: AccountId,
        /// Points, at least 1.
        amount: i64,
        message: String,
        /// The donor's idempotency key.
        key: String,
    }

    /// A donation was given back; totals and ranks lose it too.
    DonationRefunded of room {
        donation: EventId,
        donor: AccountId,
        streamer: AccountId,
        amount: i64,
    }
}

record!(Donations, "donations": DonationAccepted, DonationRefunded);
