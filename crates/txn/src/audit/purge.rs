//! What was purged: no more than the store says, and no more than was given free.

use txn_change::{Body, ChangeId, Fingerprint, Format, Key, Stored, Tenant};
use txn_store::{Mark, Position, Recorded, Tail};

use super::report::{Findings, Rule};

/// How far the store was purged, and what was committed to let it be.
#[derive(Default)]
pub(super) struct Purges {
    /// What the store says.
    answers: u64,
    events: Position,
    /// What has been read.
    commits: u64,
    position: u64,
    /// What the last change that gave the log free was asked, as the chain holds it.
    given: Option<Fingerprint>,
    tail: Tail,
    /// The slowest consumer.
    slowest: Option<(String, u64)>,
}

impl Purges {
    pub(super) const fn told(&mut self, answers: u64, events: Position) {
        (self.answers, self.events) = (answers, events);
    }

    pub(super) fn change(&mut self, findings: &mut Findings<'_>, id: &ChangeId, stored: &Stored, events: &[Recorded]) {
        self.commits = self.commits.saturating_add(1);
        self.position = self.position.saturating_add(u64::from(stored.events));
        let subject = format_args!("change {id}");
        if stored.passed.is_some() && self.position > self.events.0 {
            let expected = format_args!("a log that begins behind position {}", self.position);
            findings.add(Rule::PurgedAsTold, subject, expected, format_args!("behind {}", self.events.0));
        }
        let is_gone = stored.answer.format() == Format::Erased && stored.answer.is_reserved();
        let tells = stored.entries > 0 || events.iter().any(|item| item.event.id.is_some());
        if is_gone && (self.commits > self.answers || !tells) {
            findings.add(Rule::PurgedAsTold, subject, "its answer", "none, and it was not purged");
        }
        if id.starts_with("txn.tail/") && findings.tenant == Some(&Tenant::default()) {
            self.given = Some(stored.fingerprint);
        }
    }

    pub(super) fn record(&mut self, key: &Key, body: &Body) {
        match key.kind() {
            "txn-tail" => self.tail = body.read().unwrap_or_default(),
            "txn-cursor" => {
                if let Ok(mark) = body.read::<Mark>()
                    && !mark.is_retired
                    && self.slowest.as_ref().is_none_or(|(_, position)| mark.position < *position)
                {
                    self.slowest = Some((key.to_string(), mark.position));
                }
            }
            _ => {}
        }
    }

    pub(super) fn close(self, findings: &mut Findings<'_>) {
        let Self { events, tail, given, slowest, .. } = self;
        let mut at_most = |limit: u64, subject: &str, value: u64| {
            if value > limit {
                findings.add(Rule::PurgedAsTold, subject, format_args!("at most position {limit}"), value);
            }
        };
        at_most(tail.position, "where the log begins", events.0);
        if let Some((name, position)) = slowest {
            at_most(position, &format!("what is free of the log, for {name}"), tail.position);
        }
        let nothing = (tail.position == 0).then_some(tail.fingerprint());
        if given.or(nothing) != Some(tail.fingerprint()) {
            let found = format_args!("position {}", tail.position);
            findings.add(Rule::PurgedAsTold, "what is free of the log", "what the last change of it said", found);
        }
    }
}
