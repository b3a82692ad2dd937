//! Believes a request, or says why not.

use std::{fmt, time::Duration};

use ctutils::{Choice, CtEq};
use txn_change::Timestamp;
use txn_queue::MessageId;

use super::{
    key::{BadSecret, Key},
    limits::Limits,
    read::{Claimed, headers},
    refused::Refused,
    standard, stripe,
};

/// Verifies the webhooks of one endpoint. It holds the secrets that are active, usually one, and two while they are rotated.
///
/// ```
/// use txn::change::Timestamp;
/// use txn::webhook::{Limits, Refused, Verifier, stripe};
///
/// let rotated_at = Timestamp::from_seconds(1_700_000_000)?;
/// let old = stripe::Secret::new("whsec_old")?.until(rotated_at.after(std::time::Duration::from_secs(86_400))?);
/// let new = stripe::Secret::new("whsec_new")?;
/// let verifier = Verifier::stripe([new, old.clone()], Limits::default())?;
///
/// let headers = stripe::sign(&[old], rotated_at, b"{}")?;
/// assert!(verifier.verify(headers.clone(), b"{}", rotated_at).is_ok());
/// let late = rotated_at.after(std::time::Duration::from_secs(301))?;
/// assert!(matches!(verifier.verify(headers, b"{}", late), Err(Refused::TooOld { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Verifier {
    scheme: Scheme,
    keys: Vec<Key>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
enum Scheme {
    Stripe,
    Standard,
}

/// A webhook that was signed with an active secret, just now. Only a [`Verifier`] makes one; so a function that takes it cannot be handed a body that nobody has verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified<'b> {
    id: Option<MessageId>,
    timestamp: Timestamp,
    body: &'b [u8],
}

impl Verifier {
    /// A verifier of Stripe's scheme.
    ///
    /// # Errors
    /// [`BadSecret::NoneGiven`], [`BadSecret::TooMany`].
    pub fn stripe(secrets: impl IntoIterator<Item = stripe::Secret>, limits: Limits) -> Result<Self, BadSecret> {
        Self::new(Scheme::Stripe, secrets.into_iter().map(|secret| secret.0), limits)
    }

    /// A verifier of the scheme of Standard Webhooks.
    ///
    /// # Errors
    /// [`BadSecret::NoneGiven`], [`BadSecret::TooMany`].
    pub fn standard(secrets: impl IntoIterator<Item = standard::Secret>, limits: Limits) -> Result<Self, BadSecret> {
        Self::new(Scheme::Standard, secrets.into_iter().map(|secret| secret.0), limits)
    }

    fn new(scheme: Scheme, keys: impl Iterator<Item = Key>, limits: Limits) -> Result<Self, BadSecret> {
        let keys = keys.collect::<Vec<Key>>();
        if keys.is_empty() {
            return Err(BadSecret::NoneGiven);
        }
        if keys.len() > limits.secrets_max {
            return Err(BadSecret::TooMany { found: keys.len(), max: limits.secrets_max });
        }
        Ok(Self { scheme, keys, limits })
    }

    /// Verifies a request that arrived `now`. `headers` are all of it or those of the scheme, as pairs of name and value, a header that is there twice as two pairs; upper and lower case of names are alike. `body` is what
    /// arrived, to the byte.
    ///
    /// # Errors
    /// [`Refused`]. What costs nothing to find out is found out first: sizes, form, time, and then the signature.
    pub fn verify<'b>(
        &self,
        headers: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<[u8]>)>,
        body: &'b [u8],
        now: Timestamp,
    ) -> Result<Verified<'b>, Refused> {
        let bytes_max = self.limits.body_bytes_max;
        if body.len() > bytes_max {
            return Err(Refused::BodyTooLarge { bytes: body.len(), bytes_max });
        }
        let claimed = self.claimed(headers)?;
        self.timely(claimed.timestamp, now)?;
        if !self.keys.iter().any(|key| key.is_active(now)) {
            return Err(Refused::SecretsEnded);
        }
        if !self.is_signed(&claimed, body, now).to_bool() {
            return Err(Refused::SignatureWrong);
        }
        Ok(Verified { id: claimed.id, timestamp: claimed.timestamp, body })
    }

    fn claimed(
        &self,
        pairs: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<[u8]>)>,
    ) -> Result<Claimed, Refused> {
        let bytes_max = self.limits.header_bytes_max;
        match self.scheme {
            Scheme::Stripe => {
                let [value] = headers(pairs, [stripe::SIGNATURE], bytes_max)?;
                stripe::claimed(&value, &self.limits)
            }
            Scheme::Standard => {
                let names = [standard::ID, standard::TIMESTAMP, standard::SIGNATURE];
                let [id, time, signatures] = headers(pairs, names, bytes_max)?;
                standard::claimed(&id, &time, &signatures, &self.limits)
            }
        }
    }

    fn timely(&self, signed: Timestamp, now: Timestamp) -> Result<(), Refused> {
        let tolerance = self.limits.tolerance;
        let apart = Duration::from_nanos(now.as_nanos().abs_diff(signed.as_nanos()));
        if apart <= tolerance {
            Ok(())
        } else if signed < now {
            Err(Refused::TooOld { age: apart, tolerance })
        } else {
            Err(Refused::NotYet { ahead: apart, tolerance })
        }
    }

    /// Every key is tried on every signature, those that have ended too; no result decides what is done next.
    fn is_signed(&self, claimed: &Claimed, body: &[u8], now: Timestamp) -> Choice {
        let mut is_signed = Choice::FALSE;
        for key in &self.keys {
            let (id, dot): (&str, &str) = claimed.id.as_ref().map_or(("", ""), |id| (id.as_str(), "."));
            let signed = [id.as_bytes(), dot.as_bytes(), claimed.seconds.as_bytes(), b".", body];
            let expected = key.sign(signed);
            let is_active = Choice::from(u8::from(key.is_active(now)));
            for tag in &claimed.tags {
                is_signed |= expected.ct_eq(tag) & is_active;
            }
        }
        is_signed
    }
}

impl<'b> Verified<'b> {
    /// The id that its sender gave it and signed, the same for every repetition: what the [inbox](crate::inbox) knows it by, and the key to deduplicate by. Stripe signs none outside of the body: there it is the `id` of the
    /// JSON, which the host reads from [`Verified::body`].
    #[must_use]
    pub const fn id(&self) -> Option<&MessageId> {
        self.id.as_ref()
    }

    /// When this attempt was signed, by its sender's clock. A repetition has another.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// The body, as it arrived.
    #[must_use]
    pub const fn body(&self) -> &'b [u8] {
        self.body
    }
}

/// Without the body, which is about people and money.
impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = format_args!("{} bytes", self.body.len());
        f.debug_struct("Verified")
            .field("id", &self.id)
            .field("timestamp", &self.timestamp)
            .field("body", &body)
            .finish()
    }
}
