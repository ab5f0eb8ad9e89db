//! The played payment gateway: the protocol of [`crate::gateway`], and its switches.
//!
//! - `GET`, `PUT /gateway/faults`: `{mode, percent?, delayMs?, calls?, seed?}`, what goes wrong; see `faults.rs`.
//! - `GET /gateway/book`: `{payments[{key, user, amount, status, reference, charges, refunds, createdAt}]}`, all since
//!   the start in one answer, in order of arrival; see `book.rs`.
//!
//! It holds its clients to the protocol: unknown members, a missing `Idempotency-Key` or a bad key get 400, whatever
//! the faults.

mod book;
mod faults;

use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Refusal, Reply, Request, claimed_json};
use crate::gateway::{Call, KEY_CHARS_MAX, is_key};
use crate::http::reply;
use crate::http::request::IDEMPOTENCY_KEY;
use book::{Book, Decision, Payment, REASON_DECLINED, Status};
use faults::{Fault, FaultSetting, Faults};

/// Amounts are JSON numbers, which keep their value up to here everywhere.
const AMOUNT_MAX: u64 = (1 << 53) - 1;

/// Characters of `user` and `method`.
const TEXT_CHARS_MAX: usize = 255;

/// Body of a charge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeBody {
    key: String,
    user: String,
    amount: u64,
    method: Option<String>,
}

/// Body of a refund.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    amount: u64,
}

/// A call that is of the protocol.
#[derive(Debug)]
enum Ask<'a> {
    Charge(ChargeBody),
    Find(&'a str),
    Refund(&'a str, u64),
    Void(&'a str),
}

impl Ask<'_> {
    fn call(&self) -> Call {
        match self {
            Self::Charge(_) => Call::Charge,
            Self::Find(_) => Call::Find,
            Self::Refund(..) => Call::Refund,
            Self::Void(_) => Call::Void,
        }
    }
}

/// A gateway with its book and its faults.
pub(super) struct PlayedGateway {
    book: Mutex<Book>,
    faults: Mutex<Faults>,
}

impl PlayedGateway {
    /// Knows nobody, and does what it should.
    pub(super) fn new() -> Self {
        Self { book: Mutex::new(Book::new()), faults: Mutex::new(Faults::new()) }
    }

    /// Answers a request; `path` is what follows `/gateway/`, cut at its slashes.
    pub(super) fn answer(&self, request: &Request, path: &[&str]) -> Reply {
        let reply = match (request.method.as_str(), path) {
            ("POST", ["payments"]) => read_charge(request).map(|ask| self.play(&ask)),
            ("GET", ["payments", key]) => read_find(key).map(|ask| self.play(&ask)),
            ("POST", ["payments", key, "refund"]) => read_refund(request, key).map(|ask| self.play(&ask)),
            ("POST", ["payments", key, "void"]) => read_void(request, key).map(|ask| self.play(&ask)),
            ("GET", ["faults"]) => Ok(self.show_faults()),
            ("PUT", ["faults"]) => self.set_faults(request),
            ("GET", ["book"]) => Ok(self.show_book()),
            (_, ["payments" | "faults" | "book"] | ["payments", _] | ["payments", _, "refund" | "void"]) => {
                Err(Refusal::unknown_method())
            }
            _ => Err(Refusal::unknown_path()),
        };
        reply.unwrap_or_else(Reply::from)
    }

    /// Does what is asked, or what the faults make of it.
    fn play(&self, ask: &Ask<'_>) -> Reply {
        // Apart from the work: the book is never locked together with the faults.
        let fault = self.faults().draw(ask.call());
        match fault {
            Fault::None => Reply::Now(self.work(ask, false)),
            Fault::Decline => Reply::Now(self.work(ask, true)),
            Fault::Slow(delay) => Reply::After(delay, self.work(ask, false)),
            Fault::LostAnswer => {
                self.work(ask, false);
                Reply::HangUp
            }
            Fault::LostRequest => Reply::HangUp,
            Fault::Error { works } => {
                if works {
                    self.work(ask, false);
                }
                Refusal::asked_for(StatusCode::INTERNAL_SERVER_ERROR).into()
            }
            Fault::Garbage(body) => {
                self.work(ask, false);
                Reply::Now(claimed_json(body))
            }
        }
    }

    /// Decides and books, in one step.
    fn work(&self, ask: &Ask<'_>, decline: bool) -> Response<Full<Bytes>> {
        let now = Timestamp::now();
        let mut book = self.book();
        let (key, decision) = match ask {
            Ask::Charge(ChargeBody { key, user, amount, .. }) => {
                (key.as_str(), book.charge(key, user, *amount, decline, now))
            }
            Ask::Find(key) => (*key, book.find(key)),
            Ask::Refund(key, amount) => (*key, book.refund(key, *amount)),
            Ask::Void(key) => (*key, book.void(key, now)),
        };
        told(key, decision)
    }

    fn show_faults(&self) -> Reply {
        Reply::Now(reply::json(StatusCode::OK, self.faults().setting()))
    }

    fn set_faults(&self, request: &Request) -> Result<Reply, Refusal> {
        let setting: FaultSetting = request.object()?;
        self.faults().set(setting).map_err(Refusal::invalid)?;
        Ok(self.show_faults())
    }

    fn show_book(&self) -> Reply {
        #[derive(Serialize)]
        struct Payments<'a> {
            payments: &'a [Payment],
        }
        Reply::Now(reply::json(StatusCode::OK, &Payments { payments: self.book().payments() }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics while holding it")
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().expect("nobody panics while holding it")
    }
}

fn read_charge(request: &Request) -> Result<Ask<'static>, Refusal> {
    let charge: ChargeBody = request.object()?;
    check_key(&charge.key)?;
    check_header(request, &charge.key)?;
    check_text("user", &charge.user)?;
    check_amount(charge.amount)?;
    if let Some(method) = &charge.method {
        check_text("method", method)?;
    }
    Ok(Ask::Charge(charge))
}

fn read_find(key: &str) -> Result<Ask<'_>, Refusal> {
    check_key(key)?;
    Ok(Ask::Find(key))
}

