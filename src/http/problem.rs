//! Refusals and failures as clients see them: `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

pub use super::code::{Code, CodeInfo};
pub use super::language::Language;
use super::request::IDEMPOTENCY_KEY;

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
    pub reason: Option<Box<str>>,
    /// `Retry-After` in seconds; a 503 has one in any case.
    pub retry_after_s: Option<u64>,
    /// `Allow` of a 405: methods, comma separated.
    pub allow: Option<Cow<'static, str>>,
    /// The key of the request, which finds out or tries again; above all one that the server made.
    pub idempotency_key: Option<Box<str>>,
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
        Self {
            code,
            extensions: Map::new(),
            reason: None,
            retry_after_s: None,
            allow: None,
            idempotency_key: None,
            token_refused: false,
        }
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
    pub fn because(mut self, reason: impl Into<Box<str>>) -> Self {
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

    /// Names the key of the request.
    pub fn named(mut self, idempotency_key: impl Into<Box<str>>) -> Self {
        self.idempotency_key = Some(idempotency_key.into());
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
        if let Some(key) = self.idempotency_key.and_then(|key| HeaderValue::from_str(&key).ok()) {
            headers.insert(IDEMPOTENCY_KEY, key);
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
            (Language::English, Some(reason)) => Cow::Borrowed(reason),
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

#[cfg(test)]
mod tests {
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
}
