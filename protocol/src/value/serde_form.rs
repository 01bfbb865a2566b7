//! A value in a message: the MessagePack type tells its kind, without a tag of ours. A UUID is
//! extension type [`UUID_EXTENSION`] of 16 bytes.

use std::fmt;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Double, Text, Value, ValueRef};

/// The MessagePack extension type of a UUID.
pub(crate) const UUID_EXTENSION: i8 = 1;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().serialize(serializer)
    }
}

impl Serialize for ValueRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(value),
            Self::Integer(value) => serializer.serialize_i64(value),
            Self::Double(value) => serializer.serialize_f64(value.get()),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::Uuid(value) => serializer.serialize_newtype_struct(
                rmp_serde::MSGPACK_EXT_STRUCT_NAME,
                &(UUID_EXTENSION, serde_bytes::Bytes::new(value)),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// What reads into a [`Value`] as into a [`ValueRef`]: all that is not text, bytes or a UUID.
macro_rules! visit_scalars {
    ($value:ident) => {
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($value::Null)
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
            Ok($value::Boolean(value))
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
            Ok($value::Integer(value))
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
            i64::try_from(value)
                .map($value::Integer)
                .map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
            Double::new(value).map($value::Double).map_err(E::custom)
        }
    };
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nil, a boolean, a 64-bit integer, a finite number, text, bytes or a UUID")
    }

    visit_scalars!(Value);

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Text::new(value).map(Value::Text).map_err(E::custom)
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Text::new(value).map(Value::Text).map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, value: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(value))
    }

    /// How `rmp-serde` presents an extension: a pair of its type and its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(ExtensionVisitor)
    }
}

struct ExtensionVisitor;

impl<'de> Visitor<'de> for ExtensionVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "extension type {UUID_EXTENSION} (a UUID) of 16 bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let kind: i8 = parts.next_element()?.ok_or_else(|| Error::invalid_length(0, &self))?;
        if kind != UUID_EXTENSION {
            return Err(Error::invalid_value(Unexpected::Signed(kind.into()), &self));
        }
        let bytes: serde_bytes::ByteBuf =
            parts.next_element()?.ok_or_else(|| Error::invalid_length(1, &self))?;
        let bytes = bytes.into_vec();
        let length = bytes.len();
        bytes.try_into().map(Value::Uuid).map_err(|_| Error::invalid_length(length, &self))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ValueRef<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RefVisitor)
    }
}

/// What [`ValueVisitor`] does, for a value that stays where it is.
struct RefVisitor;

impl<'de> Visitor<'de> for RefVisitor {
    type Value = ValueRef<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValueVisitor.expecting(f)
    }

    visit_scalars!(ValueRef);

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<ValueRef<'de>, E> {
        Ok(ValueRef::Text(value))
    }

    fn visit_borrowed_bytes<E: Error>(self, value: &'de [u8]) -> Result<ValueRef<'de>, E> {
        Ok(ValueRef::Bytes(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        inner: D,
    ) -> Result<ValueRef<'de>, D::Error> {
        let (kind, bytes): (i8, &serde_bytes::Bytes) = Deserialize::deserialize(inner)?;
        if kind != UUID_EXTENSION {
            return Err(Error::invalid_value(Unexpected::Signed(kind.into()), &self));
        }
        let bytes: &[u8] = bytes;
        bytes.try_into().map(ValueRef::Uuid).map_err(|_| Error::invalid_length(bytes.len(), &self))
    }
}
