//! Statements: what an account had, what moved, and what it came to.

use std::collections::VecDeque;

use txn_change::{ChangeId, Entry, Key, Kind, Lanes, Timestamp};
use txn_core::{
    id::{AccountId, TransferId},
    ledger::{Balance, transfer_of},
    money::Currency,
};
use txn_store::{Cursor, Query, Range};

use super::{
    Ledger,
    history::{Dated, From, History, PAGE, plus},
};
use crate::failure::Failure;

/// Which of its two times places a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Axis {
    /// When it counts.
    Effective,
    /// When it was recorded.
    Recorded,
}

/// Which statement is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementOf {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// The first instant that it covers.
    pub from: Timestamp,
    /// The first that it does not cover any more.
    pub until: Timestamp,
    /// By which time.
    pub axis: Axis,
    /// As it was known at this instant, in the store's time; else by all that is known when its first page is read.
    pub known: Option<Timestamp>,
}

/// One posting on a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The transfer; `None` for one with an id of more than 63 bytes that was not posted by itself, where the change says which it was.
    pub transfer: Option<TransferId>,
    /// The change that recorded it.
    pub change: ChangeId,
    /// When it counts.
    pub effective_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What it moved on the account.
    pub moved: Balance,
    /// The balance behind it, by the statement's axis.
    pub after: Balance,
}

/// A page of a statement. The opening and the closing balance are those of the whole: the opening balance and all lines add up to the closing one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The balance before the first line of the first page.
    pub opening: Balance,
    /// Lines, in order.
    pub lines: Vec<Line>,
    /// The balance behind the last line of the last page.
    pub closing: Balance,
    /// Where the next page begins; `None` behind the last.
    pub next: Option<Cursor>,
}

/// Where a page begins, and what all pages share.
#[derive(Clone)]
struct Place {
    /// The last entry that is seen.
    last: u64,
    /// The entry behind which lines go on.
    entry: u64,
    /// The last entry that may be a line.
    end: u64,
    opening: Lanes,
    closing: Lanes,
    running: Lanes,
    /// Where dated transfers go on.
    dated: Option<From>,
}

