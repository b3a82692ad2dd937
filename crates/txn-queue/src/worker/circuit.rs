//! What pauses consumption while something that every handler needs is out.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// When consumption pauses, and for how long: when so many of the last outcomes were [`Class::Unavailable`](super::Class::Unavailable). After the pause one message at a time is tried; one
/// that is done ends the pause, one that fails makes the next twice as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitPolicy {
    /// So many failures open it.
    pub failures: NonZeroUsize,
    /// Of so many outcomes, the last ones.
    pub of: NonZeroUsize,
    /// The first pause.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for CircuitPolicy {
    /// Five of ten; a second, a minute at most.
    fn default() -> Self {
        Self {
            failures: NonZeroUsize::MIN.saturating_add(4),
            of: NonZeroUsize::MIN.saturating_add(9),
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
        }
    }
}

/// What an outcome says of what handlers need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Reached,
    /// It failed, and not for want of that; a probe should do better.
    Failed,
    Unavailable,
    /// Nothing: it was not begun, or never could be done.
    Unclear,
}

/// What may be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    All,
    Probe,
    /// Nothing before then.
    From(Instant),
    /// Nothing before the probe has ended.
    AfterProbe,
}

#[derive(Debug)]
enum State {
    /// The last outcomes; true is unavailable.
    Closed(VecDeque<bool>),
    Open {
        until: Instant,
        pause: Duration,
    },
    Probing {
        pause: Duration,
        is_out: bool,
    },
}

#[derive(Debug)]
pub(super) struct Circuit {
    policy: CircuitPolicy,
    state: Mutex<State>,
    pub(super) changed: Notify,
}

impl Circuit {
    pub(super) fn new(policy: CircuitPolicy) -> Self {
        Self { policy, state: Mutex::new(State::Closed(VecDeque::new())), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gate(&self, now: Instant) -> Gate {
        let mut state = self.state();
        match *state {
            State::Closed(_) => Gate::All,
            State::Open { until, .. } if now < until => Gate::From(until),
            State::Open { pause, .. } => {
                *state = State::Probing { pause, is_out: false };
                Gate::Probe
            }
            State::Probing { is_out: false, .. } => Gate::Probe,
            State::Probing { is_out: true, .. } => Gate::AfterProbe,
        }
    }

    /// A message was received as a probe.
    pub(super) fn probe_begins(&self) {
        if let State::Probing { is_out, .. } = &mut *self.state() {
            *is_out = true;
        }
    }

    /// 0 while everything is received, 1 while one at a time is, 2 while nothing is.
    pub(super) fn level(&self) -> u8 {
        match *self.state() {
            State::Closed(_) => 0,
            State::Probing { .. } => 1,
            State::Open { .. } => 2,
        }
    }

    /// Takes an outcome in, and says whether it opened or closed the circuit.
    pub(super) fn record(&self, is_probe: bool, verdict: Verdict, now: Instant) -> bool {
        let mut state = self.state();
        let has_changed = match (&mut *state, verdict) {
            (State::Closed(last), Verdict::Reached | Verdict::Failed | Verdict::Unavailable) => {
                last.push_back(verdict == Verdict::Unavailable);
                if last.len() > self.policy.of.get() {
                    last.pop_front();
                }
                let failures = last.iter().filter(|is_failure| **is_failure).count();
                let opens = failures >= self.policy.failures.min(self.policy.of).get();
                if opens {
                    *state = self.open(self.policy.pause, now);
                }
                opens
            }
            // What was begun before says nothing of now.
            (State::Probing { pause, is_out }, _) if is_probe => match verdict {
                Verdict::Reached => {
                    *state = State::Closed(VecDeque::new());
                    true
                }
                Verdict::Failed | Verdict::Unavailable => {
                    let pause = pause.saturating_mul(2);
                    *state = self.open(pause, now);
                    true
                }
                Verdict::Unclear => {
                    *is_out = false;
                    false
                }
            },
            _ => false,
        };
        drop(state);
        if is_probe || has_changed {
            self.changed.notify_one();
        }
        has_changed
    }

    fn open(&self, pause: Duration, now: Instant) -> State {
        let pause = pause.min(self.policy.pause_max);
        State::Open { until: now.checked_add(pause).unwrap_or(now), pause }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroUsize, time::Duration};

    use tokio::time::Instant;

    use super::{Circuit, CircuitPolicy, Gate, Verdict};

    const SECOND: Duration = Duration::from_secs(1);

    fn circuit() -> Circuit {
        let count = |count| NonZeroUsize::new(count).unwrap();
        Circuit::new(CircuitPolicy {
            failures: count(2),
            of: count(3),
            pause: SECOND,
            pause_max: Duration::from_secs(3),
        })
    }

    /// Case Q46.
    #[test]
    fn it_opens_probes_and_closes() {
        let (circuit, now) = (circuit(), Instant::now());
        for verdict in [Verdict::Unavailable, Verdict::Reached, Verdict::Failed, Verdict::Unclear] {
            assert!(!circuit.record(false, verdict, now));
        }
        // The first failure has left the last three.
        assert!(!circuit.record(false, Verdict::Unavailable, now));
        assert_eq!(circuit.gate(now), Gate::All);
        assert!(circuit.record(false, Verdict::Unavailable, now));
        assert_eq!(circuit.gate(now), Gate::From(now + SECOND));
        let mut now = now;
        for pause in [1, 2, 3, 3] {
            assert_eq!(circuit.gate(now), Gate::From(now + pause * SECOND));
            now += pause * SECOND;
            assert_eq!(circuit.gate(now), Gate::Probe);
            circuit.probe_begins();
            assert_eq!(circuit.gate(now), Gate::AfterProbe);
            // What was begun before does not end the probe, nor the pause.
            assert!(!circuit.record(false, Verdict::Reached, now));
            assert!(!circuit.record(true, Verdict::Unclear, now));
            assert_eq!(circuit.gate(now), Gate::Probe);
            circuit.probe_begins();
            assert!(circuit.record(true, if pause == 1 { Verdict::Failed } else { Verdict::Unavailable }, now));
        }
        now += 3 * SECOND;
        assert_eq!(circuit.gate(now), Gate::Probe);
        circuit.probe_begins();
        assert!(circuit.record(true, Verdict::Reached, now));
        assert_eq!(circuit.gate(now), Gate::All);
        assert!(!circuit.record(false, Verdict::Unavailable, now));
    }
}
