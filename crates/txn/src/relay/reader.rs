//! From pages of the log to items in lanes. It goes through the log once for all lanes of a process, and knows where changes end.

use std::{
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use txn_change::{ChangeId, Fingerprint, Tenant};
use txn_queue::{DedupeId, Message, When};
use txn_store::{LogItem, LogPage, Position, Recorded};

use super::{
    Parts,
    lane::{From, Item, Lane, Place, Step, What},
    mapping::{Mapping, Origin, Outgoing, Verdict},
};

/// Messages that one event may come to, at most.
pub(super) const OUTGOING_MAX: usize = 256;

/// Where the reading of the log stands.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) after: Position,
    /// Where the last change ends that was read as a whole.
    boundary: Position,
    /// The change that the last event is of, and its place there.
    last: Option<(Tenant, ChangeId, u32)>,
    /// Where the log ended when it was read.
    pub(super) head: Position,
    pub(super) is_at_end: bool,
}

impl Reader {
    /// Begins behind the end of a change.
    pub(super) fn new(after: Position) -> Self {
        Self { after, boundary: after, last: None, head: after, is_at_end: false }
    }

    /// Gives a page to the lanes.
    pub(super) fn feed(&mut self, parts: &Parts, page: LogPage, limit: usize, lanes: &mut BTreeMap<u32, Lane>) {
        let is_short = page.items.len() < limit;
        for item in &page.items {
            let Recorded { tenant, change, .. } = &item.recorded;
            let index = match self.last.take() {
                Some((of, id, index)) if of == *tenant && id == *change => index.saturating_add(1),
                _ => {
                    self.boundary = self.after;
                    0
                }
            };
            self.last = Some((tenant.clone(), change.clone(), index));
            self.after = item.position;
            let order = order(&item.recorded);
            let number = order.checked_rem(u64::from(parts.lanes)).and_then(|number| u32::try_from(number).ok());
            let lane = number.and_then(|number| lanes.get_mut(&number)).filter(|lane| lane.fed < item.position);
            if let Some(lane) = lane {
                lane.feed(self.item(parts, item, index, order));
            }
        }
        self.head = page.head.max(self.after);
        self.is_at_end = is_short || page.head <= self.after;
        if self.is_at_end {
            // The events of a change appear together.
            self.boundary = self.after;
        }
        for lane in lanes.values_mut() {
            lane.fed = lane.fed.max(self.after);
            lane.boundary = lane.boundary.max(self.boundary);
        }
    }

    fn item(&self, parts: &Parts, item: &LogItem, index: u32, order: u64) -> Item {
        let origin = Origin::new(item, index, &parts.source);
        let steps: VecDeque<Step> = steps(&*parts.mapping, &origin).into();
        let bytes = |step: &Step| match &step.what {
            What::Publish(_, message) => message.data.len(),
            What::Reschedule(_) | What::Park(_) => 0,
        };
        let bytes = steps.iter().map(bytes).fold(0, usize::saturating_add);
        let Recorded { tenant, change, recorded_at, event } = &item.recorded;
        let from = From {
            tenant: tenant.clone(),
            change: change.clone(),
            index,
            kind: event.body.type_name_shared(),
            recorded_at: *recorded_at,
        };
        Item { position: item.position, before: self.boundary, order, from: Arc::new(from), steps, bytes }
    }
}

/// What keeps the order of an event: its subject; for one without, its change.
pub(super) fn order(recorded: &Recorded) -> u64 {
    let Recorded { tenant, change, event, .. } = recorded;
    let of = event.subject.as_ref().map_or(change.as_bytes(), |subject| subject.as_bytes());
    let digest = Fingerprint::of_bytes(tenant, of).0;
    digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// What is to be done for an event.
pub(super) fn steps(mapping: &dyn Mapping, origin: &Origin<'_>) -> Vec<Step> {
    let whole = |reason: Arc<str>| vec![Step { nth: Place::WHOLE, what: What::Park(reason) }];
    // A mapping is a host's code. When it panics over one event, the others go on.
    let verdict = catch_unwind(AssertUnwindSafe(|| mapping.map(origin)));
    let outgoing = match verdict {
        Ok(Verdict::Skip) => Vec::new(),
        Ok(Verdict::Send(outgoing)) if outgoing.len() > OUTGOING_MAX => {
            let found = outgoing.len();
            return whole(format!("it comes to {found} messages; at most {OUTGOING_MAX} are allowed").into());
        }
        Ok(Verdict::Send(outgoing)) => outgoing,
        Ok(Verdict::Poison(reason)) => return whole(reason),
        Err(_) => return whole("the mapping panicked".into()),
    };
    let step = |(nth, outgoing)| Step { nth, what: prepared(origin, nth, outgoing) };
    (0..).zip(outgoing).map(step).collect()
}

/// Makes it safe to do again: a message has a dedupe id, and a new time is an instant.
fn prepared(origin: &Origin<'_>, nth: u32, outgoing: Outgoing) -> What {
    match outgoing {
        Outgoing::Publish { to, message } if message.dedupe_id.is_none() => {
            let id = Fingerprint::of("relay.dedupe", &(origin.source().as_str(), origin.message_id(nth).as_str()));
            let id = DedupeId::new(super::mapping::digested(&id)).expect("a digest is graphic");
            let message = Arc::new(Message::clone(&message).dedupe_id(id));
            What::Publish(to, message)
        }
        Outgoing::Publish { to, message } => What::Publish(to, message),
        Outgoing::Reschedule(mut reschedule) => {
            if let Some(When::After(wait)) = reschedule.due
                && let Ok(instant) = origin.recorded().recorded_at.after(wait)
            {
                reschedule.due = Some(When::At(instant));
            }
            What::Reschedule(reschedule)
        }
    }
}
