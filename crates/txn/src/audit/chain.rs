//! The chain: every link holds the changes that it was made of, and none is missing between the first and the last.

use txn_change::{ChangeId, GroupDigest, Link, Stored, Tenant};
use txn_store::Position;

use super::report::{Findings, Rule};

/// A link as the export gives it.
pub(super) struct Linked {
    pub(super) link: Link,
    pub(super) changes: u64,
    pub(super) events: u64,
    pub(super) position: Position,
}

/// How far the chain has been read: one for all tenants.
#[derive(Default)]
pub(super) struct Chain {
    /// The last link as it is stored.
    last: Link,
    /// The hash that it should have. Where the two differ, either may be the damaged one, and the next link goes on from one of them.
    computed: [u8; 32],
    position: u64,
    /// The changes since the last link.
    group: GroupDigest,
    changes: u64,
    events: u64,
    /// The link that a host has kept, until it is found.
    kept: Option<Link>,
}

impl Chain {
    /// A chain that should contain this link.
    pub(super) fn with(kept: Option<Link>) -> Self {
        Self { kept: kept.filter(|kept| *kept != Link::START), ..Self::default() }
    }

    pub(super) fn change(&mut self, tenant: &Tenant, id: &ChangeId, stored: &Stored) {
        self.group.add(tenant, id, &stored.digest, stored.events);
        self.changes = self.changes.saturating_add(1);
        self.events = self.events.saturating_add(u64::from(stored.events));
    }

    pub(super) fn link(&mut self, findings: &mut Findings<'_>, linked: &Linked) {
        let Linked { link, .. } = *linked;
        let next = self.last.number.saturating_add(1);
        self.compare_kept(findings, link);
        let computed = if link.number == next { self.judge(findings, linked) } else { link.hash };
        if link.number != next {
            let subject = format_args!("link {}", link.number);
            findings.add(Rule::ChainGapless, subject, format_args!("link {next}"), link.number);
        }
        // A link out of its place says nothing of those behind it.
        if link.number >= next {
            self.last = link;
            self.computed = computed;
            self.position = linked.position.0;
            findings.report.chain = link;
        }
        (self.group, self.changes, self.events) = (GroupDigest::default(), 0, 0);
    }

    /// Judges the next link; gives the hash that it should have.
    fn judge(&mut self, findings: &mut Findings<'_>, linked: &Linked) -> [u8; 32] {
        let Linked { link, changes, events, position } = linked;
        let group = std::mem::take(&mut self.group).finish();
        let [on_stored, on_computed] =
            [self.last.hash, self.computed].map(|hash| Link { hash, ..self.last }.next(&group).hash);
        let is_true = link.hash == on_stored || link.hash == on_computed;
        let subject = format_args!("link {}", link.number);
        let stated = format!("{changes} changes and {events} events");
        let found = format_args!("{} and {}", self.changes, self.events);
        let is_counted = (*changes, *events) == (self.changes, self.events);
        match (is_counted, is_true) {
            (true, true) => {}
            (true, false) => {
                findings.add(Rule::LinkUnedited, subject, hex(&on_stored), hex(&link.hash));
            }
            // Its hash is over what is there: the counts were edited.
            (false, true) => findings.add(Rule::LinkCounts, subject, found, stated),
            (false, false) => findings.add(Rule::LinkWhole, subject, stated, found),
        }
        let least = self.position.saturating_add(self.events.min(*events));
        if position.0 < least {
            findings.add(Rule::LogInOrder, subject, format_args!("the log to end at {least} or behind"), position.0);
        }
        if is_true { link.hash } else { on_computed }
    }

    fn compare_kept(&mut self, findings: &mut Findings<'_>, link: Link) {
        if let Some(kept) = self.kept.take_if(|kept| kept.number == link.number)
            && kept.hash != link.hash
        {
            let subject = format_args!("link {}", link.number);
            findings.add(Rule::ChainKept, subject, hex(&kept.hash), format_args!("another, {}", hex(&link.hash)));
        }
    }

    /// What only the whole can tell.
    pub(super) fn close(self, findings: &mut Findings<'_>) {
        findings.report.unchained = self.changes;
        if let Some(kept) = self.kept {
            let found = format_args!("none, in a chain that ends with link {}", self.last.number);
            findings.add(Rule::ChainKept, format_args!("link {}", kept.number), hex(&kept.hash), found);
        }
    }
}

fn hex(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
