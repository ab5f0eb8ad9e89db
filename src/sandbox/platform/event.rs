//! Events as the data platform takes them: `CloudEvents` 1.0 in JSON, one or many in a request.

use std::hash::{DefaultHasher, Hash, Hasher};

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::http::object::Object;
use crate::sandbox::{Refusal, Request};

/// Bytes of a request with events (413 beyond).
const BYTES_MAX: usize = 1024 * 1024;

/// Events of a request (413 beyond).
const EVENTS_MAX: usize = 1_000;

/// Bytes of every text that is kept.
const TEXT_BYTES_MAX: usize = 256;

/// Digits of a sequence number, leading zeros included: as texts they sort as the numbers do.
const SEQUENCE_DIGITS: usize = 20;

const SPECVERSION: &str = "1.0";

/// Media type of a single event.
const SINGLE: &str = "application/cloudevents+json";

/// Media type of an array of events.
const BATCH: &str = "application/cloudevents-batch+json";

/// What the platform reads of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) kind: String,
    pub(super) user: String,
    pub(super) sequence: u64,
    pub(super) order: OrderPart,
    pub(super) balance: BalancePart,
    /// Hash of type and data, which are the same whenever the event comes again.
    pub(super) content: u64,
}

/// What the platform reads of an event's order, if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderPart {
    pub(super) order_id: Option<String>,
    pub(super) status: Option<String>,
    pub(super) final_amount: Option<i64>,
}

/// What the platform reads of an event's change of a balance, if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BalancePart {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) amount: Option<i64>,
    pub(super) balance_after: Option<i64>,
}

#[derive(Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    sequence: String,
    data: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    user_id: String,
    order: Option<Object<OrderPart>>,
    balance: Option<Object<BalancePart>>,
}

