//! Dead letters: written, chosen, and sent back.

use txn_change::Timestamp;

use super::{
    medium::Medium,
    row::Row,
    step::Op,
    turn::{Stop, Turn},
};
use crate::{
    admin::{Redrive, Redriven},
    engine::{
        group::{Dying, last_reasons},
        log::Stored,
    },
    message::Message,
    name::Topic,
    queue::{Group, Position},
    topology::Death,
};

/// Letters that are looked through at a time.
const PAGE: usize = 1_024;

impl<M: Medium> Turn<'_, M> {
    /// Adds the letter that a group's message becomes; false when there is no room for it.
    pub(super) fn write_letter(
        &mut self,
        group: &Group,
        letters: &Topic,
        dead: &Dying,
        row: Row,
    ) -> Result<bool, Stop> {
        let now = self.now;
        let state = self.topics.get_mut(group.topic()).ok_or_else(|| Stop::Needs(group.topic().clone()))?;
        let state = state.topic.group(group).map_err(Stop::Refused)?;
        let (deliveries, reasons) = state.history(dead.position);
        let reasons = last_reasons(row.death.as_deref(), reasons);
        let death = Death {
            cause: dead.cause,
            reasons,
            group: group.clone(),
            position: Position(dead.position),
            deliveries,
            accepted_at: row.accepted_at,
            died_at: now,
            redriven: row.redriven,
        };
        let letter = letter(&row, now, now, None);
        let redriven = row.redriven;
        self.add(letters, letter, |position, stored| row.moved(position, stored, Some(death), redriven))
    }

    pub(crate) async fn redrive(&mut self, redrive: &Redrive) -> Result<Redriven, Stop> {
        let topic = redrive.group.topic();
        let known = self.replica(topic)?;
        let letters = known.topic.group(&redrive.group).map_err(Stop::Refused)?.spec.dead_letter_topic();
        let room = known.topic.spec.messages_max.saturating_sub(known.topic.log.len());
        let max = redrive.max.min(usize::try_from(room).unwrap_or(usize::MAX));
        self.enter(&letters).await?;
        let settling = self.being_settled(&letters).await?;
        let dead = self.topics.get(&letters).ok_or_else(|| Stop::Needs(letters.clone()))?;
        let kept = dead.topic.log.iter();
        let kept = kept.filter(|(position, stored)| !stored.is_removed && !settling.contains(position));
        let positions: Vec<u64> = kept.map(|(position, _)| position).collect();
        let mut redriven = Redriven { moved: 0, has_more: false };
        'letters: for page in positions.chunks(PAGE) {
            let mut rows = self.fetch(&letters, page).await?;
            rows.sort_unstable_by_key(|row| row.position);
            for row in rows {
                let Some(death) = row.death.as_deref().filter(|death| death.group == redrive.group) else { continue };
                if !redrive.which.chooses(death, &row.message) {
                    continue;
                }
                if redriven.moved >= max {
                    redriven.has_more = true;
                    break 'letters;
                }
                self.send_back(redrive, &letters, row, redriven.moved)?;
                redriven.moved = redriven.moved.saturating_add(1);
            }
        }
        // The letters' places are free again, also where nobody reads them.
        self.release(&letters)?;
        Ok(redriven)
    }

    fn send_back(&mut self, redrive: &Redrive, letters: &Topic, row: Row, nth: usize) -> Result<(), Stop> {
        let now = self.now;
        let wait = |rate: crate::topology::Rate| rate.time_of(u64::try_from(nth).unwrap_or(u64::MAX));
        let due = redrive.rate.map_or(now, |rate| now.after(wait(rate)).unwrap_or(Timestamp::MAX));
        if let Some(dead) = self.topics.get_mut(letters) {
            dead.topic.move_to(row.position, None, now, &mut Vec::new());
        }
        self.did(letters, Op::Moved { position: row.position, due: None });
        let again = letter(&row, now, due, Some(redrive.group.name().clone()));
        let redriven = row.redriven.saturating_add(1);
        self.add(redrive.group.topic(), again, |position, stored| row.moved(position, stored, None, redriven))?;
        Ok(())
    }
}

fn letter(row: &Row, accepted_at: Timestamp, due: Timestamp, only: Option<crate::name::GroupName>) -> Stored {
    let Message { key, priority, .. } = &*row.message;
    Stored::new(key.clone(), *priority, [accepted_at, due, Timestamp::MAX], only)
}
