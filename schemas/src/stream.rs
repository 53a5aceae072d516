//! The life of a broadcast and of its recording: topic `lemonair.streams`. Exactly one start and one
//! end each.

use crate::event::event;
use crate::record::record;
use crate::{EventId, Timestamp};

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

    /// The first segment of a broadcast was kept.
    RecordingBegun of room {
        stream: EventId,
    }

    /// A broadcast is over and its recording whole.
    RecordingKept of room {
        stream: EventId,
        /// When the first picture was.
        begins: Timestamp,
        /// Of what was kept, like `bytes`.
        duration_ms: i64,
        bytes: i64,
    }

    /// Nobody can watch the recording any more; its bytes are deleted soon after.
    RecordingDeleted of room {
        stream: EventId,
        /// `asked`, or `expired` when it was too old, there were too many, or nothing of it could be
        /// written.
        reason: String,
    }
}

record!(
    Streams, "streams": StreamStarted, StreamInterrupted, StreamResumed, StreamEnded, RecordingBegun,
    RecordingKept, RecordingDeleted
);
