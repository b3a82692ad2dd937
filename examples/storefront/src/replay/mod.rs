//! The replay of a retailer's invoices: every order placed, reserved, authorised, captured, shipped and delivered, every cancellation returned, each step one commit.
//!
//! Every id holds the file's row number, so a replay that was killed goes on where it stopped when it is run again, and one that has ended changes nothing.

mod execute;
pub mod records;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;
use txn::{
    InertGateway, Services, Tenant, Txn,
    change::{Body, Change, ChangeId, Fingerprint},
    store::{Outcome, StoreAdmin},
};

use crate::{
    invoices::{self, FileError, Plan},
    progress,
    totals::Totals,
};
use execute::Catalogue;
use records::{Import, ImportDone};

/// What stops a replay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file, or what was asked for, is at fault; nothing was committed.
    #[error("{0}")]
    Refused(String),
    /// The store or a service failed on the way; running again goes on.
    #[error("{0}")]
    Failed(String),
}

impl<E: Into<txn::Failure>> From<E> for ReplayError {
    fn from(error: E) -> Self {
        Self::Failed(error.into().to_string())
    }
}

/// A replay and the totals of its tenant.
#[derive(Debug, Serialize)]
pub struct Replay {
    /// The totals, folded from the store.
    #[serde(flatten)]
    pub totals: Totals,
    /// Whether this run committed nothing.
    pub replayed: bool,
    /// From the start to the last durable commit.
    pub seconds: Seconds,
    /// Orders in that time.
    pub orders_per_second: Seconds,
}

/// A number with three decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seconds(u64);

impl Seconds {
    /// Thousandths of a second.
    #[must_use]
    pub fn of(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// `count` in a duration, per second; 0 when there was none.
    #[must_use]
    pub fn rate(count: u64, duration: Duration) -> Self {
        let micros = duration.as_micros();
        let rate = u128::from(count).saturating_mul(1_000_000_000).checked_div(micros);
        Self(u64::try_from(rate.unwrap_or(0)).unwrap_or(u64::MAX))
    }
}

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0.div_euclid(1_000), self.0.rem_euclid(1_000))
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.to_string();
        let number: serde_json::Number = serde_json::from_str(&text).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

/// The tenant of every replay.
///
/// # Panics
/// Never: the name is valid.
#[must_use]
pub fn tenant() -> Tenant {
    Tenant::new("replay").expect("a valid tenant name")
}

/// Whether a tenant holds a replay, ended or not.
///
/// # Errors
/// [`txn::Failure`].
pub async fn is_begun(shop: &Services) -> Result<bool, txn::Failure> {
    Ok(records::read::<Import>(shop, &records::import_key()?).await?.is_some())
}

/// One run over one store.
struct Run {
    shop: Services,
    plan: Plan,
    wrote: AtomicBool,
    bar: indicatif::ProgressBar,
}

impl Run {
    fn note(&self, replayed: bool) {
        if !replayed {
            self.wrote.store(true, Ordering::Relaxed);
        }
        self.bar.inc(1);
    }

    /// Commits a record of the replay's own.
    async fn commit(&self, change: Change) -> Result<(), ReplayError> {
        match self.shop.scope().commit(change).await? {
            Outcome::Done(receipt) => {
                self.note(receipt.replayed);
                Ok(())
            }
            Outcome::Refused(refusal) => Err(ReplayError::Failed(refusal.to_string())),
            Outcome::Unknown(id) => {
                Err(ReplayError::Failed(format!("whether {id} was committed is not known; run again")))
            }
        }
    }
}

/// A file that was read and judged, so that a store need not be opened or made for one that is refused.
pub struct Prepared {
    plan: Plan,
    catalogue: Catalogue,
    started: Instant,
}

