//! Patterns against the plainest way to say what they mean.

use proptest::prelude::*;
use txn_queue::{Pattern, RoutingKey};

fn naive(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern.split_first(), words.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), _) => (0..=words.len()).any(|taken| naive(rest, &words[taken..])),
        (Some((wanted, rest)), Some((word, others))) => (*wanted == "*" || wanted == word) && naive(rest, others),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn a_pattern_fits_what_its_words_say(
        pattern in proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("*"), Just("#"), Just("")], 1..6),
        words in proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("")], 1..8),
    ) {
        // No name is empty.
        if pattern.join(".").is_empty() || words.join(".").is_empty() {
            return Ok(());
        }
        let fits = Pattern::new(pattern.join(".")).unwrap().fits(&RoutingKey::new(words.join(".")).unwrap());
        prop_assert_eq!(fits, naive(&pattern, &words), "{:?} {:?}", pattern, words);
    }
}

/// A pattern of many `#` is no way to keep a processor busy: the work is the words of one times the words of the other.
#[test]
fn no_pattern_takes_long() {
    let pattern = Pattern::new(format!("{}z", "#.".repeat(120))).unwrap();
    let key = RoutingKey::new("a.".repeat(120) + "b").unwrap();
    assert!(!pattern.fits(&key));
}
