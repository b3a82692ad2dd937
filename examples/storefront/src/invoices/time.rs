//! The one form of time an invoice file has.

use super::error::Wrong;
use super::field::number;

/// As far from 1970 as 64 bits of nanoseconds reach, in whole seconds.
const SECONDS_MAX: u64 = 9_223_372_036;

/// `YYYY-MM-DDTHH:MM:SSZ`, a day the Gregorian calendar has, as seconds since 1970.
pub(super) fn seconds(value: &[u8]) -> Result<i64, Wrong> {
    let seconds = unix_seconds(value).ok_or(Wrong::NotATime)?;
    if seconds.unsigned_abs() > SECONDS_MAX { Err(Wrong::TimeOutOfRange) } else { Ok(seconds) }
}

#[expect(clippy::arithmetic_side_effects, reason = "the seconds of 10,000 years are far inside an i64")]
fn unix_seconds(value: &[u8]) -> Option<i64> {
    let form = b"0000-00-00T00:00:00Z";
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == form,
    };
    if value.len() != form.len() || !value.iter().zip(form).all(fits) {
        return None;
    }
    let part = |from: usize, to: usize| number(value.get(from..to)?);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Counts in years that begin in March, so that the leap day ends a year: Howard Hinnant, `chrono`-Compatible Low-Level
/// Date Algorithms, `days_from_civil`.
#[expect(clippy::arithmetic_side_effects, reason = "the days of 10,000 years are far inside an i64")]
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day < 1 || day > days_in_month {
        return None;
    }
    let march_year = if month > 2 { year } else { year - 1 };
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let leap_days = march_year.div_euclid(4) - march_year.div_euclid(100) + march_year.div_euclid(400);
    Some(march_year * 365 + leap_days + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_its_seconds_since_1970() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T00:00:00Z", 951_782_400),
            ("2010-12-01T08:26:00Z", 1_291_191_960),
            ("2011-12-09T12:50:00Z", 1_323_435_000),
            ("1677-09-21T00:12:44Z", -9_223_372_036),
            ("2262-04-11T23:47:16Z", 9_223_372_036),
        ];
        for (text, seconds) in cases {
            assert_eq!(super::seconds(text.as_bytes()), Ok(seconds), "{text}");
        }
    }

    /// A time that a store cannot hold stopped a replay half way, instead of before its first commit.
    #[test]
    fn a_time_beyond_what_is_kept_is_refused() {
        for text in ["1677-09-21T00:12:43Z", "2262-04-11T23:47:17Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(super::seconds(text.as_bytes()), Err(Wrong::TimeOutOfRange), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_of_this_form_is_refused() {
        let cases = [
            "",
            "2010-12-01",
            "2010-12-01T08:26Z",
            "2010-12-01 08:26:00Z",
            "2010-12-01T08:26:00",
            "2010-12-01t08:26:00z",
            "2010-12-01T08:26:00+00:00",
            "2010-12-01T08:26:00.0Z",
            " 2010-12-01T08:26:00Z",
            "2010-12-01T08:26:00Z ",
            "2010-13-01T08:26:00Z",
            "2010-00-01T08:26:00Z",
            "2010-12-00T08:26:00Z",
            "2010-12-32T08:26:00Z",
            "2010-06-31T08:26:00Z",
            "2011-02-29T08:26:00Z",
            "1900-02-29T08:26:00Z",
            "2010-12-01T24:00:00Z",
            "2010-12-01T08:60:00Z",
            "2010-12-01T08:26:60Z",
            "+010-12-01T08:26:00Z",
            "201O-12-01T08:26:00Z",
            "２010-12-01T08:26:00Z",
        ];
        for text in cases {
            assert_eq!(super::seconds(text.as_bytes()), Err(Wrong::NotATime), "{text}");
        }
    }
}
