//! What others have signed: the vectors that the schemes' own libraries are held against.

use txn::{
    queue::MessageId,
    webhook::{Limits, Refused, Verifier, standard, stripe},
};

use super::{at, standard_secret, stripe_secret};

/// The two vectors of the reference libraries of Standard Webhooks: `test_sign_function` of Python (the same in C#, Go, Java, JavaScript, PHP and Ruby), and `test_sign` of Rust.
const STANDARD: [(&str, &str, i64, &str, &str); 2] = [
    (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        r#"{"test": 2432232314}"#,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        1_649_367_553,
        r#"{"email":"test@example.com","username":"test_user"}"#,
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
];

#[test]
fn standard_vectors_are_signed_and_believed() {
    for (secret, id, seconds, body, signature) in STANDARD {
        for secret in [secret, secret.strip_prefix("whsec_").unwrap()] {
            let id = MessageId::new(id).unwrap();
            let headers =
                standard::sign(&[standard_secret(secret)], &id, at(seconds), body.as_bytes()).unwrap().to_vec();
            assert_eq!(headers[0], ("webhook-id", id.to_string()));
            assert_eq!(headers[1], ("webhook-timestamp", seconds.to_string()));
            assert_eq!(headers[2], ("webhook-signature", signature.to_owned()));
            let verifier = Verifier::standard([standard_secret(secret)], Limits::default()).unwrap();
            let verified = verifier.verify(headers, body.as_bytes(), at(seconds)).unwrap();
            assert_eq!((verified.id(), verified.timestamp()), (Some(&id), at(seconds)));
            assert_eq!(verified.body(), body.as_bytes());
        }
    }
}

/// `test_verify_with_multiple_signatures` and its opposite: one that fits among others is enough, wherever it stands; without it none is.
#[test]
fn one_of_many_standard_signatures_is_enough() {
    let (secret, id, seconds, body, fits) = STANDARD[1];
    let others = [
        "v1,tFtCZ5RDCPxzWQRWXWPgrCgE2frDBe9gjpbWQxnVfsQ=",
        "v1,Mm7xgUVICxZfQ3bgf0h0Dof65L/IFx+PnZvnDWPCX6Q=",
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
        "v2,9DfC1c3eeOrXB6w/5dIDydLNQaEyww5KalE5jLBZucE=",
    ];
    let verifier = Verifier::standard([standard_secret(secret)], Limits::default()).unwrap();
    let seconds_text = seconds.to_string();
    let verify = |signatures: &str| {
        let headers =
            [("webhook-id", id), ("webhook-timestamp", seconds_text.as_str()), ("webhook-signature", signatures)];
        verifier.verify(headers, body.as_bytes(), at(seconds)).map(|_| ())
    };
    for place in 0..=others.len() {
        let mut signatures = others.to_vec();
        signatures.insert(place, fits);
        assert_eq!(verify(&signatures.join(" ")), Ok(()), "at {place}");
    }
    assert_eq!(verify(&others.join(" ")), Err(Refused::SignatureWrong));
    assert_eq!(verify(others[2]), Err(Refused::SignatureMissing));
    assert_eq!(verify("v1,tZ1I4"), Err(Refused::SignatureWrong), "a signature that is cut off");
    assert_eq!(verify("v1,"), Err(Refused::SignatureWrong), "a signature that is empty");
}

/// The payload and the secret of `tests/test_webhook.py` in Stripe's library for Python, at the time of the example in Stripe's documentation. That library publishes no signature; this one was computed with the few lines of
/// it that sign.
#[test]
fn a_webhook_of_stripe_is_signed_and_believed() {
    let body = "{\n  \"id\": \"evt_test_webhook\",\n  \"object\": \"event\",\n  \"data\": { \"object\": { \"id\": \"rdr_123\", \"object\": \"terminal.reader\" } }\n}";
    let expected = "t=1492774577,v1=d21d91b425674689e03346536b8fec6384a8721d43ebe269a1689a3ad22cba9c";
    let headers = stripe::sign(&[stripe_secret("whsec_test_secret")], at(1_492_774_577), body.as_bytes()).unwrap();
    assert_eq!(headers, [("stripe-signature", expected.to_owned())]);

    let verifier = Verifier::stripe([stripe_secret("whsec_test_secret")], Limits::default()).unwrap();
    let verify = |value: &str| {
        let headers = [("Stripe-Signature", value)];
        verifier.verify(headers, body.as_bytes(), at(1_492_774_577)).map(|verified| verified.id().cloned())
    };
    assert_eq!(verify(expected), Ok(None));
    // As `test_header_contains_valid_signature`, and the `v0` of test events.
    let v0 = "v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";
    for more in ["v1=bad_signature", v0] {
        assert_eq!(verify(&format!("{expected},{more}")), Ok(None), "{more}");
    }
    // As `test_raise_on_no_signatures_with_expected_scheme`: what fits as `v1` is nothing as `v0`.
    assert_eq!(verify(&expected.replace("v1=", "v0=")), Err(Refused::SignatureMissing));
}
