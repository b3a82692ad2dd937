//! What can happen to an order of the demo, and how often it does.

use txn::{
    Instruction::{self, Approve, Decline, TimeoutAfter, TimeoutBefore},
    core::inventory::Disposition::{self, Damaged, Restock},
};

/// What an order goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Story {
    /// Pays and gets the goods. Each attempt to authorise meets the next answer of the gateway.
    Buys { authorise: &'static [Instruction], capture: Instruction, then: Then },
    /// Calls the order off when the gateway has given all of these answers, and before the first attempt when there is none.
    GivesUp { authorise: &'static [Instruction] },
    /// Calls the order off when the money is held, so that it is voided at the gateway.
    CancelsAuthorised { void: Instruction },
    /// Lets the time to pay run out.
    NeverPays,
    /// As before, but the hold on the goods runs out first.
    LosesHold,
    /// Wants one of the item that there is too little of.
    WantsLimited,
}

/// What happens when the goods have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing.
    Keeps,
    /// Some come back.
    SendsBack(Disposition),
    /// A tenth of the price goes back through the gateway; each attempt meets the next answer.
    IsCompensated(&'static [Instruction]),
}

const fn buys(authorise: &'static [Instruction], capture: Instruction) -> Story {
    Story::Buys { authorise, capture, then: Then::Keeps }
}

const fn then(then: Then) -> Story {
    Story::Buys { authorise: &[Approve], capture: Approve, then }
}

/// Fifty orders. A demo takes them deck by deck, each shuffled, so that a small one meets a bit of everything as well.
const DECK: [(usize, Story); 16] = [
    (17, buys(&[Approve], Approve)),
    (3, buys(&[Decline, Approve], Approve)),
    (2, buys(&[TimeoutAfter], Approve)),
    (2, buys(&[TimeoutBefore, Approve], Approve)),
    (1, buys(&[Approve], TimeoutAfter)),
    (4, then(Then::SendsBack(Restock))),
    (2, then(Then::SendsBack(Damaged))),
    (2, then(Then::IsCompensated(&[Approve]))),
    (1, then(Then::IsCompensated(&[Decline, TimeoutAfter]))),
    (3, Story::GivesUp { authorise: &[] }),
    (2, Story::GivesUp { authorise: &[Decline, Decline] }),
    (2, Story::CancelsAuthorised { void: Approve }),
    (1, Story::CancelsAuthorised { void: TimeoutAfter }),
    (3, Story::NeverPays),
    (2, Story::LosesHold),
    (3, Story::WantsLimited),
];

/// One deck, in order.
pub(super) fn deck() -> Vec<Story> {
    DECK.iter().flat_map(|(count, story)| std::iter::repeat_n(*story, *count)).collect()
}
