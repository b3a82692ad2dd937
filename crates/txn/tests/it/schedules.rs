//! Cron schedules on every backend: zones, changed clocks, downtime, several runners, deaths.

use std::{sync::Arc, time::Duration};

use txn::{
    Failure, InertGateway, Rejection, Tenant, Txn,
    change::{Body, Timestamp},
    schedules::{CronError, Expression, Fired, Missed, Plan, ScheduleName, Schedules, Standing},
    store::{Clock, ManualClock, Position, Store, StoreAdmin, StoreLimits, memory::Memory, sqlite::Sqlite},
};

use crate::process::mortal::Mortal;

struct World {
    txn: Txn,
    store: Arc<Mortal>,
    clock: Arc<ManualClock>,
    schedules: Schedules,
    _folder: Option<tempfile::TempDir>,
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn world(store: Arc<dyn StoreAdmin>, clock: Arc<ManualClock>, folder: Option<tempfile::TempDir>) -> World {
    let store = Arc::new(Mortal::new(store));
    let txn = Txn::builder(Arc::clone(&store) as _, Arc::new(InertGateway::default())).build();
    let schedules = Schedules::new(&txn.tenant(Tenant::default()));
    World { txn, store, clock, schedules, _folder: folder }
}

fn in_memory() -> World {
    let clock = Arc::new(ManualClock::at(time("2030-01-01T00:00:00Z")));
    world(Arc::new(Memory::with(Arc::clone(&clock) as _, StoreLimits::default())), clock, None)
}

fn on_sqlite() -> World {
    let (clock, folder) = (Arc::new(ManualClock::at(time("2030-01-01T00:00:00Z"))), tempfile::tempdir().unwrap());
    let sqlite = Sqlite::options(folder.path().join("shop.db")).clock(Arc::clone(&clock) as _).open().unwrap();
    world(Arc::new(sqlite), clock, Some(folder))
}

#[cfg(feature = "servers")]
fn on_postgres() -> World {
    let clock = Arc::new(ManualClock::at(time("2030-01-01T00:00:00Z")));
    world(crate::relay::postgres::store(&clock), clock, None)
}

fn on_all(test: impl AsyncFn(&World)) {
    let worlds: Vec<fn() -> World> = vec![
        in_memory,
        on_sqlite,
        #[cfg(feature = "servers")]
        on_postgres,
    ];
    for world in worlds.into_iter().map(|make| make()) {
        pollster::block_on(async {
            test(&world).await;
            let report = world.txn.verify().await.unwrap();
            assert!(report.violations.is_empty(), "{:#?}", report.violations);
        });
    }
}

fn name(text: &str) -> ScheduleName {
    ScheduleName::new(text).unwrap()
}

impl World {
    fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn set(&self, text: &str, cron: &str, missed: Missed) {
        self.schedules.set(&name(text), &Plan::new(cron, "UTC", missed)).await.unwrap();
    }

    /// Passes until nothing is due.
    async fn run(&self) -> (u64, u64) {
        let (mut fired, mut missed) = (0, 0);
        loop {
            let pass = self.schedules.run_once().await.unwrap();
            assert!(pass.failures.is_empty(), "{:?}", pass.failures);
            (fired, missed) = (fired + pass.fired, missed + pass.missed);
            if pass.next_due.is_none_or(|due| due > self.clock.now()) {
                return (fired, missed);
            }
        }
    }

    /// What was fired, in the order of the log.
    async fn fired(&self) -> Vec<Fired> {
        let (mut fired, mut after) = (Vec::new(), Position(0));
        loop {
            let page = self.store.read(after, 1_000).await.unwrap();
            let Some(last) = page.items.last() else { return fired };
            after = last.position;
            fired.extend(page.items.iter().filter_map(|item| item.recorded.event.body.read::<Fired>().ok()));
        }
    }

