//! Whatever is signed is believed, whatever differs from it in a bit is not, and nothing panics.

use proptest::{collection::vec, prelude::*, sample::Index};
use txn::{
    change::Timestamp,
    queue::MessageId,
    webhook::{Limits, Verifier, standard, stripe},
};

use super::{AT, Headers, STANDARD, STRIPE, at, schemes, standard_secret, stripe_secret};

fn believes(verifier: &Verifier, headers: &Headers, body: &[u8]) -> bool {
    verifier.verify(headers.iter().map(|(name, value)| (name, value)), body, at(AT)).is_ok()
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..300), any::<String>().prop_map(String::into_bytes)]
}

/// Bytes as somebody writes who knows the schemes.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(b"t=".to_vec()),
        Just(b"v1=".to_vec()),
        Just(b"v1,".to_vec()),
        Just(b"v1a,".to_vec()),
        Just(b",".to_vec()),
        Just(b" ".to_vec()),
        Just(b"=".to_vec()),
        Just(AT.to_string().into_bytes()),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        "[0-9a-f]{64}".prop_map(String::into_bytes),
        "[A-Za-z0-9+/]{43}=".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..20),
    ];
    vec(word, 0..12).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn what_is_signed_is_believed(body in body(), seconds in 0..9_000_000_000_i64, id in "[!-\\-/-~]{1,255}") {
        let now = at(seconds);
        let verified = stripe::sign(&[stripe_secret(STRIPE)], now, &body).unwrap();
        let verifier = Verifier::stripe([stripe_secret(STRIPE)], Limits::default()).unwrap();
        let verified = verifier.verify(verified, &body, now).unwrap();
        prop_assert_eq!((verified.id(), verified.timestamp(), verified.body()), (None, now, body.as_slice()));

        let id = MessageId::new(id).unwrap();
        let headers = standard::sign(&[standard_secret(STANDARD)], &id, now, &body).unwrap();
        let verifier = Verifier::standard([standard_secret(STANDARD)], Limits::default()).unwrap();
        let verified = verifier.verify(headers, &body, now).unwrap();
        prop_assert_eq!((verified.id(), verified.timestamp(), verified.body()), (Some(&id), now, body.as_slice()));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(body in body(), place in any::<Index>(), bit in 0..8_u8) {
        for (verifier, headers) in schemes(Limits { tolerance: std::time::Duration::MAX, ..Limits::default() }, &body, AT) {
            prop_assert!(believes(&verifier, &headers, &body));
            let parts = headers.iter().map(|(_, value)| value.len()).chain([body.len()]).collect::<Vec<usize>>();
            let mut place = place.index(parts.iter().sum());
            let mut values = headers.iter().map(|(_, value)| value.clone().into_bytes()).chain([body.clone()]).collect::<Vec<_>>();
            for value in &mut values {
                if place < value.len() {
                    value[place] ^= 1 << bit;
                    break;
                }
                place -= value.len();
            }
            let body = values.pop().unwrap();
            let headers = headers.iter().map(|(name, _)| *name).zip(values);
            prop_assert!(verifier.verify(headers, &body, at(AT)).is_err());
        }
    }

    #[test]
    fn what_is_cut_off_or_longer_is_refused(body in body(), cut in any::<Index>(), more in vec(any::<u8>(), 1..20)) {
        for (verifier, headers) in schemes(Limits::default(), &body, AT) {
            if !body.is_empty() {
                prop_assert!(!believes(&verifier, &headers, &body[..cut.index(body.len())]));
            }
            prop_assert!(!believes(&verifier, &headers, &[body.clone(), more.clone()].concat()));
            for place in 0..headers.len() {
                let mut headers = headers.clone();
                let value = &mut headers[place].1;
                value.truncate(cut.index(value.len()));
                prop_assert!(!believes(&verifier, &headers, &body));
            }
        }
    }

    #[test]
    fn the_order_of_parts_and_headers_is_nothing(body in body(), order in Just((0..5).collect::<Vec<usize>>()).prop_shuffle()) {
        let [(by_stripe, one), (by_standard, three)] = schemes(Limits::default(), &body, AT);
        let signature = super::signature(&one);
        let other = "0".repeat(64);
        let parts = [format!("t={AT}"), format!("v1={signature}"), format!("v1={other}"), format!("v0={other}"), "v2=x".to_owned()];
        let value = order.iter().map(|&place| parts[place].as_str()).collect::<Vec<&str>>().join(",");
        prop_assert!(believes(&by_stripe, &vec![(stripe::SIGNATURE, value)], &body));

        let mut headers = three.clone();
        headers.rotate_left(order[0] % 3);
        prop_assert!(believes(&by_standard, &headers, &body));
        // What one header says is not believed in another.
        let values = three.iter().map(|(_, value)| value.clone()).cycle().skip(1 + order[0] % 2);
        let swapped = three.iter().map(|(name, _)| *name).zip(values).collect::<Headers>();
        prop_assert!(!believes(&by_standard, &swapped, &body));
    }

    #[test]
    fn a_time_is_believed_within_the_window_and_nowhere_else(signed in 0..9_000_000_000_i64, apart in -400_000_000_000..400_000_000_000_i64, now in any::<i64>()) {
        for (verifier, headers) in schemes(Limits::default(), b"{}", signed) {
            let near = Timestamp::from_nanos(at(signed).as_nanos().saturating_add(apart));
            for now in [near, Timestamp::from_nanos(now)] {
                let verified = verifier.verify(headers.iter().map(|(name, value)| (name, value)), b"{}", now);
                let apart = i128::from(now.as_nanos()) - i128::from(at(signed).as_nanos());
                prop_assert_eq!(verified.is_ok(), apart.abs() <= 300_000_000_000);
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(values in vec(header(), 0..4), body in body(), now in any::<i64>(), parts_max in 0..20_usize, secret in any::<String>()) {
        let limits = Limits { parts_max, header_bytes_max: 500, ..Limits::default() };
        let names = [stripe::SIGNATURE, standard::ID, standard::TIMESTAMP, standard::SIGNATURE];
        for (verifier, _) in schemes(limits, b"", AT) {
            for now in [at(AT), Timestamp::from_nanos(now)] {
                let headers = names.iter().cycle().zip(&values).map(|(name, value)| (*name, value));
                prop_assert!(verifier.verify(headers, &body, now).is_err());
                let mut all = vec![(standard::ID, b"msg_1".to_vec()), (standard::TIMESTAMP, AT.to_string().into_bytes())];
                all.extend([stripe::SIGNATURE, standard::SIGNATURE].into_iter().zip(values.iter().cloned()));
                prop_assert!(verifier.verify(all, &body, now).is_err());
            }
        }
        drop((stripe::Secret::new(&secret), standard::Secret::new(&secret), standard::Secret::new(&format!("whsec_{secret}"))));
    }
}
