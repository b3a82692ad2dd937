//! Bodies: what records, events and answers hold, as canonical bytes stored verbatim with their type and schema version.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
};

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::key::is_reserved;

/// A type that can be a body. The pair (`TYPE`, `SCHEMA`) is stored beside the bytes, so that an older version can be lifted when read.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use txn_change::{Body, Document};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// #[serde(deny_unknown_fields)]
/// struct Note { text: String }
/// impl Document for Note {
///     const TYPE: &'static str = "note";
///     const SCHEMA: u16 = 1;
/// }
///
/// let body = Body::of(&Note { text: "hello".into() })?;
/// assert_eq!(body.bytes(), br#"{"text":"hello"}"#);
/// assert_eq!(body.read::<Note>()?, Note { text: "hello".into() });
/// # Ok::<(), txn_change::BodyError>(())
/// ```
pub trait Document: Serialize + DeserializeOwned {
    /// The stored name of the type.
    const TYPE: &'static str;
    /// The version of its shape.
    const SCHEMA: u16;

    /// Reads a body of an earlier schema as this one; `None` for a version that was never written. What is stored stays as it is: a document takes its new shape when it is put
    /// the next time.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use txn_change::{Body, BodyError, Document};
    ///
    /// /// As releases wrote it: the types stay, and each lifts from the one before.
    /// #[derive(Serialize, Deserialize)]
    /// struct NoteV1 { text: String }
    /// impl Document for NoteV1 {
    ///     const TYPE: &'static str = "note";
    ///     const SCHEMA: u16 = 1;
    /// }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct NoteV2 { title: String, text: String }
    /// impl Document for NoteV2 {
    ///     const TYPE: &'static str = "note";
    ///     const SCHEMA: u16 = 2;
    ///     fn lift(body: &Body) -> Option<Result<Self, BodyError>> {
    ///         let from_1 = |NoteV1 { text }| NoteV2 { title: "untitled".into(), text };
    ///         (body.schema() < 2).then(|| body.read().map(from_1))
    ///     }
    /// }
    ///
    /// #[derive(Serialize, Deserialize, Debug, PartialEq)]
    /// struct Note { title: String, lines: Vec<String> }
    /// impl Document for Note {
    ///     const TYPE: &'static str = "note";
    ///     const SCHEMA: u16 = 3;
    ///     fn lift(body: &Body) -> Option<Result<Self, BodyError>> {
    ///         let from_2 = |NoteV2 { title, text }| Note { title, lines: text.lines().map(String::from).collect() };
    ///         (body.schema() < 3).then(|| body.read().map(from_2))
    ///     }
    /// }
    ///
    /// let stored = Body::raw("note", 1, br#"{"text":"hello"}"#.to_vec());
    /// assert_eq!(stored.read::<Note>()?, Note { title: "untitled".into(), lines: vec!["hello".into()] });
    /// # Ok::<(), BodyError>(())
    /// ```
    fn lift(body: &Body) -> Option<Result<Self, BodyError>> {
        let _ = body;
        None
    }
}

/// How the bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// JSON without white space, fields in the order of the type.
    Json,
    /// The content was erased; what is left is its SHA-256, so that digests over it can still be proven.
    Erased,
}

impl Format {
    /// The stored number of the format.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Erased => 0,
            Self::Json => 1,
        }
    }

    /// The format with that stored number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Erased),
            1 => Some(Self::Json),
            _ => None,
        }
    }
}

/// Canonical bytes with their type, schema version and format. Cheap to clone.
#[derive(Clone)]
pub struct Body {
    type_name: TypeName,
    schema: u16,
    format: Format,
    bytes: Arc<[u8]>,
    /// The digest of the bytes, where it was needed before.
    digest: Option<Arc<[u8; 32]>>,
}

impl Body {
    fn parts(&self) -> (&str, u16, Format, &[u8]) {
        (&self.type_name, self.schema, self.format, &self.bytes)
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Body {}

impl Hash for Body {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// Why a body could not be written or read. Names the type and its schema version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The value has no JSON form (a map with keys that are not text, say).
    #[error("{type_name} cannot be written: {reason}")]
    Unwritable {
        /// The type.
        type_name: String,
        /// What the serialiser said.
        reason: String,
    },
    /// The bytes are not of the shape that the type asks for.
    #[error("{type_name} (schema {schema}) cannot be read: {reason}")]
    Unreadable {
        /// The stored type.
        type_name: String,
        /// The stored schema version.
        schema: u16,
        /// What the parser said.
        reason: String,
    },
    /// Another type, or a schema version that this build does not know.
    #[error("found {found} (schema {found_schema}), wanted {wanted} (schema {wanted_schema})")]
    WrongType {
        /// The stored type.
        found: String,
        /// The stored schema version.
        found_schema: u16,
        /// The type asked for.
        wanted: &'static str,
        /// The schema version that this build knows.
        wanted_schema: u16,
    },
    /// The content was erased.
    #[error("{type_name} was erased")]
    Erased {
        /// The stored type.
        type_name: String,
    },
}

pub(crate) fn canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(value)
}

/// The name of a type: that of one of this build's own needs no memory of its own.
#[derive(Clone)]
enum TypeName {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Deref for TypeName {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl Body {
    /// Writes a value as canonical JSON.
    ///
    /// # Errors
    /// [`BodyError::Unwritable`] when the value has no JSON form.
    pub fn of<T: Document>(value: &T) -> Result<Self, BodyError> {
        let bytes = canonical_json(value)
            .map_err(|e| BodyError::Unwritable { type_name: T::TYPE.into(), reason: e.to_string() })?;
        let (type_name, format) = (TypeName::Static(T::TYPE), Format::Json);
        Ok(Self { type_name, schema: T::SCHEMA, format, bytes: Arc::from(bytes), digest: None })
    }

