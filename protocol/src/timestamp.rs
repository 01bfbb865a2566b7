//! The text of a TIMESTAMP: RFC 3339 on the way out, and what people write on the way in.
//!
//! What is accepted is spelled out here and not left to a library, so that a server and a device
//! with another version of that library read the same.

use jiff::SignedDuration;
use jiff::civil::DateTime;

/// The first TIMESTAMP, in microseconds: 0001-01-01T00:00:00Z.
pub const MICROS_MIN: i64 = -62_135_596_800_000_000;

/// The last TIMESTAMP, in microseconds: 9999-12-31T23:59:59.999999Z.
pub const MICROS_MAX: i64 = 253_402_300_799_999_999;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The microseconds since 1970 of `YYYY-MM-DD`, optionally followed by `T` or a space and
/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff` with one to six decimals, optionally followed by `Z`
/// or an offset `±HH:MM`. Without an offset it is in UTC. `None` for any other text, and outside
/// of the range.
pub fn parse(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, offset) = match rest.as_bytes().first() {
        None => ("00:00", ""),
        Some(b'T' | b' ') => {
            let behind = &rest[1..];
            behind.split_at(behind.find(['Z', '+', '-']).unwrap_or(behind.len()))
        }
        Some(_) => return None,
    };
    let [year, month, day] = numbers(date, "dddd-dd-dd")?;
    let (clock, decimals) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = match clock.len() {
        5 if clock.len() == time.len() => numbers(clock, "dd:dd").map(|[h, m]| [h, m, 0])?,
        _ => numbers(clock, "dd:dd:dd")?,
    };
    let [fraction] = numbers(decimals, "dddddd".get(..decimals.len())?)?;
    let scale = 10_i64.pow(u32::try_from(6 - decimals.len()).ok()?);

    let part = |number: i64| i8::try_from(number).ok();
    let civil = DateTime::new(
        i16::try_from(year).ok()?,
        part(month)?,
        part(day)?,
        part(hour)?,
        part(minute)?,
        part(second)?,
        0,
    )
    .ok()?;
    let since_epoch = i64::try_from(civil.duration_since(EPOCH).as_micros()).ok()?;
    let micros = since_epoch + fraction * scale - offset_seconds(offset)? * 1_000_000;
    (MICROS_MIN..=MICROS_MAX).contains(&micros).then_some(micros)
}

/// The text of a TIMESTAMP in UTC, with as many decimals as it needs. `None` outside of the range.
pub fn format(micros: i64) -> Option<String> {
    if !(MICROS_MIN..=MICROS_MAX).contains(&micros) {
        return None;
    }
    let civil = EPOCH.checked_add(SignedDuration::from_micros(micros)).ok()?;
    Some(format!("{civil}Z"))
}

/// The seconds by which a time is ahead of UTC.
fn offset_seconds(offset: &str) -> Option<i64> {
    let sign = match offset.as_bytes().first() {
        None => return Some(0),
        Some(b'Z') if offset.len() == 1 => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let [hours, minutes] = numbers(&offset[1..], "dd:dd")?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// The numbers in a text of exactly this form, in which `d` stands for a digit.
fn numbers<const N: usize>(text: &str, form: &str) -> Option<[i64; N]> {
    let fits = |(byte, form): (u8, u8)| match form {
        b'd' => byte.is_ascii_digit(),
        _ => byte == form,
    };
    if text.len() != form.len() || !text.bytes().zip(form.bytes()).all(fits) {
        return None;
    }
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = parts.next()?.parse().ok()?;
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_that_of_four_digit_years() {
        for (micros, text) in [
            (MICROS_MIN, "0001-01-01T00:00:00Z"),
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
        for text in [
            "2026-01-31 12:00:00",
            "2026-01-31T12:00",
            "2026-01-31T12:00Z",
            "2026-01-31T12:00:00.000",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31 06:30:00-05:30",
            "2026-02-01T11:59:00+23:59",
        ] {
            assert_eq!(parse(text), noon, "{text}");
        }
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("1970-01-01T00:00:00.25"), Some(250_000));
        assert_eq!(parse("2024-02-29"), Some(1_709_164_800_000_000));
        assert_eq!(parse("9999-12-31"), Some(253_402_214_400_000_000));
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in [
            "",
            "noon",
            "12:00",
            "20260131",
            "2026-1-31",
            "2026-02-30",
            "2025-02-29",
            "0000-01-01",
            "-009999-01-01",
            "99999-01-01",
            " 2026-01-31",
            "2026-01-31 ",
            "2026-01-31Z",
            "2026-01-31t12:00:00",
            "2026-01-31T12",
            "2026-01-31T24:00:00",
            "2026-01-31T23:59:60",
            "2026-01-31T12:00.5",
            "2026-01-31T12:00:00,5",
            "2026-01-31T12:00:00.",
            "2026-01-31T12:00:00.0000001",
            "2026-01-31T12:00:00z",
            "2026-01-31T12:00:00ZZ",
            "2026-01-31T12:00:00+1:00",
            "2026-01-31T12:00:00+01",
            "2026-01-31T12:00:00+01:00:00",
            "2026-01-31T12:00:00+25:00",
            "2026-01-31T12:00:00[Europe/Berlin]",
            "2026-01-31T12:00:00+01:00[Europe/Berlin]",
            "2026-01-31T12:00:00é",
            "２026-01-31",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
