//! The order of keys is the order of what they are made of.

use proptest::prelude::*;
use server_storage::key::{KeyError, KeyReader, KeyWriter};

/// A part of a key. Derived order: that of the parts, in the order of the fields.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
struct Parts {
    text: String,
    signed: i64,
    double: f64,
    bytes: Vec<u8>,
    short: u16,
    array: [u8; 16],
    long: u64,
}

impl Parts {
    fn key(&self) -> Vec<u8> {
        KeyWriter::new()
            .text(&self.text)
            .i64(self.signed)
            .f64(self.double)
            .bytes(&self.bytes)
            .u16(self.short)
            .array(&self.array)
            .u64(self.long)
            .finish()
    }

    /// The same with the first `count` parts of `other`, so that each part gets to decide.
    fn agreeing_with(self, other: &Self, count: u8) -> Self {
        let other = other.clone();
        Self {
            text: if count > 0 { other.text } else { self.text },
            signed: if count > 1 { other.signed } else { self.signed },
            double: if count > 2 { other.double } else { self.double },
            bytes: if count > 3 { other.bytes } else { self.bytes },
            short: if count > 4 { other.short } else { self.short },
            array: if count > 5 { other.array } else { self.array },
            long: self.long,
        }
    }

    fn read(key: &[u8]) -> Result<Self, KeyError> {
        let mut reader = KeyReader::new(key);
        let parts = Self {
            text: reader.text()?.to_owned(),
            signed: reader.i64()?,
            double: reader.f64()?,
            bytes: reader.bytes()?,
            short: reader.u16()?,
            array: reader.array()?,
            long: reader.u64()?,
        };
        reader.finish()?;
        Ok(parts)
    }
}

/// The values at which an encoding goes wrong, if it does.
fn parts() -> impl Strategy<Value = Parts> {
    let doubles = [f64::NEG_INFINITY, f64::MIN, -1.0, -5e-324, 0.0, 5e-324, 1.5, f64::MAX];
    (
        "[a\u{1}\u{7f}é😀]{0,2}",
        prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(1), Just(i64::MAX)],
        prop::sample::select(doubles.to_vec()),
        prop::collection::vec(prop_oneof![Just(0), Just(1), Just(254), Just(255_u8)], 0..3),
        0..2_u16,
        prop_oneof![Just([0; 16]), Just([255; 16])],
        prop_oneof![Just(0), Just(u64::MAX)],
    )
        .prop_map(|(text, signed, double, bytes, short, array, long)| Parts {
            text,
            signed,
            double,
            bytes,
            short,
            array,
            long,
        })
}

#[test]
fn keys_sort_like_their_parts_and_read_back() {
    seeds::check("keys", 2_000, &(parts(), parts(), 0..7_u8), |(left, right, agreeing)| {
        let right = right.agreeing_with(&left, agreeing);
        let (left_key, right_key) = (left.key(), right.key());
        prop_assert_eq!(left.partial_cmp(&right), Some(left_key.cmp(&right_key)));
        prop_assert_eq!(Parts::read(&left_key), Ok(left));
        prop_assert!(Parts::read(&left_key[..left_key.len() - 1]).is_err());
        Ok(())
    });
}

/// The bytes of every kind of part. A line may be added and never changed: every database that
/// exists has them.
#[test]
fn keys_keep_their_bytes() {
    let part = KeyWriter::new;
    for (key, hex) in [
        (part().u8(7), "07"),
        (part().u16(0x0102), "0102"),
        (part().u32(0x0102_0304), "01020304"),
        (part().u64(0x0102_0304_0506_0708), "0102030405060708"),
        (part().i64(i64::MIN), "0000000000000000"),
        (part().i64(-1), "7fffffffffffffff"),
        (part().i64(0), "8000000000000000"),
        (part().f64(-1.0), "400fffffffffffff"),
        (part().f64(0.0), "8000000000000000"),
        (part().f64(1.0), "bff0000000000000"),
        (part().array(b"0123456789abcdef"), "30313233343536373839616263646566"),
        (part().text(""), "00"),
        (part().text("é"), "c3a900"),
        (part().bytes(b""), "0001"),
        (part().bytes(b"a\0\xff"), "6100ffff0001"),
        (part().u32(1).text("a").parts(b"\xfe").u64(2), "000000016100fe0000000000000002"),
    ] {
        let bytes = key.finish();
        let written = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(written, hex);
    }
}

#[test]
fn a_key_that_was_not_built_so_is_refused() {
    assert_eq!(KeyReader::new(&[0, 7]).bytes(), Err(KeyError));
    assert_eq!(KeyReader::new(&[0]).bytes(), Err(KeyError));
    assert_eq!(KeyReader::new(b"abc").text(), Err(KeyError));
    assert_eq!(KeyReader::new(&[0xff, 0]).text(), Err(KeyError));
    assert_eq!(KeyReader::new(&[1]).finish(), Err(KeyError));
    assert_eq!(KeyReader::new(&[1, 2, 3]).u32(), Err(KeyError));
}
