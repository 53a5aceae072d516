//! AMF3: the other notation, to which a value of AMF0 may switch. Read only; we answer in AMF0.

use super::{Decoder, Error, MAX_DEPTH, Value, text};

/// Names and texts that are referred to are copied, and these bytes of them at most.
const MAX_COPIED: usize = 64 * 1024;

/// What a value may refer back to. Its objects could be referred to as well; no publisher does, and
/// such a reference is null.
#[derive(Debug, Default)]
pub(super) struct References {
    texts: Vec<String>,
    traits: Vec<Traits>,
    copied: usize,
}

/// The names of an object's values.
#[derive(Debug, Clone)]
struct Traits {
    names: Vec<String>,
    /// Further values follow, each with its name.
    dynamic: bool,
}

/// A number that is told, or the place of something told before.
enum Told {
    Here(usize),
    Before(usize),
}

mod marker {
    pub(super) const UNDEFINED: u8 = 0;
    pub(super) const NULL: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const TRUE: u8 = 3;
    pub(super) const INTEGER: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const STRING: u8 = 6;
    pub(super) const XML_DOCUMENT: u8 = 7;
    pub(super) const DATE: u8 = 8;
    pub(super) const ARRAY: u8 = 9;
    pub(super) const OBJECT: u8 = 10;
    pub(super) const XML: u8 = 11;
    pub(super) const BYTES: u8 = 12;
}

// === impl Decoder ===

impl Decoder<'_> {
    pub(super) fn value3(
        &mut self,
        references: &mut References,
        depth: usize,
    ) -> Result<Value, Error> {
        if depth == MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.count()?;
        let [marker] = self.array()?;
        match marker {
            marker::UNDEFINED | marker::NULL => Ok(Value::Null),
            marker::FALSE => Ok(Value::Bool(false)),
            marker::TRUE => Ok(Value::Bool(true)),
            marker::INTEGER => {
                // 29 bits, the first of which is the sign.
                let number = (self.u29()? << 3).cast_signed() >> 3;
                Ok(Value::Number(f64::from(number)))
            }
            marker::DOUBLE => Ok(Value::Number(f64::from_be_bytes(self.array()?))),
            marker::STRING => Ok(Value::String(self.text3(references)?)),
            marker::OBJECT => self.object3(references, depth),
            marker::XML_DOCUMENT | marker::XML | marker::BYTES | marker::DATE | marker::ARRAY => {
                match (self.told()?, marker) {
                    (Told::Before(_), _) => Ok(Value::Null),
                    (Told::Here(_), marker::DATE) => {
                        Ok(Value::Number(f64::from_be_bytes(self.array()?)))
                    }
                    (Told::Here(count), marker::ARRAY) => self.array3(references, count, depth),
                    (Told::Here(len), _) => Ok(Value::String(text(self.take(len)?))),
                }
            }
            // Vectors and dictionaries are nothing that a publisher says.
            other => Err(Error::Marker3(other)),
        }
    }

    /// Values with names come first, then `count` without. Of an array with both, the names are kept.
    fn array3(
        &mut self,
        references: &mut References,
        count: usize,
        depth: usize,
    ) -> Result<Value, Error> {
        let named = self.named(references, depth)?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value3(references, depth + 1)?);
        }
        Ok(if named.is_empty() {
            Value::Array(values)
        } else {
            Value::Object(named)
        })
    }

    fn object3(&mut self, references: &mut References, depth: usize) -> Result<Value, Error> {
        let Told::Here(how) = self.told()? else {
            return Ok(Value::Null);
        };
        let traits = self.traits(references, how)?;
        let mut fields = Vec::new();
        for name in traits.names {
            fields.push((name, self.value3(references, depth + 1)?));
        }
        if traits.dynamic {
            fields.extend(self.named(references, depth)?);
        }
        Ok(Value::Object(fields))
    }

    fn traits(&mut self, references: &mut References, how: usize) -> Result<Traits, Error> {
        if how & 1 == 0 {
            let traits = references.traits.get(how >> 1).ok_or(Error::Reference)?;
            let traits = traits.clone();
            references.copy(traits.names.iter().map(String::len).sum())?;
            return Ok(traits);
        }
        if how & 2 != 0 {
            // Its class alone knows how it is written.
            return Err(Error::Marker3(marker::OBJECT));
        }
        self.text3(references)?; // the class
        let mut names = Vec::new();
        for _ in 0..how >> 3 {
            self.count()?;
            names.push(self.text3(references)?);
        }
        let dynamic = how & 4 != 0;
        let traits = Traits { names, dynamic };
        references.traits.push(traits.clone());
        Ok(traits)
    }

    /// Names and values, up to an empty name.
    fn named(
        &mut self,
        references: &mut References,
        depth: usize,
    ) -> Result<Vec<(String, Value)>, Error> {
        let mut fields = Vec::new();
        loop {
            let name = self.text3(references)?;
            if name.is_empty() {
                return Ok(fields);
            }
            fields.push((name, self.value3(references, depth + 1)?));
        }
    }

    fn text3(&mut self, references: &mut References) -> Result<String, Error> {
        match self.told()? {
            Told::Here(len) => {
                let text = text(self.take(len)?);
                if !text.is_empty() {
                    references.texts.push(text.clone());
                }
                Ok(text)
            }
            Told::Before(place) => {
                let text = references.texts.get(place).ok_or(Error::Reference)?.clone();
                references.copy(text.len())?;
                Ok(text)
            }
        }
    }

    fn told(&mut self) -> Result<Told, Error> {
        let told = self.u29()?;
        let number = (told >> 1) as usize;
        Ok(if told & 1 == 1 {
            Told::Here(number)
        } else {
            Told::Before(number)
        })
    }

    /// At most four bytes: seven bits of each, and all eight of the fourth.
    fn u29(&mut self) -> Result<u32, Error> {
        let mut number = 0;
        for _ in 0..3 {
            let [byte] = self.array()?;
            number = number << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        let [byte] = self.array()?;
        Ok(number << 8 | u32::from(byte))
    }
}