    async fn instants(&self, text: &str) -> Vec<String> {
        let of_it = |fired: &Fired| *fired.schedule == *text;
        self.fired().await.iter().filter(|fired| of_it(fired)).map(|fired| fired.due.to_string()).collect()
    }
}

/// What was due was more than a change may have, and so it stayed due for ever.
#[test]
fn what_was_missed_of_a_schedule_with_a_large_payload_is_made_up_for_in_changes_that_fit() {
    on_all(async |world| {
        // Within a document a quote takes four bytes.
        let quotes = format!("\"{}\"", r#"\""#.repeat(32_000));
        for (text, missed) in [("all", Missed::All { max: 256 }), ("skip", Missed::Skip)] {
            let plan = Plan::new("* * * * *", "UTC", missed).grace(Duration::from_secs(86_400));
            let plan = plan.payload(Body::raw("report", 1, quotes.clone().into_bytes()));
            world.schedules.set(&name(text), &plan).await.unwrap();
        }
        world.later(3_600);
        let pass = world.schedules.run_once().await.unwrap();
        assert!(pass.failures.is_empty(), "{:?}", pass.failures);
        assert!(pass.fired > 2 && pass.next_due.unwrap() < world.clock.now(), "{pass:?}");
        let (fired, missed) = world.run().await;
        assert_eq!((pass.fired + fired, missed), (120, 0));
        for text in ["all", "skip"] {
            let instants = world.instants(text).await;
            assert_eq!(instants.len(), 60);
            assert!(instants.is_sorted());
        }
    });
}

/// Case Q42.
#[test]
fn after_six_hours_of_downtime_each_schedule_makes_up_as_its_policy_says_and_no_pass_is_unbounded() {
    on_all(async |world| {
        world.set("skip", "*/10 * * * *", Missed::Skip).await;
        world.set("coalesce", "*/10 * * * *", Missed::Coalesce).await;
        world.set("all", "*/10 * * * *", Missed::All { max: 5 }).await;
        world.later(6 * 3_600);
        let pass = world.schedules.run_once().await.unwrap();
        // 36 instants; the last is in time.
        assert_eq!((pass.fired, pass.missed), (1 + 1 + 5, 35 + 35));
        assert!(pass.next_due.unwrap() < world.clock.now(), "there is more to make up for");
        assert_eq!(world.run().await, (31, 0));
        assert_eq!(world.instants("skip").await, ["2030-01-01T06:00:00Z"]);
        assert_eq!(world.instants("coalesce").await, ["2030-01-01T06:00:00Z"]);
        let coalesced = world.fired().await.into_iter().find(|fired| fired.schedule.as_str() == "coalesce").unwrap();
        assert_eq!(coalesced.missed, 35);
        let all = world.instants("all").await;
        assert_eq!((all.len(), all.is_sorted()), (36, true), "each, the oldest first");

        // What is a little late was not missed.
        world.later(10 * 60 + 59);
        assert_eq!(world.run().await, (3, 0));
        world.later(9 * 60 + 2);
        assert_eq!(world.run().await, (3, 0));
        world.later(11 * 60);
        assert_eq!(world.run().await, (2, 1), "more than a minute late");
    });
}

/// Case Q42. Years of a schedule of every second are neither walked through nor fired at once.
#[test]
fn a_schedule_of_every_second_after_years_is_bounded() {
    let world = in_memory();
    pollster::block_on(async {
        world.set("skip", "* * * * * *", Missed::Skip).await;
        world.set("coalesce", "* * * * * *", Missed::Coalesce).await;
        world.set("all", "* * * * * *", Missed::All { max: 256 }).await;
        world.later(5 * 365 * 86_400);
        let pass = world.schedules.run_once().await.unwrap();
        assert_eq!(pass.fired, 61 + 1 + 256);
        assert_eq!(pass.missed, 20_000, "counted so far only");
    });
}

/// Case Q41.
#[test]
fn of_several_runners_one_fires_an_instant() {
    on_all(async |world| {
        for index in 0..20 {
            world.set(&format!("s-{index}"), "* * * * *", Missed::All { max: 3 }).await;
        }
        for _ in 0..5 {
            world.later(120);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let schedules = world.schedules.clone();
                        pollster::block_on(schedules.run_once()).unwrap();
                    });
                }
            });
        }
        world.run().await;
        for index in 0..20 {
            let mut instants = world.instants(&format!("s-{index}")).await;
            assert!(instants.is_sorted(), "{instants:?}");
            instants.dedup();
            assert_eq!(instants.len(), 10, "each once");
        }
    });
}

