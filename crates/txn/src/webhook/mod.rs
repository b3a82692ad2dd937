//! Webhooks: what a payment provider sends is believed only when it is signed with a secret that is shared with it, and was signed just now.
//!
//! Two ways of signing are known: [`stripe`], and [`standard`] for all who keep to the Standard Webhooks specification. Both are HMAC-SHA256 over the bytes of the body as they arrived; so verify before
//! anything parses, trims or re-encodes them. Nothing here reads a clock or a socket: the host hands over headers, body and time, whatever its HTTP library is.
//!
//! ```
//! use txn::change::Timestamp;
//! use txn::webhook::{Limits, Refused, Verifier, standard};
//!
//! let secret = standard::Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
//! let verifier = Verifier::standard([secret], Limits::default())?;
//! // As they arrive; with the crate `http`, `request.headers()` is what fits here.
//! let headers = [
//!     ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
//!     ("webhook-timestamp", "1614265330"),
//!     ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
//! ];
//! let body = br#"{"test": 2432232314}"#;
//! let now = Timestamp::from_seconds(1_614_265_400)?;
//!
//! let verified = verifier.verify(headers, body, now)?;
//! assert_eq!(verified.id().map(|id| id.as_str()), Some("msg_p5jXN8AQM9LWM0D4loKWxJek"));
//! assert_eq!(verified.body(), body);
//!
//! let forged = verifier.verify(headers, br#"{"test": 2432232315}"#, now);
//! assert_eq!(forged.unwrap_err(), Refused::SignatureWrong);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Time.** Every active secret is tried on every signature, and all results are gathered without a branch on any of them, with the comparisons of `ctutils`. So how long an answer takes depends on how much was sent and on
//! how many secrets there are, and not on which of them fits, nor on how much of a signature does. This holds by the structure of the code; it is not measured.
//!
//! **Repetitions.** The window of time ends old recordings, not new ones: within it, and because providers send again what was not answered, a webhook may come many times. Its effect happens once when it goes through the
//! [inbox](crate::inbox) under an id that its sender keeps: [`Verified::id`] where the scheme signs one, and else the one in the body. [`Verified::timestamp`] is of the attempt and must not be part of the message.
//!
//! **Answers.** Say nothing but "400" to who was [`Refused`]; the reason is for your log, and holds neither secret nor body.

mod key;
mod limits;
mod read;
mod refused;
pub mod standard;
pub mod stripe;
mod verify;

pub use key::BadSecret;
pub use limits::Limits;
pub use refused::{Refused, Unsigned};
pub use verify::{Verified, Verifier};
