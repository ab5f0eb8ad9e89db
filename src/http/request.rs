//! A request as handlers see it: matched, authenticated, its body still to be read.

use std::cell::RefCell;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::HeaderName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::app::App;
use super::auth::Identity;
use super::object::Object;
use super::problem::{Code, Problem};
use crate::engine::call::{Call, Fingerprint};
use crate::engine::ids::EntityId;
use crate::engine::op::{CouponId, Op, ProductId};
use crate::engine::user::UserId;
use crate::trace::{self, Step};

/// The header of draft-ietf-httpapi-idempotency-key-header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Characters of the longest idempotency key.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Items of a list when `limit` is not given.
pub const LIMIT_DEFAULT: u32 = 20;

/// Items of a list at most.
pub const LIMIT_MAX: u32 = 100;

thread_local! {
    /// simd-json's scratch space, reused by every request of a thread.
    static BUFFERS: RefCell<simd_json::Buffers> = RefCell::new(simd_json::Buffers::default());
}

/// A matched request.
pub struct Request {
    /// Method and pattern of the route, such as `GET /api/orders/{id}`.
    pub route: &'static str,
    /// The path as asked for.
    pub path: String,
    /// Values of the pattern's names, in their order.
    pub params: Vec<String>,
    /// The query without `?`.
    pub query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The idempotency key that the server makes for a request that may change something and names none.
    pub made_key: Option<String>,
    /// Who asks; `None` on public routes.
    pub identity: Option<Identity>,
    /// Not yet read.
    pub body: Incoming,
}

impl Request {
    /// Who asks.
    pub fn user(&self) -> UserId {
        self.identity.as_ref().expect("the route table demands a token here").user.clone()
    }

    /// The id in the path, if it can be a product's.
    pub fn product_id(&self) -> Result<ProductId, Problem> {
        self.small_id().ok_or_else(|| Problem::new(Code::ProductNotFound))
    }

    /// The id in the path, if it can be a coupon's.
    pub fn coupon_id(&self) -> Result<CouponId, Problem> {
        self.small_id().ok_or_else(|| Problem::new(Code::CouponNotFound))
    }

    /// The id in the path, if it can be an order's.
    pub fn order_id(&self) -> Result<EntityId, Problem> {
        let id = self.params.first().and_then(|id| EntityId::parse(id));
        id.ok_or_else(|| Problem::new(Code::OrderNotFound))
    }

    /// A number from 1 to 2^31 - 1 in the path, as the engine mints them for products and coupons.
    fn small_id(&self) -> Option<u32> {
        let id = self.params.first().map_or("", String::as_str);
        let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && !id.starts_with('0');
        plain.then(|| id.parse::<i32>().ok()).flatten().and_then(|id| u32::try_from(id).ok())
    }

    /// The cursor of a list that is ordered by an id that the engine minted.
    pub fn cursor(&self) -> Result<Option<EntityId>, Problem> {
        let bad = || Problem::new(Code::InvalidInput).because("cursor is not one of this list");
        self.query("cursor")?.map(|text| EntityId::parse(&text).ok_or_else(bad)).transpose()
    }

    /// The cursor of a list that is ordered by the number of a product or coupon.
    pub fn small_cursor(&self) -> Result<u32, Problem> {
        let bad = || Problem::new(Code::InvalidInput).because("cursor is not one of this list");
        self.query("cursor")?.map_or(Ok(0), |text| digits(&text).ok_or_else(bad))
    }

