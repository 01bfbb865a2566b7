use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Not the text of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("an identity is written as 32 hexadecimal digits")]
pub struct ParseIdentityError;

/// Defines a type of 128 bits, written as 32 hexadecimal digits and sent as 16 bytes.
macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The identity with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes of this identity.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdentityError;

            fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
                // `from_str_radix` alone would also take a sign.
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(ParseIdentityError);
                }
                let number = u128::from_str_radix(text, 16).map_err(|_| ParseIdentityError)?;
                Ok(Self(number.to_be_bytes()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    let bytes = serde_bytes::ByteArray::<16>::deserialize(deserializer)?;
                    Ok(Self(bytes.into_array()))
                }
            }
        }
    };
}

identity! {
    /// Which description of tables somebody holds: a hash of all of it, see
    /// [`Schema`](crate::frame::v1::Schema).
    SchemaHash
}

identity! {
    /// The identity of one replica, drawn at random in the transaction that creates it.
    ClientId
}

identity! {
    /// The identity of a lane's history. It changes when the history is replaced (a restore, a
    /// forced recovery), so that a stale cursor is noticed.
    Epoch
}

identity! {
    /// What a subscription means: a hash of its query, bound values, access rule as bound to this
    /// user, and columns. Subscriptions with equal basis are one query to the server.
    Basis
}

identity! {
    /// What a client has written in a lane up to and with one mutation: see
    /// [`ContentHash::then`].
    ContentHash
}

identity! {
    /// What a client calls a request, so that it can ask again what came of it.
    RequestId
}

identity! {
    /// The sum over some rows of a subscription: see [`RowsDigest`](crate::digest::RowsDigest).
    RowsSum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_from_its_text_and_nothing_else_does() {
        let id = ClientId::from_bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse::<ClientId>().unwrap(), id);
        for text in
            ["", "00", "+00102030405060708090a0b0c0d0eff", "g00102030405060708090a0b0c0d0eff"]
        {
            assert_eq!(text.parse::<ClientId>(), Err(ParseIdentityError), "{text}");
        }
    }
}
