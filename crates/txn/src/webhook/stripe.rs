//! Stripe's scheme: one header, `Stripe-Signature: t=<seconds>,v1=<hex>`, over `<seconds>.<body>`.
//!
//! There may be several `v1`, when Stripe rolls a secret; parts of other names, such as `v0` of test events, are passed over and never accepted in its stead. The hexadecimal digits are lower case. The secret is the text of
//! `whsec_…` as a whole. What is signed holds no id; an event's own is the `id` of its JSON.
//!
//! Source: Stripe's documentation, "Receive Stripe events in your webhook endpoint", section "Verify manually"; checked against Stripe's libraries for Python and Node.js. Stricter than they: a header with two times, or with
//! a part that has no `=`, is refused, and a time in the future is refused as an old one is.

use txn_change::Timestamp;

use super::{
    key::{BadSecret, Key, Tag, graphic},
    limits::Limits,
    read::{Claimed, parts, seconds, written},
    refused::{Refused, Unsigned},
};

/// The header that holds time and signatures.
pub const SIGNATURE: &str = "stripe-signature";

/// The secret of one endpoint, `whsec_…`. It is not shown by `Debug`, cannot be read back, and is overwritten when it is dropped.
///
/// ```
/// use txn::webhook::{BadSecret, stripe::Secret};
/// let secret = Secret::new("whsec_test_secret")?;
/// assert_eq!(format!("{secret:?}"), "Secret(Key { bytes: redacted, until: None })");
/// assert_eq!(Secret::new("").unwrap_err(), BadSecret::Empty);
/// # Ok::<(), BadSecret>(())
/// ```
#[derive(Debug, Clone)]
pub struct Secret(pub(super) Key);

impl Secret {
    /// The secret as the dashboard shows it.
    ///
    /// # Errors
    /// [`BadSecret::Empty`], [`BadSecret::NotGraphic`], [`BadSecret::TooLong`] beyond 255 bytes.
    pub fn new(text: &str) -> Result<Self, BadSecret> {
        graphic(text)?;
        if text.strip_prefix("whsec_").is_some_and(str::is_empty) {
            return Err(BadSecret::Empty);
        }
        Ok(Self(Key::new(text.as_bytes())))
    }

    /// Lets it end: from this instant on it neither verifies nor signs. So an old secret is kept beside its successor for as long as both are used.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Self(self.0.until(until))
    }
}

/// The header that Stripe would send, with a signature of every active secret: for tests, and for who stands in for Stripe.
///
/// ```
/// use txn::change::Timestamp;
/// use txn::webhook::{Limits, Verifier, stripe};
/// let secret = stripe::Secret::new("whsec_test_secret")?;
/// let now = Timestamp::from_seconds(1_492_774_577)?;
/// let headers = stripe::sign(std::slice::from_ref(&secret), now, b"{}")?;
/// assert!(headers[0].1.starts_with("t=1492774577,v1="));
/// Verifier::stripe([secret], Limits::default())?.verify(headers, b"{}", now)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Unsigned::NoActiveSecret`], [`Unsigned::BeforeEpoch`].
pub fn sign(secrets: &[Secret], at: Timestamp, body: &[u8]) -> Result<[(&'static str, String); 1], Unsigned> {
    let seconds = written(at)?;
    let mut value = format!("t={seconds}");
    let mut active = secrets.iter().filter(|secret| secret.0.is_active(at)).peekable();
    active.peek().ok_or(Unsigned::NoActiveSecret)?;
    for secret in active {
        value.push_str(",v1=");
        for byte in secret.0.sign([seconds.as_bytes(), b".", body]) {
            value.extend([byte >> 4, byte & 0xf].map(|half| char::from_digit(half.into(), 16).unwrap_or_default()));
        }
    }
    Ok([(SIGNATURE, value)])
}

pub(super) fn claimed(value: &[u8], limits: &Limits) -> Result<Claimed, Refused> {
    let malformed = |problem| Refused::HeaderMalformed { header: SIGNATURE, problem };
    let mut time = None;
    let mut is_signed = false;
    let mut tags = Vec::new();
    for part in parts(value, b',', SIGNATURE, limits.parts_max)? {
        let equals = part.iter().position(|&byte| byte == b'=').ok_or(malformed("a part has no equals sign"))?;
        let (name, rest) = part.split_at(equals);
        let text = rest.strip_prefix(b"=").unwrap_or_default();
        match name {
            b"t" if time.is_some() => return Err(malformed("there are two times")),
            b"t" => time = Some(seconds(text, SIGNATURE)?),
            b"v1" => {
                is_signed = true;
                tags.extend(unhex(text));
            }
            _ => {}
        }
    }
    let (seconds, timestamp) = time.ok_or(malformed("there is no time"))?;
    if !is_signed {
        return Err(Refused::SignatureMissing);
    }
    Ok(Claimed { id: None, seconds, timestamp, tags })
}

fn unhex(text: &[u8]) -> Option<Tag> {
    let half = |digit: u8| match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a')?.checked_add(10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let bytes = pairs.iter().map(|&[high, low]| Some(half(high)? << 4 | half(low)?)).collect::<Option<Vec<u8>>>()?;
    bytes.try_into().ok()
}
