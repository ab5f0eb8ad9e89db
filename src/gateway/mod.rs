//! The payment gateway: what the service asks of it, and what it makes of the answers.
//!
//! # The protocol
//! JSON over HTTP. `KEY` is chosen by the service, see [`is_key`]; amounts are whole minor units; members that are not
//! named here are ignored in answers. An API key, if there is one, travels as `Authorization: Bearer …`.
//!
//! - `POST {url}/payments`, header `Idempotency-Key: KEY`, body `{key, user, amount, method?}`: charges, at most once
//!   per key, ever. 200 `{key, amount, status: "APPROVED", reference}` or 402 `{key, amount, status: "DECLINED",
//!   reason}`. The same key again answers the same, whatever its `method`, after a refund too: it tells of the charge.
//!   422: the key stands for another amount or user. After a void: 402 with the reason `voided`.
//! - `GET {url}/payments/KEY`: the present state. 200 `{key, amount, status, reason?, reference?}`, `status` one of
//!   `APPROVED`, `DECLINED`, `REFUNDED`, `VOIDED`; or 404 `{"status":"NOT_FOUND"}`, with exactly that body.
//! - `POST {url}/payments/KEY/refund`, header `Idempotency-Key: KEY:refund`, body `{amount}`: gives the whole payment
//!   back, once however often it is asked. 200 `{key, amount, status: "REFUNDED"}`; 404 as above; else 409 with the
//!   present state.
//! - `POST {url}/payments/KEY/void`, without a body: makes sure that the key is never charged. 200 `{key, amount: 0,
//!   status: "VOIDED"}` when the key was unknown or void before, else 409 with the present state.
//!
//! Whatever is not clearly one of these answers is [`Verdict::Unclear`]: the money may have moved or not, and only
//! asking again tells.

mod client;
pub mod settler;

use serde::{Deserialize, Serialize};

pub use client::{Gateway, GatewaySettings};

use crate::http::object::Object;

/// Characters of a key.
pub const KEY_CHARS_MAX: usize = 255;

/// Characters of a reason that are kept: it is a foreign text that goes into the log and the tables.
const REASON_CHARS_MAX: usize = 200;

/// One thing to be paid. Has no `Debug`: what users call their cards belongs into no log.
#[derive(Clone, Copy, Serialize)]
pub struct PaymentRequest<'a> {
    /// Idempotency key at the gateway: one key is charged at most once, ever. See [`is_key`].
    pub key: &'a str,
    /// Who pays.
    pub user: &'a str,
    /// Minor units.
    pub amount: u64,
    /// Which card or account, as the user named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
}

/// What the gateway says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The money was taken, and is not given back.
    Approved,
    /// The money was not taken, and never will be under this key.
    Declined {
        /// The gateway's own words: at most 200 characters, none of them control characters; empty when it gave none.
        reason: String,
    },
    /// The gateway does not know the key. No decline: a charge that is still on its way may arrive later.
    NotFound,
    /// The money was taken and given back.
    Refunded,
    /// The money was not taken, and never will be under this key, because a void came first.
    Voided,
    /// Anything may have happened. Says why, for operators; never shown to clients.
    Unclear(String),
}

impl Verdict {
    /// As metrics label it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined { .. } => "declined",
            Self::NotFound => "not_found",
            Self::Refunded => "refunded",
            Self::Voided => "voided",
            Self::Unclear(_) => "unclear",
        }
    }
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// Take the money.
    Charge,
    /// Tell what became of a key.
    Find,
    /// Give the money back.
    Refund,
    /// Never take the money.
    Void,
}

impl Call {
    /// Every call.
    pub const ALL: [Self; 4] = [Self::Charge, Self::Find, Self::Refund, Self::Void];

    /// As metrics label it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Find => "find",
            Self::Refund => "refund",
            Self::Void => "void",
        }
    }
}

/// Whether a text can be a key: 1 to 255 characters `[A-Za-z0-9:_.-]`, so that it stands in a path as it is. `.` and
/// `..` are none, because URLs take them for folders.
pub fn is_key(text: &str) -> bool {
    (1..=KEY_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.-".contains(&b))
        && !matches!(text, "." | "..")
}

/// Reads an answer. It counts only if it is one that the protocol has for `call`, about this key and this amount: an
/// approval of another amount is no approval.
pub fn verdict(call: Call, asked_key: &str, asked_amount: u64, http_status: u16, body: &[u8]) -> Verdict {
    read(call, asked_key, asked_amount, http_status, body)
        .unwrap_or_else(|reason| Verdict::Unclear(format!("HTTP {http_status}: {reason}")))
}

/// A state of a payment.
#[derive(Debug, Deserialize)]
struct State {
    key: String,
    amount: Option<u64>,
    status: String,
    reason: Option<String>,
}

/// The body of a 404; anything more, and it may be from somebody who is not the gateway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Missing {
    status: String,
}

