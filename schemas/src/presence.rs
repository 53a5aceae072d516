//! How many watch: topic `lemonair.presence`. Kept for a while, as nothing is built from it for ever.

use serde::{Deserialize, Serialize};

use crate::RoomId;
use crate::event::event;
use crate::record::record;

event! {
    /// A gateway counted its viewers. Its first record of each minute is a whole count, so that who
    /// reads from anywhere knows all within a minute.
    ViewersCounted of gateway {
        /// What it told before no longer stands. A gateway that ends tells this and no rooms.
        anew: bool,
        /// Rooms whose count is another one than was told; all that have viewers, if told anew.
        rooms: Vec<RoomViewers>,
    }
}

/// Connections in one room at one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomViewers {
    pub room: RoomId,
    pub viewers: i64,
}

record!(Presence, "presence": ViewersCounted);