impl Ledger<'_> {
    /// A page of an account's statement: at most `limit` lines behind the cursor. All pages of a statement show what was known when its first was read, whatever is posted meanwhile.
    ///
    /// The running balance is computed, and not stored: a posting that is dated back stands in its place in every statement that is made later, with all balances behind it, and changes nothing in one as it was known before.
    ///
    /// ```
    /// # #[cfg(feature = "memory")] {
    /// # use std::sync::Arc;
    /// # use txn::{Axis, StatementOf, change::Timestamp, core::{id::{AccountId, TransferId}, ledger::{NormalSide, Transfer}, money::{Currency, Money}}, store::memory::Memory, InertGateway, Tenant, Txn};
    /// # pollster::block_on(async {
    /// # let shop = Txn::builder(Arc::new(Memory::new()), Arc::new(InertGateway::default())).build().tenant(Tenant::default());
    /// # shop.ledger().open_payment_accounts(Currency::USD).await?;
    /// let (gateway, sales) = (AccountId::new("assets:gateway")?, AccountId::new("income:sales")?);
    /// for (id, day) in [("s-2", "2020-05-20T00:00:00Z"), ("s-1", "2020-05-10T00:00:00Z")] {
    ///     let sale = Transfer::simple(TransferId::new(id)?, gateway.clone(), sales.clone(), Money::from_minor(100, Currency::USD));
    ///     shop.effective_at(day.parse()?).ledger().transfer(&sale).await?;
    /// }
    /// let may = StatementOf {
    ///     account: sales,
    ///     currency: Currency::USD,
    ///     from: "2020-05-01T00:00:00Z".parse()?,
    ///     until: "2020-06-01T00:00:00Z".parse()?,
    ///     axis: Axis::Effective,
    ///     known: None,
    /// };
    /// let statement = shop.ledger().statement(&may, None, 100).await?;
    /// let after: Vec<_> = statement.lines.iter().map(|line| line.after.posted(NormalSide::Credit).minor()).collect();
    /// assert_eq!((statement.lines[0].transfer.as_deref(), after), (Some("s-1"), vec![100, 200]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Rejection::Ledger`]: `UnknownAccount`. [`Failure::Store`] for a cursor of another statement, and for a limit of 0 or above [`Statement::LINES_MAX`]. [`Failure::Unreadable`] as [`Ledger::balance_as_of`].
    pub async fn statement(
        &self,
        of: &StatementOf,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Statement, Failure> {
        if limit == 0 || limit > Statement::LINES_MAX {
            let context = format!("a page of {limit} lines; 1 to {} are allowed", Statement::LINES_MAX);
            return Err(txn_store::Error::new(txn_store::ErrorKind::Invalid, context).into());
        }
        let bound = bound(of)?;
        let tenant = self.services.decider.scope.tenant();
        let begun = after.map(|cursor| Place::read(&cursor.open(tenant, &bound)?).ok_or_else(foreign)).transpose()?;
        let history = match &begun {
            Some(place) => History::of(self, &of.account, of.currency, None).await?.until(place.last).await?,
            None => History::of(self, &of.account, of.currency, of.known).await?,
        };
        let place = match begun {
            Some(place) => place,
            None => Place::first(&history, of).await?,
        };
        let (opening, closing) = (place.opening, place.closing);
        let mut lines = Lines { history: &history, of, place, entries: VecDeque::new(), moves: VecDeque::new() };
        let mut page = Vec::with_capacity(limit.min(PAGE));
        while page.len() < limit {
            match lines.next().await? {
                Some(line) => page.push(line),
                None => break,
            }
        }
        let next = if lines.is_more().await? { Some(Cursor::seal(tenant, &bound, &lines.place.write())) } else { None };
        let balance = |lanes| Balance { currency: of.currency, lanes };
        Ok(Statement { opening: balance(opening), lines: page, closing: balance(closing), next })
    }
}

impl Statement {
    /// Lines on a page, at most.
    pub const LINES_MAX: usize = 1_000;
}

fn foreign() -> Failure {
    txn_store::Error::new(txn_store::ErrorKind::Invalid, "the cursor does not belong to this statement").into()
}

/// A query that is never asked: what cursors of the statement are bound to.
fn bound(of: &StatementOf) -> Result<Query, Failure> {
    let axis = match of.axis {
        Axis::Effective => 0,
        Axis::Recorded => 1,
    };
    let key = Key::of(Kind::reserved("ledger-statement")).text(&of.account)?.text(of.currency.code())?.number(axis);
    let key = key.time(of.from).time(of.until);
    Ok(Query::EventsByTerm(Range::prefix(match of.known {
        Some(known) => key.time(known),
        None => key,
    })))
}

