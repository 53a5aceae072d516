//! The life of a broadcast and of its recording: topic `lemonair.streams`. Exactly one start and one
//! end each.

use serde::{Deserialize, Serialize};

use crate::event::event;
use crate::field::{Column, Field, Type, Value};
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
        /// How its publisher did.
        figures: Option<Figures>,
    }

    /// The publisher came back to the same broadcast.
    StreamResumed of room {
        stream: EventId,
    }

    /// The broadcast is over.
    StreamEnded of room {
        stream: EventId,
        /// `unpublished`, `timed_out`, `shut_down`, `revoked`, `unsupported`, `too_much`, `too_long`,
        /// `superseded` by another ingest, or `lapsed` when nothing more was heard of it.
        reason: String,
        /// How its last publisher did.
        figures: Option<Figures>,
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

/// What a publisher sent, as last measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Of the picture, such as `avc1.64001f`; nothing without one, as with the next four.
    pub codec: Option<String>,
    pub width: Option<i64>,
    pub height: Option<i64>,
    pub fps: Option<i64>,
    /// Between the last two key frames.
    pub key_frame_ms: Option<i64>,
    /// Of picture and sound.
    pub kbps: i64,
    /// Frames that were left out.
    pub dropped: i64,
}

// === impl Figures ===

impl Figures {
    /// In a table, by what their names end with.
    pub const COLUMNS: [Column; 7] = [
        ("_codec", Type::Text),
        ("_width", Type::Number),
        ("_height", Type::Number),
        ("_fps", Type::Number),
        ("_key_frame_ms", Type::Number),
        ("_kbps", Type::Number),
        ("_dropped", Type::Number),
    ];

    /// What stands in them.
    pub fn values(&self) -> [Value<'_>; 7] {
        [
            self.codec.value(),
            self.width.value(),
            self.height.value(),
            self.fps.value(),
            self.key_frame_ms.value(),
            self.kbps.value(),
            self.dropped.value(),
        ]
    }
}

record!(
    Streams, "streams": StreamStarted, StreamInterrupted, StreamResumed, StreamEnded, RecordingBegun,
    RecordingKept, RecordingDeleted
);
