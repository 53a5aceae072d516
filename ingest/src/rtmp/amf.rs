//! AMF0: the values that RTMP's commands and metadata carry.

mod amf3;

use amf3::References;
use bytes::{BufMut, BytesMut};

/// Deeper values are refused.
pub const MAX_DEPTH: usize = 16;
/// Values one message may hold, nested ones included.
pub const MAX_VALUES: usize = 1024;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Number(f64),
    Bool(bool),
    String(String),
    /// Objects, typed objects and ECMA arrays: named values in their order.
    Object(Vec<(String, Value)>),
    Array(Vec<Value>),
    /// Null, undefined and what has no use here.
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("cut off")]
    CutOff,
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    #[error("marker {0} is not supported")]
    Marker(u8),
    #[error("marker {0} of AMF3 is not supported")]
    Marker3(u8),
    #[error("a reference to nothing")]
    Reference,
}

/// Reads values from the front of a message. Memory stays in proportion to the message, since
/// nothing is allocated for what is only announced.
#[derive(Debug)]
pub struct Decoder<'a> {
    input: &'a [u8],
    values_left: usize,
}

mod marker {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOL: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
    pub(super) const XML: u8 = 15;
    pub(super) const TYPED_OBJECT: u8 = 16;
    /// The value itself follows in AMF3.
    pub(super) const AVM_PLUS: u8 = 17;
}

// === impl Value ===

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A named value of an object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(fields) => fields
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

pub fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

// === impl Decoder ===

impl<'a> Decoder<'a> {
    pub fn new(input: &'a [u8]) -> Decoder<'a> {
        Decoder {
            input,
            values_left: MAX_VALUES,
        }
    }

    /// The next value; `None` at the end.
    pub fn next_value(&mut self) -> Result<Option<Value>, Error> {
        if self.input.is_empty() {
            Ok(None)
        } else {
            self.value(0).map(Some)
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        if depth == MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.count()?;
        let [marker] = self.array()?;
        Ok(match marker {
            marker::NUMBER => Value::Number(f64::from_be_bytes(self.array()?)),
            marker::BOOL => {
                let [byte] = self.array()?;
                Value::Bool(byte != 0)
            }
            marker::STRING => Value::String(self.short_string()?),
            marker::LONG_STRING | marker::XML => {
                let len = u32::from_be_bytes(self.array()?);
                Value::String(text(self.take(len as usize)?))
            }
            marker::OBJECT => self.object(depth)?,
            marker::TYPED_OBJECT => {
                self.short_string()?;
                self.object(depth)?
            }
            marker::ECMA_ARRAY => {
                // The count is a hint, often wrong; the end marker counts.
                let [_, _, _, _] = self.array()?;
                self.object(depth)?
            }
            marker::STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.array()?);
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(self.value(depth + 1)?);
                }
                Value::Array(values)
            }
            marker::DATE => {
                let millis = f64::from_be_bytes(self.array()?);
                let [_, _] = self.array()?;
                Value::Number(millis)
            }
            marker::REFERENCE => {
                let [_, _] = self.array()?;
                Value::Null
            }
            marker::NULL | marker::UNDEFINED | marker::UNSUPPORTED => Value::Null,
            marker::AVM_PLUS => self.value3(&mut References::default(), depth)?,
            other => return Err(Error::Marker(other)),
        })
    }

    fn count(&mut self) -> Result<(), Error> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Error::TooMany)?;
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<Value, Error> {
        let mut fields = Vec::new();
        loop {
            if let [0, 0, marker::OBJECT_END, rest @ ..] = self.input {
                self.input = rest;
                return Ok(Value::Object(fields));
            }
            // Some encoders forget the end marker of the last object of a message.
            if self.input.is_empty() && depth == 0 {
                return Ok(Value::Object(fields));
            }
            let name = self.short_string()?;
            fields.push((name, self.value(depth + 1)?));
        }
    }

    fn short_string(&mut self) -> Result<String, Error> {
        let len = u16::from_be_bytes(self.array()?);
        Ok(text(self.take(usize::from(len))?))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.input.split_at_checked(len).ok_or(Error::CutOff)?;
        self.input = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (head, rest) = self.input.split_first_chunk().ok_or(Error::CutOff)?;
        self.input = rest;
        Ok(*head)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Writes a value. Strings longer than AMF0 can say are cut.
pub fn encode(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::Bool(bool) => {
            out.put_u8(marker::BOOL);
            out.put_u8(u8::from(*bool));
        }
        Value::String(text) => match u16::try_from(text.len()) {
            Ok(_) => {
                out.put_u8(marker::STRING);
                encode_name(text, out);
            }
            Err(_) => {
                out.put_u8(marker::LONG_STRING);
                let bytes = &text.as_bytes()[..text.len().min(u32::MAX as usize)];
                out.put_u32(bytes.len() as u32);
                out.extend_from_slice(bytes);
            }
        },
        Value::Object(fields) => {
            out.put_u8(marker::OBJECT);
            for (name, value) in fields {
                encode_name(name, out);
                encode(value, out);
            }
            out.extend_from_slice(&[0, 0, marker::OBJECT_END]);
        }
        Value::Array(values) => {
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(values.len() as u32);
            for value in values {
                encode(value, out);
            }
        }
        Value::Null => out.put_u8(marker::NULL),
    }
}

