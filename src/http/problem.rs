//! Refusals and failures as clients see them: `application/problem+json` (RFC 9457). The table of codes here is the one
//! place that maps errors to HTTP; the sentences are fixed, so nothing internal can show.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// What the table says about one [`Code`].
#[derive(Debug)]
pub struct CodeInfo {
    /// The member `code`: the upper-case name.
    pub name: &'static str,
    /// The member `number`: the short name, where the design documents have one.
    pub number: Option<&'static str>,
    /// HTTP status.
    pub status: StatusCode,
    /// The member `title`: the same for every occurrence, always English.
    pub title: &'static str,
    /// The member `detail`, for people who read English.
    pub detail_en: &'static str,
    /// The member `detail`, for people who read Korean.
    pub detail_ko: &'static str,
}

/// Declares the codes; the English sentence is the variant's documentation too.
macro_rules! codes {
    ($($variant:ident = $name:literal, $number:expr, $status:ident, $title:literal, $en:literal, $ko:literal;)+) => {
        /// Every way to say no. A closed list: clients may switch over it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $en] $variant,)+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// One row per variant, in the order of the variants: a code is its index.
            const TABLE: &'static [CodeInfo] = &[$(CodeInfo {
                name: $name,
                number: $number,
                status: StatusCode::$status,
                title: $title,
                detail_en: $en,
                detail_ko: $ko,
            },)+];

            /// The code with this upper-case name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    InvalidInput = "INVALID_INPUT", None, BAD_REQUEST, "Invalid input",
        "The request is not valid.", "요청 내용이 올바르지 않습니다.";
    Unauthorized = "UNAUTHORIZED", None, UNAUTHORIZED, "Unauthorized",
        "A valid access token is required.", "유효한 인증 정보가 필요합니다. 다시 로그인해 주세요.";
    Forbidden = "FORBIDDEN", None, FORBIDDEN, "Forbidden",
        "You are not allowed to do this.", "이 작업을 수행할 권한이 없습니다.";
    NotFound = "NOT_FOUND", None, NOT_FOUND, "Not found",
        "There is nothing at this address.", "요청하신 주소를 찾을 수 없습니다.";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", None, METHOD_NOT_ALLOWED, "Method not allowed",
        "This address does not support the method.", "이 주소에서 지원하지 않는 메서드입니다.";
    RequestTimeout = "REQUEST_TIMEOUT", None, REQUEST_TIMEOUT, "Request timeout",
        "The request did not arrive in time.", "요청이 제한 시간 안에 도착하지 않았습니다.";
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", None, PAYLOAD_TOO_LARGE, "Payload too large",
        "The request's body is too large.", "요청 본문이 너무 큽니다.";
    TooManyRequests = "TOO_MANY_REQUESTS", None, TOO_MANY_REQUESTS, "Too many requests",
        "Too many requests in a short time; please slow down.", "요청이 너무 많습니다. 잠시 후 다시 시도해 주세요.";
    InternalError = "INTERNAL_ERROR", None, INTERNAL_SERVER_ERROR, "Internal error",
        "Something went wrong on our side.", "서버에 오류가 발생했습니다.";
    Unavailable = "SERVICE_UNAVAILABLE", None, SERVICE_UNAVAILABLE, "Service unavailable",
        "Nothing was done; please try again shortly.", "요청이 처리되지 않았습니다. 잠시 후 다시 시도해 주세요.";
    OutcomeUnknown = "OUTCOME_UNKNOWN", None, GATEWAY_TIMEOUT, "Outcome unknown",
        "No answer came in time; repeat the request with the same idempotency key to learn the outcome.",
        "제한 시간 안에 처리 결과를 확인하지 못했습니다. 같은 멱등성 키로 다시 요청하여 결과를 확인해 주세요.";
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", None, UNPROCESSABLE_ENTITY, "Idempotency key reused",
        "The idempotency key was already used for another request.", "이미 다른 요청에 사용된 멱등성 키입니다.";
    RequestInProgress = "REQUEST_IN_PROGRESS", None, CONFLICT, "Request in progress",
        "The first request under this idempotency key is still in progress.", "같은 멱등성 키의 요청을 처리하고 있습니다.";
    ProductNotFound = "PRODUCT_NOT_FOUND", None, NOT_FOUND, "Product not found",
        "There is no such product.", "상품을 찾을 수 없습니다.";
    OrderNotFound = "ORDER_NOT_FOUND", None, NOT_FOUND, "Order not found",
        "There is no such order.", "주문을 찾을 수 없습니다.";
    CouponNotFound = "COUPON_NOT_FOUND", None, NOT_FOUND, "Coupon not found",
        "There is no such coupon.", "쿠폰을 찾을 수 없습니다.";
    InsufficientStock = "INSUFFICIENT_STOCK", Some("P002"), BAD_REQUEST, "Insufficient stock",
        "There is not enough stock.", "재고가 부족합니다.";
    ExceededLimitedQuantity = "EXCEEDED_LIMITED_QUANTITY", None, BAD_REQUEST, "Limit per user exceeded",
        "This is more than one user may buy.", "1인당 구매 가능 수량을 초과했습니다.";
    CartEmpty = "CART_EMPTY", None, BAD_REQUEST, "Cart empty",
        "The cart is empty.", "장바구니가 비어 있습니다.";
    InvalidCoupon = "INVALID_COUPON", None, BAD_REQUEST, "Invalid coupon",
        "A coupon cannot be used for this order.", "이 주문에 사용할 수 없는 쿠폰입니다.";
    InsufficientBalance = "INSUFFICIENT_BALANCE", Some("PAY001"), BAD_REQUEST, "Insufficient balance",
        "The balance is too low.", "잔액이 부족합니다.";
    SaleNotOpen = "SALE_NOT_OPEN", None, BAD_REQUEST, "Sale not open",
        "The sale has not started yet.", "아직 판매가 시작되지 않았습니다.";
    SaleClosed = "SALE_CLOSED", None, BAD_REQUEST, "Sale closed",
        "The sale is over.", "판매가 종료되었습니다.";
    AmountMismatch = "AMOUNT_MISMATCH", None, BAD_REQUEST, "Amount mismatch",
        "The amount differs from the one to pay.", "결제할 금액이 일치하지 않습니다.";
    TooManyOpenOrders = "TOO_MANY_OPEN_ORDERS", None, BAD_REQUEST, "Too many open orders",
        "Please pay or cancel an open order first.", "결제 대기 중인 주문이 너무 많습니다. 먼저 결제하거나 취소해 주세요.";
    InvalidOrderState = "INVALID_ORDER_STATE", None, BAD_REQUEST, "Invalid order state",
        "The order's state does not allow this.", "현재 주문 상태에서는 처리할 수 없습니다.";
    InvalidAmount = "INVALID_AMOUNT", None, BAD_REQUEST, "Invalid amount",
        "This amount cannot be charged.", "충전할 수 없는 금액입니다.";
    PaymentDeclined = "PAYMENT_DECLINED", None, PAYMENT_REQUIRED, "Payment declined",
        "The payment was declined.", "결제가 거절되었습니다.";
    CouponSoldOut = "COUPON_SOLD_OUT", Some("C001"), CONFLICT, "Coupon sold out",
        "All of these coupons have been issued.", "쿠폰이 모두 소진되었습니다.";
    AlreadyIssued = "ALREADY_ISSUED", Some("C004"), CONFLICT, "Already issued",
        "You already have this coupon.", "이미 발급받은 쿠폰입니다.";
    CouponNotOpen = "COUPON_NOT_OPEN", None, BAD_REQUEST, "Coupon not open",
        "This coupon cannot be issued now.", "지금은 발급받을 수 없는 쿠폰입니다.";
}