/// Case Q41. The leader dies before or after any of its commits.
#[test]
fn what_a_leader_left_when_it_died_is_fired_by_the_next_and_once() {
    for boundary in 0..12 {
        on_all(async |world| {
            for index in 0..5 {
                world.set(&format!("s-{index}"), "* * * * *", Missed::All { max: 256 }).await;
            }
            world.later(180);
            world.store.dies_after(boundary);
            let _ = world.schedules.run_once().await;
            world.store.lives();
            world.run().await;
            let mut fired: Vec<_> = world.fired().await.into_iter().map(|fired| (fired.schedule, fired.due)).collect();
            assert_eq!(fired.len(), 15, "at boundary {boundary}");
            fired.sort();
            fired.dedup();
            assert_eq!(fired.len(), 15);
        });
    }
}

#[test]
fn clocks_that_are_changed_leave_out_nothing_that_is_fixed_and_repeat_nothing_that_is_fixed() {
    let instants = |cron: &str, zone: &str, from: &str, until: &str| {
        let expression = Expression::new(cron, zone).unwrap();
        let (mut at, mut instants) = (time(from), Vec::new());
        while let Some(next) = expression.next(at).filter(|next| *next <= time(until)) {
            assert!(next > at);
            assert_eq!(expression.last(next), Some(next), "the same, looked for from behind");
            instants.push(next.to_string());
            at = next;
        }
        instants
    };
    // In Berlin, two o'clock is three on the last Sunday of March, and three is two on that of October.
    let spring = ("2030-03-30T12:00:00Z", "2030-04-01T12:00:00Z");
    let fixed = instants("30 2 * * *", "Europe/Berlin", spring.0, spring.1);
    assert_eq!(fixed, ["2030-03-31T01:00:00Z", "2030-04-01T00:30:00Z"], "fired behind what is left out");
    let half_hours = instants("*/30 * * * *", "Europe/Berlin", "2030-03-31T00:00:00Z", "2030-03-31T02:00:00Z");
    let expected = ["2030-03-31T00:30:00Z", "2030-03-31T01:00:00Z", "2030-03-31T01:30:00Z", "2030-03-31T02:00:00Z"];
    assert_eq!(half_hours, expected, "none is left out of those that exist");
    let autumn = ("2030-10-26T12:00:00Z", "2030-10-28T12:00:00Z");
    let fixed = instants("30 2 * * *", "Europe/Berlin", autumn.0, autumn.1);
    assert_eq!(fixed, ["2030-10-27T00:30:00Z", "2030-10-28T01:30:00Z"], "fired in the first of the two");
    let hours = instants("0 * * * *", "Europe/Berlin", "2030-10-26T23:30:00Z", "2030-10-27T03:00:00Z");
    let expected = ["2030-10-27T00:00:00Z", "2030-10-27T01:00:00Z", "2030-10-27T02:00:00Z", "2030-10-27T03:00:00Z"];
    assert_eq!(hours, expected, "in both of the hours");
    // A change of half an hour, one at midnight, and a zone without any.
    let half = instants("15 2 * * *", "Australia/Lord_Howe", "2030-10-05T12:00:00Z", "2030-10-07T12:00:00Z");
    assert_eq!(half.len(), 2, "{half:?}");
    let midnight = instants("0 0 * * *", "America/Santiago", "2030-09-07T12:00:00Z", "2030-09-09T12:00:00Z");
    assert_eq!(midnight.len(), 2, "{midnight:?}");
    let calm = instants("30 2 * * *", "Asia/Shanghai", "2030-01-01T00:00:00Z", "2030-01-03T00:00:00Z");
    assert_eq!(calm, ["2030-01-01T18:30:00Z", "2030-01-02T18:30:00Z"]);
    // Each day once, over two years of changes.
    let year = instants("30 2 * * *", "America/New_York", "2030-01-01T12:00:00Z", "2032-01-01T12:00:00Z");
    assert_eq!(year.len(), 730);
    let months = instants("0 12 L * *", "Europe/Paris", "2031-12-31T23:00:00Z", "2032-03-31T23:00:00Z");
    assert_eq!(months, ["2032-01-31T11:00:00Z", "2032-02-29T11:00:00Z", "2032-03-31T10:00:00Z"]);
}