fn encode_name(name: &str, out: &mut BytesMut) {
    let bytes = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
    out.put_u16(bytes.len() as u16);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Result<Value, Error> {
        Ok(Decoder::new(bytes).next_value()?.unwrap_or(Value::Null))
    }

    #[test]
    fn what_encoders_send_as_metadata() {
        let bytes = b"\x08\0\0\0\x02\0\x05width\0\x40\x94\0\0\0\0\0\0\0\x06stereo\x01\x01\0\0\x09";
        let expected = object([("width", 1280.0.into()), ("stereo", Value::Bool(true))]);
        assert_eq!(decode(bytes), Ok(expected));
    }

    #[test]
    fn every_prefix_is_an_error_or_a_value() {
        let mut bytes = BytesMut::new();
        encode(
            &object([
                ("a", "b".into()),
                ("c", Value::Array(vec![1.0.into(), Value::Null])),
            ]),
            &mut bytes,
        );
        for cut in 1..bytes.len() {
            let _ = decode(&bytes[..cut]);
        }
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let nested = [marker::STRICT_ARRAY, 0, 0, 0, 1].repeat(100_000);
        assert_eq!(decode(&nested), Err(Error::TooDeep));
        let mut nested_objects = b"\x03\0\x01a".repeat(MAX_DEPTH + 1);
        nested_objects.push(marker::NULL);
        assert_eq!(decode(&nested_objects), Err(Error::TooDeep));

        let mut many = vec![marker::STRICT_ARRAY, 255, 255, 255, 255];
        many.extend([marker::NULL; 5000]);
        assert_eq!(decode(&many), Err(Error::TooMany));
        assert_eq!(
            decode(&[marker::STRICT_ARRAY, 255, 255, 255, 255]),
            Err(Error::CutOff)
        );
        assert_eq!(
            decode(&[marker::LONG_STRING, 255, 255, 255, 255, b'a']),
            Err(Error::CutOff)
        );
        assert_eq!(decode(&[0x12, 1]), Err(Error::Marker(0x12)));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i32>().prop_map(|n| Value::Number(f64::from(n))),
            any::<bool>().prop_map(Value::Bool),
            "\\PC{0,20}".prop_map(Value::String),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::vec(("[a-z]{1,5}", inner), 0..5).prop_map(Value::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_come_back(value in any_value()) {
            let mut bytes = BytesMut::new();
            encode(&value, &mut bytes);
            prop_assert_eq!(decode(&bytes), Ok(value));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let mut decoder = Decoder::new(&bytes);
            while let Ok(Some(_)) = decoder.next_value() {}
        }
    }
}
