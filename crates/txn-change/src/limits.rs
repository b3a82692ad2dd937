//! Every size and count of a change has a limit; exceeding one is an error with the number in it.

/// The finite defaults of what one [`crate::Change`] may hold. A basket of 2,048 lines fits.
///
/// ```
/// use txn_change::Limits;
/// let limits = Limits { body_bytes_max: 64 * 1024, ..Limits::default() };
/// assert_eq!(limits.adds_max, 4_096);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records that one change may require, at most.
    pub requires_max: usize,
    /// Records that one change may put, at most.
    pub puts_max: usize,
    /// Counters that one change may open or set, at most.
    pub opens_max: usize,
    /// Additions to counters, at most.
    pub adds_max: usize,
    /// Conditions on counters, at most.
    pub holds_max: usize,
    /// Fences, at most.
    pub fences_max: usize,
    /// Events, at most.
    pub events_max: usize,
    /// Index terms of one record or event, at most.
    pub terms_max: usize,
    /// Bytes of one body, at most.
    pub body_bytes_max: usize,
    /// Bytes of all bodies of one change, at most.
    pub change_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requires_max: 4_096,
            puts_max: 4_096,
            opens_max: 4_096,
            adds_max: 4_096,
            holds_max: 4_096,
            fences_max: 16,
            events_max: 1_024,
            terms_max: 4_096,
            body_bytes_max: 1 << 20,
            change_bytes_max: 4 << 20,
        }
    }
}
