//! The only way off a topic: consume loops, reads of a range, replay.
