//! The names of processes, of their instances and of what happens to them.

const ALLOWED: &str = "ASCII letters, digits and '-', '.', '_', '~', '%', ':'";

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '%' | ':')
}

txn_change::name!(
    /// The name of a process, of a step or of a timeout: 1 to 32 bytes of `a-z`, `0-9` and `-`.
    ProcessName, "process name", 32, "a-z, 0-9 and '-'",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
);

txn_change::name!(
    /// What one instance of a process is about, such as an order's id: the same id under the same process is the same instance.
    ///
    /// ```
    /// use txn::process::CorrelationId;
    /// assert!(CorrelationId::new("web-1042").is_ok());
    /// assert!(CorrelationId::new("a/b").is_err());
    /// ```
    CorrelationId, "correlation id", 100, ALLOWED, is_allowed
);

txn_change::name!(
    /// The identity of an incoming event, such as its message's id: the same id at the same instance is the same event, and is handled once.
    IncomingId, "event id", 96, "ASCII letters, digits and punctuation, no space", |c| c.is_ascii_graphic()
);
