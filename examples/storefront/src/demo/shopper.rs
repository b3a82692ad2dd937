//! One order's way through the services.
//!
//! Every step can be asked for again, and what is stored decides how to go on, never what this process remembers. So a run that was killed ends as it would have, and
//! one that has ended changes nothing.

use std::num::NonZeroU32;

use txn::{
    Failure, Instruction, Rejection, Services, Ship,
    change::Timestamp,
    core::{
        aftersale::{Receipt, ReceivedLine, RequestReturn},
        id::{HoldId, LocationId, OrderId, PaymentId, RefundId, ReturnId},
        inventory::{self, Disposition},
        money,
        order::{self, LineQuantity, PlaceOrder},
        payment::{Payment, PaymentState, RefundState},
    },
};

use super::{
    catalogue::{CURRENCY, Planned},
    gateway::DemoGateway,
    stories::{Story, Then},
};

/// What the id of a return's refund ends with.
pub(super) const OF_RETURN: &str = ":return";

/// When time runs out for orders and holds of this run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) hold: Timestamp,
    pub(super) payment: Timestamp,
}

/// One order and what it needs.
pub(super) struct Shopper<'a> {
    pub(super) shop: &'a Services,
    pub(super) gateway: &'a DemoGateway,
    pub(super) location: &'a LocationId,
    pub(super) deadlines: Deadlines,
    pub(super) planned: &'a Planned,
    pub(super) order: OrderId,
    pub(super) hold: HoldId,
    pub(super) payment: PaymentId,
}

