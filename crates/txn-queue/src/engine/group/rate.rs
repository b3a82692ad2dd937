//! How many messages a group may be given: the generic cell rate algorithm, with bursts of a whole period.

use txn_change::Timestamp;

use super::GroupState;

impl GroupState {
    /// How many messages the rate allows now.
    pub(crate) fn allowed(&self, now: Timestamp) -> usize {
        let Some(rate) = self.spec.rate else { return usize::MAX };
        let messages = i128::from(rate.messages.get());
        let per = i128::try_from(rate.per.as_nanos()).unwrap_or(i128::MAX);
        let room = i128::from(now.as_nanos())
            .saturating_add(per)
            .saturating_sub(i128::from(self.next_at.max(now).as_nanos()))
            .saturating_mul(messages);
        usize::try_from(room.checked_div(per).unwrap_or(messages).clamp(0, messages)).unwrap_or(usize::MAX)
    }

    /// When it allows one, if it allows none now.
    pub(crate) fn first_allowed(&self) -> Timestamp {
        let Some(rate) = self.spec.rate else { return Timestamp::MIN };
        let rest = rate.per.saturating_sub(rate.time_of(1));
        let rest = i64::try_from(rest.as_nanos()).unwrap_or(i64::MAX);
        Timestamp::from_nanos(self.next_at.as_nanos().saturating_sub(rest))
    }

    pub(crate) fn spend(&mut self, count: u64, now: Timestamp) {
        if let Some(rate) = self.spec.rate {
            self.next_at = self.next_at.max(now).after(rate.time_of(count)).unwrap_or(Timestamp::MAX);
        }
    }
}
