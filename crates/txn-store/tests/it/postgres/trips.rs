//! How often a group asks the server, counted on the wire.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
};

use pollster::block_on;
use sqlx::postgres::PgConnectOptions;
use txn_change::{Change, Condition, Expect, Label};
use txn_store::{
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
async fn trips(store: &Postgres, proxy: &Proxy, groups: impl IntoIterator<Item = Vec<Change>>) -> Vec<u64> {
    const COLD: u32 = 3;
    let (mut done_by, mut counted) = (BTreeMap::<u64, u32>::new(), Vec::new());
    for group in groups {
        let before = proxy.trips();
        done(store, group).await;
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
        let groups = |of: &dyn Fn(u64) -> Vec<Change>, from: u64| (from..from + 14).map(of).collect::<Vec<_>>();
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
