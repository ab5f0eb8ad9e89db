//! The language of the sentences for people.

use hyper::header::HeaderValue;

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
    use super::*;

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
