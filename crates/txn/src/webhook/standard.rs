//! The scheme of the Standard Webhooks specification: three headers, `webhook-id`, `webhook-timestamp` and `webhook-signature: v1,<base64>`, over `<id>.<seconds>.<body>`.
//!
//! There may be several `v1`, separated by spaces, while a secret is rotated. Signatures of other versions are passed over and never accepted in its stead; so is the asymmetric `v1a`, which is not verified here. A secret is
//! `whsec_` and the base64 of 24 to 64 bytes.
//!
//! Source: the Standard Webhooks specification, sections "Signature scheme" and "Webhook Headers", and the vectors of its reference libraries. An id with a full stop is refused, against what the specification
//! warns of: with it, one signed text would have two readings.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use txn_change::Timestamp;
use txn_queue::MessageId;
use zeroize::Zeroizing;

use super::{
    key::{BadSecret, Key, Tag, graphic},
    limits::Limits,
    read::{Claimed, parts, seconds, written},
    refused::{Refused, Unsigned},
};

/// The header that holds the id.
pub const ID: &str = "webhook-id";
/// The header that holds the time of the attempt.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header that holds the signatures.
pub const SIGNATURE: &str = "webhook-signature";

/// Bytes of a secret, at least.
pub const SECRET_BYTES_MIN: usize = 24;
/// Bytes of a secret, at most.
pub const SECRET_BYTES_MAX: usize = 64;

/// People copy secrets without the signs that pad them, and the reference libraries let them.
const SECRETS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The secret of one endpoint, `whsec_…`. It is not shown by `Debug`, cannot be read back, and is overwritten when it is dropped.
///
/// ```
/// use txn::webhook::{BadSecret, standard::Secret};
/// let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
/// assert_eq!(format!("{secret:?}"), "Secret(Key { bytes: redacted, until: None })");
/// assert_eq!(Secret::new("whsec_MfKQ").unwrap_err(), BadSecret::TooShort { bytes: 3, bytes_min: 24 });
/// # Ok::<(), BadSecret>(())
/// ```
#[derive(Debug, Clone)]
pub struct Secret(pub(super) Key);

impl Secret {
    /// The secret as it is handed out: base64, with or without `whsec_` before it.
    ///
    /// # Errors
    /// [`BadSecret`], but for what it says of verifiers.
    pub fn new(text: &str) -> Result<Self, BadSecret> {
        graphic(text)?;
        if ["whsk_", "whpk_"].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(BadSecret::Asymmetric);
        }
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = SECRETS.decode_slice(text, &mut bytes).map_err(|_| BadSecret::NotBase64)?;
        Self::from_bytes(bytes.get(..length).unwrap_or_default())
    }

    /// The secret as bytes, where a vault gives it so.
    ///
    /// # Errors
    /// [`BadSecret::Empty`], [`BadSecret::TooShort`], [`BadSecret::TooLong`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadSecret> {
        match bytes.len() {
            0 => Err(BadSecret::Empty),
            length if length < SECRET_BYTES_MIN => {
                Err(BadSecret::TooShort { bytes: length, bytes_min: SECRET_BYTES_MIN })
            }
            length if length > SECRET_BYTES_MAX => {
                Err(BadSecret::TooLong { bytes: length, bytes_max: SECRET_BYTES_MAX })
            }
            _ => Ok(Self(Key::new(bytes))),
        }
    }

    /// Lets it end: from this instant on it neither verifies nor signs. So an old secret is kept beside its successor for as long as both are used.
    #[must_use]
    pub fn until(self, until: Timestamp) -> Self {
        Self(self.0.until(until))
    }
}

/// The headers of a webhook that is sent, with a signature of every active secret. A repetition has the same id, and a time of its own.
///
/// ```
/// use txn::{change::Timestamp, queue::MessageId, webhook::standard};
/// let secret = standard::Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
/// let id = MessageId::new("msg_p5jXN8AQM9LWM0D4loKWxJek")?;
/// let at = Timestamp::from_seconds(1_614_265_330)?;
/// let [_, _, (name, value)] = standard::sign(&[secret], &id, at, br#"{"test": 2432232314}"#)?;
/// assert_eq!((name, value.as_str()), ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Unsigned`].
pub fn sign(
    secrets: &[Secret],
    id: &MessageId,
    at: Timestamp,
    body: &[u8],
) -> Result<[(&'static str, String); 3], Unsigned> {
    if id.as_str().contains('.') {
        return Err(Unsigned::FullStopInId);
    }
    let seconds = written(at)?;
    let mut signatures = Vec::new();
    for secret in secrets.iter().filter(|secret| secret.0.is_active(at)) {
        let tag = secret.0.sign([id.as_str().as_bytes(), b".", seconds.as_bytes(), b".", body]);
        signatures.push(format!("v1,{}", STANDARD.encode(tag)));
    }
    if signatures.is_empty() {
        return Err(Unsigned::NoActiveSecret);
    }
    Ok([(ID, id.as_str().to_owned()), (TIMESTAMP, seconds), (SIGNATURE, signatures.join(" "))])
}

pub(super) fn claimed(id: &[u8], time: &[u8], signatures: &[u8], limits: &Limits) -> Result<Claimed, Refused> {
    let malformed = |header, problem| Refused::HeaderMalformed { header, problem };
    let id = str::from_utf8(id).ok().filter(|id| !id.contains('.')).and_then(|id| MessageId::new(id).ok());
    let id = id.ok_or(malformed(ID, "an id is 1 to 255 graphic ASCII characters, and no full stop"))?;
    let (seconds, timestamp) = seconds(time, TIMESTAMP)?;
    let mut is_signed = false;
    let mut tags = Vec::new();
    for part in parts(signatures, b' ', SIGNATURE, limits.parts_max)? {
        let comma = part.iter().position(|&byte| byte == b',');
        let comma = comma.ok_or(malformed(SIGNATURE, "a part has no comma"))?;
        if let (b"v1", rest) = part.split_at(comma) {
            is_signed = true;
            tags.extend(decoded(rest.strip_prefix(b",").unwrap_or_default()));
        }
    }
    if !is_signed {
        return Err(Refused::SignatureMissing);
    }
    Ok(Claimed { id: Some(id), seconds, timestamp, tags })
}

fn decoded(text: &[u8]) -> Option<Tag> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
