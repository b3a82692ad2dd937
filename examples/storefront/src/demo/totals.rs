//! What a demo came to: the same numbers for people and as JSON.

use serde::Serialize;

use crate::totals::Amounts;

/// Everything that a demo came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Orders.
    pub placed: u64,
    /// Orders whose money was taken.
    pub paid: u64,
    /// Orders of which everything has arrived.
    pub completed: u64,
    /// Orders whose authorisation was declined.
    pub declined: Declined,
    /// Calls of the gateway whose answer did not come.
    pub lost_answers: LostAnswers,
    /// Orders that were called off.
    pub cancelled: Ended,
    /// Orders whose time to pay ran out.
    pub expired: u64,
    /// Holds on stock that ran out.
    pub holds_expired: u64,
    /// The item that too many wanted, in units.
    pub limited: Limited,
    /// What was sent back.
    pub returned: Sent,
    /// Refunds that no goods came back for, through the gateway.
    pub refunds: Refunds,
    /// The money.
    pub money: MoneyTotals,
    /// The stock, in units.
    pub stock: Stocked,
    /// Changes committed for the tenant.
    pub commits: u64,
    /// What the audit of the whole store found.
    pub violations: u64,
}

/// Orders whose authorisation was declined at least once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Declined {
    /// And that were paid at a later attempt.
    pub then_paid: u64,
    /// And that were called off.
    pub given_up: u64,
}

/// Calls whose answer did not come, by what was found out when the gateway was asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LostAnswers {
    /// The gateway had done it.
    pub done: u64,
    /// It had not: the request was lost, and was made again.
    pub not_executed: u64,
}

/// Orders that were called off, by where their payment was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ended {
    /// Before an attempt to pay.
    pub before_payment: u64,
    /// After attempts that were declined.
    pub after_decline: u64,
    /// After it was authorised: it was voided.
    pub voided: u64,
    /// Because the limited item was sold out.
    pub sold_out: u64,
}

/// The limited item, in units.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Limited {
    /// Which item.
    pub item: String,
    /// Ordered.
    pub wanted: u64,
    /// Shipped.
    pub sold: u64,
    /// Called off.
    pub refused: u64,
    /// Still there.
    pub left: i128,
}

/// What was sent back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Sent {
    /// Returns.
    pub returns: u64,
    /// Their units.
    pub units: u64,
    /// Of them, damaged.
    pub damaged: u64,
    /// What was paid for them.
    pub refunded: Amounts,
}

/// Refunds that no goods came back for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Refunds {
    /// Done.
    pub done: u64,
    /// Declined by the gateway, and asked for again.
    pub failed: u64,
    /// What went back.
    pub refunded: Amounts,
}

/// The money.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct MoneyTotals {
    /// What was ordered.
    pub ordered: Amounts,
    /// What was taken.
    pub captured: Amounts,
    /// What went back, for whatever reason.
    pub refunded: Amounts,
    /// The ledger's posted debits.
    pub debits: Amounts,
    /// The ledger's posted credits.
    pub credits: Amounts,
    /// The ledger's pending debits: 0 when nothing is under way.
    pub pending: Amounts,
}

/// The stock, in units.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Stocked {
    /// There.
    pub on_hand: i128,
    /// Of it, promised.
    pub reserved: i128,
    /// Of it, damaged.
    pub damaged: i128,
}
