//! Leases: numbered duties that processes share, each held by one of them at a time. General: the relay holds its lanes so; timers and runners of processes may hold their buckets so.
//!
//! Every process is a *member* under an id that is new with every start, and renews one record for all that it holds. A duty names its holder; one whose holder is no member any more is free. A member whose time
//! is over is removed by whoever sees it first, and never comes back under its id, so that nobody takes a duty from somebody who is still renewing: both are versioned writes of the same record, and one comes first.
//!
//! *Not* here: what a holder does when it is late. A pause of the process can outlast its lease; whatever must not happen then carries [`Held::fence`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use txn_change::{
    Body, Change, ChangeId, Document, Expect, Fence, FenceName, Fingerprint, Key, Kind, Record, Refusal, Segment,
    Tenant, Timestamp, name,
};
use txn_store::{Commit, ErrorKind, Found, Outcome, Query, Range, Scope, Store};

use crate::failure::Failure;

const MEMBER_KIND: Kind = Kind::reserved("txn-member");
const LEASE_KIND: Kind = Kind::reserved("txn-lease");

name!(
    /// The name of a set of leases: 1 to 80 bytes of lower-case ASCII letters, digits, `-`, `_`, `.` and `/`.
    LeaseSet, "lease set", 80, "a-z, 0-9, '-', '_', '.' and '/'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '/')
);

/// How long a process that holds leases is a member without a sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub(crate) until: Timestamp,
}

impl Document for Member {
    const TYPE: &'static str = "txn.member";
    const SCHEMA: u16 = 1;
}

/// Who has a duty, and how often it was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lease {
    pub(crate) holder: Option<String>,
    pub(crate) token: u64,
}

impl Document for Lease {
    const TYPE: &'static str = "txn.lease";
    const SCHEMA: u16 = 1;
}

/// A duty that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which, from 0.
    pub number: u32,
    /// New for every taking, and higher than all before.
    pub token: u64,
    fence: FenceName,
}

impl Held {
    /// What a change carries that must not be committed once somebody else has the duty.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { name: self.fence.clone(), token: self.token }
    }
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What is held, by number.
    pub held: Vec<Held>,
    /// Of these, what is above the fair share: to be [released](Leases::release) as soon as its work is at rest.
    pub surplus: Vec<u32>,
    /// How many processes share the set.
    pub members: usize,
    /// When the next step is due. What is held is sure for three quarters of [`Leases::lease`] from the beginning of this step; a step that comes later may find everything lost.
    pub next_in: Duration,
}

/// The part of one process in a set of leases. Whoever holds a duty does so for three quarters of the lease from the beginning of its last [`Leases::keep`] at least, and for the lease at most, by the store's time; everybody
/// gets an equal share.
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::{sync::Arc, time::Duration};
/// use txn::{Leases, leases::LeaseSet, store::memory::Memory};
/// # pollster::block_on(async {
/// let store = Arc::new(Memory::new());
/// let set = LeaseSet::new("reports")?;
/// let mut first = Leases::new(store.clone(), set.clone(), 4, Duration::from_secs(15));
/// let mut second = Leases::new(store, set, 4, Duration::from_secs(15));
/// assert_eq!(first.keep().await?.held.len(), 4);
///
/// // Another process comes: the first gives up what is above its share, and the second takes it.
/// second.keep().await?;
/// let surplus = first.keep().await?.surplus;
/// first.release(&surplus).await?;
/// assert_eq!(second.keep().await?.held.len(), 2);
/// # Ok::<(), txn::Failure>(())
/// # }).unwrap();
/// # }
/// # Ok::<(), txn::change::NameError>(())
/// ```
pub struct Leases {
    scope: Scope,
    set: LeaseSet,
    count: u32,
    lease: Duration,
    holder: String,
    /// The version of this member's record.
    member: Option<u64>,
}

/// What stands in the store.
struct Seen {
    now: Timestamp,
    members: BTreeMap<String, (u64, Member)>,
    leases: BTreeMap<u32, (u64, Lease)>,
}

