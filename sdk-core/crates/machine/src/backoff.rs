//! How long to wait before the next attempt.

/// The bound of the first wait, in milliseconds.
const FIRST_MS: u64 = 500;

/// The bound of every wait, in milliseconds: half a minute behind the end of a trouble, everybody
/// is back. A server for which that is too soon says so.
const MAX_MS: u64 = 20_000;

/// Full jitter: each wait is anywhere between nothing and a bound that doubles. When a server
/// restarts, its clients come back spread over the whole of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure, in milliseconds.
    pub(crate) fn next(&mut self, chance: u64) -> u64 {
        let doubled = FIRST_MS.checked_shl(self.failures.min(16)).unwrap_or(MAX_MS);
        let bound = doubled.min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        // The upper half of the product is the chance, scaled to 0..=bound.
        let scaled = (u128::from(chance) * u128::from(bound + 1)) >> u64::BITS;
        u64::try_from(scaled).unwrap_or(bound)
    }

    /// The failures so far do not count any more.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}
