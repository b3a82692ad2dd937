//! A shop with a table of its own beside txn's: redeeming loyalty points takes them from the shop's table and adds to a voucher in the store, in one transaction.
//!
//! `main.rs` reads arguments and prints; everything else is here, so that a test can call it.

pub mod postgres;
pub mod sqlite;
pub mod voucher;

use std::{error, sync::Arc};

use async_trait::async_trait;
use txn::{change::Refusal, store::StoreAdmin};

/// Whatever goes wrong: an example has no use for the difference.
pub type Error = Box<dyn error::Error + Send + Sync>;

/// Points to be turned into a voucher, one cent each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redeem {
    /// Chosen by the member's device, and the same when it asks again.
    pub id: String,
    /// Who.
    pub member: String,
    /// How many, above zero.
    pub points: i64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    /// The points are gone, and the voucher has grown.
    Done,
    /// They were redeemed before under this id: nothing has changed.
    Before,
    /// The member has fewer points.
    TooFewPoints,
    /// The store refused, so the points are where they were.
    Refused(Refusal),
}

/// The same shop on either database.
#[async_trait]
pub trait Shop: Send + Sync {
    /// Where vouchers are.
    fn store(&self) -> Arc<dyn StoreAdmin>;

    /// Takes a new member in with so many points; one that is known keeps its own.
    async fn enrol(&self, member: &str, points: i64) -> Result<(), Error>;

    /// How many points a member has.
    async fn points(&self, member: &str) -> Result<i64, Error>;

    /// Takes the points and adds to the voucher: both or neither.
    async fn redeem(&self, redeem: &Redeem) -> Result<Redeemed, Error>;
}

/// How often a transaction is begun again because others were in the way.
pub const BEGIN_AGAIN_MAX: u32 = 8;

/// Two members redeem, one too much, and one asks twice. What happened, line by line.
///
/// # Errors
/// What the database says.
pub async fn demo(shop: &dyn Shop) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for member in ["ann", "bob"] {
        shop.enrol(member, 500).await?;
    }
    for (id, member, points) in [("r-1", "ann", 300), ("r-2", "bob", 200), ("r-1", "ann", 300), ("r-3", "ann", 300)] {
        let redeem = Redeem { id: id.to_owned(), member: member.to_owned(), points };
        let redeemed = shop.redeem(&redeem).await?;
        lines.push(format!("{id}: {member} redeems {points}: {redeemed:?}"));
    }
    for member in ["ann", "bob"] {
        let voucher = voucher::balance(&shop.store(), member).await?;
        lines.push(format!("{member}: {} points, a voucher of {voucher} cents", shop.points(member).await?));
    }
    Ok(lines)
}
