//! That the peer by hand is right: a lease that has ended settles nothing.

use super::{
    side::Side,
    skip_locked::SkipLocked,
    work::{Keyed, messages},
};

/// Claims, lets the lease end, lets somebody else claim, and settles late.
pub(super) async fn is_fenced(peer: &SkipLocked) -> Result<(), String> {
    let expect = |what: &str, is_so: bool| if is_so { Ok(()) } else { Err(format!("the self check failed: {what}")) };
    peer.publish(SkipLocked::batch(&messages(3, Keyed::No))).await?;
    let stale = peer.claim(2).await?;
    expect("two of three are claimed", SkipLocked::count(&stale) == 2)?;
    expect("nobody else claims them", SkipLocked::count(&peer.claim(3).await?) == 1)?;
    peer.expire().await?;
    let again = peer.claim(3).await?;
    expect("what was held is claimed again", SkipLocked::count(&again) == 3)?;
    expect("a stale lease settles nothing", peer.settle(stale).await.is_err())?;
    peer.settle(again).await?;
    peer.is_empty().await
}
