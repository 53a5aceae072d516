//! The only way onto a topic: the idempotent log, and the deciders that turn commands into events.
