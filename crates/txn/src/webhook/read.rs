//! What both schemes read alike: headers by name, and a time in seconds.

use txn_change::Timestamp;
use txn_queue::MessageId;

use super::{
    key::Tag,
    refused::{Refused, Unsigned},
};

const NANOS: i64 = 1_000_000_000;

/// What a request says of itself, not yet believed.
pub(super) struct Claimed {
    pub(super) id: Option<MessageId>,
    /// As it was written, which is as it was signed.
    pub(super) seconds: String,
    pub(super) timestamp: Timestamp,
    /// Every signature of the scheme that is one; of the others it is only known that they cannot fit.
    pub(super) tags: Vec<Tag>,
}

/// The values of the headers of these names, each there exactly once.
pub(super) fn headers<const N: usize>(
    headers: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<[u8]>)>,
    names: [&'static str; N],
    bytes_max: usize,
) -> Result<[Vec<u8>; N], Refused> {
    let mut found = [const { None::<Vec<u8>> }; N];
    for (name, value) in headers {
        let value = value.as_ref();
        for (slot, header) in found.iter_mut().zip(names) {
            if !name.as_ref().eq_ignore_ascii_case(header) {
                continue;
            }
            if slot.is_some() {
                return Err(Refused::HeaderRepeated { header });
            }
            if value.len() > bytes_max {
                return Err(Refused::HeaderTooLong { header, bytes: value.len(), bytes_max });
            }
            *slot = Some(value.to_vec());
        }
    }
    if let Some((_, header)) = found.iter().zip(names).find(|(slot, _)| slot.is_none()) {
        return Err(Refused::HeaderMissing { header });
    }
    Ok(found.map(Option::unwrap_or_default))
}

/// The parts of a header of signatures.
pub(super) fn parts<'v>(
    value: &'v [u8],
    separator: u8,
    header: &'static str,
    parts_max: usize,
) -> Result<impl Iterator<Item = &'v [u8]>, Refused> {
    let parts = move || value.split(move |&byte| byte == separator);
    if parts().nth(parts_max).is_some() {
        return Err(Refused::TooManyParts { header, parts_max });
    }
    Ok(parts())
}

/// A time as its sender wrote it. Only one way of writing it is accepted, so that what is compared is what was signed.
pub(super) fn seconds(text: &[u8], header: &'static str) -> Result<(String, Timestamp), Refused> {
    let malformed = |problem| Refused::HeaderMalformed { header, problem };
    let is_canonical = text == b"0" || (!text.starts_with(b"0") && text.iter().all(u8::is_ascii_digit));
    let text = str::from_utf8(text).ok().filter(|text| is_canonical && !text.is_empty());
    let text = text.ok_or(malformed("the time is not a number of seconds"))?;
    let seconds = text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_seconds(seconds).ok());
    Ok((text.to_owned(), seconds.ok_or(malformed("the time is beyond what is counted"))?))
}

/// A time as it is signed: the whole seconds of it.
pub(super) fn written(at: Timestamp) -> Result<String, Unsigned> {
    let seconds = at.as_nanos().div_euclid(NANOS);
    if seconds < 0 { Err(Unsigned::BeforeEpoch) } else { Ok(seconds.to_string()) }
}
