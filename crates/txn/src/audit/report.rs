//! What an audit found: counts of what was read, and every rule that does not hold, with where, what was expected and what is there.

use std::fmt;

use txn_change::{Link, Tenant};

macro_rules! rules {
    ($($name:ident => $sentence:literal;)*) => {
        /// What must hold. Displayed as the sentence of its documentation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $sentence] $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl fmt::Display for Rule {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $sentence,)*
                })
            }
        }
    };
}

rules! {
    RowsFit => "every stored row fits the others and can be read";
    ChangeWhole => "a change has all of its entries and events";
    PurgedAsTold => "what was let go of lies before where the log begins, and that was given free by a change, and by every consumer";
    ChangeUnedited => "the command, answer, entries and events of a change are those that it was committed with";
    ChainGapless => "the links of the chain are numbered from 1 without gaps";
    LinkWhole => "a link holds the changes that it was made of, no fewer and no more";
    LinkUnedited => "the hash of a link is that over its changes, in order, and the link before";
    LinkCounts => "a link states how many changes and events it holds";
    ChainKept => "the chain holds the link that was kept";
    LogInOrder => "with every link the log grows by its events at least";
    EventOfChange => "an entry or event carries the tenant, id and time of its change";
    AnswerTrue => "an answer says what its change did";
    EntriesGapless => "the entries of a counter are numbered from 1 without gaps";
    EntriesInTime => "the entries of a counter never go back in the time of commit";
    EntriesAdd => "an entry's lanes are those before it and what it added";
    CounterExists => "a counter with entries exists";
    CounterIsLastEntry => "a counter stands where its last entry left it";
    CounterSound => "a counter's class, unit, guards and version are those of what it counts";
    LaneNotNegative => "a lane that is not signed is not below zero";
    GuardHolds => "a guard holds unless an entry was forced past it";
    Conserved => "what a class conserves adds up to zero in every change, and in all";
    FactsAreEntries => "a counter is the sum of the facts about it";
    Readable => "what txn writes can be read back";
    KeyOfBody => "a record stands under the key of what it holds";
    Indexed => "a record is indexed by its terms, and those are the terms of what it holds";
    VersionCounts => "a record's version is the number of its steps";
    OrderPlaced => "an order and the fact that it was placed exist together";
    OrderTotal => "an order's total, lines and units are those of its lines, and of the fact that it was placed";
    OrderBuckets => "the units of a line are in one place each";
    OrderSteps => "an order's lines stand where its events left them";
    OrderLifecycle => "an order moves along its lifecycle, and stands where its last event left it";
    OrderPayment => "an order that costs something has one payment over its total, and ships when it is captured";
    OrderHold => "what an order shipped left its hold, and an order that was called off or expired holds nothing";
    MovementSound => "a movement fits its kind and its cause, within what was held, and a hold is reserved once and ends once";
    HoldIsItsMovements => "a hold stands where its movements left it";
    HoldsReserve => "what live holds still promise of an item is what is reserved of it";
    PaymentPath => "a payment moves along its machine";
    PaymentIsItsEvents => "a payment stands where its events left it";
    PaymentSound => "refunded and refunding are within captured, and captured is within the amount";
    PaymentPosted => "the ledger holds, posts or gives back what a payment says";
    RefundsAddUp => "a payment's refunds add up to what it says was refunded and is being refunded";
    RefundPosted => "a refund that is done is posted once, and no other is";
    ReturnReceived => "a return that was received and the event of it exist together and agree";
    ReturnRefund => "what went back for a return is the price of what came back";
    ReturnStocked => "what came back was put into stock";
    LedgerHoldIsItsTransfers => "a ledger hold stands where its transfers left it";
    AccountIsItsEvents => "an account's record and status are where its events left them";
    AccountHasParent => "the account that another one is a part of exists, in its currency, one level above";
    TransferIndexed => "a transfer is indexed by what it says: its id, its reference, what it corrects or reverses, and when it counts";
    ReversalsAddUp => "what was reversed of a transfer is the sum of its reversals, and no more than the transfer";
    PeriodKept => "nothing that counts in a closed period was recorded after it was closed";
    AccountHasBalance => "an account and its balance exist together";
    TimerSet => "what runs out has a timer";
}

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The tenant; none for a row that belongs to nobody.
    pub tenant: Option<Tenant>,
    /// Where: a key, an id, or a row.
    pub subject: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Violation {
    /// One line: tenant, subject, the rule, expected and found.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tenant) = &self.tenant {
            write!(f, "{tenant}: ")?;
        }
        let Self { rule, subject, expected, found, .. } = self;
        write!(f, "{subject}: {rule}: expected {expected}, found {found}")
    }
}

/// Violations that a report keeps, at most; the rest are counted.
pub const VIOLATIONS_MAX: usize = 1_000;

/// What an audit read, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// Changes read.
    pub commits: u64,
    /// Entries read.
    pub entries: u64,
    /// Events read.
    pub events: u64,
    /// Counters read.
    pub counters: u64,
    /// Records read.
    pub records: u64,
    /// Tenants seen.
    pub tenants: u64,
    /// The last link of the chain.
    pub chain: Link,
    /// Changes behind it: committed, and not yet in the chain.
    pub unchained: u64,
    /// The first [`VIOLATIONS_MAX`] violations.
    pub violations: Vec<Violation>,
    /// How many there are in all.
    pub violations_total: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.violations_total == 0
    }
}

/// Where the checks of one tenant put what they find.
pub(super) struct Findings<'a> {
    pub(super) report: &'a mut Report,
    pub(super) tenant: Option<&'a Tenant>,
}

impl Findings<'_> {
    /// Adds a violation. Texts are made only while they are kept.
    pub(super) fn add(
        &mut self,
        rule: Rule,
        subject: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) {
        self.report.violations_total = self.report.violations_total.saturating_add(1);
        if self.report.violations.len() < VIOLATIONS_MAX {
            self.report.violations.push(Violation {
                rule,
                tenant: self.tenant.cloned(),
                subject: subject.to_string(),
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }

    /// Adds a violation when two values differ.
    pub(super) fn same<T: PartialEq + fmt::Display>(
        &mut self,
        rule: Rule,
        subject: impl fmt::Display,
        what: &str,
        expected: T,
        found: T,
    ) {
        if expected != found {
            self.add(rule, subject, format_args!("{what} {expected}"), found);
        }
    }

    /// The same for values that have a name in code only.
    pub(super) fn same_name<T: PartialEq + fmt::Debug>(
        &mut self,
        rule: Rule,
        subject: impl fmt::Display,
        what: &str,
        expected: T,
        found: T,
    ) {
        if expected != found {
            self.add(rule, subject, format_args!("{what} {expected:?}"), format_args!("{found:?}"));
        }
    }
}
