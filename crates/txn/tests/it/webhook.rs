//! Webhooks: what is believed, and what is not, in both schemes.

mod limits;
#[cfg(feature = "memory")]
mod once;
mod properties;
mod refusals;
mod rotation;
mod vectors;

use txn::{
    change::Timestamp,
    queue::MessageId,
    webhook::{Limits, Refused, Verified, Verifier, standard, stripe},
};

/// Whatever scheme: pairs of name and value.
type Headers = Vec<(&'static str, String)>;

const STRIPE: &str = "whsec_test_secret";
const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"id":"evt_1","type":"charge.succeeded"}"#;
const AT: i64 = 1_614_265_330;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds).unwrap()
}

fn stripe_secret(text: &str) -> stripe::Secret {
    stripe::Secret::new(text).unwrap()
}

fn standard_secret(text: &str) -> standard::Secret {
    standard::Secret::new(text).unwrap()
}

/// A verifier and what it believes, in each scheme.
fn schemes(limits: Limits, body: &[u8], seconds: i64) -> [(Verifier, Headers); 2] {
    let id = MessageId::new("msg_1").unwrap();
    let by_stripe = stripe::sign(&[stripe_secret(STRIPE)], at(seconds), body).unwrap();
    let by_standard = standard::sign(&[standard_secret(STANDARD)], &id, at(seconds), body).unwrap();
    [
        (Verifier::stripe([stripe_secret(STRIPE)], limits).unwrap(), by_stripe.to_vec()),
        (Verifier::standard([standard_secret(STANDARD)], limits).unwrap(), by_standard.to_vec()),
    ]
}

/// What becomes of a `Stripe-Signature` of this value.
fn stripe_header<'b>(value: impl AsRef<[u8]>, body: &'b [u8]) -> Result<Verified<'b>, Refused> {
    let verifier = Verifier::stripe([stripe_secret(STRIPE)], Limits::default()).unwrap();
    verifier.verify([("Stripe-Signature", value)], body, at(AT))
}

/// What becomes of the three headers of Standard Webhooks.
fn standard_headers<'b>(id: &str, time: &str, signatures: &str, body: &'b [u8]) -> Result<Verified<'b>, Refused> {
    let verifier = Verifier::standard([standard_secret(STANDARD)], Limits::default()).unwrap();
    let headers = [("Webhook-Id", id), ("Webhook-Timestamp", time), ("Webhook-Signature", signatures)];
    verifier.verify(headers, body, at(AT))
}

/// The signature alone, without what stands before it.
fn signature(headers: &Headers) -> &str {
    let (_, value) = headers.last().unwrap();
    value.split_once("v1").unwrap().1.get(1..).unwrap()
}