impl Code {
    /// Its row of the table.
    pub fn info(self) -> &'static CodeInfo {
        &Self::TABLE[self as usize]
    }

    /// The member `type`: a stable URI reference such as `/problems/insufficient-stock`.
    pub fn type_reference(self) -> String {
        format!("/problems/{}", self.info().name.to_ascii_lowercase().replace('_', "-"))
    }
}

/// The members that RFC 9457 and this service define; an extension of the same name is dropped.
const STANDARD_MEMBERS: [&str; 7] = ["type", "title", "status", "detail", "instance", "code", "number"];

/// Seconds of `Retry-After` on a 503 that names none.
const RETRY_AFTER_DEFAULT_S: u64 = 1;

/// One occurrence of a [`Code`], on its way to the client.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a problem says nothing until it is sent"]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    /// Extension members, such as `insufficientItems`, in camelCase.
    pub extensions: Map<String, Value>,
    /// An English sentence, safe to show: it replaces the code's own; in Korean it stands behind it in parentheses.
    pub reason: Option<String>,
    /// `Retry-After` in seconds; a 503 has one in any case.
    pub retry_after_s: Option<u64>,
    /// `Allow` of a 405: methods, comma separated.
    pub allow: Option<Cow<'static, str>>,
    /// Whether a token was given and refused, for the challenge of a 401 (RFC 6750 section 3.1).
    pub token_refused: bool,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl Problem {
    /// Nothing but the code.
    pub fn new(code: Code) -> Self {
        Self { code, extensions: Map::new(), reason: None, retry_after_s: None, allow: None, token_refused: false }
    }

    /// Adds an extension member.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extensions.insert(key.into(), value.into());
        self
    }

    /// Adds extension members, such as the details of a refusal.
    pub fn with_all(mut self, extensions: Map<String, Value>) -> Self {
        self.extensions.extend(extensions);
        self
    }

    /// Says more than the code: an English sentence for the client, so never the text of an internal error.
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Sets `Allow`: the methods that the route has, comma separated.
    pub fn allow(mut self, methods: impl Into<Cow<'static, str>>) -> Self {
        self.allow = Some(methods.into());
        self
    }

    /// Marks a 401 as the answer to a token that was given.
    pub fn token_refused(mut self) -> Self {
        self.token_refused = true;
        self
    }

    /// The answer, in the reader's language. Never cached: it tells of one request at one moment.
    pub fn into_response(self, language: Language) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body(language))));
        *response.status_mut() = self.code.info().status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let default_s = (self.code == Code::Unavailable).then_some(RETRY_AFTER_DEFAULT_S);
        if let Some(seconds) = self.retry_after_s.or(default_s) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.code {
            Code::Unauthorized => {
                let challenge = if self.token_refused { "Bearer error=\"invalid_token\"" } else { "Bearer" };
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Code::MethodNotAllowed => {
                // RFC 9110 requires the field on every 405; empty means that no method is allowed.
                let methods = self.allow.as_deref().unwrap_or_default();
                headers.insert(ALLOW, HeaderValue::from_str(methods).expect("methods are tokens"));
            }
            _ => {}
        }
        response
    }

    /// The JSON text.
    fn body(&self, language: Language) -> Vec<u8> {
        serde_json::to_vec(&Members { problem: self, language }).expect("members are plain JSON")
    }

    /// The sentence for people.
    fn detail(&self, language: Language) -> Cow<'_, str> {
        let info = self.code.info();
        match (language, &self.reason) {
            (Language::English, None) => Cow::Borrowed(info.detail_en),
            (Language::English, Some(reason)) => Cow::Borrowed(reason.as_str()),
            (Language::Korean, None) => Cow::Borrowed(info.detail_ko),
            (Language::Korean, Some(reason)) => Cow::Owned(format!("{} ({reason})", info.detail_ko)),
        }
    }
}

