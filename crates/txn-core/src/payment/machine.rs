//! The states of a payment, and what may happen in each.

use serde::{Deserialize, Serialize};

use crate::{
    machine::{Definition, Machine},
    state_machine, variants,
};

variants! {
    /// Where a payment is. Waiting for a gateway and not knowing what it did are states of their own.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PaymentState {
        /// Nothing is authorised; an attempt may begin.
        Created,
        /// An authorisation is claimed, and its result not recorded yet.
        Authorising,
        /// It is not known whether the authorisation went through.
        AuthoriseUnknown,
        /// The amount is held at the gateway and pending in the ledger.
        Authorised,
        /// A capture is claimed.
        Capturing,
        /// It is not known whether the capture went through.
        CaptureUnknown,
        /// A void is claimed.
        Voiding,
        /// It is not known whether the void went through.
        VoidUnknown,
        /// The money was taken.
        Captured,
        /// The hold was given back.
        Voided,
        /// Given up before anything was authorised.
        Cancelled,
    }
}

variants! {
    /// What may happen to a payment.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PaymentEvent {
        /// An authorisation is about to be asked for.
        ClaimAuthorise,
        /// It was granted.
        AuthoriseDone,
        /// It was declined.
        AuthoriseDeclined,
        /// It certainly did not happen.
        AuthoriseNotExecuted,
        /// No answer came.
        AuthoriseTimedOut,
        /// A capture is about to be asked for.
        ClaimCapture,
        /// The money was taken.
        CaptureDone,
        /// The capture was declined.
        CaptureDeclined,
        /// It certainly did not happen.
        CaptureNotExecuted,
        /// No answer came.
        CaptureTimedOut,
        /// A void is about to be asked for.
        ClaimVoid,
        /// The hold was given back.
        VoidDone,
        /// The void was declined.
        VoidDeclined,
        /// It certainly did not happen.
        VoidNotExecuted,
        /// No answer came.
        VoidTimedOut,
        /// The payment is given up.
        Cancel,
        /// Some of the money goes back.
        Refund,
    }
}

/// The payment machine. Results may be recorded without a claim of ours: that is how a payment made elsewhere is taken over.
pub static PAYMENT: Machine<PaymentState, PaymentEvent> = {
    use PaymentEvent as E;
    use PaymentState as S;
    state_machine!(
        PaymentState,
        PaymentEvent,
        Definition {
            initial: &[S::Created],
            terminal: &[S::Captured, S::Voided, S::Cancelled],
            edges: &[
                (S::Created, E::ClaimAuthorise, S::Authorising),
                (S::Created, E::AuthoriseDone, S::Authorised),
                (S::Created, E::Cancel, S::Cancelled),
                (S::Authorising, E::AuthoriseDone, S::Authorised),
                (S::Authorising, E::AuthoriseDeclined, S::Created),
                (S::Authorising, E::AuthoriseNotExecuted, S::Created),
                (S::Authorising, E::AuthoriseTimedOut, S::AuthoriseUnknown),
                (S::AuthoriseUnknown, E::AuthoriseDone, S::Authorised),
                (S::AuthoriseUnknown, E::AuthoriseDeclined, S::Created),
                (S::AuthoriseUnknown, E::AuthoriseNotExecuted, S::Created),
                (S::Authorised, E::ClaimCapture, S::Capturing),
                (S::Authorised, E::CaptureDone, S::Captured),
                (S::Authorised, E::ClaimVoid, S::Voiding),
                (S::Authorised, E::VoidDone, S::Voided),
                (S::Capturing, E::CaptureDone, S::Captured),
                (S::Capturing, E::CaptureDeclined, S::Authorised),
                (S::Capturing, E::CaptureNotExecuted, S::Authorised),
                (S::Capturing, E::CaptureTimedOut, S::CaptureUnknown),
                (S::CaptureUnknown, E::CaptureDone, S::Captured),
                (S::CaptureUnknown, E::CaptureDeclined, S::Authorised),
                (S::CaptureUnknown, E::CaptureNotExecuted, S::Authorised),
                (S::Voiding, E::VoidDone, S::Voided),
                (S::Voiding, E::VoidDeclined, S::Authorised),
                (S::Voiding, E::VoidNotExecuted, S::Authorised),
                (S::Voiding, E::VoidTimedOut, S::VoidUnknown),
                (S::VoidUnknown, E::VoidDone, S::Voided),
                (S::VoidUnknown, E::VoidDeclined, S::Authorised),
                (S::VoidUnknown, E::VoidNotExecuted, S::Authorised),
            ],
            reopening: &[(S::Captured, E::Refund, S::Captured)],
        }
    )
};
