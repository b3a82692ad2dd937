//! Every size and count of a process is bounded.

/// The limits of all processes of a registry. Exceeding one is an error that names it. Together they keep an instance within one record of 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Events that wait at one instance, at most.
    pub waiting_max: usize,
    /// Bytes of events that wait at one instance, at most.
    pub waiting_bytes_max: usize,
    /// Bytes of the body of one event, at most.
    pub event_bytes_max: usize,
    /// Bytes of the host's data of one instance, at most.
    pub data_bytes_max: usize,
    /// Steps of one instance, at most.
    pub steps_max: usize,
    /// Bytes of the input or the value of one step, at most.
    pub step_bytes_max: usize,
    /// Timeouts that are set at one instance, at most.
    pub timeouts_max: usize,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            waiting_max: 64,
            waiting_bytes_max: 256 << 10,
            event_bytes_max: 32 << 10,
            data_bytes_max: 128 << 10,
            steps_max: 64,
            step_bytes_max: 2 << 10,
            timeouts_max: 16,
        }
    }
}
