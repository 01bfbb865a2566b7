//! The text of a TIMESTAMP: RFC 3339 on the way out, and what people write on the way in.

use jiff::SignedDuration;
use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::Pieces;

/// The first TIMESTAMP, in microseconds: −9999-01-01T00:00:00Z.
pub const MICROS_MIN: i64 = -377_705_116_800_000_000;

/// The last TIMESTAMP, in microseconds: 9999-12-31T23:59:59.999999Z.
pub const MICROS_MAX: i64 = 253_402_300_799_999_999;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The microseconds since 1970 of a date, or a date and time, with an offset or else in UTC.
///
/// `None` when it is none, names a time zone, lies outside of the range, or is finer than a
/// microsecond and would be rounded.
pub fn parse(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    if pieces.time_zone_annotation().is_some() {
        return None;
    }
    let civil = DateTime::from_parts(pieces.date(), pieces.time().unwrap_or(Time::midnight()));
    let offset_seconds = pieces.to_numeric_offset().map_or(0, |offset| offset.seconds());
    let since = civil.duration_since(EPOCH) - SignedDuration::from_secs(offset_seconds.into());
    let micros = i64::try_from(since.as_micros()).ok()?;
    let exact = since == SignedDuration::from_micros(micros);
    (exact && (MICROS_MIN..=MICROS_MAX).contains(&micros)).then_some(micros)
}

/// The text of a TIMESTAMP in UTC, with as many decimals as it needs. `None` outside of the range.
pub fn format(micros: i64) -> Option<String> {
    if !(MICROS_MIN..=MICROS_MAX).contains(&micros) {
        return None;
    }
    let civil = EPOCH.checked_add(SignedDuration::from_micros(micros)).ok()?;
    Some(format!("{civil}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_that_of_four_digit_years() {
        for (micros, text) in [
            (MICROS_MIN, "-009999-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (0, "1970-01-01T00:00:00Z"),
            (1_769_860_800_500_000, "2026-01-31T12:00:00.5Z"),
            (MICROS_MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(format(micros).as_deref(), Some(text));
            assert_eq!(parse(text), Some(micros));
        }
        for micros in [MICROS_MIN - 1, MICROS_MAX + 1, i64::MIN, i64::MAX] {
            assert_eq!(format(micros), None);
        }
    }

    #[test]
    fn a_time_is_in_utc_unless_it_names_an_offset() {
        let noon = Some(1_769_860_800_000_000);
        assert_eq!(parse("2026-01-31 12:00:00"), noon);
        assert_eq!(parse("2026-01-31T12:00"), noon);
        assert_eq!(parse("2026-01-31T13:00:00+01:00"), noon);
        assert_eq!(parse("2026-01-31 06:30:00-05:30"), noon);
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("9999-12-31"), Some(253_402_214_400_000_000));
    }

    #[test]
    fn what_would_be_guessed_is_refused() {
        for text in [
            "",
            "noon",
            "12:00",
            "2026-02-30",
            "2026-01-31T25:00:00",
            "2026-01-31T12:00:00.0000001Z",
            "2026-01-31T12:00:00[Europe/Berlin]",
            "2026-01-31T12:00:00+01:00[Europe/Berlin]",
            "2026-01-31T12:00:00+01:00x",
            " 2026-01-31",
            "99999-01-01",
            "9999-12-31T23:59:59-01:00",
            "-009999-01-01T00:00:00+01:00",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
