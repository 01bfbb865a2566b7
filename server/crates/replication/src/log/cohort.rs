use std::time::Duration;

/// The longest wait: a round may have taken as long as other nodes could not be reached.
const PATIENCE_MAX: Duration = Duration::from_millis(2);

/// Whom to wait for before work is done that costs the same for one and for many.
///
/// When a round is done, some writers wait already and those just answered are about to come back.
/// Beginning at once would make two half rounds of them for ever. So the next round waits for as
/// many as both together, but at most a fifth of what a round takes. Somebody alone never waits.
#[derive(Debug, Default)]
pub(crate) struct Cohort {
    expected: usize,
    round: Duration,
}

impl Cohort {
    /// A round is done: so many were answered, so many wait, so long it took.
    pub(crate) fn done(&mut self, answered: usize, waiting: usize, round: Duration) {
        self.expected = answered + waiting;
        self.round = round;
    }

    /// How long to wait for more, when `waiting` are there.
    pub(crate) fn patience(&self, waiting: usize) -> Duration {
        if waiting >= self.expected { Duration::ZERO } else { (self.round / 5).min(PATIENCE_MAX) }
    }
}