impl Leases {
    /// Leases in one set, at most.
    pub const COUNT_MAX: u32 = 1_024;

    /// A new member, of nothing yet. All members must say the same `count`, which is cut at [`Leases::COUNT_MAX`], and should say the same `lease`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, set: LeaseSet, count: u32, lease: Duration) -> Self {
        let scope = Scope::of_services(store, Tenant::default());
        let holder = crate::new_uuid().to_string();
        Self { scope, set, count: count.min(Self::COUNT_MAX), lease, holder, member: None }
    }

    /// The id of this process in the set. Another one after it was taken for dead.
    #[must_use]
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// How long a member lives without a [`Leases::keep`].
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    /// One step, to be made every third of the lease: shows that this process lives, removes members whose time is over, and takes what is free up to a fair share.
    ///
    /// # Errors
    /// [`Failure::Store`], [`Failure::Unknown`]: the same again tells. What was held is held on until its time is over.
    pub async fn keep(&mut self) -> Result<Kept, Failure> {
        let mut seen = self.look().await?;
        self.live(&mut seen).await?;
        self.bury(&mut seen).await?;
        let (rank, members) = self.rank(&seen);
        let share = share(self.count, rank, members);
        let mut mine: Vec<Held> = seen
            .leases
            .iter()
            .filter(|(_, (_, lease))| lease.holder.as_ref() == Some(&self.holder))
            .map(|(number, (_, lease))| self.held(*number, lease.token))
            .collect();
        let missing = share.saturating_sub(mine.len());
        if missing > 0 {
            mine.extend(self.take(&seen, missing, rank.saturating_mul(share)).await?);
            mine.sort_unstable_by_key(|held| held.number);
        }
        let surplus = mine.iter().skip(share).map(|held| held.number).collect();
        let third = self.lease.checked_div(3).unwrap_or_default();
        let next_in = if mine.len() < share { third.min(SHORT) } else { third };
        Ok(Kept { held: mine, surplus, members, next_in })
    }

    /// Gives duties back, for anybody to take at once. What is not held is passed over.
    ///
    /// # Errors
    /// As [`Leases::keep`].
    pub async fn release(&mut self, numbers: &[u32]) -> Result<(), Failure> {
        let seen = self.look().await?;
        let wanted: BTreeSet<u32> = numbers.iter().copied().collect();
        let mut changes = Vec::new();
        for (number, (version, lease)) in &seen.leases {
            if wanted.contains(number) && lease.holder.as_ref() == Some(&self.holder) {
                let free = Lease { holder: None, token: lease.token };
                let change = self.change("release", &[&number.to_string(), &version.to_string()]);
                changes.push(change.put(self.lease_key(*number), Expect::Version(*version), body(&free), Vec::new()));
            }
        }
        self.commit(changes).await.map(drop)
    }

    /// Leaves: everything that is held is free at once.
    ///
    /// # Errors
    /// As [`Leases::keep`]. Who cannot leave is taken for dead when its time is over.
    pub async fn leave(&mut self) -> Result<(), Failure> {
        if let Some(version) = self.member {
            let change = self.change("leave", &[&version.to_string()]).remove(self.member_key(&self.holder), version);
            self.commit(vec![change]).await?;
        }
        self.begin_anew();
        Ok(())
    }

    fn begin_anew(&mut self) {
        self.holder = crate::new_uuid().to_string();
        self.member = None;
    }

    /// Joins, or renews what is no longer fresh.
    async fn live(&mut self, seen: &mut Seen) -> Result<(), Failure> {
        let until = seen.now.after(self.lease).unwrap_or(Timestamp::MAX);
        let known = seen.members.get(&self.holder).cloned();
        if known.is_none() && self.member.is_some() {
            self.begin_anew();
        }
        let member = Member { until };
        if let Some((version, known)) = known {
            self.member = Some(version);
            let fresh = self.lease.saturating_sub(self.lease.checked_div(4).unwrap_or_default());
            if known.until >= seen.now.after(fresh).unwrap_or(Timestamp::MAX) {
                return Ok(());
            }
            let change = self.change("renew", &[&version.to_string()]);
            let key = self.member_key(&self.holder);
            let change = change.put(key, Expect::Version(version), body(&member), Vec::new());
            if self.commit(vec![change]).await? == [true] {
                self.member = Some(version.saturating_add(1));
                seen.members.insert(self.holder.clone(), (version.saturating_add(1), member));
                return Ok(());
            }
            // Somebody took this process for dead.
            seen.members.remove(&self.holder);
            self.begin_anew();
        }
        let change = self.change("join", &[]);
        let change = change.insert(self.member_key(&self.holder), body(&member), Vec::new());
        self.commit(vec![change]).await?;
        self.member = Some(1);
        seen.members.insert(self.holder.clone(), (1, member));
        Ok(())
    }

    /// Removes the members whose time is over.
    async fn bury(&self, seen: &mut Seen) -> Result<(), Failure> {
        let is_over = |(_, (_, member)): &(&String, &(u64, Member))| member.until < seen.now;
        let dead: Vec<(String, u64)> =
            seen.members.iter().filter(is_over).map(|(name, (version, _))| (name.clone(), *version)).collect();
        let remove = |(name, version): &(String, u64)| {
            self.change("bury", &[name, &version.to_string()]).remove(self.member_key(name), *version)
        };
        let changes: Vec<Change> = dead.iter().map(remove).collect();
        let buried = self.commit(changes).await?;
        // One that was not is alive again, or was buried by another; the next step tells.
        for ((name, _), is_buried) in dead.into_iter().zip(buried) {
            if is_buried {
                seen.members.remove(&name);
            }
        }
        Ok(())
    }

    /// Takes so many of the free ones, those from a place of one's own on first, so that two who come together do not want the same.
    async fn take(&self, seen: &Seen, missing: usize, from: usize) -> Result<Vec<Held>, Failure> {
        let is_free = |number: &u32| {
            let holder = seen.leases.get(number).and_then(|(_, lease)| lease.holder.as_ref());
            holder.is_none_or(|holder| !seen.members.contains_key(holder))
        };
        let free: Vec<u32> = (0..self.count).filter(is_free).collect();
        let begin = free.partition_point(|number| (*number as usize) < from);
        let chosen: Vec<u32> = free.iter().cycle().skip(begin).take(missing.min(free.len())).copied().collect();
        let mut takes = Vec::with_capacity(chosen.len());
        for number in chosen {
            let (version, lease) = seen.leases.get(&number).cloned().unwrap_or_default();
            let held = self.held(number, lease.token.saturating_add(1));
            let taken = Lease { holder: Some(self.holder.clone()), token: held.token };
            let mut change = self.change("take", &[&number.to_string(), &version.to_string()]);
            change.fence.push(held.fence());
            let expect = Expect::of((version > 0).then_some(version));
            change = change.put(self.lease_key(number), expect, body(&taken), Vec::new());
            change = change.require(self.member_key(&self.holder), Expect::of(self.member));
            if let Some(before) = lease.holder.filter(|before| *before != self.holder) {
                change = change.require(self.member_key(&before), Expect::Absent);
            }
            takes.push((held, change));
        }
        let (held, changes): (Vec<Held>, Vec<Change>) = takes.into_iter().unzip();
        let taken = self.commit(changes).await?;
        Ok(held.into_iter().zip(taken).filter_map(|(held, is_taken)| is_taken.then_some(held)).collect())
    }

    /// The place of this process among the members, and how many there are.
    fn rank(&self, seen: &Seen) -> (usize, usize) {
        let rank = seen.members.keys().take_while(|name| **name < self.holder).count();
        (rank, seen.members.len().max(1))
    }

    fn held(&self, number: u32, token: u64) -> Held {
        let fence = FenceName::new(format!("txn.lease/{}/{number}", self.set)).expect("at most 101 graphic bytes");
        Held { number, token, fence }
    }

    fn member_key(&self, holder: &str) -> Key {
        let of_set = Key::of(MEMBER_KIND).text(&self.set);
        of_set.and_then(|key| key.text(holder)).expect("names of at most 116 bytes").build()
    }

    fn lease_key(&self, number: u32) -> Key {
        Key::of(LEASE_KIND).text(&self.set).expect("a name of at most 80 bytes").number(number.into()).build()
    }

    /// A change under an id that nobody else uses, since it names this member, and that is the same when it is made again.
    fn change(&self, verb: &str, parts: &[&str]) -> Change {
        let id = format!("lease.{verb}/{}/{}/{}", self.set, self.holder, parts.join("/"));
        let id = ChangeId::new(&id).expect("at most 200 graphic bytes");
        let fingerprint = Fingerprint::of_bytes("lease", id.as_bytes());
        Change::new(id, fingerprint)
    }

    async fn look(&self) -> Result<Seen, Failure> {
        let now = self.scope.get(self.scope.ask()).await?.now;
        let of_set = |kind| Key::of(kind).text(&self.set).map(Range::prefix);
        let mut members = BTreeMap::new();
        for (key, record) in records(&self.scope, of_set(MEMBER_KIND)?).await? {
            if let Some(Segment::Text(holder)) = key.segments().pop() {
                members.insert(holder, (record.version, record.body.read()?));
            }
        }
        let mut leases = BTreeMap::new();
        for (key, record) in records(&self.scope, of_set(LEASE_KIND)?).await? {
            if let Some(Segment::Number(number)) = key.segments().pop()
                && let Ok(number) = u32::try_from(number)
            {
                leases.insert(number, (record.version, record.body.read()?));
            }
        }
        Ok(Seen { now, members, leases })
    }

    /// Commits each by itself; says of each whether it is so, or whether somebody else was first.
    async fn commit(&self, changes: Vec<Change>) -> Result<Vec<bool>, Failure> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let tenant = self.scope.tenant();
        let batch = changes.into_iter().map(|change| Commit { tenant: tenant.clone(), change }).collect();
        let one = |result: Result<Outcome, txn_store::Error>| match result {
            Ok(Outcome::Done(_)) => Ok(true),
            // Who looked long ago finds that several others were.
            Ok(Outcome::Refused(Refusal::Conflict { .. } | Refusal::FenceStale { .. })) => Ok(false),
            Ok(Outcome::Refused(refusal)) => Err(Failure::Refused(refusal)),
            Ok(Outcome::Unknown(id)) => Err(Failure::Unknown { id }),
            Err(error) => Err(error.into()),
        };
        self.scope.store().commit(batch).await.into_iter().map(one).collect()
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("set", &self.set).field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// Who waits for its share looks again after so long.
const SHORT: Duration = Duration::from_secs(1);

/// An equal share; what does not divide goes to those of the lowest rank.
fn share(count: u32, rank: usize, members: usize) -> usize {
    let count = count as usize;
    let rest = count.checked_rem(members).unwrap_or(0);
    count.checked_div(members).unwrap_or(count).saturating_add(usize::from(rank < rest))
}

pub(crate) fn body<T: Document>(value: &T) -> Body {
    Body::of(value).expect("texts and numbers have a JSON form")
}

/// All records of a range, page by page, however small the pages of the store must be.
pub(crate) async fn records(scope: &Scope, range: Range) -> Result<Vec<(Key, Record)>, Failure> {
    let (query, mut after, mut limit, mut all) = (Query::Records(range), None, 256usize, Vec::new());
    loop {
        let page = match scope.find(&query, after.as_ref(), limit).await {
            Err(error) if error.kind() == ErrorKind::Invalid && limit > 1 => {
                limit = limit.div_euclid(2);
                continue;
            }
            page => page?,
        };
        all.extend(page.items.into_iter().filter_map(|found| match found {
            Found::Record(key, record) => Some((key, record)),
            _ => None,
        }));
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