impl Prepared {
    /// Reads a file, or its first `limit` rows.
    ///
    /// # Errors
    /// [`ReplayError::Refused`], naming row, column and value.
    pub fn read(file: &Path, limit: Option<u64>) -> Result<Self, ReplayError> {
        let started = Instant::now();
        let refused = |error: FileError| ReplayError::Refused(error.to_string());
        let plan = invoices::plan(&invoices::read(file, limit).map_err(refused)?).map_err(refused)?;
        let catalogue = Catalogue::of(&plan).map_err(|fault| refused(FileError { path: file.to_owned(), fault }))?;
        Ok(Self { plan, catalogue, started })
    }

    /// Replays it into the tenant `replay`.
    ///
    /// # Errors
    /// [`ReplayError::Refused`] before the first commit, when the tenant holds another file. [`ReplayError::Failed`] afterwards.
    pub async fn run(self, store: Arc<dyn StoreAdmin>) -> Result<Replay, ReplayError> {
        run(store, self).await
    }
}

/// Reads a file and replays it into the tenant `replay`.
///
/// # Errors
/// As [`Prepared::read`] and [`Prepared::run`].
pub async fn replay(store: Arc<dyn StoreAdmin>, file: &Path, limit: Option<u64>) -> Result<Replay, ReplayError> {
    Prepared::read(file, limit)?.run(store).await
}

async fn run(store: Arc<dyn StoreAdmin>, prepared: Prepared) -> Result<Replay, ReplayError> {
    let Prepared { plan, catalogue, started } = prepared;
    let txn = Txn::builder(store, Arc::new(InertGateway::default())).build();
    let shop = txn.tenant(tenant());
    check_file(&shop, &plan).await?;
    let steps = execute::steps(&plan);
    let bar = progress::bar(steps, "replay");
    let run = Arc::new(Run { shop, plan, wrote: AtomicBool::new(false), bar });
    let is_done = records::read::<ImportDone>(&run.shop, &records::done_key()?).await?.is_some();
    if !is_done {
        begin(&run).await?;
        execute::execute(&run, Arc::new(catalogue)).await?;
        run.commit(finish()?).await?;
    }
    let elapsed = if run.wrote.load(Ordering::Relaxed) { started.elapsed() } else { Duration::ZERO };
    run.bar.finish_and_clear();
    let totals = Totals::fold(&txn, &run.shop).await.map_err(ReplayError::Failed)?;
    let orders_per_second = Seconds::rate(totals.orders, elapsed);
    Ok(Replay {
        totals,
        replayed: !run.wrote.load(Ordering::Relaxed),
        seconds: Seconds::of(elapsed),
        orders_per_second,
    })
}

/// A tenant holds one file, read with one limit.
async fn check_file(shop: &Services, plan: &Plan) -> Result<(), ReplayError> {
    let Some(import) = records::read::<Import>(shop, &records::import_key()?).await? else { return Ok(()) };
    if import.sha256 == plan.sha256 && import.limit == plan.limit {
        return Ok(());
    }
    let limit = |limit: Option<u64>| limit.map_or_else(|| "no limit".into(), |limit| format!("limit {limit}"));
    Err(ReplayError::Refused(format!(
        "the tenant {} holds another file: sha256 {} with {}, not sha256 {} with {}",
        tenant(),
        import.sha256,
        limit(import.limit),
        plan.sha256,
        limit(plan.limit)
    )))
}

async fn begin(run: &Run) -> Result<(), ReplayError> {
    let import = Import { sha256: run.plan.sha256.clone(), limit: run.plan.limit };
    let body = Body::of(&import)?;
    let id = ChangeId::new("replay.begin")?;
    let change = Change::new(id, Fingerprint::of("replay.begin", &import));
    run.commit(change.insert(records::import_key()?, body, Vec::new())).await
}

fn finish() -> Result<Change, ReplayError> {
    let change = Change::new(ChangeId::new("replay.end")?, Fingerprint::of("replay.end", &()));
    Ok(change.insert(records::done_key()?, Body::of(&ImportDone {})?, Vec::new()))
}
