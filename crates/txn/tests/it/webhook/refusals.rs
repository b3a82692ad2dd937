//! Headers that are not as they should be.

use txn::{
    queue::MessageId,
    webhook::{Limits, Refused, Verifier, standard},
};

use super::{AT, BODY, at, schemes, signature, standard_headers, standard_secret, stripe_header, stripe_secret};

fn malformed(refused: &Refused, name: &str) -> bool {
    matches!(refused, Refused::HeaderMalformed { header, .. } if *header == name)
}

/// Case B46.
#[test]
fn stripe_headers_that_are_refused() {
    let [(_, headers), _] = schemes(Limits::default(), BODY, AT);
    let fits = signature(&headers).to_owned();
    let believed = format!("t={AT},v1={fits}");
    assert!(stripe_header(&believed, BODY).is_ok());
    assert_eq!(stripe_header(&believed, b"{}").unwrap_err(), Refused::SignatureWrong, "the signature of another body");

    for value in [
        String::new(),
        "bad_header".to_owned(),
        "i'm not even a real signature header".to_owned(),
        format!("v1={fits}"),
        format!("t=,v1={fits}"),
        format!("t,v1={fits}"),
        format!("t={AT},t={AT},v1={fits}"),
        format!("t={AT},t={},v1={fits}", AT + 1),
        format!("{believed},"),
        format!(",{believed}"),
        format!("{believed},v1"),
        format!("t=0{AT},v1={fits}"),
        format!("t=+{AT},v1={fits}"),
        format!("t=-{AT},v1={fits}"),
        format!("t= {AT},v1={fits}"),
        format!("t={AT}.0,v1={fits}"),
        format!("t=1e9,v1={fits}"),
        format!("t=１６１４２６５３３０,v1={fits}"),
        format!("t=9223372036854775807,v1={fits}"),
        format!("t=9223372036854775808,v1={fits}"),
        format!("t=99999999999999999999999999999,v1={fits}"),
        format!("T={AT},v1={fits}"),
    ] {
        let refused = stripe_header(&value, BODY).unwrap_err();
        assert!(malformed(&refused, "stripe-signature"), "{value:?}: {refused}");
    }

    for value in
        [format!("t={AT}"), format!("t={AT},v0={fits}"), format!("t={AT},V1={fits}"), format!("t={AT}, v1={fits}")]
    {
        assert_eq!(stripe_header(&value, BODY).unwrap_err(), Refused::SignatureMissing, "{value:?}");
    }

    for wrong in [
        String::new(),
        fits.to_uppercase(),
        fits[..62].to_owned(),
        fits[..63].to_owned(),
        format!("{fits}0"),
        format!("{fits}00"),
        format!("{fits}="),
        format!("={fits}"),
        format!(" {fits}"),
        format!("0x{}", &fits[2..]),
        "é".repeat(32),
        "0".repeat(64),
    ] {
        let refused = stripe_header(format!("t={AT},v1={wrong}"), BODY).unwrap_err();
        assert_eq!(refused, Refused::SignatureWrong, "{wrong:?}");
    }

    let many = format!("t={AT}{}", format!(",v1={fits}").repeat(10_000));
    assert!(matches!(stripe_header(many, BODY), Err(Refused::HeaderTooLong { .. })));
    let limits = Limits { header_bytes_max: usize::MAX, ..Limits::default() };
    let many = format!("t={AT}{}", format!(",v1={fits}").repeat(10_000));
    let verifier = Verifier::stripe([stripe_secret(super::STRIPE)], limits).unwrap();
    let refused = verifier.verify([("stripe-signature", many)], BODY, at(AT)).unwrap_err();
    assert_eq!(refused, Refused::TooManyParts { header: "stripe-signature", parts_max: 16 });

    let other = Verifier::stripe([stripe_secret("whsec_other")], Limits::default()).unwrap();
    let refused = other.verify([("stripe-signature", believed)], BODY, at(AT)).unwrap_err();
    assert_eq!(refused, Refused::SignatureWrong, "another secret");
    assert!(malformed(&stripe_header([0xff, 0xfe, b'=', 0x80], BODY).unwrap_err(), "stripe-signature"));
}

