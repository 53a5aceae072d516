//! What a kept segment is called, which says all that a playlist says of it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lemonair_schemas::{EventId, Timestamp};

/// `{session}-{number}-{begins}-{duration}-{init}.m4s`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    /// The run of an ingest that made it; a later one sorts behind it.
    pub(crate) session: EventId,
    pub(crate) number: u64,
    pub(crate) begins: Timestamp,
    pub(crate) duration: Duration,
    /// The init segment that it needs.
    pub(crate) init: u64,
}

// === impl Name ===

impl Name {
    pub(crate) fn init_file(&self) -> String {
        init_file(self.session, self.init)
    }

    pub(crate) fn ends(&self) -> Timestamp {
        self.begins.plus(self.duration)
    }
}

pub(crate) fn init_file(session: EventId, number: u64) -> String {
    format!("{session}-init{number}.mp4")
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name {
            session,
            number,
            begins,
            duration,
            init,
        } = self;
        let (begins, duration) = (begins.millis(), duration.as_millis());
        write!(f, "{session}-{number}-{begins}-{duration}-{init}.m4s")
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Name, ()> {
        let mut fields = text.strip_suffix(".m4s").ok_or(())?.rsplitn(5, '-');
        let mut number = || fields.next().and_then(|field| field.parse::<u64>().ok());
        let (init, duration, begins, count) = (number(), number(), number(), number());
        let session = fields.next().ok_or(())?.parse().map_err(|_| ())?;
        Ok(Name {
            session,
            number: count.ok_or(())?,
            begins: Timestamp(begins.ok_or(())?.try_into().map_err(|_| ())?),
            duration: Duration::from_millis(duration.ok_or(())?),
            init: init.ok_or(())?,
        })
    }
}
