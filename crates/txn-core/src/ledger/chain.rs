//! Chains: several transfers that stand or fall together.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use txn_change::Change;

use super::{
    rejection::Rejection,
    transfer::{How, Transfer, check, check_id, post_body, recorded, state_all},
};
use crate::{
    decide::{Context, body, documents},
    id::TransferId,
};

/// Transfers of one chain, at most.
pub const CHAIN_MAX: usize = 1_000;

/// What a chain answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chained {
    /// Its transfers, in order. Each is a fact of its own.
    pub transfers: Vec<TransferId>,
}

documents! {
    Chained => "ledger.chained", 1;
}

/// Posts all transfers or none. Limits are judged on the net of the chain, so that an account may pay out before it is paid in; conditions, on the state before the chain.
///
/// # Errors
/// [`Rejection::EmptyChain`], [`Rejection::ChainTooLong`], and as [`super::transfer()`].
pub fn transfer_chain(context: &Context, transfers: &[Transfer]) -> Result<Change, Rejection> {
    if transfers.is_empty() {
        return Err(Rejection::EmptyChain);
    }
    if transfers.len() > CHAIN_MAX {
        return Err(Rejection::ChainTooLong { found: transfers.len(), max: CHAIN_MAX });
    }
    let mut change = context.change();
    for transfer in transfers {
        check_id(&transfer.id)?;
        check(&transfer.postings)?;
        let record = recorded(transfer.clone(), context.effective_at);
        let body = body(&record);
        change = state_all(post_body(change, &record, body, How::Guarded), &transfer.conditions)?;
    }
    let ids = transfers.iter().map(|transfer| transfer.id.clone()).collect();
    Ok(change.answer(body(&Chained { transfers: ids })))
}
