//! A shop that dies: `kill -9` at seeded moments of a seeded workload, over and over on one store.
//!
//! A store is tested by a kill only if the kill falls inside a commit, and a test that never hits one passes whatever the store does. A call that was begun
//! and not answered proves nothing: it may still have waited in a queue. So the process is stopped first, the kernel is asked whether it holds the lock of an
//! open write transaction, and then it is killed as it stands. The count is printed, and zero is a failure.
//!
//! What is looked at is a copy of the files that the dead process left; the store itself goes on to the next process as it was left.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use storefront::totals::Totals;
use txn::{
    Failure, Tenant, Txn,
    store::{ErrorKind, Found, Query, StoreAdmin, memory::Memory, sqlite::Sqlite},
};

use crate::{
    generator::Random,
    process::{End, Process, wait_for},
    replays::block_on,
    side_file::Known,
    workload::{Call, TENANTS, Told, Workload, txn},
};

const VARIABLE: &str = "STOREFRONT_TEST_WORKLOAD";
const SEED: u64 = 0x5eed;
const ORDERS: u64 = 240;
const KILLS_MIN: u64 = 24;
const KILLS_MAX: u64 = 160;
/// A machine on which the workload ends before it can be killed fails the test, and does not hang it.
const STORES_MAX: u64 = 200;
/// Kills inside a commit, and calls found committed that nobody was told of: as many as are waited for. One of each is enough to pass.
const HITS: u64 = 8;

/// What the kills hit.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    in_commit: u64,
    /// Calls under way whose change was found.
    present: u64,
    /// Calls under way whose change was not found.
    absent: u64,
}

impl Tally {
    fn wants_more(&self) -> bool {
        self.kills < KILLS_MIN || (self.in_commit.min(self.present) < HITS && self.kills < KILLS_MAX)
    }
}

/// A store that is killed again and again, and the files beside it.
struct Scene {
    folder: tempfile::TempDir,
    workload: Workload,
    random: Random,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let workload = Workload { seed, orders: ORDERS };
        Self { folder: tempfile::tempdir().unwrap(), workload, random: Random(seed) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn known(&self) -> Known {
        Known::read(&self.path("side"))
    }

    /// Lets a process live for a while, and kills it.
    fn kill(&mut self) -> End {
        let begun = self.known().notes.len();
        let value = format!("{} {}", self.workload.seed, self.folder.path().display());
        let mut process =
            Process::of_test("kill::a_killed_store_has_what_was_acknowledged_and_nothing_half", VARIABLE, &value);
        // Some die while they open the store.
        if !self.random.one_in(5) {
            wait_for("the workload to begin", || process.is_over() || self.known().notes.len() > begun);
        }
        thread::sleep(Duration::from_micros(self.random.next() % 60_000));
        let end = process.kill(&self.path("shop.db"));
        // Before the workload begins, the transaction of a migration is open, which is no commit of a change.
        match end {
            End::Killed { .. } if self.known().notes.len() == begun => End::Killed { in_commit: false },
            end => end,
        }
    }

    /// A copy of what the dead process left.
    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for name in ["shop.db", "shop.db-wal", "shop.db-shm", "shop.db.lock"] {
            if self.path(name).exists() {
                fs::copy(self.path(name), copy.path().join(name)).unwrap();
            }
        }
        copy
    }
}

fn open(folder: &Path) -> Result<Arc<dyn StoreAdmin>, txn::store::Error> {
    Ok(Arc::new(Sqlite::open(folder.join("shop.db"))?))
}