#[test]
fn standard_headers_that_are_refused() {
    let [_, (_, headers)] = schemes(Limits::default(), BODY, AT);
    let (fits, time) = (headers[2].1.as_str(), AT.to_string());
    assert!(standard_headers("msg_1", &time, fits, BODY).is_ok());
    assert_eq!(standard_headers("msg_1", &time, fits, b"{}").unwrap_err(), Refused::SignatureWrong);
    assert_eq!(standard_headers("msg_2", &time, fits, BODY).unwrap_err(), Refused::SignatureWrong);
    let another = (AT + 1).to_string();
    assert_eq!(standard_headers("msg_1", &another, fits, BODY).unwrap_err(), Refused::SignatureWrong);

    for id in ["", "msg.1", "msg 1", "msg_1\n", "msg_\u{301}1", "ｍsg_1", "msg\0"] {
        assert!(malformed(&standard_headers(id, &time, fits, BODY).unwrap_err(), "webhook-id"), "{id:?}");
    }
    for wrong in ["", " ", "0x1", "-1", "+1", "01", "1.5", "now", "2021-02-25T15:02:10Z", "9223372036854775808", "¹"] {
        let refused = standard_headers("msg_1", wrong, fits, BODY).unwrap_err();
        assert!(malformed(&refused, "webhook-timestamp"), "{wrong:?}: {refused}");
    }
    let padded = format!("{time} ");
    assert!(malformed(&standard_headers("msg_1", &padded, fits, BODY).unwrap_err(), "webhook-timestamp"));

    let base64 = fits.strip_prefix("v1,").unwrap();
    for value in [
        String::new(),
        " ".to_owned(),
        format!("{fits} "),
        format!(" {fits}"),
        format!("{fits}  {fits}"),
        base64.to_owned(),
        "v1".to_owned(),
    ] {
        let refused = standard_headers("msg_1", &time, &value, BODY).unwrap_err();
        assert!(malformed(&refused, "webhook-signature"), "{value:?}: {refused}");
    }
    for version in ["v1a", "v2", "v0", "V1", "", "v1=", "v11"] {
        let refused = standard_headers("msg_1", &time, &format!("{version},{base64}"), BODY).unwrap_err();
        assert_eq!(refused, Refused::SignatureMissing, "{version:?}");
    }
    for wrong in [
        String::new(),
        base64.trim_end_matches('=').to_owned(),
        format!("{base64}="),
        base64[..40].to_owned(),
        format!("{base64},{base64}"),
        base64.to_lowercase(),
        base64.replace('+', "-").replace('/', "_").replace('=', ""),
        "%".repeat(44),
        format!("{}=", "A".repeat(43)),
    ] {
        let refused = standard_headers("msg_1", &time, &format!("v1,{wrong}"), BODY).unwrap_err();
        assert_eq!(refused, Refused::SignatureWrong, "{wrong:?}");
    }
}

#[test]
fn a_header_is_there_exactly_once() {
    for (verifier, headers) in schemes(Limits::default(), BODY, AT) {
        for place in 0..headers.len() {
            let (header, value) = headers[place].clone();
            let mut without = headers.clone();
            without.remove(place);
            let refused = verifier.verify(without, BODY, at(AT)).unwrap_err();
            assert_eq!(refused, Refused::HeaderMissing { header });

            // Twice is refused even when both say the same, in whatever case the names are written.
            let mut twice = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Vec<_>>();
            twice.push((header.to_uppercase(), value));
            let refused = verifier.verify(twice, BODY, at(AT)).unwrap_err();
            assert_eq!(refused, Refused::HeaderRepeated { header });
        }
        let nothing: [(&str, &str); 0] = [];
        assert!(matches!(verifier.verify(nothing, BODY, at(AT)), Err(Refused::HeaderMissing { .. })));

        // Others may be there as often as they like, before and after, and their length is not ours to judge.
        let more = ("accept", "x".repeat(10_000));
        let others = [vec![more.clone(), more.clone()], headers, vec![more]].concat();
        assert!(verifier.verify(others, BODY, at(AT)).is_ok());
    }
}

/// Signed for one scheme, or for another way to write the same id and time, is not signed for this one.
#[test]
fn a_signature_is_of_one_scheme_and_one_reading() {
    let id = MessageId::new("1").unwrap();
    let secrets = [standard_secret(super::STANDARD)];
    // The text that is signed, `1.<AT>.<AT>.{}`, can also be read as the id `1.<AT>` and the body `{}`.
    let body = format!("{AT}.{{}}");
    let [_, _, (_, signatures)] = standard::sign(&secrets, &id, at(AT), body.as_bytes()).unwrap();
    assert!(standard_headers("1", &AT.to_string(), &signatures, body.as_bytes()).is_ok());
    let refused = standard_headers(&format!("1.{AT}"), &AT.to_string(), &signatures, b"{}").unwrap_err();
    assert!(malformed(&refused, "webhook-id"));
}

/// Case B49.
#[test]
fn a_body_that_was_written_anew_is_refused() {
    let sent = br#"{"b": 1, "a": 1.0, "name": "\u00e9"}"#;
    for (verifier, headers) in schemes(Limits::default(), sent, AT) {
        let verify = |body: &[u8]| verifier.verify(headers.clone(), body, at(AT)).is_ok();
        assert!(verify(sent));
        let parsed = serde_json::from_slice::<serde_json::Value>(sent).unwrap();
        assert!(!verify(serde_json::to_string(&parsed).unwrap().as_bytes()));
        assert!(!verify(&[sent, b"\n".as_slice()].concat()));
        assert!(!verify(&sent[1..]));
    }
}