impl Place {
    async fn first(history: &History<'_>, of: &StatementOf) -> Result<Self, Failure> {
        let (last, until) = (history.last, of.until.max(of.from));
        let entry = history.recorded_before(of.from).await?;
        let end = history.recorded_before(until).await?;
        let (opening, closing) = match of.axis {
            Axis::Recorded => (history.lanes(entry).await?, history.lanes(end).await?),
            Axis::Effective => {
                (history.effective_before(Some(of.from)).await?, history.effective_before(Some(until)).await?)
            }
        };
        let dated = (of.axis == Axis::Effective && of.from < until).then_some(From::Instant(of.from));
        Ok(Self { last, entry, end, opening, closing, running: opening, dated })
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.last, self.entry, self.end] {
            bytes.extend(number.to_be_bytes());
        }
        for lanes in [self.opening, self.closing, self.running] {
            lanes.0.iter().for_each(|lane| bytes.extend(lane.to_be_bytes()));
        }
        match &self.dated {
            None => {}
            Some(From::Start) => bytes.push(0),
            Some(From::Instant(time)) => {
                bytes.push(1);
                bytes.extend(time.as_nanos().to_be_bytes());
            }
            Some(From::Behind(time, transfer)) => {
                bytes.push(2);
                bytes.extend(time.as_nanos().to_be_bytes());
                bytes.extend(transfer.as_bytes());
            }
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut number = || {
            let (number, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(u64::from_be_bytes(*number))
        };
        let (last, entry, end) = (number()?, number()?, number()?);
        let mut lanes = || {
            let mut lanes = Lanes::ZERO;
            for lane in &mut lanes.0 {
                let (number, tail) = rest.split_first_chunk::<16>()?;
                rest = tail;
                *lane = i128::from_be_bytes(*number);
            }
            Some(lanes)
        };
        let (opening, closing, running) = (lanes()?, lanes()?, lanes()?);
        let time = |bytes: &[u8; 8]| Timestamp::from_nanos(i64::from_be_bytes(*bytes));
        let dated = match rest.split_first() {
            None => None,
            Some((0, [])) => Some(From::Start),
            Some((1, tail)) => Some(From::Instant(time(tail.try_into().ok()?))),
            Some((2, tail)) => {
                let (at, id) = tail.split_first_chunk::<8>()?;
                Some(From::Behind(time(at), TransferId::new(core::str::from_utf8(id).ok()?).ok()?))
            }
            Some(_) => return None,
        };
        Some(Self { last, entry, end, opening, closing, running, dated })
    }
}

/// The lines of a statement from a place on: entries in their order, and between them what is dated.
struct Lines<'a> {
    history: &'a History<'a>,
    of: &'a StatementOf,
    place: Place,
    /// Entries that were read, and where each stands.
    entries: VecDeque<Entry>,
    moves: VecDeque<Dated>,
}

impl Lines<'_> {
    /// Reads on until the next line of both kinds is known, or that there is none.
    async fn fill(&mut self) -> Result<(), Failure> {
        let is_recorded = self.of.axis == Axis::Recorded;
        while self.entries.is_empty() && self.place.entry < self.place.end {
            let read = self.history.entries(self.place.entry, self.place.end, PAGE).await?;
            let Some(last) = read.last().map(|entry| entry.sequence) else { break };
            // By the time of effect, what is dated stands among the dated.
            self.entries
                .extend(read.into_iter().filter(|entry| is_recorded || entry.effective_at == entry.recorded_at));
            if self.entries.is_empty() {
                self.place.entry = last;
            }
        }
        while self.moves.is_empty() {
            let Some(from) = self.place.dated.clone() else { break };
            let (read, next) = self.history.dated(&from, Some(self.of.until), PAGE).await?;
            if read.is_empty() {
                self.place.dated = next;
            } else {
                self.moves.extend(read);
            }
        }
        Ok(())
    }

    async fn is_more(&mut self) -> Result<bool, Failure> {
        self.fill().await?;
        Ok(!self.entries.is_empty() || !self.moves.is_empty())
    }

    async fn next(&mut self) -> Result<Option<Line>, Failure> {
        self.fill().await?;
        let is_dated = match (self.entries.front(), self.moves.front()) {
            (None, None) => return Ok(None),
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (Some(entry), Some(dated)) => dated.effective_at <= entry.effective_at,
        };
        let currency = self.of.currency;
        let (transfer, change, effective_at, recorded_at, moved) = if is_dated {
            let Some(dated) = self.moves.pop_front() else { return Ok(None) };
            let Dated { transfer, change, effective_at, recorded_at, moved } = dated;
            self.place.dated = Some(From::Behind(effective_at, transfer.clone()));
            (Some(transfer), change, effective_at, recorded_at, moved)
        } else {
            let Some(entry) = self.entries.pop_front() else { return Ok(None) };
            self.place.entry = entry.sequence;
            (transfer_of(&entry), entry.change, entry.effective_at, entry.recorded_at, entry.delta)
        };
        self.place.running = plus(self.place.running, moved)?;
        let (moved, after) = (Balance { currency, lanes: moved }, Balance { currency, lanes: self.place.running });
        Ok(Some(Line { transfer, change, effective_at, recorded_at, moved, after }))
    }
}