/// A problem as JSON, written straight from its parts: in a sold-out sale most answers are problems.
struct Members<'a> {
    problem: &'a Problem,
    language: Language,
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let info = self.problem.code.info();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &self.problem.code.type_reference())?;
        map.serialize_entry("title", info.title)?;
        map.serialize_entry("status", &info.status.as_u16())?;
        map.serialize_entry("detail", &self.problem.detail(self.language))?;
        map.serialize_entry("code", info.name)?;
        if let Some(number) = info.number {
            map.serialize_entry("number", number)?;
        }
        for (name, value) in &self.problem.extensions {
            if !STANDARD_MEMBERS.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

/// The language of `detail`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// Unless Korean is asked for.
    #[default]
    English,
    /// Asked for with `ko`.
    Korean,
}

impl Language {
    /// From `Accept-Language`: Korean when it asks for `ko` or `ko-…` and does not prefer English (or, where it says
    /// nothing of English, `*`). English for everything else, a malformed field included.
    pub fn from_accept(header: Option<&HeaderValue>) -> Self {
        let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
        if prefers_korean(text) == Some(true) { Self::Korean } else { Self::English }
    }

    /// For `Content-Language`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }
}

/// `None` when the field does not follow the grammar of RFC 9110 section 12.5.4.
fn prefers_korean(accept: &str) -> Option<bool> {
    let (mut korean, mut english, mut any) = (None::<u16>, None::<u16>, None::<u16>);
    for item in accept.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (range, q) = match item.split_once(';') {
            None => (item, 1000),
            Some((range, weight)) => (range.trim_end(), quality(weight.trim_start())?),
        };
        let subtag = |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if range != "*" && !range.split('-').all(subtag) {
            return None;
        }
        let primary = range.split('-').next()?;
        // An absent range is `None`, which is less than any quality: `max` keeps the best of `ko` and `ko-KR`.
        if primary == "*" {
            any = any.max(Some(q));
        } else if primary.eq_ignore_ascii_case("ko") {
            korean = korean.max(Some(q));
        } else if primary.eq_ignore_ascii_case("en") {
            english = english.max(Some(q));
        }
    }
    Some(korean.unwrap_or(0) > 0 && korean >= english.or(any))
}

