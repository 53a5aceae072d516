//! The life of a broadcast: topic `lemonair.streams`. Exactly one start and one end each.

use crate::EventId;
use crate::event::event;
use crate::record::record;

event! {
    /// A broadcast went on air. The event id is the broadcast's id.
    StreamStarted of room {
        title: String,
        /// Which ingest carries it; stable over its restarts.
        ingest: String,
        /// Base URL at which that ingest serves the picture to gateways.
        origin: String,
    }

    /// The publisher's line dropped; the broadcast waits for it.
    StreamInterrupted of room {
        stream: EventId,
    }

    /// The publisher came back to the same broadcast.
    StreamResumed of room {
        stream: EventId,
    }

    /// The broadcast is over.
    StreamEnded of room {
        stream: EventId,
        /// `unpublished`, `timed_out`, `restarted`, `shut_down`, `revoked`, `unsupported`,
        /// `superseded` by another ingest, or `lapsed` when nothing more was heard of it.
        reason: String,
    }
}

record!(Streams, "streams": StreamStarted, StreamInterrupted, StreamResumed, StreamEnded);