#[test]
fn a_schedule_is_set_changed_paused_resumed_and_cancelled() {
    on_all(async |world| {
        let minutely = name("minutely");
        let payload = Body::raw("report", 1, br#"{"of":"sales"}"#.to_vec());
        let plan = Plan::new("* * * * *", "UTC", Missed::All { max: 10 }).payload(payload);
        world.schedules.set(&minutely, &plan).await.unwrap();
        world.later(60);
        // Set again as it is, it loses nothing that is due.
        world.schedules.set(&minutely, &plan).await.unwrap();
        assert_eq!(world.run().await, (1, 0));
        assert_eq!(world.fired().await[0].payload.as_ref().unwrap().json, r#"{"of":"sales"}"#);

        world.schedules.pause(&minutely).await.unwrap();
        world.later(600);
        assert_eq!(world.run().await, (0, 0));
        world.schedules.resume(&minutely).await.unwrap();
        assert_eq!(world.run().await, (0, 0), "what it was paused over was not missed");
        world.later(60);
        assert_eq!(world.run().await, (1, 0));

        let mut rarer = plan.clone();
        rarer.cron = "*/5 * * * *".to_owned();
        world.schedules.set(&minutely, &rarer).await.unwrap();
        world.later(300);
        assert_eq!(world.run().await, (1, 0));

        world.schedules.cancel(&minutely).await.unwrap();
        world.schedules.cancel(&minutely).await.unwrap();
        world.later(600);
        assert_eq!(world.run().await, (0, 0));
        assert_eq!(world.schedules.get(&minutely).await.unwrap().unwrap().standing, Standing::Cancelled);
        let unknown = world.schedules.pause(&minutely).await.unwrap_err();
        assert!(matches!(unknown, Failure::Rejected(Rejection::Schedule(CronError::Unknown { .. }))), "{unknown}");
        world.schedules.cancel(&name("never-set")).await.unwrap();

        world.schedules.set(&minutely, &plan).await.unwrap();
        world.later(60);
        assert_eq!(world.run().await, (1, 0), "it is set anew");
        let all = world.fired().await;
        assert!(all.iter().zip(all.iter().skip(1)).all(|(a, b)| a.due < b.due));
        world.set("other", "@daily", Missed::Skip).await;
        let first = world.schedules.list(None, 1).await.unwrap();
        let second = world.schedules.list(first.next.as_ref(), 1).await.unwrap();
        let names: Vec<_> = first.schedules.iter().chain(&second.schedules).map(|s| s.name.to_string()).collect();
        assert_eq!(names, ["minutely", "other"]);
    });
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    let world = in_memory();
    pollster::block_on(async {
        let refused = async |cron: &str, zone: &str, missed| match world
            .schedules
            .set(&name("bad"), &Plan::new(cron, zone, missed))
            .await
            .unwrap_err()
        {
            Failure::Rejected(Rejection::Schedule(error)) => error,
            other => panic!("{other}"),
        };
        for cron in ["", "* * * *", "60 * * * *", "* * * * * * *", "x", "\u{0}", &"* ".repeat(99), "@nightly"] {
            let error = refused(cron, "UTC", Missed::Skip).await;
            assert!(matches!(error, CronError::Expression { .. }), "{cron:?}: {error}");
        }
        for zone in ["", "Europe/Atlantis", "../etc/passwd"] {
            assert!(matches!(refused("@daily", zone, Missed::Skip).await, CronError::Zone { .. }), "{zone}");
        }
        let never = refused("0 0 30 2 *", "UTC", Missed::Skip).await;
        assert!(matches!(never, CronError::Never { .. }), "{never}");
        for max in [0, 257] {
            assert!(matches!(refused("@daily", "UTC", Missed::All { max }).await, CronError::TooMany { .. }));
        }
        assert!(world.schedules.get(&name("bad")).await.unwrap().is_none());
    });
}