/// A weight, `q=` and 0 to 1 with at most three decimals, in thousandths.
fn quality(weight: &str) -> Option<u16> {
    let value = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain([b'0'; 3]).take(3);
    let thousandths = digits.fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, thousandths) {
        ("0", _) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hyper::header::HeaderName;
    use serde_json::json;

    use super::*;

    fn body(problem: &Problem, language: Language) -> Value {
        serde_json::from_slice(&problem.body(language)).expect("JSON")
    }

    fn header(problem: Problem, name: HeaderName) -> String {
        problem.into_response(Language::English).headers()[name].to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn every_row_of_the_table_is_unique_and_complete() {
        let mut seen = HashSet::new();
        for code in Code::ALL.iter().copied() {
            let info = code.info();
            assert!(info.name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{}", info.name);
            assert!(info.status.is_client_error() || info.status.is_server_error(), "{}", info.name);
            assert_eq!(Code::from_name(info.name), Some(code));
            assert!(!info.title.is_empty() && info.detail_en.is_ascii() && info.detail_en.ends_with('.'), "{info:?}");
            assert!(info.detail_ko.ends_with("다.") || info.detail_ko.ends_with("요."), "{info:?}");
            for unique in [Some(info.name), info.number, Some(info.detail_en), Some(info.detail_ko)] {
                assert!(unique.is_none_or(|text| seen.insert(text)), "{unique:?} stands twice");
            }
        }
        assert_eq!(Code::from_name("insufficient_stock"), None);
    }

    #[test]
    fn statuses_and_numbers_are_those_of_the_spec() {
        let other_than_400 = "401 UNAUTHORIZED, 402 PAYMENT_DECLINED, 403 FORBIDDEN, 404 NOT_FOUND, \
            404 PRODUCT_NOT_FOUND, 404 ORDER_NOT_FOUND, 404 COUPON_NOT_FOUND, 405 METHOD_NOT_ALLOWED, \
            408 REQUEST_TIMEOUT, 409 REQUEST_IN_PROGRESS, 409 COUPON_SOLD_OUT, 409 ALREADY_ISSUED, \
            413 PAYLOAD_TOO_LARGE, 422 IDEMPOTENCY_KEY_REUSED, 429 TOO_MANY_REQUESTS, \
            500 INTERNAL_ERROR, 503 SERVICE_UNAVAILABLE, 504 OUTCOME_UNKNOWN";
        let expected: HashSet<&str> = other_than_400.split(", ").collect();
        let lines: Vec<String> =
            Code::ALL.iter().map(|code| format!("{} {}", code.info().status.as_u16(), code.info().name)).collect();
        let actual: HashSet<&str> = lines.iter().map(String::as_str).filter(|line| !line.starts_with("400")).collect();
        assert_eq!(actual, expected);
        let numbers: Vec<_> = Code::ALL.iter().filter_map(|code| Some((code.info().number?, *code))).collect();
        let spec = [
            ("P002", Code::InsufficientStock),
            ("PAY001", Code::InsufficientBalance),
            ("C001", Code::CouponSoldOut),
            ("C004", Code::AlreadyIssued),
        ];
        assert_eq!(numbers, spec);
    }

    #[test]
    fn extensions_stand_beside_the_standard_members_and_never_replace_them() {
        let details = json!({"shortfall": 7, "number": "X"});
        let problem = Problem::new(Code::InsufficientBalance)
            .with("status", 200)
            .with("code", "OK")
            .with_all(details.as_object().expect("an object").clone());
        let expected = json!({
            "type": "/problems/insufficient-balance", "title": "Insufficient balance", "status": 400,
            "detail": "The balance is too low.", "code": "INSUFFICIENT_BALANCE", "number": "PAY001", "shortfall": 7,
        });
        assert_eq!(body(&problem, Language::English), expected);
        // A parsed object hides members that stand twice.
        let text = String::from_utf8(problem.body(Language::English)).expect("UTF-8");
        assert_eq!(text.matches("\"status\"").count(), 1, "{text}");
    }

    #[test]
    fn a_reason_replaces_the_english_sentence_and_follows_the_korean_one() {
        let problem = Problem::new(Code::InvalidInput);
        assert_eq!(body(&problem, Language::Korean)["detail"], "요청 내용이 올바르지 않습니다.");
        let problem = problem.because("quantity: at least 1");
        assert_eq!(body(&problem, Language::English)["detail"], "quantity: at least 1");
        assert_eq!(body(&problem, Language::Korean)["detail"], "요청 내용이 올바르지 않습니다. (quantity: at least 1)");
    }

    #[test]
    fn headers_tell_type_language_and_what_to_do_next() {
        let response = Problem::new(Code::InsufficientStock).into_response(Language::Korean);
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[CONTENT_LANGUAGE], "ko");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        for name in [RETRY_AFTER, ALLOW, WWW_AUTHENTICATE] {
            assert!(!response.headers().contains_key(name));
        }
        assert_eq!(header(Problem::new(Code::Unavailable), RETRY_AFTER), "1");
        assert_eq!(header(Problem::new(Code::Unavailable).retry_after(30), RETRY_AFTER), "30");
        assert_eq!(header(Problem::new(Code::TooManyRequests).retry_after(2), RETRY_AFTER), "2");
        assert_eq!(header(Problem::new(Code::MethodNotAllowed).allow("GET, PUT"), ALLOW), "GET, PUT");
        assert_eq!(header(Problem::new(Code::MethodNotAllowed), ALLOW), "");
        let refused = Problem::new(Code::Unauthorized).token_refused();
        assert_eq!(header(refused, WWW_AUTHENTICATE), "Bearer error=\"invalid_token\"");
        assert_eq!(header(Problem::new(Code::Unauthorized), WWW_AUTHENTICATE), "Bearer");
    }

    #[test]
    fn korean_only_when_it_is_asked_for() {
        let language = |text: &str| Language::from_accept(Some(&HeaderValue::from_str(text).expect("a value")));
        let korean = "ko | KO-kr | ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7 | en;q=0.5 , ko ; q=0.5 | fr, ko;q=0.001 | \
            *;q=0.5, ko;q=0.5 | *, en;q=0.1, ko;q=0.2 | ko;q=0, ko-KR;Q=1.000 | , ko, | ko;q=1.";
        for text in korean.split(" | ") {
            assert_eq!(language(text), Language::Korean, "{text}");
        }
        let english = "en | * | fr | kok | ko;q=0 | ko;q=0.000 | en, ko;q=0.9 | *, ko;q=0.9";
        let malformed = "ko;q=2 | ko;q=1.001 | ko;q=0.1234 | ko;q=-1 | ko;q=+1 | ko;q= | ko;q=. | ko;q | ko; | \
            ko;level=1 | ko;q=1;q=1 | ko_KR | ko, e n | ko- | ko, ;q=1 | ko-verylongsubtag";
        for text in english.split(" | ").chain(malformed.split(" | ")).chain([""]) {
            assert_eq!(language(text), Language::English, "{text}");
        }
        assert_eq!(Language::from_accept(None), Language::English);
        let opaque = HeaderValue::from_bytes(b"ko\xff").expect("an opaque value");
        assert_eq!(Language::from_accept(Some(&opaque)), Language::English);
    }
}
