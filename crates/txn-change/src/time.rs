//! Instants as values: nanoseconds since 1970-01-01T00:00:00Z. Nothing here reads a clock.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text or a sum is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// Not `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, or no such day.
    #[error("{value:?} is not a UTC time of the form YYYY-MM-DDTHH:MM:SS[.fraction]Z")]
    Malformed {
        /// The text, cut at 40 characters.
        value: String,
    },
    /// Outside 1677-09-21 to 2262-04-11, what 64 bits of nanoseconds hold.
    #[error("the time leaves the range {} to {}", Timestamp::MIN, Timestamp::MAX)]
    OutOfRange,
}

/// An instant in UTC, exact to the nanosecond, from 1677 to 2262. Arithmetic is checked.
///
/// ```
/// use core::time::Duration;
/// use txn_change::Timestamp;
/// let placed: Timestamp = "2010-12-01T08:26:00Z".parse()?;
/// let expires = placed.after(Duration::from_secs(900))?;
/// assert_eq!(expires.to_string(), "2010-12-01T08:41:00Z");
/// assert!(Timestamp::MAX.after(Duration::from_nanos(1)).is_err());
/// # Ok::<(), txn_change::TimeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

const NANOS: i64 = 1_000_000_000;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The earliest instant.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since 1970.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`].
    pub fn from_seconds(seconds: i64) -> Result<Self, TimeError> {
        seconds.checked_mul(NANOS).map(Self).ok_or(TimeError::OutOfRange)
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// This instant moved forward.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`].
    pub fn after(self, by: Duration) -> Result<Self, TimeError> {
        let nanos = i64::try_from(by.as_nanos()).map_err(|_| TimeError::OutOfRange)?;
        self.0.checked_add(nanos).map(Self).ok_or(TimeError::OutOfRange)
    }
}

/// Days since 1970 of a civil date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = month.checked_add(9)?.rem_euclid(12);
    let day_of_year =
        month_from_march.checked_mul(153)?.checked_add(2)?.div_euclid(5).checked_add(day)?.checked_sub(1)?;
    let day_of_era = year_of_era
        .checked_mul(365)?
        .checked_add(year_of_era.div_euclid(4))?
        .checked_sub(year_of_era.div_euclid(100))?
        .checked_add(day_of_year)?;
    era.checked_mul(146_097)?.checked_add(day_of_era)?.checked_sub(719_468)
}

/// The civil date of days since 1970; the inverse of [`days_from_civil`].
#[allow(clippy::arithmetic_side_effects, reason = "days of an i64 of nanoseconds are below 2^17; no step can overflow")]
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    #[allow(clippy::arithmetic_side_effects, reason = "quotients and remainders of small constants")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.div_euclid(NANOS), self.0.rem_euclid(NANOS));
        let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if nanos != 0 {
            let digits = alloc::format!("{nanos:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

fn parse(text: &str) -> Option<Result<Timestamp, TimeError>> {
    let number = |range: core::ops::Range<usize>| -> Option<i64> {
        let digits = text.get(range)?;
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let bytes = text.as_bytes();
    let at = |index: usize, byte: u8| bytes.get(index) == Some(&byte);
    if !(at(4, b'-') && at(7, b'-') && at(10, b'T') && at(13, b':') && at(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let rest = text.get(19..)?.strip_suffix('Z')?;
    let nanos = match rest.strip_prefix('.') {
        None if rest.is_empty() => 0,
        Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            alloc::format!("{digits:0<9}").parse::<i64>().ok()?
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day)?;
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let seconds = days
        .checked_mul(86_400)?
        .checked_add(hour.checked_mul(3_600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second)?;
    // The first second of the range is not whole: only with its nanoseconds is it in range.
    let nanos = i128::from(seconds).checked_mul(i128::from(NANOS))?.checked_add(i128::from(nanos))?;
    Some(i64::try_from(nanos).map(Timestamp).map_err(|_| TimeError::OutOfRange))
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        parse(text).unwrap_or_else(|| Err(TimeError::Malformed { value: text.chars().take(40).collect() }))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case B45. Times are instants in UTC, in which no clock is changed: a text with another offset is no time.
    #[test]
    fn times_outside_the_range_are_errors_that_name_it_and_zero_and_negative_ones_are_times() {
        assert_eq!(Timestamp::from_seconds(0), Ok(Timestamp::EPOCH));
        assert_eq!("1970-01-01T00:00:00Z".parse(), Ok(Timestamp::EPOCH));
        assert_eq!(Timestamp::from_nanos(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::EPOCH.after(Duration::ZERO), Ok(Timestamp::EPOCH));
        assert_eq!(Timestamp::MAX.after(Duration::ZERO), Ok(Timestamp::MAX));
        assert_eq!(Timestamp::MAX.after(Duration::from_nanos(1)), Err(TimeError::OutOfRange));
        assert_eq!("1969-12-31T23:59:59Z".parse(), Timestamp::from_seconds(-1));
        assert_eq!(Timestamp::from_seconds(i64::MIN), Err(TimeError::OutOfRange));
        assert_eq!("9999-12-31T00:00:00Z".parse::<Timestamp>(), Err(TimeError::OutOfRange));
        assert_eq!(Timestamp::from_seconds(i64::MAX), Err(TimeError::OutOfRange));
        assert_eq!(Timestamp::EPOCH.after(Duration::from_secs(u64::MAX)), Err(TimeError::OutOfRange));
        assert_eq!(
            TimeError::OutOfRange.to_string(),
            "the time leaves the range 1677-09-21T00:12:43.145224192Z to 2262-04-11T23:47:16.854775807Z"
        );
        for edge in [Timestamp::MIN, Timestamp::from_nanos(i64::MIN + 145_224_191), Timestamp::MAX] {
            assert_eq!(edge.to_string().parse(), Ok(edge));
        }
        assert_eq!("1677-09-21T00:12:43.145224191Z".parse::<Timestamp>(), Err(TimeError::OutOfRange));
        for bad in [
            "2021-02-29T00:00:00Z",
            "2021-13-01T00:00:00Z",
            "2021-01-01T24:00:00Z",
            "2021-01-01 00:00:00Z",
            "2021-01-01T00:00:00",
            "-001-01-01T00:00:00Z",
            "2021-01-01T00:00:00.Z",
            "2021-03-28T02:30:00+02:00",
            "",
        ] {
            assert!(matches!(bad.parse::<Timestamp>(), Err(TimeError::Malformed { .. })), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_and_back(nanos in proptest::prelude::any::<i64>()) {
            let time = Timestamp::from_nanos(nanos);
            proptest::prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
        }
    }
}
