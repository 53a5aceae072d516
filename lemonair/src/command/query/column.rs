//! The columns of a table: those of an export, times as numbers too, and the whole event.

use lemonair_consumers::slice::is_by_room;
use lemonair_schemas::Topic;
use lemonair_schemas::field::{Type, Value};
use lemonair_sql::{self as sql, Cell, Column};

use crate::command::export::table;

/// What a column shows.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Its name in an export.
    pub(super) name: String,
    pub(super) form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// A time in milliseconds since 1970.
    Millis,
    /// The whole event as JSON, as `lemonair replay` prints it.
    Event,
}

pub(super) fn columns(topic: Topic) -> Vec<(Column, Field)> {
    let mut columns = Vec::new();
    let mut add = |name: String, field: &str, kind, form| {
        let narrows = match field {
            "partition" | "offset" | "at" | "recorded_at" => true,
            "room" => is_by_room(topic),
            _ => false,
        };
        let column = Column {
            name,
            kind,
            narrows,
        };
        let name = field.to_owned();
        columns.push((column, Field { name, form }));
    };
    for (name, kind) in table::columns(topic) {
        let number = matches!(kind, Type::Number | Type::Flag);
        let own = if number {
            sql::Type::Number
        } else {
            sql::Type::Text
        };
        add(name.clone(), &name, own, Form::Plain);
        if kind == Type::Time {
            add(format!("{name}_ms"), &name, sql::Type::Number, Form::Millis);
        }
    }
    add("event".to_owned(), "event", sql::Type::Text, Form::Event);
    columns
}

impl Field {
    pub(super) fn cell<'a>(&self, value: Value<'a>) -> Cell<'a> {
        match value {
            Value::None => Cell::Null,
            Value::Text(text) => Cell::Text(text.into()),
            Value::Id(id) => Cell::Text(id.to_string().into()),
            Value::Number(number) => Cell::Number(number),
            Value::Flag(flag) => Cell::Number(flag.into()),
            Value::Time(at) if self.form == Form::Millis => Cell::Number(at.millis()),
            Value::Time(at) => Cell::Text(at.to_string().into()),
            // Lists are JSON. Our own values always serialise.
            value => {
                serde_json::to_string(&value).map_or(Cell::Null, |json| Cell::Text(json.into()))
            }
        }
    }
}