    /// A member of the query, decoded; one given twice is an error.
    pub fn query(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = form_urlencoded::parse(self.query.as_bytes()).filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.into_owned());
        match found.next() {
            Some(_) => Err(Problem::new(Code::InvalidInput).because(format!("{name} is given twice"))),
            None => Ok(value),
        }
    }

    /// A number of the query within bounds.
    pub fn query_number(&self, name: &str, default: u32, max: u32) -> Result<u32, Problem> {
        match self.query(name)? {
            None => Ok(default),
            Some(text) => digits(&text).filter(|n| (1..=max).contains(n)).ok_or_else(|| {
                Problem::new(Code::InvalidInput).because(format!("{name} must be a number from 1 to {max}"))
            }),
        }
    }

    /// `limit` of a list.
    pub fn limit(&self) -> Result<u32, Problem> {
        self.query_number("limit", LIMIT_DEFAULT, LIMIT_MAX)
    }

    /// The client's idempotency key.
    pub fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let bad = || {
            Problem::new(Code::InvalidInput)
                .because("Idempotency-Key must be 1 to 255 visible characters without space")
        };
        let mut values = self.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let key = value.to_str().map_err(|_| bad())?;
        let valid = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        if valid && values.next().is_none() { Ok(Some(key.to_owned())) } else { Err(bad()) }
    }

    /// As [`Self::idempotency_key`], for routes that demand one.
    pub fn required_idempotency_key(&self) -> Result<String, Problem> {
        self.idempotency_key()?
            .ok_or_else(|| Problem::new(Code::InvalidInput).because("this request needs an Idempotency-Key header"))
    }

    /// The op of this request, under the client's key or a fresh one. `body` is what the key stands for.
    pub fn call(&self, key: Option<String>, body: &impl Serialize, op: impl Into<Op>) -> Call {
        Call {
            user: self.user(),
            key: key.or_else(|| self.made_key.clone()).expect("the router makes a key for what changes something"),
            fingerprint: Fingerprint::new(self.route, &self.path, body),
            op: op.into(),
        }
    }

    /// Reads and decodes the body. Unknown members, wrong types and members given twice are errors.
    pub async fn json<T: DeserializeOwned>(&mut self, app: &App) -> Result<T, Problem> {
        let mut bytes = trace::awaited(Step::Read, self.read_body(app)).await?;
        let decoded = BUFFERS.with_borrow_mut(|buffers| simd_json::serde::from_slice_with_buffers(&mut bytes, buffers));
        decoded.map(|Object(body)| body).map_err(|error| Problem::new(Code::InvalidInput).because(describe(&error)))
    }

    /// Makes sure that there is no body, or one without members: what nobody reads must not be taken for heard.
    pub async fn no_body(&mut self, app: &App) -> Result<(), Problem> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let bytes = trace::awaited(Step::Read, self.read_body(app)).await?;
        if bytes.is_empty() || serde_json::from_slice::<Object<Nothing>>(&bytes).is_ok() {
            return Ok(());
        }
        Err(Problem::new(Code::InvalidInput).because("this request takes no body"))
    }

    async fn read_body(&mut self, app: &App) -> Result<Vec<u8>, Problem> {
        let max = app.config.http_body_bytes_max;
        let too_large = || Problem::new(Code::PayloadTooLarge).with("maxBytes", max);
        // A length that is announced need not be read first.
        if self.body.size_hint().lower() > max as u64 {
            return Err(too_large());
        }
        let body = Limited::new(&mut self.body, max).collect();
        match tokio::time::timeout(app.config.http_body_timeout_ms, body).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(Problem::new(Code::InvalidInput).because("the body could not be read")),
            Err(_) => Err(Problem::new(Code::RequestTimeout)),
        }
    }
}

/// What is wrong with a body, in the words of serde but without the parser's own.
fn describe(error: &simd_json::Error) -> String {
    use simd_json::ErrorType;
    // Values of another type are JSON all the same, and the parser does not know where they stand.
    let expected = match error.error() {
        ErrorType::Serde(why) => return format!("the body is not valid: {why}"),
        ErrorType::ExpectedUnsigned => "a whole number from 0 on",
        ErrorType::ExpectedSigned | ErrorType::ExpectedInteger => "a whole number",
        ErrorType::ExpectedString => "a text",
        ErrorType::ExpectedBoolean => "true or false",
        ErrorType::ExpectedArray => "a list",
        ErrorType::ExpectedMap => "an object",
        _ => return format!("the body is not valid JSON, at byte {}", error.index()),
    };
    format!("the body is not valid: {expected} is expected where there is something else")
}

/// A number in digits and nothing else: `parse` alone takes a sign too.
fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Checks a text that people see: its length in characters, and no control characters (PostgreSQL takes no NUL).
pub fn check_text(name: &str, text: &str, chars_max: usize) -> Result<(), Problem> {
    let chars = text.chars().count();
    if chars == 0 || chars > chars_max || text.chars().any(char::is_control) {
        let reason = format!("{name} must have 1 to {chars_max} characters and no control characters");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_not_called_broken_json() {
        let say = |body: &str| {
            let parsed = simd_json::from_slice::<Vec<u32>>(&mut body.as_bytes().to_vec());
            describe(&parsed.expect_err("no list of numbers"))
        };
        assert!(say("[-2]").contains("a whole number from 0 on"), "{}", say("[-2]"));
        assert!(say("7").contains("a list"), "{}", say("7"));
        assert!(say("[1,").contains("not valid JSON"), "{}", say("[1,"));
    }
}