fn read(
    call: Call,
    asked_key: &str,
    asked_amount: u64,
    http_status: u16,
    body: &[u8],
) -> Result<Verdict, &'static str> {
    // A wrong URL or a proxy also says 404, and must not look like a key that was never charged.
    if http_status == 404 && matches!(call, Call::Find | Call::Refund) {
        return match serde_json::from_slice::<Object<Missing>>(body) {
            Ok(Object(Missing { status })) if status == "NOT_FOUND" => Ok(Verdict::NotFound),
            _ => Err("this is not how the gateway says that it does not know a key"),
        };
    }
    if !matches!((call, http_status), (_, 200) | (Call::Charge, 402) | (Call::Refund | Call::Void, 409)) {
        return Err("the protocol has no such answer");
    }
    // As text first: members that are ignored are not checked for being UTF-8.
    let body = str::from_utf8(body).map_err(|_| "the body is no text")?;
    let Object(state): Object<State> = serde_json::from_str(body).map_err(|_| "the body is not of the protocol")?;
    if state.key != asked_key {
        return Err("the answer is about another key");
    }
    let verdict = match state.status.as_str() {
        "APPROVED" => Verdict::Approved,
        "DECLINED" => Verdict::Declined { reason: shortened(&state.reason.unwrap_or_default()) },
        "REFUNDED" => Verdict::Refunded,
        "VOIDED" => Verdict::Voided,
        _ => return Err("the status is not of the protocol"),
    };
    let same_amount = match state.amount {
        Some(amount) => amount == asked_amount || (amount == 0 && verdict == Verdict::Voided),
        // A key that was voided before it was charged has no amount.
        None => verdict == Verdict::Voided,
    };
    if !same_amount {
        return Err("the answer is about another amount");
    }
    let fits = match (call, http_status) {
        (Call::Charge, 200) => verdict == Verdict::Approved,
        (Call::Charge, _) => matches!(verdict, Verdict::Declined { .. }),
        (Call::Refund, 200) => verdict == Verdict::Refunded,
        (Call::Void, 200) => verdict == Verdict::Voided,
        // What asks for the present state, or answers with it, may find any.
        (Call::Find | Call::Refund | Call::Void, _) => true,
    };
    if fits { Ok(verdict) } else { Err("this status does not answer this call") }
}

