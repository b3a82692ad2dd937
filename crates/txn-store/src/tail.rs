//! Where the log may begin: a record that says how far it was given free, and the cursors of the consumers, which hold it back.
//!
//! Whoever gives more of the log free, and whoever begins a new cursor, puts the record of the tail over the version that it read. So one of the two comes first, and the other sees it: no
//! cursor begins in what is being let go of.

use serde::{Deserialize, Serialize};
use txn_change::{Body, Change, ChangeId, Document, Expect, Fingerprint, Key, Kind, Record, Refusal, Segment, Tenant};
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
use txn_change::{Event, Invalid, Put, Timestamp};

use crate::{
    error::{Error, ErrorKind},
    query::{Found, Query, Range},
    store::{Ask, Commit, Outcome, Position, Store},
};

/// Rows that are read at once, or as many as a store's limit allows.
pub(crate) const PAGE: usize = 256;

const CURSOR_KIND: Kind = Kind::reserved("txn-cursor");
const TAIL_KIND: Kind = Kind::reserved("txn-tail");

/// Where a consumer stands, and how often its name was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Everything up to here has been acknowledged.
    pub position: u64,
    /// Grows with every owner.
    pub epoch: u64,
    /// It holds nothing back, and begins anew when it is opened again.
    pub is_retired: bool,
}

impl Document for Mark {
    const TYPE: &'static str = "txn.cursor";
    const SCHEMA: u16 = 1;
}

/// How far the log was given free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// Up to here.
    pub position: u64,
}

impl Tail {
    /// What a change that gives the log free was asked, as the chain holds it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of("txn.tail", self)
    }
}

impl Document for Tail {
    const TYPE: &'static str = "txn.tail";
    const SCHEMA: u16 = 1;
}

/// A record with its version; 0 when there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<T> {
    pub(crate) value: T,
    pub(crate) version: u64,
}

impl<T: Document> Seen<T> {
    /// Adds to a change that this stands where it was seen, and holds `value` from then on.
    pub(crate) fn put(&self, change: Change, key: Key, value: &T) -> Change {
        let expect = Expect::of((self.version > 0).then_some(self.version));
        change.put(key, expect, Body::of(value).expect("numbers have a JSON form"), Vec::new())
    }
}

pub(crate) fn tail_key() -> Key {
    Key::of(TAIL_KIND).number(0).build()
}

/// The key of the cursor of this name.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a name that cannot be one: 1 to 200 graphic ASCII characters.
pub(crate) fn cursor_key(name: &str) -> Result<Key, Error> {
    let invalid = |what: &dyn std::fmt::Display| Error::new(ErrorKind::Invalid, format!("a consumer's name: {what}"));
    if !(1..=200).contains(&name.len()) {
        return Err(invalid(&format_args!("{} bytes; 1 to 200 are allowed", name.len())));
    }
    ChangeId::new(name).map_err(|error| invalid(&error))?;
    Ok(Key::of(CURSOR_KIND).text(name).map_err(|error| invalid(&error))?.build())
}

/// Reads a cursor and the tail, as they stood together.
pub(crate) async fn load(store: &dyn Store, cursor: &Key) -> Result<(Option<Seen<Mark>>, Seen<Tail>), Error> {
    let ask = Ask::new(Tenant::default()).record(cursor.clone()).record(tail_key());
    let mut records = store.get(vec![ask]).await?.pop().map(|snapshot| snapshot.records).unwrap_or_default();
    let tail = records.pop().flatten().map(seen).transpose()?;
    let mark = records.pop().flatten().map(seen).transpose()?;
    Ok((mark, tail.unwrap_or(Seen { value: Tail { position: 0 }, version: 0 })))
}

fn seen<T: Document>(record: Record) -> Result<Seen<T>, Error> {
    Ok(Seen { value: read(&record.body)?, version: record.version })
}

fn read<T: Document>(body: &Body) -> Result<T, Error> {
    body.read().map_err(|error| Error::new(ErrorKind::Corrupt, format!("a {}", T::TYPE)).because(error))
}

/// The change that puts the tail over what was seen.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
fn tail_change(seen: u64, further: &Tail) -> Change {
    let id = ChangeId::new(format!("txn.tail/{seen}")).expect("a number is graphic");
    let seen = Seen { value: *further, version: seen };
    seen.put(Change::new(id, further.fingerprint()), tail_key(), further)
}