/// The changes of every tenant, without those of the setting up.
async fn changes(store: &Arc<dyn StoreAdmin>) -> BTreeSet<(String, String)> {
    let mut all = BTreeSet::new();
    for tenant in TENANTS {
        let mut after = None;
        loop {
            let page = store.find(&Tenant::new(tenant).unwrap(), &Query::Changes, after.as_ref(), 1_000).await.unwrap();
            all.extend(page.items.into_iter().filter_map(|found| match found {
                Found::Change(id, _) => Some((tenant.to_owned(), id.as_str().to_owned())),
                _ => None,
            }));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    all.retain(|(_, id)| !id.starts_with("account.open/") && !id.starts_with("stock.receive/"));
    all
}

async fn audit(txn: &Txn) {
    let report = txn.verify().await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.violations);
}

fn id(call: Call) -> (String, String) {
    (call.tenant().as_str().to_owned(), call.change())
}

/// Everything acknowledged is there and is answered as before; what was under way is there or not, and a repetition makes it so; nothing is half.
async fn inspect(
    store: Arc<dyn StoreAdmin>,
    workload: Workload,
    before: &Known,
    known: &Known,
) -> Result<(u64, u64), Failure> {
    let txn = txn(Arc::clone(&store));
    audit(&txn).await;
    let stored = changes(&store).await;
    let (mut present, mut absent) = (0, 0);
    for call in workload.all_calls() {
        let name = call.name();
        let is_stored = stored.contains(&id(call));
        match known.acks.get(&name) {
            Some(answer) => {
                assert!(is_stored, "{name} was acknowledged, and is lost");
                if !before.acks.contains_key(&name) {
                    let told = workload.call(&txn, call).await?;
                    assert_eq!(told, Told { replayed: true, answer: answer.clone() }, "{name}");
                }
            }
            None if known.intents.contains(&name) => {
                let told = workload.call(&txn, call).await?;
                assert_eq!(told.replayed, is_stored, "{name}");
                let again = workload.call(&txn, call).await?;
                assert_eq!(again, Told { replayed: true, ..told }, "{name}");
                *if is_stored { &mut present } else { &mut absent } += 1;
            }
            None => assert!(!is_stored, "{name} is stored, and nobody asked for it"),
        }
    }
    assert_eq!(stored.len(), stored.intersection(&workload.all_calls().map(id).collect()).count());
    assert_eq!(known.open().count() as u64, present + absent);
    audit(&txn).await;
    Ok((present, absent))
}

/// The totals of both tenants.
async fn totals(txn: &Txn) -> Vec<Totals> {
    let mut all = Vec::new();
    for tenant in TENANTS {
        all.push(Totals::fold(txn, &txn.tenant(Tenant::new(tenant).unwrap())).await.unwrap());
    }
    all
}

/// Runs what is left, then everything again: the same answers, and the totals of a shop that never died.
async fn converge(store: Arc<dyn StoreAdmin>, workload: Workload, known: Known) {
    let shop = txn(store);
    workload.set_up(&shop).await.unwrap();
    workload.run(&shop, None, known.clone()).await;
    for call in workload.all_calls() {
        let name = call.name();
        let told = workload.call(&shop, call).await.unwrap();
        assert!(told.replayed, "{name}");
        assert!(known.acks.get(&name).is_none_or(|answer| *answer == told.answer), "{name}");
    }
    let unharmed = txn(Arc::new(Memory::new()));
    workload.set_up(&unharmed).await.unwrap();
    workload.run(&unharmed, None, Known::default()).await;
    let totals_of_both = totals(&shop).await;
    assert_eq!(totals_of_both, totals(&unharmed).await);
    assert!(totals_of_both.iter().all(|totals| totals.violations == 0 && totals.orders == ORDERS / 2));
}

/// Case L7.
#[test]
fn a_killed_store_has_what_was_acknowledged_and_nothing_half() {
    if let Ok(value) = env::var(VARIABLE) {
        // This is the process that is killed.
        let (seed, folder) = value.split_once(' ').unwrap();
        return Workload { seed: seed.parse().unwrap(), orders: ORDERS }.live(Path::new(folder));
    }
    let mut tally = Tally::default();
    let mut stores = 0;
    while tally.wants_more() && stores < STORES_MAX {
        let mut scene = Scene::new(SEED + stores);
        stores += 1;
        let mut before = Known::default();
        while let End::Killed { in_commit } = scene.kill() {
            tally.kills += 1;
            tally.in_commit += u64::from(in_commit);
            let (known, copy) = (scene.known(), scene.copy());
            // A repetition of what is done must not be able to hide that it was not.
            let found = block_on(inspect(open(copy.path()).unwrap(), scene.workload, &before, &known));
            let (present, absent) = found.unwrap();
            tally.present += present;
            tally.absent += absent;
            before = known;
            if !tally.wants_more() {
                break;
            }
        }
        block_on(converge(open(scene.folder.path()).unwrap(), scene.workload, scene.known()));
    }
    let Tally { kills, in_commit, present, absent } = tally;
    println!(
        "{kills} kills of {stores} stores, {in_commit} inside an open commit; of the calls under way, {present} were committed and {absent} were not"
    );
    assert!(in_commit > 0, "no kill fell inside a commit");
    assert!(present > 0, "no kill fell between a commit and its acknowledgement");
}

/// Case F29.
#[test]
fn a_killed_store_with_a_stale_index_is_whole_and_without_its_log_is_whole_or_says_so() {
    let mut scene = Scene::new(SEED + 1_000);
    let (mut before, mut stale) = (Known::default(), None::<Vec<u8>>);
    let (mut said, mut whole, mut in_commits) = (0, 0, 0);
    let (mut kills, mut stores) = (0, 1);
    while kills < KILLS_MIN / 2 && stores < STORES_MAX {
        let End::Killed { in_commit } = scene.kill() else {
            scene = Scene::new(SEED + 1_000 + stores);
            (before, stale) = (Known::default(), None);
            stores += 1;
            continue;
        };
        kills += 1;
        in_commits += u64::from(in_commit);
        let known = scene.known();
        let copy = scene.copy();
        let index = copy.path().join("shop.db-shm");
        let left = fs::read(&index).ok();
        if let (Some(stale), Some(_)) = (&stale, &left) {
            fs::write(&index, stale).unwrap();
        }
        stale = left.or(stale);
        block_on(inspect(open(copy.path()).unwrap(), scene.workload, &before, &known)).unwrap();

        let copy = scene.copy();
        let log = copy.path().join("shop.db-wal");
        if log.exists() {
            fs::remove_file(log).unwrap();
            match open(copy.path()) {
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    said += 1;
                }
                Ok(store) => {
                    block_on(inspect(store, scene.workload, &Known::default(), &known)).unwrap();
                    whole += 1;
                }
            }
        }
        before = known;
    }
    println!(
        "{kills} kills, {in_commits} inside an open commit; without its log {said} times the store said so, and {whole} times it was whole"
    );
    assert!(in_commits > 0 && said > 0, "nothing was lost, so nothing was tested");
}