fn shortened(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "order-17";
    const AMOUNT: u64 = 500;

    fn ask(call: Call, http_status: u16, body: &str) -> Verdict {
        verdict(call, KEY, AMOUNT, http_status, body.as_bytes())
    }

    fn state(status: &str) -> String {
        format!(r#"{{"key":"{KEY}","amount":{AMOUNT},"status":"{status}","reason":"no money"}}"#)
    }

    fn declined() -> Verdict {
        Verdict::Declined { reason: "no money".to_owned() }
    }

    #[test]
    fn each_call_has_its_answers_and_every_other_status_is_unclear() {
        let by_name = [
            ("APPROVED", Verdict::Approved),
            ("DECLINED", declined()),
            ("REFUNDED", Verdict::Refunded),
            ("VOIDED", Verdict::Voided),
        ];
        let all = ["APPROVED", "DECLINED", "REFUNDED", "VOIDED"];
        let clear: [(Call, u16, &[&str]); 7] = [
            (Call::Charge, 200, &["APPROVED"]),
            (Call::Charge, 402, &["DECLINED"]),
            (Call::Find, 200, &all),
            (Call::Refund, 200, &["REFUNDED"]),
            (Call::Refund, 409, &all),
            (Call::Void, 200, &["VOIDED"]),
            (Call::Void, 409, &all),
        ];
        for call in Call::ALL {
            for http_status in 100..600 {
                for (name, expected) in &by_name {
                    let known =
                        clear.iter().any(|(of, at, names)| (*of, *at) == (call, http_status) && names.contains(name));
                    let got = ask(call, http_status, &state(name));
                    if known {
                        assert_eq!(got, *expected, "{call:?} {http_status} {name}");
                    } else {
                        assert!(matches!(got, Verdict::Unclear(_)), "{call:?} {http_status} {name}: {got:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_404_is_not_found_only_in_the_gateways_own_words() {
        for call in [Call::Find, Call::Refund] {
            assert_eq!(ask(call, 404, r#" {"status": "NOT_FOUND"} "#), Verdict::NotFound);
        }
        let foreign = [
            "",
            "<html>404 Not Found</html>",
            "NOT_FOUND",
            "{}",
            r#"["NOT_FOUND"]"#,
            r#"{"status":404}"#,
            r#"{"status":"not_found"}"#,
            r#"{"status":"NOT_FOUND","path":"/"}"#,
            r#"{"status":"FOUND","status":"NOT_FOUND"}"#,
            r#"{"status":"NOT_FOUND"} {}"#,
        ];
        for call in Call::ALL {
            for body in foreign {
                assert!(matches!(ask(call, 404, body), Verdict::Unclear(_)), "{call:?} {body}");
            }
        }
        // Neither a charge nor a void can miss its key.
        for call in [Call::Charge, Call::Void] {
            assert!(matches!(ask(call, 404, r#"{"status":"NOT_FOUND"}"#), Verdict::Unclear(_)));
        }
    }

    #[test]
    fn an_answer_about_something_else_is_unclear() {
        let hostile = [
            r#"{"key":"order-17","amount":501,"status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":0,"status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":-500,"status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":500.0,"status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":"500","status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":18446744073709552116,"status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":null,"status":"APPROVED"}"#,
            r#"{"key":"order-17","status":"APPROVED"}"#,
            r#"{"key":"order-18","amount":500,"status":"APPROVED"}"#,
            r#"{"key":"ORDER-17","amount":500,"status":"APPROVED"}"#,
            r#"{"key":17,"amount":500,"status":"APPROVED"}"#,
            r#"{"key":null,"amount":500,"status":"APPROVED"}"#,
            r#"{"amount":500,"status":"APPROVED"}"#,
            r#"{"status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":500}"#,
            r#"{"key":"order-17","amount":500,"status":"approved"}"#,
            r#"{"key":"order-17","amount":500,"status":"PENDING"}"#,
            r#"{"key":"order-17","amount":500,"status":true}"#,
            r#"{"key":"order-17","amount":500,"status":{"APPROVED":null}}"#,
            r#"{"key":"order-17","amount":500,"status":"DECLINED","status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":1,"amount":500,"status":"APPROVED"}"#,
            r#"{"key":"order-17","amount":500,"status":"APPROVED""#,
            r#"{"key":"order-17","amount":500,"status":"APPROVED"}}"#,
            r#"[{"key":"order-17","amount":500,"status":"APPROVED"}]"#,
            r#"["order-17",500,"APPROVED",null]"#,
            r#""APPROVED""#,
            "APPROVED",
            "null",
            "",
            "<html>OK</html>",
        ];
        for call in Call::ALL {
            for http_status in [200, 402, 409] {
                for body in hostile {
                    let got = ask(call, http_status, body);
                    assert!(matches!(got, Verdict::Unclear(_)), "{call:?} {http_status} {body}: {got:?}");
                }
            }
        }
        let mut not_text = br#"{"key":"order-17","amount":500,"status":"APPROVED","more":"?"}"#.to_vec();
        assert_eq!(verdict(Call::Charge, KEY, AMOUNT, 200, &not_text), Verdict::Approved);
        *not_text.iter_mut().find(|b| **b == b'?').expect("it is there") = 0xff;
        assert!(matches!(verdict(Call::Charge, KEY, AMOUNT, 200, &not_text), Verdict::Unclear(_)));
        let deep = "[".repeat(100_000);
        assert!(matches!(ask(Call::Find, 200, &deep), Verdict::Unclear(_)));
    }

    #[test]
    fn only_a_void_key_may_lack_its_amount() {
        for body in [
            r#"{"key":"order-17","status":"VOIDED"}"#,
            r#"{"key":"order-17","amount":0,"status":"VOIDED"}"#,
            r#"{"key":"order-17","amount":500,"status":"VOIDED"}"#,
        ] {
            for (call, http_status) in [(Call::Void, 200), (Call::Void, 409), (Call::Find, 200), (Call::Refund, 409)] {
                assert_eq!(ask(call, http_status, body), Verdict::Voided, "{call:?} {body}");
            }
        }
        let other = r#"{"key":"order-17","amount":501,"status":"VOIDED"}"#;
        assert!(matches!(ask(Call::Void, 200, other), Verdict::Unclear(_)));
        for status in ["DECLINED", "REFUNDED"] {
            let none = format!(r#"{{"key":"order-17","status":"{status}"}}"#);
            assert!(matches!(ask(Call::Find, 200, &none), Verdict::Unclear(_)), "{status}");
        }
    }

    #[test]
    fn unknown_members_are_ignored_and_reasons_are_tamed() {
        let more = r#"{"key":"order-17","amount":500,"status":"APPROVED","reference":"r","at":{"x":[1]}}"#;
        assert_eq!(ask(Call::Charge, 200, more), Verdict::Approved);
        let silent = r#"{"key":"order-17","amount":500,"status":"DECLINED"}"#;
        assert_eq!(ask(Call::Charge, 402, silent), Verdict::Declined { reason: String::new() });
        let long = format!(
            r#"{{"key":"order-17","amount":500,"status":"DECLINED","reason":"a\n\u0000{}"}}"#,
            "ㄱ".repeat(1000)
        );
        let Verdict::Declined { reason } = ask(Call::Charge, 402, &long) else { panic!("a decline") };
        assert_eq!(reason, format!("a{}", "ㄱ".repeat(REASON_CHARS_MAX - 1)));
    }

    #[test]
    fn keys_are_what_a_path_carries_as_it_is() {
        for key in ["a", "order:1_2.3-Z", "...", &"k".repeat(KEY_CHARS_MAX)] {
            assert!(is_key(key), "{key}");
        }
        for key in
            ["", ".", "..", "a/b", "a b", "a%2F", "a?b", "a#b", "a|b", "ü", "a\n", &"k".repeat(KEY_CHARS_MAX + 1)]
        {
            assert!(!is_key(key), "{key}");
        }
    }
}
