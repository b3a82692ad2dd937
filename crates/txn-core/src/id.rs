//! Typed ids. An id is a text of 1 to 100 bytes of letters, digits and `-._~%:`; it is made outside, as a UUIDv7 or from a name that the host has.

use uuid::{Uuid, Version};

const ALLOWED: &str = "ASCII letters, digits and '-', '.', '_', '~', '%', ':'";

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '%' | ':')
}

/// Why a UUID is not taken as an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the UUID {uuid} is not of version 7")]
pub struct NotVersion7 {
    /// The UUID.
    pub uuid: Uuid,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        txn_change::name!($(#[$doc])* $name, $what, 100, ALLOWED, is_allowed);

        impl $name {
            /// An id from a UUIDv7, which orders by time and cannot be guessed.
            ///
            /// # Errors
            /// [`NotVersion7`] for a UUID of another version.
            pub fn from_uuid(uuid: Uuid) -> Result<Self, NotVersion7> {
                if uuid.get_version() != Some(Version::SortRand) {
                    return Err(NotVersion7 { uuid });
                }
                let mut buffer = Uuid::encode_buffer();
                let text: &str = uuid.hyphenated().encode_lower(&mut buffer);
                Ok(Self::new(text).expect("a hyphenated UUID is 36 allowed characters"))
            }
        }
    )*};
}

ids! {
    /// An order.
    ///
    /// ```
    /// use txn_core::id::OrderId;
    /// let named = OrderId::new("web-1042")?;
    /// let made = OrderId::from_uuid(uuid::Uuid::from_u128(0x0190_b3a4_0000_7000_8000_0000_0000_0001))?;
    /// assert_ne!(named, made);
    /// assert!(OrderId::new("a/b").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    OrderId, "order id";
    /// A customer of the host's.
    CustomerId, "customer id";
    /// A payment: an intent with its attempts.
    PaymentId, "payment id";
    /// A refund.
    RefundId, "refund id";
    /// A hold on stock.
    HoldId, "hold id";
    /// A stock keeping unit.
    Sku, "sku";
    /// A place that keeps stock.
    LocationId, "location id";
    /// A movement of stock.
    MovementId, "movement id";
    /// A ledger account. Segments are separated by `:`, such as `assets:gateway`.
    AccountId, "account id";
    /// A transfer between accounts.
    TransferId, "transfer id";
    /// A pending transfer.
    LedgerHoldId, "ledger hold id";
    /// A return of goods.
    ReturnId, "return id";
}