// === impl References ===

impl References {
    fn copy(&mut self, len: usize) -> Result<(), Error> {
        self.copied += len;
        if self.copied > MAX_COPIED {
            return Err(Error::TooMany);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{marker, object};
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Value, Error> {
        let bytes = [&[marker::AVM_PLUS], bytes].concat();
        Ok(Decoder::new(&bytes).next_value()?.unwrap_or(Value::Null))
    }

    #[test]
    fn an_object_and_the_same_again_by_references() {
        let once = b"\x0A\x1B\x01\x07app\x06\x09live\x09fine\x03\x01";
        let expected = object([("app", "live".into()), ("fine", Value::Bool(true))]);
        assert_eq!(decode(once), Ok(expected.clone()));
        let again = b"\x0A\x01\x06\x02\x04\x03\x01";
        let both = [&b"\x09\x05\x01"[..], once, again].concat();
        assert_eq!(
            decode(&both),
            Ok(Value::Array(vec![expected.clone(), expected]))
        );
    }

    #[test]
    fn numbers() {
        for (bytes, number) in [
            (&b"\x04\x00"[..], 0.0),
            (b"\x04\x7F", 127.0),
            (b"\x04\x81\x00", 128.0),
            (b"\x04\xFF\xFF\xFF\xFF", -1.0),
            (b"\x04\xBF\xFF\xFF\xFF", 268_435_455.0),
            (b"\x05\x40\x94\0\0\0\0\0\0", 1280.0),
            (b"\x08\x01\x40\x94\0\0\0\0\0\0", 1280.0),
        ] {
            assert_eq!(decode(bytes), Ok(Value::Number(number)), "{bytes:?}");
        }
    }

    #[test]
    fn depth_count_and_copies_are_bounded() {
        let nested = b"\x09\x03\x01".repeat(100_000);
        assert_eq!(decode(&nested), Err(Error::TooDeep));
        let mut many = b"\x09\xFF\xFF\xFF\xFF\x01".to_vec();
        many.extend([1; 5000]);
        assert_eq!(decode(&many), Err(Error::TooMany));
        // One text of 30,000 bytes, referred to again and again.
        let text = [&b"\x06\x83\xD4\x61"[..], &[b'a'; 30_000]].concat();
        let copies = [b"\x09\x81\x4B\x01", &text[..], &b"\x06\x00".repeat(100)].concat();
        assert_eq!(decode(&copies), Err(Error::TooMany));
        assert_eq!(decode(b"\x06\x02"), Err(Error::Reference));
        assert_eq!(decode(b"\x0A\x09"), Err(Error::Reference));
        assert_eq!(decode(b"\x06\xFF\xFF\xFF\xFFa"), Err(Error::CutOff));
        assert_eq!(decode(b"\x11\x01"), Err(Error::Marker3(0x11)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = decode(&bytes);
        }
    }
}
