//! Cron schedules: an event of the host's, appended at every instant that an expression names in a time zone, once for each however many runners there are.
//!
//! A schedule is a versioned record. Firing is one change: the record moves past the instants, and a [`Fired`] is appended for each of them, as the fact
//! `timer.schedule/NAME/INSTANT`. So of several runners one fires an instant, and one that dies leaves it whole or for the next. Nothing fires by itself: the host calls
//! [`Schedules::run_once`].
//!
//! **After downtime** the [`Missed`] of a schedule says what becomes of the instants that were not fired in time; a pass is bounded whatever it says.
//!
//! **Expressions** have five fields (minute, hour, day of month, month, day of week), or six with seconds in front; names of days and months, `L`, `W`, `#` and
//! `@daily` and its like are understood. Where both day fields are given, one of them is enough, as in Vixie cron.
//!
//! **When clocks are changed**, as in Vixie cron: an expression of fixed hours and minutes that falls into the hour that is left out fires at the first instant after it, and one that falls into
//! the hour that comes twice fires in the first of the two. An expression with `*` or steps in its seconds, minutes or hours leaves out what does not exist, and fires in both of the
//! hours. The rules of the zones are those that the build was made with, the same for every process of it: a host whose zones were changed by law needs a newer build.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! # use std::{sync::Arc, time::Duration};
//! use txn::schedules::{Fired, Missed, Plan, ScheduleName, Schedules};
//! use txn::{InertGateway, Tenant, Txn, change::Body, store::{ManualClock, StoreLimits, memory::Memory}};
//!
//! # pollster::block_on(async {
//! let clock = Arc::new(ManualClock::at("2030-03-30T12:00:00Z".parse()?));
//! let store = Arc::new(Memory::with(Arc::clone(&clock) as _, StoreLimits::default()));
//! let shop = Txn::builder(store, Arc::new(InertGateway::default())).build().tenant(Tenant::default());
//! let schedules = Schedules::new(&shop);
//! let plan = Plan::new("30 2 * * *", "Europe/Berlin", Missed::Coalesce);
//! schedules.set(&ScheduleName::new("close-the-day")?, &plan).await?;
//!
//! // On the day when the hour from two to three is left out, it is three o'clock there.
//! let next = schedules.run_once().await?.next_due.expect("it is set");
//! assert_eq!(next.to_string(), "2030-03-31T01:00:00Z");
//! clock.set(next);
//! assert_eq!(schedules.run_once().await?.fired, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! | metric | kind | what |
//! |---|---|---|
//! | `txn_schedule_instants_total{what}` | counter | instants that were `fired`, or `missed` and not fired of their own |

mod cron;
mod record;
mod run;
mod store;

pub use cron::{CronError, Expression};
pub(crate) use record::SCHEDULE_KIND;
pub use record::{Fired, Missed, Plan, Schedule, ScheduleName, Standing};
pub use run::Pass;
pub use store::{Listed, Schedules};
