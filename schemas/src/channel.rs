//! Channels, their stream keys and followers: topic `lemonair.channels`.

use crate::event::event;
use crate::record::record;
use crate::{AccountId, EventId};

event! {
    /// An account got its channel.
    ChannelOpened of room {
        owner: AccountId,
        /// As its owner spells it; the room is its lower case.
        name: String,
    }

    /// The streamer described the channel anew; all fields are the new state.
    ChannelUpdated of room {
        title: String,
        category: String,
        description: String,
    }

    /// A new stream key. It goes by this event's id.
    StreamKeyIssued of room {
        /// SHA-256 of the key, hexadecimal. The key itself is kept nowhere.
        hash: String,
        /// The key's first characters, so that its owner can tell it.
        prefix: String,
        /// What its owner calls it.
        label: String,
        /// Whether the keys before it stay good; if not, they are void.
        beside: bool,
    }

    /// A stream key is void.
    StreamKeyRevoked of room {
        /// The event that issued the key.
        issued: EventId,
    }

    /// The overlay's key is another one; the one before is void. Keys are made of the event id and the
    /// deployment's secret, so that none stands here.
    OverlayKeyRotated of room {}

    /// The actor follows the channel.
    ChannelFollowed of room {}

    /// The actor no longer follows the channel.
    ChannelUnfollowed of room {}
}

record!(
    Channels, "channels":
    ChannelOpened, ChannelUpdated, StreamKeyIssued, StreamKeyRevoked, OverlayKeyRotated,
    ChannelFollowed, ChannelUnfollowed,
);