/// The change that puts the cursor of this name over the version that was seen, and the tail, if one is given, as it was.
///
/// # Errors
/// As [`cursor_key`].
pub(crate) fn cursor_change(name: &str, seen: u64, mark: Mark, tail: Option<Seen<Tail>>) -> Result<Change, Error> {
    let key = cursor_key(name)?;
    let id = ChangeId::new(format!("txn.cursor/{name}/{seen}")).expect("the name was checked");
    let seen = Seen { value: mark, version: seen };
    let change = seen.put(Change::new(id, Fingerprint::of("txn.cursor", &mark)), key, &mark);
    Ok(tail.into_iter().fold(change, |change, tail| tail.put(change, tail_key(), &tail.value)))
}

/// Refuses a change under an id of txn's own that is not, to the byte, one that this module makes: with such an id in the way, no cursor would move and nothing be purged.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
pub(crate) fn check_id(tenant: &Tenant, change: &Change) -> Result<(), Invalid> {
    let is_own = change.id.split(['-', '.', '/']).next() == Some("txn");
    if !is_own || (*tenant == Tenant::default() && made_here(change).as_ref() == Some(change)) {
        return Ok(());
    }
    Err(Invalid::ReservedName { what: "change id", name: change.id.as_str().into() })
}

/// The change of ours that stands under this id and writes the same, if there is one.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
fn made_here(change: &Change) -> Option<Change> {
    fn written<T: Document>(put: &Put) -> Option<Seen<T>> {
        let version = match put.expect {
            Expect::Absent => 0,
            Expect::Version(version) => version,
        };
        Some(Seen { value: put.body.as_ref()?.read().ok()?, version })
    }
    let (first, rest) = change.put.split_first()?;
    if change.id.starts_with("txn.tail/") {
        let Seen { value, version } = written::<Tail>(first)?;
        return Some(tail_change(version, &value));
    }
    let (name, _) = change.id.strip_prefix("txn.cursor/")?.rsplit_once('/')?;
    let Seen { value, version } = written::<Mark>(first)?;
    let tail = match rest.first() {
        Some(put) => Some(written::<Tail>(put)?),
        None => None,
    };
    cursor_change(name, version, value, tail).ok()
}

