//! Keeps other sites out of routes that take no token: a page from elsewhere, in the browser of somebody who runs
//! `flashsale dev`, must not be able to use them.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use hyper::http::uri::Authority;

use crate::config::Config;
use crate::http::problem::{Code, Problem};

/// Says where a request comes from, seen from where it goes to; browsers set it, and scripts cannot.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Pages of `flashsale dev` are nowhere else.
pub fn only_in_dev(config: &Config) -> Result<(), Problem> {
    if config.dev_pages { Ok(()) } else { Err(Problem::new(Code::NotFound)) }
}

/// Lets JSON from the page's own origin pass, and from what is no browser.
pub fn own_page_only(headers: &HeaderMap) -> Result<(), Problem> {
    // A form of another site can send anything but this: a script that wants to must ask first, and nobody answers.
    if !text(headers, &CONTENT_TYPE).is_some_and(is_json) {
        return Err(Problem::new(Code::InvalidInput).because("Content-Type must be application/json"));
    }
    let forbidden = |why: &str| Err(Problem::new(Code::Forbidden).because(why.to_owned()));
    // A name could be made to point here by whoever owns it, and then his pages would be of this origin.
    let Some(host) = text(headers, &HOST).filter(|host| is_nobodys_name(host)) else {
        return forbidden("open the page under localhost or an IP address");
    };
    let is_same = |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    if headers.contains_key(ORIGIN) && !text(headers, &ORIGIN).is_some_and(is_same) {
        return forbidden("another site's page must not do this");
    }
    if headers.contains_key(SEC_FETCH_SITE) && text(headers, &SEC_FETCH_SITE) != Some("same-origin") {
        return forbidden("another site's page must not do this");
    }
    Ok(())
}

/// The value of a header that is there once and is text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// Whether a host is one that no name server is asked for.
fn is_nobodys_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn outcome(pairs: &[(&'static str, &'static str)]) -> Result<(), Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        own_page_only(&headers).map_err(|problem| problem.code)
    }

    const JSON: (&str, &str) = ("content-type", "application/json");
    const HERE: (&str, &str) = ("host", "127.0.0.1:8081");

    #[test]
    fn the_own_page_and_command_lines_pass() {
        assert_eq!(outcome(&[JSON, HERE]), Ok(()));
        let utf8 = ("content-type", "Application/JSON; charset=utf-8");
        assert_eq!(
            outcome(&[utf8, HERE, ("origin", "http://127.0.0.1:8081"), ("sec-fetch-site", "same-origin")]),
            Ok(())
        );
        for (host, origin) in [
            ("localhost:8081", "http://localhost:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
            ("LocalHost", "https://LocalHost"),
        ] {
            assert_eq!(outcome(&[JSON, ("host", host), ("origin", origin)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_sites_do_not() {
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:8080"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(outcome(&[JSON, HERE, (name, value)]), Err(Code::Forbidden), "{name}: {value}");
        }
        // A name that was made to point here.
        for host in ["evil.example:8081", "localhost.evil.example", "127.0.0.1.evil.example", "user@evil.example", ""] {
            assert_eq!(outcome(&[JSON, ("host", host)]), Err(Code::Forbidden), "{host}");
        }
        assert_eq!(outcome(&[JSON]), Err(Code::Forbidden));
        assert_eq!(outcome(&[JSON, HERE, HERE]), Err(Code::Forbidden));
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data", ""]
        {
            assert_eq!(outcome(&[HERE, ("content-type", kind)]), Err(Code::InvalidInput), "{kind}");
        }
        assert_eq!(outcome(&[HERE]), Err(Code::InvalidInput));
    }
}