fn read_refund<'a>(request: &Request, key: &'a str) -> Result<Ask<'a>, Refusal> {
    check_key(key)?;
    check_header(request, &format!("{key}:refund"))?;
    let RefundBody { amount } = request.object()?;
    check_amount(amount)?;
    Ok(Ask::Refund(key, amount))
}

fn read_void<'a>(request: &Request, key: &'a str) -> Result<Ask<'a>, Refusal> {
    check_key(key)?;
    if request.body.is_empty() { Ok(Ask::Void(key)) } else { Err(Refusal::invalid("a void has no body")) }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    if is_key(key) {
        return Ok(());
    }
    let reason = format!("a key must have 1 to {KEY_CHARS_MAX} characters A-Za-z0-9:_.- and be neither . nor ..");
    Err(Refusal::invalid(reason))
}

fn check_header(request: &Request, expected: &str) -> Result<(), Refusal> {
    match request.headers.get(IDEMPOTENCY_KEY) {
        Some(given) if given == expected => Ok(()),
        _ => Err(Refusal::invalid(format!("the header Idempotency-Key must be {expected}"))),
    }
}

fn check_text(name: &str, text: &str) -> Result<(), Refusal> {
    if (1..=TEXT_CHARS_MAX).contains(&text.chars().count()) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("{name} must have 1 to {TEXT_CHARS_MAX} characters")))
}

fn check_amount(amount: u64) -> Result<(), Refusal> {
    if (1..=AMOUNT_MAX).contains(&amount) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("amount must be from 1 to {AMOUNT_MAX}")))
}

fn told(key: &str, decision: Decision<'_>) -> Response<Full<Bytes>> {
    match decision {
        Decision::Approved(payment) => {
            // It tells of the charge; what came later is told by the state.
            let (amount, reference) = (payment.amount, &payment.reference);
            let body = json!({"key": key, "amount": amount, "status": Status::Approved, "reference": reference});
            reply::json(StatusCode::OK, &body)
        }
        Decision::Declined { amount, reason } => {
            let body = json!({"key": key, "amount": amount, "status": Status::Declined, "reason": reason});
            reply::json(StatusCode::PAYMENT_REQUIRED, &body)
        }
        Decision::State(payment) => reply::json(StatusCode::OK, &state(payment)),
        Decision::Conflict(payment) => reply::json(StatusCode::CONFLICT, &state(payment)),
        Decision::NotFound => reply::json(StatusCode::NOT_FOUND, &json!({"status": "NOT_FOUND"})),
        Decision::OtherPayment => {
            let reason = "the key stands for another amount or user";
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason).into_response()
        }
        Decision::Full => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the book is full").into_response(),
    }
}