type Answer<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Shopper<'_> {
    /// Goes the whole way, as far as it can be gone before time passes.
    pub(super) async fn go(&self) -> Answer<()> {
        self.place().await?;
        match self.planned.story {
            Story::Buys { authorise, capture, then } => {
                self.reserve(None).await?;
                self.buy(authorise, capture).await?;
                self.after_arrival(then).await
            }
            Story::GivesUp { authorise } => {
                self.reserve(None).await?;
                self.authorise(authorise).await?;
                Ok(self.cancel().await?)
            }
            Story::CancelsAuthorised { void } => {
                self.reserve(None).await?;
                self.authorise(&[Instruction::Approve]).await?;
                Ok(self.void(void).await?)
            }
            Story::NeverPays => Ok(self.reserve(None).await?),
            Story::LosesHold => Ok(self.reserve(Some(self.deadlines.hold)).await?),
            Story::WantsLimited => self.try_limited().await,
        }
    }

    async fn place(&self) -> Result<(), Failure> {
        // A request that is sent again is sent as it was: with the time that the order was given first.
        let expires_at = match self.shop.orders().get(&self.order).await? {
            Some(order) => order.expires_at,
            None => match self.planned.story {
                Story::GivesUp { .. } | Story::NeverPays | Story::LosesHold => Some(self.deadlines.payment),
                _ => None,
            },
        };
        let command = PlaceOrder {
            order: self.order.clone(),
            customer: Some(self.planned.customer.clone()),
            currency: CURRENCY,
            location: self.location.clone(),
            hold: self.hold.clone(),
            payment: self.payment.clone(),
            expires_at,
            lines: self.planned.lines.clone(),
        };
        self.shop.orders().place(&command).await?;
        Ok(())
    }

    async fn reserve(&self, until: Option<Timestamp>) -> Result<(), Failure> {
        let until = match self.shop.inventory().hold(&self.hold).await? {
            Some(hold) => hold.expires_at,
            None => until,
        };
        self.shop.orders().reserve(&self.order, until).await?;
        Ok(())
    }

    async fn try_limited(&self) -> Answer<()> {
        match self.reserve(None).await {
            Ok(()) => self.buy(&[Instruction::Approve], Instruction::Approve).await,
            // Sold out, or called off for that reason in an earlier run.
            Err(Failure::Rejected(
                Rejection::Stock(inventory::Rejection::StockInsufficient { .. })
                | Rejection::Order(order::Rejection::IllegalTransition { .. }),
            )) => Ok(self.cancel().await?),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn buy(&self, authorise: &[Instruction], capture: Instruction) -> Answer<()> {
        self.authorise(authorise).await?;
        self.capture(capture).await?;
        let all = Ship { order: self.order.clone(), shipment: "all".into(), units: None };
        self.shop.orders().ship(&all).await?;
        self.shop.orders().deliver(&self.order, "all", None).await?;
        Ok(())
    }

    async fn paying(&self) -> Answer<Payment> {
        let payment = self.shop.payments().get(&self.payment).await?;
        Ok(payment.ok_or_else(|| format!("there is no payment {}", self.payment))?)
    }

    /// Authorises until that is done or the gateway has given all of its answers.
    async fn authorise(&self, answers: &[Instruction]) -> Answer<()> {
        let payments = self.shop.payments();
        loop {
            let payment = self.paying().await?;
            // An attempt is counted when it is claimed.
            let begun = usize::try_from(payment.attempts)?;
            let attempt = if payment.state == PaymentState::Created { begun } else { begun.saturating_sub(1) };
            let Some(answer) = answers.get(attempt) else { return Ok(()) };
            self.gateway.instruct(&self.payment, *answer);
            match payment.state {
                PaymentState::Created | PaymentState::Authorising => payments.authorise(&self.payment).await?,
                PaymentState::AuthoriseUnknown => payments.resolve(&self.payment).await?,
                _ => return Ok(()),
            };
        }
    }

    async fn capture(&self, answer: Instruction) -> Answer<()> {
        let payments = self.shop.payments();
        self.gateway.instruct(&self.payment, answer);
        loop {
            match self.paying().await?.state {
                PaymentState::Authorised | PaymentState::Capturing => payments.capture(&self.payment).await?,
                PaymentState::CaptureUnknown => payments.resolve(&self.payment).await?,
                _ => return Ok(()),
            };
        }
    }

    async fn cancel(&self) -> Result<(), Failure> {
        self.shop.orders().cancel(&self.order).await?;
        Ok(())
    }

    /// Calls an authorised order off, and finds out about a void whose answer was lost.
    async fn void(&self, answer: Instruction) -> Result<(), Failure> {
        self.gateway.instruct(&self.payment, answer);
        self.cancel().await?;
        self.shop.payments().resolve(&self.payment).await?;
        Ok(())
    }

    async fn after_arrival(&self, then: Then) -> Answer<()> {
        match then {
            Then::Keeps => Ok(()),
            Then::SendsBack(disposition) => self.send_back(disposition).await,
            Then::IsCompensated(answers) => self.compensate(answers).await,
        }
    }

    async fn send_back(&self, disposition: Disposition) -> Answer<()> {
        let quantity = self.planned.sent_back;
        let id = ReturnId::new(self.order.as_str())?;
        let asked = RequestReturn { id: id.clone(), lines: vec![LineQuantity { line: 0, quantity }] };
        self.shop.returns().request(&self.order, &asked).await?;
        let refund = RefundId::new(format!("{}{OF_RETURN}", self.order))?;
        let came = Receipt { id, refund, lines: vec![ReceivedLine { line: 0, quantity, disposition }] };
        self.shop.returns().receive(&self.order, &came).await?;
        Ok(())
    }

    async fn compensate(&self, answers: &[Instruction]) -> Answer<()> {
        let ten = NonZeroU32::new(10).ok_or("ten is not zero")?;
        let parts = money::split(self.paying().await?.captured, ten)?;
        let amount = *parts.first().ok_or("a tenth is one of ten parts")?;
        for (attempt, answer) in answers.iter().enumerate() {
            self.gateway.instruct(&self.payment, *answer);
            // A refund that failed stays failed; the next attempt is another refund.
            let refund = RefundId::new(format!("{}:{attempt}", self.order))?;
            if self.shop.payments().refund(&self.payment, &refund, amount).await?.state == RefundState::Done {
                break;
            }
        }
        Ok(())
    }
}
