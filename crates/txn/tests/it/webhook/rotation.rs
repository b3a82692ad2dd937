//! Several secrets at once, and none of them in anything that is shown.

use txn::{
    queue::MessageId,
    webhook::{Limits, Refused, Verifier, standard, stripe},
};

use super::{AT, BODY, STANDARD, STRIPE, at, schemes, standard_secret, stripe_secret};

const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Case B50.
#[test]
fn either_secret_is_accepted_while_both_are_active() {
    let ended_at = AT + 10;
    let id = MessageId::new("msg_1").unwrap();
    for seconds in [AT, ended_at - 1, ended_at, ended_at + 60] {
        let (old, new) = (stripe_secret("whsec_old"), stripe_secret("whsec_new"));
        let ending = old.clone().until(at(ended_at));
        for secrets in [[ending.clone(), new.clone()], [new.clone(), ending.clone()]] {
            let verifier = Verifier::stripe(secrets, Limits::default()).unwrap();
            let verify = |secret: &stripe::Secret| {
                let headers = stripe::sign(std::slice::from_ref(secret), at(AT), BODY).unwrap();
                verifier.verify(headers, BODY, at(seconds)).map(|_| ())
            };
            let expected = if seconds < ended_at { Ok(()) } else { Err(Refused::SignatureWrong) };
            assert_eq!(verify(&old), expected, "the old one, {} s before its end", ended_at - seconds);
            assert_eq!(verify(&new), Ok(()));
            assert_eq!(verify(&stripe_secret("whsec_another")), Err(Refused::SignatureWrong));
        }

        let (old, new) = (standard_secret(STANDARD), standard_secret(OTHER));
        let verifier = Verifier::standard([old.clone().until(at(ended_at)), new.clone()], Limits::default()).unwrap();
        let verify = |secret: &standard::Secret| {
            let headers = standard::sign(std::slice::from_ref(secret), &id, at(AT), BODY).unwrap();
            verifier.verify(headers, BODY, at(seconds)).map(|_| ())
        };
        let expected = if seconds < ended_at { Ok(()) } else { Err(Refused::SignatureWrong) };
        assert_eq!((verify(&old), verify(&new)), (expected, Ok(())));
    }
}

#[test]
fn a_sender_signs_with_every_active_secret() {
    let secrets = [stripe_secret("whsec_old").until(at(AT + 10)), stripe_secret("whsec_new")];
    let [(_, both)] = stripe::sign(&secrets, at(AT), BODY).unwrap();
    let [(_, one)] = stripe::sign(&secrets, at(AT + 10), BODY).unwrap();
    assert_eq!((both.matches("v1=").count(), one.matches("v1=").count()), (2, 1));
    for secret in ["whsec_old", "whsec_new"] {
        let verifier = Verifier::stripe([stripe_secret(secret)], Limits::default()).unwrap();
        assert!(verifier.verify([("stripe-signature", &both)], BODY, at(AT)).is_ok());
        let one = verifier.verify([("stripe-signature", &one)], BODY, at(AT + 10));
        assert_eq!(one.is_ok(), secret == "whsec_new");
    }

    let id = MessageId::new("msg_1").unwrap();
    let secrets = [standard_secret(STANDARD), standard_secret(OTHER)];
    let headers = standard::sign(&secrets, &id, at(AT), BODY).unwrap();
    for secret in secrets {
        let verifier = Verifier::standard([secret], Limits::default()).unwrap();
        assert!(verifier.verify(headers.clone(), BODY, at(AT)).is_ok());
    }
}

#[test]
fn a_verifier_whose_secrets_have_all_ended_says_so() {
    let verifier = Verifier::stripe([stripe_secret(STRIPE).until(at(AT))], Limits::default()).unwrap();
    let headers = stripe::sign(&[stripe_secret(STRIPE)], at(AT), BODY).unwrap();
    assert_eq!(verifier.verify(headers, BODY, at(AT)).unwrap_err(), Refused::SecretsEnded);
}

#[test]
fn nothing_that_is_shown_holds_a_secret_or_a_body() {
    let hidden = [STRIPE, STANDARD, "test_secret", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "evt_1", "charge.succeeded"];
    let mut shown = vec![
        format!("{:?} {:#?}", stripe_secret(STRIPE), standard_secret(STANDARD)),
        format!("{:?}", stripe::Secret::new("whsec_test_secret\n").unwrap_err()),
        format!("{:?}", standard::Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw!").unwrap_err()),
    ];
    for (verifier, headers) in schemes(Limits::default(), BODY, AT) {
        let verify = |body, now| verifier.verify(headers.iter().map(|(name, value)| (name, value)), body, now);
        shown.push(format!("{verifier:?} {:?}", verify(BODY, at(AT)).unwrap()));
        for refused in [verify(b"{}", at(AT)), verify(BODY, at(AT + 1_000))] {
            let refused = refused.unwrap_err();
            shown.push(format!("{refused} {refused:?}"));
        }
        let signature = super::signature(&headers);
        assert!(shown.iter().all(|text| !text.contains(signature)));
    }
    // The bytes of a secret as `Debug` would list them: those of the two secrets begin so.
    let listed = ["119, 104, 115", "49, 242, 144"];
    for text in shown {
        for secret in hidden.iter().chain(&listed) {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