fn state(payment: &Payment) -> Value {
    let Payment { key, amount, status, reference, .. } = payment;
    let mut state = json!({"key": key, "amount": amount, "status": status, "reference": reference});
    if *status == Status::Declined {
        state["reason"] = REASON_DECLINED.into();
    }
    state
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::Method;

    use super::book::REASON_VOIDED;
    use super::*;
    use crate::gateway::{Verdict, verdict};
    use crate::sandbox::testing::{self, json_of, now, opened};

    const KEY: &str = "order-17";
    const AMOUNT: u64 = 500;

    fn request(method: Method, key: &str, body: &str) -> Request {
        let headers = [("idempotency-key", key)];
        testing::request(method, if key.is_empty() { &headers[..0] } else { &headers[..] }, body)
    }

    /// As the client sends it.
    fn call(gateway: &PlayedGateway, call: Call, amount: u64) -> Reply {
        let charge = format!(r#"{{"key":"{KEY}","user":"u","amount":{amount},"method":"card"}}"#);
        let refund = format!(r#"{{"amount":{amount}}}"#);
        let refund_key = format!("{KEY}:refund");
        match call {
            Call::Charge => gateway.answer(&request(Method::POST, KEY, &charge), &["payments"]),
            Call::Find => gateway.answer(&request(Method::GET, "", ""), &["payments", KEY]),
            Call::Refund => gateway.answer(&request(Method::POST, &refund_key, &refund), &["payments", KEY, "refund"]),
            Call::Void => gateway.answer(&request(Method::POST, "", ""), &["payments", KEY, "void"]),
        }
    }

    /// What the service's client makes of the answer.
    fn asked(gateway: &PlayedGateway, of: Call, amount: u64) -> Verdict {
        let (status, body) = now(call(gateway, of, amount));
        verdict(of, KEY, amount, status, &body)
    }

    fn switch(gateway: &PlayedGateway, setting: &str) {
        let (status, body) = json_of(gateway.answer(&request(Method::PUT, "", setting), &["faults"]));
        assert_eq!(status, 200, "{body}");
    }

    fn book(gateway: &PlayedGateway) -> Vec<Value> {
        let (_, body) = json_of(gateway.answer(&request(Method::GET, "", ""), &["book"]));
        body["payments"].as_array().expect("a list").clone()
    }

    fn declined(reason: &str) -> Verdict {
        Verdict::Declined { reason: reason.to_owned() }
    }

    #[test]
    fn every_decision_is_an_answer_that_the_client_understands() {
        let gateway = PlayedGateway::new();
        assert_eq!(asked(&gateway, Call::Find, AMOUNT), Verdict::NotFound);
        assert_eq!(asked(&gateway, Call::Refund, AMOUNT), Verdict::NotFound);
        for of in [Call::Charge, Call::Find, Call::Void, Call::Charge] {
            assert_eq!(asked(&gateway, of, AMOUNT), Verdict::Approved, "{of:?}");
        }
        for of in Call::ALL {
            assert!(matches!(asked(&gateway, of, AMOUNT + 1), Verdict::Unclear(_)), "{of:?}");
        }
        for of in [Call::Refund, Call::Refund, Call::Find, Call::Void] {
            assert_eq!(asked(&gateway, of, AMOUNT), Verdict::Refunded, "{of:?}");
        }

        let gateway = PlayedGateway::new();
        for of in [Call::Void, Call::Void, Call::Find, Call::Refund] {
            assert_eq!(asked(&gateway, of, AMOUNT), Verdict::Voided, "{of:?}");
        }
        assert_eq!(asked(&gateway, Call::Charge, AMOUNT), declined(REASON_VOIDED));

        let gateway = PlayedGateway::new();
        switch(&gateway, r#"{"mode":"decline"}"#);
        for of in [Call::Charge, Call::Charge, Call::Find, Call::Refund, Call::Void] {
            assert_eq!(asked(&gateway, of, AMOUNT), declined(REASON_DECLINED), "{of:?}");
        }
    }

    #[test]
    fn a_fault_does_its_work_or_does_not() {
        // Setting, and how many payments are in the book after one charge.
        for (setting, booked) in [
            (r#"{"mode":"slow","delayMs":7}"#, 1),
            (r#"{"mode":"lost_answer"}"#, 1),
            (r#"{"mode":"garbage"}"#, 1),
            (r#"{"mode":"lost_request"}"#, 0),
            (r#"{"mode":"lost_request","percent":0}"#, 1),
            (r#"{"mode":"lost_request","calls":["find"]}"#, 1),
        ] {
            let gateway = PlayedGateway::new();
            switch(&gateway, setting);
            match call(&gateway, Call::Charge, AMOUNT) {
                Reply::After(delay, response) => {
                    assert_eq!((delay, opened(response).0), (Duration::from_millis(7), 200), "{setting}");
                }
                Reply::Now(response) => assert_eq!(opened(response).0, 200, "{setting}"),
                Reply::Cut(_) => panic!("{setting}"),
                Reply::HangUp => assert!(setting.contains("lost"), "{setting}"),
            }
            assert_eq!(book(&gateway).len(), booked, "{setting}");
            switch(&gateway, r#"{"mode":"approve"}"#);
            assert_eq!(asked(&gateway, Call::Charge, AMOUNT), Verdict::Approved, "{setting}");
            assert_eq!(book(&gateway)[0]["charges"], 1, "{setting}");
        }
    }

    #[test]
    fn an_error_may_come_before_or_after_the_work() {
        let mut seen = [false; 2];
        for seed in 0..100 {
            let gateway = PlayedGateway::new();
            switch(&gateway, &format!(r#"{{"mode":"error","seed":{seed}}}"#));
            assert_eq!(now(call(&gateway, Call::Charge, AMOUNT)).0, 500);
            seen[book(&gateway).len()] = true;
        }
        assert_eq!(seen, [true; 2]);
    }

    #[test]
    fn what_is_not_of_the_protocol_is_refused_with_a_sentence_and_never_booked() {
        let gateway = PlayedGateway::new();
        let charge = format!(r#"{{"key":"{KEY}","user":"u","amount":500}}"#);
        let post = |header: &str, body: &str| request(Method::POST, header, body);
        let long = format!(r#"{{"key":"{KEY}","user":"{}","amount":500}}"#, "u".repeat(TEXT_CHARS_MAX + 1));
        let requests: [(Request, &[&str], u16); 17] = [
            (post("", &charge), &["payments"], 400),
            (post("other", &charge), &["payments"], 400),
            (post(KEY, ""), &["payments"], 400),
            (post(KEY, r#"["order-17","u",500,null]"#), &["payments"], 400),
            (post(KEY, r#"{"key":"order-17","user":"u","amount":500,"more":1}"#), &["payments"], 400),
            (post(KEY, r#"{"key":"order-17","user":"u","amount":0}"#), &["payments"], 400),
            (post(KEY, r#"{"key":"order-17","user":"u","amount":9007199254740992}"#), &["payments"], 400),
            (post(KEY, r#"{"key":"order-17","user":"","amount":500}"#), &["payments"], 400),
            (post(KEY, &long), &["payments"], 400),
            (post("a/b", r#"{"key":"a/b","user":"u","amount":500}"#), &["payments"], 400),
            (post("", ""), &["payments", "..", "void"], 400),
            (post("", "{}"), &["payments", KEY, "void"], 400),
            (post(KEY, r#"{"amount":500}"#), &["payments", KEY, "refund"], 400),
            (request(Method::PUT, "", r#"{"mode":"slow","delay":1}"#), &["faults"], 400),
            (request(Method::PUT, "", r#"{"mode":"slow","percent":101}"#), &["faults"], 400),
            (request(Method::DELETE, "", ""), &["payments", KEY], 405),
            (request(Method::GET, "", ""), &["payments", KEY, "more"], 404),
        ];
        for (request, path, expected) in &requests {
            let (status, body) = json_of(gateway.answer(request, path));
            assert_eq!(status, *expected, "{path:?} {:?} {body}", request.body);
            assert!(body["error"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{body}");
            assert!(matches!(
                verdict(Call::Find, KEY, AMOUNT, status, body.to_string().as_bytes()),
                Verdict::Unclear(_)
            ));
        }
        assert!(book(&gateway).is_empty());
    }

    #[test]
    fn the_book_shows_what_happened_and_the_faults_what_is_switched_on() {
        let gateway = PlayedGateway::new();
        call(&gateway, Call::Charge, AMOUNT);
        call(&gateway, Call::Refund, AMOUNT);
        let mut payments = book(&gateway);
        let created_at = payments[0].as_object_mut().and_then(|p| p.remove("createdAt")).expect("a time");
        assert!(created_at.as_str().is_some_and(|at| at.parse::<Timestamp>().is_ok()), "{created_at}");
        let expected = json!([{
            "key": KEY, "user": "u", "amount": AMOUNT, "status": "REFUNDED", "reference": "sandbox-1",
            "charges": 1, "refunds": 1,
        }]);
        assert_eq!(Value::Array(payments), expected);
        switch(&gateway, r#"{"mode":"slow","seed":5,"calls":["void"]}"#);
        let (_, faults) = json_of(gateway.answer(&request(Method::GET, "", ""), &["faults"]));
        let expected = json!({"mode": "slow", "percent": 100, "delayMs": 5000, "calls": ["void"], "seed": 5});
        assert_eq!(faults, expected);
    }
}