/// The events of a request: all of them, or why it is refused as a whole.
pub(super) fn read_events(request: &Request) -> Result<Vec<Event>, Refusal> {
    if request.body.len() > BYTES_MAX {
        let reason = format!("events must not be larger than {BYTES_MAX} bytes together");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let events: Vec<Object<CloudEvent>> = match media_type.as_str() {
        SINGLE => vec![request.json()?],
        BATCH => request.json()?,
        _ => {
            let reason = format!("the header Content-Type must be {SINGLE} or {BATCH}");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
    };
    if events.len() > EVENTS_MAX {
        let reason = format!("a request must not have more than {EVENTS_MAX} events");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    let read = |(index, Object(event)): (usize, Object<CloudEvent>)| {
        event.read().map_err(|reason| Refusal::invalid(format!("the event at {index} is not valid: {reason}")))
    };
    events.into_iter().enumerate().map(read).collect()
}

impl CloudEvent {
    fn read(self) -> Result<Event, String> {
        let Self { specversion, id, source, kind, sequence, data } = self;
        if specversion != SPECVERSION {
            return Err(format!("specversion must be {SPECVERSION}"));
        }
        let Some(sequence) = read_sequence(&sequence) else {
            return Err(format!("sequence must be a number of {SEQUENCE_DIGITS} digits and 64 bits"));
        };
        let mut content = DefaultHasher::new();
        (&kind, &data).hash(&mut content);
        let Object(Data { user_id: user, order, balance }) =
            Object::deserialize(data).map_err(|error| format!("data: {error}"))?;
        let order = order.map_or_else(OrderPart::default, |Object(order)| order);
        let balance = balance.map_or_else(BalancePart::default, |Object(balance)| balance);
        for (name, text) in [
            ("id", Some(&id)),
            ("source", Some(&source)),
            ("type", Some(&kind)),
            ("data.userId", Some(&user)),
            ("data.order.orderId", order.order_id.as_ref()),
            ("data.order.status", order.status.as_ref()),
            ("data.balance.type", balance.kind.as_ref()),
        ] {
            if text.is_some_and(|text| !(1..=TEXT_BYTES_MAX).contains(&text.len())) {
                return Err(format!("{name} must have 1 to {TEXT_BYTES_MAX} bytes"));
            }
        }
        Ok(Event { id, source, kind, user, sequence, order, balance, content: content.finish() })
    }
}

fn read_sequence(text: &str) -> Option<u64> {
    let is_whole = text.len() == SEQUENCE_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use serde_json::json;

    use super::*;
    use crate::sandbox::testing;

    fn completed() -> Value {
        json!({
            "specversion": "1.0", "id": "9", "source": "/flashsale", "type": "order-completed", "subject": "9",
            "time": "2026-07-01T00:00:00Z", "sequence": "00000000000000000009", "partitionkey": "user-1",
            "datacontenttype": "application/json",
            "data": {
                "userId": "user-1",
                "order": {"orderId": "9", "status": "CONFIRMED", "finalAmount": 118_000, "items": []},
                "balance": {"transactionId": "9", "type": "PAYMENT", "amount": 118_000, "balanceAfter": 82_000},
            },
        })
    }

    fn read(media_type: &str, body: &str) -> Result<Vec<Event>, Refusal> {
        read_events(&testing::request(Method::POST, &[("content-type", media_type)], body))
    }

    fn read_one(event: &Value) -> Result<Event, Refusal> {
        read(SINGLE, &event.to_string()).map(|events| events.into_iter().next().expect("one"))
    }

    #[test]
    fn events_are_read_with_all_or_little_in_them() {
        let event = read_one(&completed()).expect("valid");
        let expected = Event {
            id: "9".to_owned(),
            source: "/flashsale".to_owned(),
            kind: "order-completed".to_owned(),
            user: "user-1".to_owned(),
            sequence: 9,
            order: OrderPart {
                order_id: Some("9".to_owned()),
                status: Some("CONFIRMED".to_owned()),
                final_amount: Some(118_000),
            },
            balance: BalancePart {
                kind: Some("PAYMENT".to_owned()),
                amount: Some(118_000),
                balance_after: Some(82_000),
            },
            content: event.content,
        };
        assert_eq!(event, expected);
        let mut small = completed();
        small["data"] = json!({"userId": "user-1", "order": null});
        let batch = json!([completed(), small]).to_string();
        let events = read(&format!("{BATCH}; charset=utf-8"), &batch).expect("valid");
        assert_eq!((events.len(), &events[0]), (2, &expected));
        assert_eq!((&events[1].order, &events[1].balance), (&OrderPart::default(), &BalancePart::default()));
        assert!(read(BATCH, "[]").expect("valid").is_empty());
    }

    #[test]
    fn the_content_is_type_and_data_however_they_are_written() {
        let content = |event: &Value| read_one(event).expect("valid").content;
        let mut again = completed();
        again["time"] = "2026-07-02T00:00:00Z".into();
        again["sequence"] = "00000000000000000010".into();
        let data = json!({"balance": again["data"]["balance"], "order": again["data"]["order"], "userId": "user-1"});
        again["data"] = data;
        assert_eq!(content(&again), content(&completed()));
        for (member, value) in [("type", json!("order-cancelled")), ("data", json!({"userId": "user-1"}))] {
            let mut other = completed();
            other[member] = value;
            assert_ne!(content(&other), content(&completed()), "{member}");
        }
        let mut other = completed();
        other["data"]["order"]["items"] = json!([{}]);
        assert_ne!(content(&other), content(&completed()));
    }

    #[test]
    fn what_is_no_event_is_refused_with_all_that_comes_along() {
        let mut bad = vec![json!([]), json!(1), json!([[]])];
        for member in ["specversion", "id", "source", "type", "sequence", "data"] {
            for value in [json!(null), json!(""), json!(1)] {
                let mut event = completed();
                event[member] = value;
                bad.push(event);
            }
            let mut event = completed();
            event.as_object_mut().expect("an object").remove(member);
            bad.push(event);
        }
        for (pointer, value) in [
            ("/specversion", json!("0.3")),
            ("/id", json!("9".repeat(TEXT_BYTES_MAX + 1))),
            ("/sequence", json!("9")),
            ("/sequence", json!("+0000000000000000009")),
            ("/sequence", json!("99999999999999999999")),
            ("/data/userId", json!(null)),
            ("/data/userId", json!("")),
            ("/data/order", json!(["9", "CONFIRMED", 118_000])),
            ("/data/order/orderId", json!(9)),
            ("/data/order/finalAmount", json!(1.5)),
            ("/data/balance/amount", json!("118000")),
        ] {
            let mut event = completed();
            *event.pointer_mut(pointer).expect("it is there") = value;
            bad.push(event);
        }
        for event in bad {
            let refusal = read(BATCH, &json!([completed(), event]).to_string()).expect_err("refused");
            assert_eq!((refusal.status.as_u16(), refusal.reason.is_empty()), (400, false), "{event}");
            assert_eq!(read_one(&event).expect_err("refused").status.as_u16(), 400, "{event}");
        }
    }

    #[test]
    fn requests_that_are_too_large_or_of_another_type_are_refused() {
        let many = Value::Array(vec![completed(); EVENTS_MAX + 1]).to_string();
        let large = format!("[]{}", " ".repeat(BYTES_MAX));
        for (media_type, body, expected) in [
            (BATCH, many.as_str(), 413),
            (BATCH, large.as_str(), 413),
            ("application/json", "[]", 415),
            ("", "[]", 415),
            (BATCH, "{}", 400),
            (SINGLE, "[]", 400),
            (BATCH, "", 400),
        ] {
            let refusal = read(media_type, body).expect_err("refused");
            assert_eq!(refusal.status.as_u16(), expected, "{media_type} {}", refusal.reason);
        }
        let most = Value::Array(vec![completed(); EVENTS_MAX]).to_string();
        assert_eq!(read(BATCH, &most).expect("valid").len(), EVENTS_MAX);
    }
}
