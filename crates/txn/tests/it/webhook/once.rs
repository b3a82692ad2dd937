//! From a webhook to an effect that happens once: verified, made a message, and applied through the inbox.

use std::{convert::Infallible, sync::Arc};

use pollster::block_on;
use txn::{
    Failure, Tenant,
    change::{Body, Change, Expect, Key, Kind},
    inbox::{Applied, Inbox, Unapplied},
    queue::{GroupName, Message, MessageType, Source},
    store::{Scope, memory::Memory},
    webhook::{Limits, Verified, Verifier, standard},
};

use super::{AT, BODY, STANDARD, at, standard_secret};

fn card() -> Key {
    Key::of(Kind::new("card").unwrap()).text("ann").unwrap().build()
}

fn apply(inbox: &Inbox, webhook: &Verified<'_>) -> Result<Applied, Unapplied<Infallible>> {
    let (source, kind) = (Source::new("/webhooks/psp").unwrap(), MessageType::new("psp.event").unwrap());
    let message = Message::new(webhook.id().unwrap().clone(), source, kind).data("application/json", webhook.body());
    block_on(inbox.apply(&message, inbox.ask().record(card()), |context, snapshot| {
        let version = snapshot.records[0].as_ref().map(|record| record.version);
        let body = Body::raw("charges", 1, b"{}".to_vec());
        Ok(Change::new(context.id.clone(), context.fingerprint).put(card(), Expect::of(version), body, vec![]))
    }))
}

/// Case B48.
#[test]
fn a_webhook_that_comes_again_has_one_effect() {
    let scope = Scope::new(Arc::new(Memory::new()), Tenant::default());
    let inbox = Inbox::new(scope.clone(), GroupName::new("webhooks").unwrap());
    let verifier = Verifier::standard([standard_secret(STANDARD)], Limits::default()).unwrap();
    let id = txn::queue::MessageId::new("msg_1").unwrap();
    let sign = |seconds, body| standard::sign(&[standard_secret(STANDARD)], &id, at(seconds), body).unwrap();

    // The same bytes again, and the provider's own repetition, which is signed anew.
    for (signed, seconds) in [(AT, AT), (AT, AT + 300), (AT + 600, AT + 601)] {
        let headers = sign(signed, BODY);
        let webhook = verifier.verify(headers, BODY, at(seconds)).unwrap();
        assert_eq!(apply(&inbox, &webhook).unwrap().is_duplicate(), seconds != AT);
    }
    assert_eq!(block_on(scope.record(card())).unwrap().unwrap().version, 1);

    // Another body under the same id is no repetition, however well it is signed.
    let headers = sign(AT, b"{}");
    let webhook = verifier.verify(headers, b"{}", at(AT)).unwrap();
    assert!(matches!(apply(&inbox, &webhook), Err(Unapplied::Failed(Failure::KeyReused { .. }))));
}
