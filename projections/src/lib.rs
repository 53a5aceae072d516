//! Read models: events folded into MySQL rows, with their offsets in the same transaction.