/// The names of all consumers that hold the log back, and how far each has acknowledged it.
pub(crate) async fn cursors(store: &dyn Store) -> Result<Vec<(String, Position)>, Error> {
    let (query, mut after, mut all) = (Query::Records(Range::kind(CURSOR_KIND)), None, Vec::new());
    let mut limit = PAGE;
    loop {
        let page = match store.find(&Tenant::default(), &query, after.as_ref(), limit).await {
            Err(error) if is_above_the_limit(&error, &mut limit) => continue,
            page => page?,
        };
        for found in page.items {
            let Found::Record(key, record) = found else { continue };
            let mark: Mark = read(&record.body)?;
            if let Some(Segment::Text(name)) = key.segments().into_iter().next()
                && !mark.is_retired
            {
                all.push((name, Position(mark.position)));
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// Whether a page was asked for that a store with a smaller limit does not give; then the next is half as long.
pub(crate) fn is_above_the_limit(error: &Error, limit: &mut usize) -> bool {
    let is_it = error.kind() == ErrorKind::Invalid && *limit > 1;
    if is_it {
        *limit = limit.div_euclid(2);
    }
    is_it
}

/// Gives the log free as far as `target` and the cursors allow; says how far of it is free then.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
pub(crate) async fn free(store: &dyn Store, target: Position) -> Result<Position, Error> {
    let mut tried = None;
    loop {
        // The tail first: a cursor that begins after it was read has put it anew.
        let (_, tail) = load(store, &Key::of(CURSOR_KIND).number(0).build()).await?;
        let known = Position(tail.value.position);
        let slowest = cursors(store).await?.into_iter().map(|(_, position)| position).min();
        let wanted = slowest.map_or(target, |slowest| slowest.min(target));
        if wanted <= known {
            return Ok(known.min(target));
        }
        let further = Tail { position: wanted.0 };
        if commit(store, tail_change(tail.version, &further), "giving the log free").await? {
            return Ok(wanted);
        }
        moved(&mut tried, tail.version, "the tail of the log")?;
    }
}

/// The next groups that are old enough, by their numbers, each with the position where the log ends with it.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
#[derive(Debug, Default)]
pub(crate) struct Plan {
    groups: Vec<(u64, Position)>,
    weight: u64,
    /// Whether there may be more that are old enough.
    is_cut: bool,
}

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
impl Plan {
    /// Takes groups, each with its weight and its time, as long as they are old enough, until they weigh `max`.
    pub(crate) fn of<E>(
        groups: impl IntoIterator<Item = Result<(u64, Position, u64, Timestamp), E>>,
        before: Timestamp,
        max: usize,
    ) -> Result<Self, E> {
        let mut plan = Self::default();
        for group in groups {
            let (number, position, weight, recorded_at) = group?;
            if recorded_at >= before {
                break;
            }
            plan.groups.push((number, position));
            plan.weight = plan.weight.saturating_add(weight);
            if plan.weight >= max as u64 {
                plan.is_cut = true;
                break;
            }
        }
        Ok(plan)
    }

    /// Where the log ends with the last of them.
    pub(crate) fn target(&self) -> Option<Position> {
        self.groups.last().map(|(_, position)| *position)
    }

    /// The last group that ends at or before a position.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn last_within(&self, end: Position) -> Option<u64> {
        self.groups.iter().rev().find(|(_, position)| *position <= end).map(|(number, _)| *number)
    }

    /// Whether nothing more can go behind what a budget has taken.
    pub(crate) fn is_complete(&self, budget: &Budget) -> bool {
        !budget.is_spent && (!self.is_cut || self.target().is_none_or(|target| budget.free < target))
    }
}

/// Fails when a record that somebody else must have put before us still stands at the version of the last try: the id of our change was used for something else.
pub(crate) fn moved(tried: &mut Option<u64>, version: u64, what: &str) -> Result<(), Error> {
    if tried.replace(version) == Some(version) {
        let context = format!("{what} stands at version {version}, and the id of its next step is taken");
        return Err(Error::new(ErrorKind::Corrupt, context));
    }
    Ok(())
}

/// Commits a change of records; false when one of them stands elsewhere by now.
pub(crate) async fn commit(store: &dyn Store, change: Change, doing: &str) -> Result<bool, Error> {
    let commit = Commit { tenant: Tenant::default(), change };
    match store.commit(vec![commit]).await.pop() {
        // What was there already may be another's, who did the same at the same moment.
        Some(Ok(Outcome::Done(receipt))) => Ok(!receipt.replayed),
        Some(Ok(Outcome::Refused(Refusal::Conflict { .. } | Refusal::KeyReused { .. }))) => Ok(false),
        Some(Err(error)) => Err(error),
        Some(Ok(Outcome::Refused(refusal))) => Err(Error::new(ErrorKind::Corrupt, format!("{doing}: {refusal}"))),
        other => Err(Error::new(ErrorKind::Unavailable, format!("{doing}: {other:?}"))),
    }
}

/// Takes changes of the log, each with where it ends and what it weighs, as far as they are free, until they weigh `max`.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) free: Position,
    pub(crate) max: u64,
    /// Where the log begins when what was taken has gone.
    pub(crate) end: Position,
    /// Whether it ended because it had enough.
    pub(crate) is_spent: bool,
    spent: u64,
}

#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
impl Budget {
    pub(crate) fn new(tail: Position, free: Position, max: usize) -> Self {
        Self { free, max: max as u64, end: tail, is_spent: false, spent: 0 }
    }

    /// Whether the next change goes.
    pub(crate) fn takes(&mut self, end: Position, weight: usize) -> bool {
        self.is_spent |= self.spent >= self.max;
        let takes = !self.is_spent && end <= self.free;
        if takes {
            self.end = end;
            self.spent = self.spent.saturating_add(weight as u64);
        }
        takes
    }
}

/// The weight of an event: itself and its index terms.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
pub(crate) fn weight(events: &[Event]) -> usize {
    events.iter().fold(0, |sum: usize, event| sum.saturating_add(1).saturating_add(event.terms.len()))
}

/// The error of who reads from before the beginning of the log.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres"))]
pub(crate) fn before_the_log(after: Position, tail: Position) -> Error {
    let context = format!("the log begins behind position {}; what follows position {} is gone", tail.0, after.0);
    Error::new(ErrorKind::Purged, context)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_document_that_was_ever_written_is_read_and_written_as_it_was() {
        let fixtures = txn_fixtures::Fixtures::of(env!("CARGO_MANIFEST_DIR"));
        fixtures.keep::<super::Mark>().keep::<super::Tail>().finish();
    }
}