    /// A value that was written as canonical JSON by other means than [`Body::of`], to the same bytes. For txn's own.
    #[doc(hidden)]
    #[must_use]
    pub fn written<T: Document>(json: &str) -> Self {
        let (type_name, format) = (TypeName::Static(T::TYPE), Format::Json);
        Self { type_name, schema: T::SCHEMA, format, bytes: Arc::from(json.as_bytes()), digest: None }
    }

    /// A body of JSON bytes that somebody else wrote; they are stored as they are.
    #[must_use]
    pub fn raw(type_name: &str, schema: u16, json: Vec<u8>) -> Self {
        Self::stored(Arc::from(type_name), schema, Format::Json, Arc::from(json))
    }

    /// A body read back from a storage.
    #[must_use]
    pub fn stored(type_name: Arc<str>, schema: u16, format: Format, bytes: Arc<[u8]>) -> Self {
        Self { type_name: TypeName::Shared(type_name), schema, format, bytes, digest: None }
    }

    /// The same body without its content: type, schema and the digest of what it was stay.
    ///
    /// ```
    /// use txn_change::{Body, Format};
    /// let body = Body::raw("note", 1, br#"{"text":"hello"}"#.to_vec());
    /// let erased = body.erased();
    /// assert_eq!(erased.format(), Format::Erased);
    /// assert_eq!(erased.content_digest(), body.content_digest());
    /// ```
    #[must_use]
    pub fn erased(&self) -> Self {
        Self { format: Format::Erased, bytes: Arc::from(self.content_digest()), digest: None, ..self.clone() }
    }

    /// The same body, which knows the digest of its content: for one that is digested more than once.
    #[must_use]
    pub fn digested(mut self) -> Self {
        self.digest = Some(Arc::new(self.content_digest()));
        self
    }

    /// SHA-256 of the content; of an erased body, of what the content was.
    #[must_use]
    pub fn content_digest(&self) -> [u8; 32] {
        if let Some(digest) = &self.digest {
            return **digest;
        }
        match (self.format, <[u8; 32]>::try_from(&*self.bytes)) {
            (Format::Erased, Ok(digest)) => digest,
            _ => Sha256::digest(&self.bytes).into(),
        }
    }

    /// Reads the value.
    ///
    /// # Errors
    /// [`BodyError::WrongType`] for another type, or a schema that this build does not know, [`BodyError::Unreadable`] for bytes of another shape, [`BodyError::Erased`] when the content was
    /// erased.
    pub fn read<T: Document>(&self) -> Result<T, BodyError> {
        if self.format == Format::Erased {
            return Err(BodyError::Erased { type_name: String::from(&*self.type_name) });
        }
        if &*self.type_name == T::TYPE
            && self.schema < T::SCHEMA
            && let Some(lifted) = T::lift(self)
        {
            return lifted;
        }
        if &*self.type_name != T::TYPE || self.schema != T::SCHEMA {
            return Err(BodyError::WrongType {
                found: String::from(&*self.type_name),
                found_schema: self.schema,
                wanted: T::TYPE,
                wanted_schema: T::SCHEMA,
            });
        }
        serde_json::from_slice(&self.bytes).map_err(|e| BodyError::Unreadable {
            type_name: String::from(&*self.type_name),
            schema: self.schema,
            reason: e.to_string(),
        })
    }

    /// Whether the type belongs to txn.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.type_name)
    }

    /// The stored name of the type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The type's name, shared.
    #[must_use]
    pub fn type_name_shared(&self) -> Arc<str> {
        match &self.type_name {
            TypeName::Static(name) => Arc::from(*name),
            TypeName::Shared(name) => Arc::clone(name),
        }
    }

    /// The version of the shape.
    #[must_use]
    pub const fn schema(&self) -> u16 {
        self.schema
    }

    /// How the bytes are written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The bytes, verbatim.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Body {
    /// Type, schema and size; never the content, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} ({} bytes)", &*self.type_name, self.schema, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Note {
        text: String,
    }

    impl Document for Note {
        const TYPE: &'static str = "note";
        const SCHEMA: u16 = 2;
    }

    /// Case B43.
    #[test]
    fn duplicates_unknown_fields_trailing_data_and_a_bom_are_refused() {
        for bad in
            [r#"{"text":"a","text":"b"}"#, r#"{"text":"a","more":1}"#, r#"{"text":"a"} x"#, "\u{feff}{\"text\":\"a\"}"]
        {
            let body = Body::raw("note", 2, bad.as_bytes().to_vec());
            assert!(matches!(body.read::<Note>(), Err(BodyError::Unreadable { .. })), "{bad}");
        }
    }

    #[test]
    fn another_schema_is_named() {
        let error = Body::raw("note", 3, b"{}".to_vec()).read::<Note>().unwrap_err();
        assert_eq!(error.to_string(), "found note (schema 3), wanted note (schema 2)");
    }
}
