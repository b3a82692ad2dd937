//! Processes and schedules.

use txn::process::{ListBy, Phase, Processes, Registry, Remedy};

use super::*;
use crate::process::{
    about,
    bank::{Bank, Told},
    incoming,
    mortal::Mortal,
    people, shop,
    shop::Checkout,
    steps,
    versions::Next,
};

pub(super) async fn processes(world: &World, round: &mut Round) {
    let n = round.polls;
    let bank = Arc::new(Bank::of(Arc::new(Mortal::new(Arc::clone(world.txn.store())))));
    let registry = || steps(Registry::builder(), &bank).process(Checkout).unwrap();
    let processes = Processes::new(&world.shop, registry().build().unwrap());
    let name = format!("p-{n}");
    let placed = incoming(&name, "e-1", shop::Event::Placed);
    call!(round, "Processes::handle", processes.handle(&placed));
    let runner = processes.runner();
    call!(round, "Runner::run_once", runner.run_once());
    // What was dropped with a claim is asked about when that has run out.
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(61));
        while runner.run_once().await.unwrap().did_something() {}
    }
    let instance = call!(round, "Processes::get", processes.get("checkout", &about(&name))).unwrap();
    assert_eq!((instance.phase, instance.state.as_deref()), (Phase::Finished, Some("Done")));
    assert_eq!(bank.done(), ["reserve", "authorise", "capture"]);
    let tally = world.shop.scope().record(shop::tally_key(&about(&name))).await.unwrap().unwrap();
    assert_eq!(tally.body.read::<shop::Tally>().unwrap().applied, 4);
    assert!(call!(round, "Processes::data", processes.data::<Checkout>(&about(&name))).is_some());
    call!(round, "Processes::list", processes.list("checkout", &ListBy::Version(1), None, 9));
    call!(round, "Processes::timeline", processes.timeline("checkout", &about(&name), None, 9));
    assert_eq!(call!(round, "Processes::parked", processes.parked()), []);

    bank.tell("reserve", &[Told::LostAfter]);
    bank.mute(4);
    let name = format!("stuck-{n}");
    processes.handle(&incoming(&name, "e-1", shop::Event::Placed)).await.unwrap();
    while processes.get("checkout", &about(&name)).await.unwrap().unwrap().phase != Phase::Stuck {
        world.clock.advance(Duration::from_secs(61));
        runner.run_once().await.unwrap();
    }
    let order = people::order("h-1");
    call!(round, "Processes::help", processes.help("checkout", &about(&name), &Remedy::Skip(None), &order));
    let both = Processes::new(&world.shop, registry().process(Next).unwrap().build().unwrap());
    let lift = |state: &str, data: &txn::change::Body| Some((state.to_owned(), data.clone()));
    call!(round, "Processes::migrate", both.migrate("checkout", &about(&name), 2, lift, &order));
    let migrated = processes.get("checkout", &about(&name)).await.unwrap().unwrap();
    assert_eq!((migrated.version, migrated.phase), (2, Phase::Running));
    // It ends, so that it is not parked in the next round.
    both.handle(&incoming(&name, "e-2", shop::Event::Cancel)).await.unwrap();
    while both.runner().run_once().await.unwrap().did_something() {}
    assert_eq!(processes.get("checkout", &about(&name)).await.unwrap().unwrap().phase, Phase::Finished);
}

#[cfg(feature = "cron")]
pub(super) async fn schedules(world: &World, round: &mut Round) {
    use txn::schedules::{Missed, Plan, ScheduleName, Schedules, Standing};
    let schedules = Schedules::new(&world.shop);
    let name = ScheduleName::new(format!("s-{}", round.polls)).unwrap();
    let plan = Plan::new("* * * * *", "Europe/Berlin", Missed::Coalesce);
    call!(round, "Schedules::set", schedules.set(&name, &plan));
    let before = call!(round, "Schedules::get", schedules.get(&name)).unwrap();
    world.clock.advance(Duration::from_secs(60));
    call!(round, "Schedules::run_once", schedules.run_once());
    assert!(schedules.get(&name).await.unwrap().unwrap().next > before.next);
    call!(round, "Schedules::pause", schedules.pause(&name));
    call!(round, "Schedules::resume", schedules.resume(&name));
    call!(round, "Schedules::list", schedules.list(None, 9));
    call!(round, "Schedules::cancel", schedules.cancel(&name));
    assert_eq!(schedules.get(&name).await.unwrap().unwrap().standing, Standing::Cancelled);
}
