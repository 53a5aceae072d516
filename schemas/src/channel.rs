//! Channels, their stream keys and followers: topic `lemonair.channels`.

use crate::AccountId;
use crate::event::event;
use crate::record::record;

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

    /// A new stream key; the one before is void.
    StreamKeyIssued of room {
        /// SHA-256 of the key, hexadecimal. The key itself is kept nowhere.
        hash: String,
        /// The key's first characters, so that its owner can tell it.
        prefix: String,
    }

    /// The actor follows the channel.
    ChannelFollowed of room {}

    /// The actor no longer follows the channel.
    ChannelUnfollowed of room {}
}

record!(
    Channels, "channels":
    ChannelOpened, ChannelUpdated, StreamKeyIssued, ChannelFollowed, ChannelUnfollowed,
);
