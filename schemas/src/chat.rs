//! What is said in rooms: topic `lemonair.chat`.

use crate::EventId;
use crate::event::event;
use crate::record::record;

event! {
    /// Somebody said something in a room.
    MessagePosted of room {
        text: String,
        /// The client's own mark; a resend with the same nonce is the same message.
        nonce: Option<String>,
    }

    /// A moderator or the author took a message away.
    MessageDeleted of room {
        message: EventId,
    }
}

record!(Chat, "chat": MessagePosted, MessageDeleted);
