//! The audit: reads a whole store once, and names everything in it that cannot be.
//!
//! It trusts nothing but what it reads, uses no state of the running services, and writes nothing. Each tenant is judged by itself:
//!
//! | file | what must hold |
//! |---|---|
//! | `chain` | every link of the chain holds the changes that it was made of; no link is missing; the log grows with them |
//! | `commits` | a change has its entries and events, and nothing of it was edited (by its digest); answers fit |
//! | `purge` | no more was let go of than the store says, and than was given free |
//! | `counters` | entries are gapless and add up; a counter is its last entry; lanes and guards; conservation in every committed state |
//! | `ledger` | balances are the sum of the transfers; holds of money are their transfers; accounts have balances |
//! | `postings` | transfers are found by what they say; reversals add up; what is closed stays as it is |
//! | `stock` | stock is the sum of its movements; holds are their movements, and what they promise is what is reserved |
//! | `orders` | an order is its fact and its events; buckets, total, payment and hold agree |
//! | `payments` | a payment is its events, its postings and its refunds |
//! | `returns` | a return is its event, at the prices that were paid, and was put away |
//! | `timers` | what runs out has a timer |
//! | `tenant` | an instance of a process stands under its key, with the index entries of its content |
//!
//! Memory grows with orders (and their lines), payments, returns, holds and counters, not with entries, events or bodies.
//!
//! *Not* noticed by [`verify`]: what leaves no trace outside the row itself, such as the token of a fence, the status of a counter or a host's own record; an end of the
//! chain that was cut off with everything that it did; and a store that was rewritten as a whole, digests and links included. [`verify_since`] notices the last two, for all
//! that was chained up to the link that a host kept.
//!
//! ```
//! # #[cfg(feature = "memory")] {
//! use txn::{audit, core::money::Currency, store::memory::Memory, InertGateway, Tenant, Txn};
//! use std::sync::Arc;
//!
//! # pollster::block_on(async {
//! let store = Arc::new(Memory::new());
//! let shop = Txn::builder(Arc::clone(&store) as _, Arc::new(InertGateway::default())).build().tenant(Tenant::default());
//! shop.ledger().open_payment_accounts(Currency::USD).await?;
//!
//! let report = audit::verify(&*store).await?;
//! assert!(report.is_clean(), "{:?}", report.violations);
//! assert_eq!((report.commits, report.counters), (3, 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # }
//! ```

mod answers;
mod chain;
mod commits;
mod counters;
mod holds;
mod ledger;
mod orders;
mod payments;
mod postings;
mod purge;
mod report;
mod returns;
mod stock;
mod tenant;
mod timers;

use std::collections::BTreeMap;

use txn_change::{Link, Tenant};
use txn_store::{Error, Row, StoreAdmin};

use chain::{Chain, Linked};
use purge::Purges;
use report::Findings;
pub use report::{Report, Rule, VIOLATIONS_MAX, Violation};
use tenant::Books;

/// Rows read at once.
const PAGE: usize = 512;

/// Reads the whole store as it is at one instant, and names every invariant that does not hold. Read-only; runs beside commits.
///
/// # Errors
/// When the store cannot be read. What can be read and is wrong is in the report.
pub async fn verify(store: &dyn StoreAdmin) -> Result<Report, Error> {
    read(store, None).await
}

/// As [`verify`]; names as well when the chain does not hold a link that was kept, from [`txn_store::Receipt::head`], [`txn_store::Health::chain`] or [`Report::chain`]: then
/// the end of the store was cut off since, or what stands before the link was rewritten.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use txn::{audit, change::Link, store::{memory::Memory, StoreAdmin}};
///
/// # pollster::block_on(async {
/// let store = Memory::new();
/// let kept = store.health().await?.chain;
/// assert!(audit::verify_since(&store, kept).await?.is_clean());
///
/// let of_another = Link { number: 7, hash: [1; 32] };
/// let report = audit::verify_since(&store, of_another).await?;
/// assert_eq!(report.violations[0].rule, audit::Rule::ChainKept);
/// # Ok::<(), txn::store::Error>(())
/// # }).unwrap();
/// # }
/// ```
///
/// # Errors
/// As [`verify`].
pub async fn verify_since(store: &dyn StoreAdmin, kept: Link) -> Result<Report, Error> {
    read(store, Some(kept)).await
}

async fn read(store: &dyn StoreAdmin, kept: Option<Link>) -> Result<Report, Error> {
    let mut audit = Audit { chain: Chain::with(kept), ..Audit::default() };
    let mut export = store.export().await?;
    loop {
        let rows = export.next(PAGE).await?;
        if rows.is_empty() {
            return Ok(audit.finish());
        }
        rows.into_iter().for_each(|row| audit.row(row));
    }
}

/// An audit under way.
#[derive(Default)]
struct Audit {
    report: Report,
    chain: Chain,
    purges: Purges,
    tenants: BTreeMap<Tenant, Books>,
}

impl Audit {
    fn row(&mut self, row: Row) {
        let Self { report, chain, purges, tenants } = self;
        let tenant = match &row {
            Row::Commit { tenant, .. } | Row::Counter { tenant, .. } | Row::Record { tenant, .. } => tenant.clone(),
            Row::Orphan { what } => {
                let mut findings = Findings { report, tenant: None };
                findings.add(Rule::RowsFit, what, "it to fit", "that it does not");
                return;
            }
            &Row::Link { link, changes, events, position } => {
                let linked = Linked { link, changes, events, position };
                chain.link(&mut Findings { report, tenant: None }, &linked);
                return;
            }
            &Row::Purged { answers, events } => {
                purges.told(answers, events);
                return;
            }
            // A kind of row that this build does not know cannot be judged by it.
            _ => return,
        };
        if !tenants.contains_key(&tenant) {
            tenants.insert(tenant.clone(), Books::default());
        }
        let books = tenants.get_mut(&tenant).expect("inserted above");
        let mut findings = Findings { report, tenant: Some(&tenant) };
        match row {
            Row::Commit { id, stored, entries, events, .. } => {
                let commit = commits::Commit { id, stored, entries, events };
                chain.change(&tenant, &commit.id, &commit.stored);
                purges.change(&mut findings, &commit.id, &commit.stored, &commit.events);
                commits::commit(books, &mut findings, commit);
            }
            Row::Counter { key, counter, .. } => {
                findings.report.counters = findings.report.counters.saturating_add(1);
                books.counters.row(&mut findings, &key, &counter);
            }
            Row::Record { key, record, indexed, .. } => {
                findings.report.records = findings.report.records.saturating_add(1);
                if tenant == Tenant::default() {
                    purges.record(&key, &record.body);
                }
                books.record(&mut findings, &key, &record, &indexed);
            }
            _ => {}
        }
    }

    fn finish(self) -> Report {
        let Self { mut report, chain, purges, tenants } = self;
        purges.close(&mut Findings { report: &mut report, tenant: None });
        chain.close(&mut Findings { report: &mut report, tenant: None });
        for (tenant, books) in tenants {
            report.tenants = report.tenants.saturating_add(1);
            books.close(&mut Findings { report: &mut report, tenant: Some(&tenant) });
        }
        // The same store gives the same report.
        report.violations.sort_by(|a, b| (&a.tenant, &a.subject).cmp(&(&b.tenant, &b.subject)));
        report
    }
}
