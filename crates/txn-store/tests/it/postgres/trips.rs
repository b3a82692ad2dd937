//! How often a group asks the server, counted on the wire.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use pollster::block_on;
use sqlx::postgres::PgConnectOptions;
use txn_change::{Add, Change, Class, Condition, Expect, Label, Opening, Tenant};
use txn_store::{
    Commit, Outcome, Store as _,
    faults::Proxy,
    postgres::{Options, Postgres},
};

use super::{
    sample::{add, change, done, key, mixed},
    server,
};

/// A store whose sessions pass through a proxy.
pub(super) fn through_a_proxy(schema: &str) -> (Proxy, Options) {
    let server: PgConnectOptions = server::url().parse().unwrap();
    let address = (server.get_host(), server.get_port()).to_socket_addrs().unwrap().find(SocketAddr::is_ipv4).unwrap();
    let proxy = Proxy::to(address).unwrap();
    let stood = format!("{}:{}", server.get_host(), server.get_port());
    let url = server::url();
    assert!(url.contains(&stood), "a URL with host and port");
    let url = url.replace(&stood, &proxy.address().to_string());
    (proxy, Postgres::options(&url).unwrap().schema(schema).readers(1))
}

/// The round trips of each group, once the session that commits it has prepared what it needs. The chaining session, which is the first one of a store, is not counted.
async fn trips(store: &Postgres, proxy: &Proxy, groups: impl IntoIterator<Item = (Tenant, Vec<Change>)>) -> Vec<u64> {
    const COLD: u32 = 3;
    let (mut done_by, mut counted) = (BTreeMap::<u64, u32>::new(), Vec::new());
    for (tenant, group) in groups {
        let before = proxy.trips();
        let batch = group.into_iter().map(|change| Commit { tenant: tenant.clone(), change }).collect();
        for outcome in store.commit(batch).await {
            assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
        }
        let after = proxy.trips();
        let asked: BTreeMap<u64, u64> = (after.iter().skip(1))
            .map(|(session, trips)| (*session, trips - before.get(session).unwrap_or(&0)))
            .filter(|(_, trips)| *trips > 0)
            .collect();
        if asked.keys().all(|session| done_by.get(session).is_some_and(|groups| *groups >= COLD)) {
            counted.push(asked.values().sum());
        }
        asked.into_keys().for_each(|session| *done_by.entry(session).or_default() += 1);
    }
    counted
}

/// Begin, load, write, commit; a fifth where something must stay absent; and none for each row.
#[test]
fn a_group_takes_four_round_trips_or_five_however_big_it_is() {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let (proxy, options) = through_a_proxy(&schema);
        let store = options.open().await.unwrap();
        let single = |n: u64| vec![change(&format!("single/{n}")).add(add(1))];
        let many = |round: u64| (1_000..1_200).map(|nth| mixed(round, nth)).collect::<Vec<_>>();
        let absent = |mut group: Vec<Change>, n: u64| {
            let change = change(&format!("absent/{}/{n}", group.len())).require(key("absent", n), Expect::Absent);
            group.push(change.hold(key("absent", n), Condition::Version(0), Label::new("none")));
            group
        };
        let groups = |of: &dyn Fn(u64) -> Vec<Change>, from: u64| {
            (from..from + 14).map(|n| (Tenant::default(), of(n))).collect::<Vec<_>>()
        };
        for (what, groups, expected) in [
            ("one change", groups(&single, 0), 4),
            ("one that builds on absence", groups(&|n| absent(Vec::new(), n), 0), 5),
            ("two hundred", groups(&many, 0), 4),
            ("two hundred, with absence", groups(&|n| absent(many(n), n), 14), 5),
        ] {
            let counted = trips(&store, &proxy, groups).await;
            println!("{what}: {counted:?}");
            assert!(counted.len() >= 5, "{what}: too few groups of warm sessions");
            assert!(counted.iter().all(|trips| *trips == expected), "{what}: {counted:?}, not {expected}");
        }
        store.close().await;
    }))
    .unwrap();
}

/// An addition to a counter of a class of its own, which it opens or not.
fn add_to(number: u64, class: &str, opens: bool) -> Add {
    let class = Class { name: class.into(), signed: [true; 4], history: true, conserves: [None; 2] };
    let opening = Opening { class: Arc::new(class), unit: "item".into(), guards: [None; 2] };
    Add { or_open: opens.then(|| Arc::new(opening)), ..add(number) }
}

/// Each session learns each name once; what it has not met before is numbered or looked up, for all of a group at once.
#[test]
fn a_tenant_or_a_class_that_a_session_has_not_met_takes_two_round_trips_more_and_a_class_that_is_only_stored_one() {
    block_on(server::RUNTIME.spawn(async {
        let schema = server::fresh_schema();
        let (proxy, options) = through_a_proxy(&schema);
        let store = options.open().await.unwrap();
        // Another process has opened counters of classes that nobody here has heard of.
        let other = server::options(&schema).open().await.unwrap();
        for n in 0..14 {
            let opening = change(&format!("opening/{n}")).add(add_to(5_000 + n, &format!("foreign-{n}"), true));
            done(&other, vec![opening]).await;
        }
        other.close().await;
        let tenant = |what: &str, n: u64| Tenant::new(format!("{what}-{n}")).unwrap();
        let of = |what: &'static str, n: u64| change(&format!("{what}/{n}"));
        let own = |what: &'static str, n: u64, class: String| of(what, n).add(add_to(6_000 + n, &class, true));
        let groups = |of: &dyn Fn(u64) -> (Tenant, Vec<Change>)| (0..14).map(of).collect::<Vec<_>>();
        for (what, groups, expected) in [
            ("a known tenant and class", groups(&|n| (Tenant::default(), vec![of("known", n).add(add(n))])), 4),
            ("a new tenant", groups(&|n| (tenant("new", n), vec![of("tenant", n).add(add(n))])), 6),
            ("a new class", groups(&|n| (Tenant::default(), vec![own("class", n, format!("class-{n}"))])), 6),
            (
                "two new classes",
                groups(&|n| {
                    let two = (0..2).map(|nth| own("class", 100 + n * 2 + nth, format!("two-{n}-{nth}")));
                    (Tenant::default(), two.collect())
                }),
                6,
            ),
            (
                "a new tenant and class",
                groups(&|n| (tenant("both", n), vec![own("both", 200 + n, format!("both-{n}"))])),
                8,
            ),
            (
                "a class that is stored",
                groups(&|n| (Tenant::default(), vec![of("stored", n).add(add_to(5_000 + n, "not said", false))])),
                5,
            ),
        ] {
            let counted = trips(&store, &proxy, groups).await;
            println!("{what}: {counted:?}");
            assert!(counted.len() >= 5, "{what}: too few groups of warm sessions");
            assert!(counted.iter().all(|trips| *trips == expected), "{what}: {counted:?}, not {expected}");
        }
        // What was met once is known: the same tenants and classes again, by the sessions that met them or by one that did not.
        let again = groups(&|n| (tenant("new", 0), vec![of("again", n).add(add(n))]));
        let known = trips(&store, &proxy, again).await;
        println!("a tenant that is known: {known:?}");
        assert!(known.len() >= 5 && known.iter().filter(|trips| **trips != 4).count() <= 1, "{known:?}");
        store.close().await;
    }))
    .unwrap();
}
