//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): who a request belongs to, across services.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// `00-{trace id}-{span id}-{flags}`, in lower-case hexadecimal.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What other tracing systems want to have handed on.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Characters of a `traceparent` of version 00.
const TRACEPARENT_CHARS: usize = 55;

/// Characters of a `tracestate` that are handed on; a longer one is dropped, as the recommendation allows.
const TRACESTATE_CHARS_MAX: usize = 512;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 0x01;

/// Names a request, here and in every service that it passes. Never 0. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl TraceId {
    /// Of a trace that begins here.
    pub fn random() -> Self {
        Self(rand::random::<u128>().max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One step of a trace, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The whole trace.
    pub trace: TraceId,
    /// The step. Never 0.
    pub span: u64,
    /// Whether somebody records it.
    pub is_sampled: bool,
    /// Handed on as it came.
    pub state: Option<HeaderValue>,
}

impl Context {
    /// What a request came with; `None`: nothing, or nothing that counts.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let mut context = Self::parse(value.to_str().ok()?)?;
        let states: Vec<&[u8]> = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes).collect();
        let state = states.join(&b","[..]);
        if (1..=TRACESTATE_CHARS_MAX).contains(&state.len()) {
            context.state = HeaderValue::from_bytes(&state).ok();
        }
        Some(context)
    }

    fn parse(text: &str) -> Option<Self> {
        let (known, more) = text.split_at_checked(TRACEPARENT_CHARS)?;
        let mut parts = known.split('-');
        let mut part = |chars| parts.next().filter(|part| part.len() == chars && is_lower_hex(part));
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Version 00 is exactly this long, later ones may go on behind a dash, and ff will never be.
        let is_complete = if version == "00" { more.is_empty() } else { more.is_empty() || more.starts_with('-') };
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (version != "ff" && is_complete).then_some(Self {
            trace: TraceId(trace),
            span,
            is_sampled: flags & SAMPLED != 0,
            state: None,
        })
    }

    /// Puts it on a request to somebody else.
    pub fn write(&self, headers: &mut HeaderMap) {
        let flags = if self.is_sampled { SAMPLED } else { 0 };
        let value = format!("00-{}-{:016x}-{flags:02x}", self.trace, self.span);
        headers.insert(TRACEPARENT, HeaderValue::try_from(value).expect("hexadecimal digits and dashes"));
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the recommendation.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(fields: &[(&HeaderName, &str)]) -> HeaderMap {
        let field =
            |(name, value): &(&HeaderName, &str)| ((*name).clone(), HeaderValue::from_str(value).expect("text"));
        fields.iter().map(field).collect()
    }

    #[test]
    fn what_came_goes_on() {
        let came = headers(&[(&TRACEPARENT, EXAMPLE), (&TRACESTATE, "congo=t61rcWkgMzE")]);
        let parent = Context::of(&came).expect("it is the example");
        assert_eq!(parent.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(parent.span == 0x00f0_67aa_0ba9_02b7 && parent.is_sampled);
        let mut sent = HeaderMap::new();
        parent.write(&mut sent);
        assert_eq!(sent, came);
    }

    #[test]
    fn what_breaks_the_rules_is_nobodys() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-600f067aa0ba902b7-0101",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "+0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::of(&headers(&[(&TRACEPARENT, wrong)])), None, "{wrong}");
        }
        assert_eq!(Context::of(&headers(&[(&TRACEPARENT, EXAMPLE), (&TRACEPARENT, EXAMPLE)])), None);
        assert_eq!(Context::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = EXAMPLE.replacen("00", "01", 1);
        for text in [later.clone(), format!("{later}-what-comes-later")] {
            assert!(Context::of(&headers(&[(&TRACEPARENT, &text)])).is_some(), "{text}");
        }
        let unsampled = Context::parse(&EXAMPLE.replace("-01", "-02")).expect("a flag that we do not know");
        assert!(!unsampled.is_sampled);
    }

    #[test]
    fn a_state_that_is_too_long_is_dropped() {
        for (chars, is_kept) in [(0, false), (TRACESTATE_CHARS_MAX, true), (TRACESTATE_CHARS_MAX + 1, false)] {
            let state = "x".repeat(chars);
            let context = Context::of(&headers(&[(&TRACEPARENT, EXAMPLE), (&TRACESTATE, &state)])).expect("valid");
            assert_eq!(context.state.is_some(), is_kept);
        }
        let several = headers(&[(&TRACEPARENT, EXAMPLE), (&TRACESTATE, "a=1"), (&TRACESTATE, "b=2")]);
        assert_eq!(Context::of(&several).and_then(|context| context.state), Some(HeaderValue::from_static("a=1,b=2")));
    }
}
