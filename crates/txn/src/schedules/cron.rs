//! Which instants an expression names in a zone.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Zoned, tz::TimeZone};
use txn_change::Timestamp;

/// Why an expression or a zone is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CronError {
    /// The expression cannot be read.
    #[error("{expression:?} is not a cron expression: {reason}")]
    Expression {
        /// The expression, cut at 100 characters.
        expression: String,
        /// Why.
        reason: String,
    },
    /// The zone is not known to this build.
    #[error("{zone:?} is not a time zone of this build")]
    Zone {
        /// The zone, cut at 100 characters.
        zone: String,
    },
    /// The expression names no instant that is to come, such as the 30th of February.
    #[error("{expression:?} names no instant behind {after}")]
    Never {
        /// The expression.
        expression: String,
        /// Behind this.
        after: Timestamp,
    },
    /// More of something than the limit allows.
    #[error("{found} {what}; at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// There is no such schedule, or it was cancelled.
    #[error("there is no schedule {name}")]
    Unknown {
        /// Its name.
        name: super::ScheduleName,
    },
}

/// Characters of an expression or a zone, at most.
const TEXT_MAX: usize = 100;

/// An expression in a zone.
///
/// ```
/// use txn::schedules::Expression;
/// let nights = Expression::new("30 2 * * *", "Europe/Berlin")?;
/// let before = "2030-10-26T12:00:00Z".parse().expect("a time");
/// // On this day the hour from two to three comes twice; it fires in the first.
/// assert_eq!(nights.next(before).expect("there is one").to_string(), "2030-10-27T00:30:00Z");
/// assert!(Expression::new("61 * * * *", "UTC").is_err());
/// assert!(Expression::new("* * * * *", "Europe/Atlantis").is_err());
/// # Ok::<(), txn::schedules::CronError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Expression {
    cron: Cron,
    zone: TimeZone,
}

fn shown(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

impl Expression {
    /// Reads an expression and finds its zone.
    ///
    /// # Errors
    /// [`CronError::Expression`], [`CronError::Zone`].
    pub fn new(expression: &str, zone: &str) -> Result<Self, CronError> {
        let bad = |reason: String| CronError::Expression { expression: shown(expression), reason };
        if expression.len() > TEXT_MAX {
            return Err(bad(format!("{} bytes; at most {TEXT_MAX} are allowed", expression.len())));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| bad(error.to_string()))?;
        let no_zone = || CronError::Zone { zone: shown(zone) };
        let zone = TimeZone::get(zone).map_err(|_| no_zone())?;
        Ok(Self { cron, zone })
    }

    fn zoned(&self, time: Timestamp) -> Option<Zoned> {
        // What an expression names are whole seconds.
        let seconds = time.as_nanos().div_euclid(1_000_000_000);
        Some(jiff::Timestamp::from_second(seconds).ok()?.to_zoned(self.zone.clone()))
    }

    /// The first instant behind `after`; none when there is none before 2262.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&self.zoned(after)?, false).ok()?;
        Timestamp::from_seconds(found.timestamp().as_second()).ok().filter(|found| *found > after)
    }

    /// The last instant that is not behind `until`.
    #[must_use]
    pub fn last(&self, until: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&self.zoned(until)?, true).ok()?;
        Timestamp::from_seconds(found.timestamp().as_second()).ok().filter(|found| *found <= until)
    }
}
