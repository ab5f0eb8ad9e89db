//! Pages for people: the live page and the storefront of `flashsale dev`. Plain HTML, CSS and JavaScript, built in and
//! served as they stand here: no build step, and nothing from elsewhere.

pub mod guard;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

use crate::http::problem::{Code, Problem};

/// Has browsers refuse whatever would come from elsewhere, and whatever stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A page with its files.
#[derive(Debug)]
pub struct Site {
    page: &'static str,
    files: &'static [File],
}

#[derive(Debug)]
struct File {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

macro_rules! site {
    ($page:literal, $($name:literal $content_type:ident $path:literal;)+) => {
        Site {
            page: include_str!($page),
            files: &[$(File { name: $name, content_type: $content_type, text: include_str!($path) },)+],
        }
    };
}

/// What the sale does now, on the operations listener.
pub static LIVE: Site = site! {
    "live/live.html",
    "base.css" CSS "shared/base.css";
    "live.css" CSS "live/live.css";
    "icon.svg" SVG "shared/icon.svg";
    "dom.js" SCRIPT "shared/dom.js";
    "i18n.js" SCRIPT "shared/i18n.js";
    "live.js" SCRIPT "live/live.js";
    "messages.js" SCRIPT "live/messages.js";
    "rush.js" SCRIPT "live/rush.js";
    "spark.js" SCRIPT "live/spark.js";
    "stream.js" SCRIPT "live/stream.js";
    "verdict.js" SCRIPT "live/verdict.js";
    "view.js" SCRIPT "live/view.js";
};

/// A shop to play in, on the public listener of `flashsale dev`.
pub static SHOP: Site = site! {
    "shop/shop.html",
    "base.css" CSS "shared/base.css";
    "shop.css" CSS "shop/shop.css";
    "icon.svg" SVG "shared/icon.svg";
    "dom.js" SCRIPT "shared/dom.js";
    "i18n.js" SCRIPT "shared/i18n.js";
    "api.js" SCRIPT "shop/api.js";
    "cart.js" SCRIPT "shop/cart.js";
    "coupons.js" SCRIPT "shop/coupons.js";
    "messages.js" SCRIPT "shop/messages.js";
    "orders.js" SCRIPT "shop/orders.js";
    "sale.js" SCRIPT "shop/sale.js";
    "shelf.js" SCRIPT "shop/shelf.js";
    "shop.js" SCRIPT "shop/shop.js";
    "wallet.js" SCRIPT "shop/wallet.js";
};

impl Site {
    /// The page itself.
    pub fn page(&self) -> Response<Full<Bytes>> {
        response(HTML, self.page)
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let file = self.files.iter().find(|file| file.name == name).ok_or(Problem::new(Code::NotFound))?;
        Ok(response(file.content_type, file.text))
    }
}

fn response(content_type: &'static str, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // Another version has other files at the same addresses.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites() -> [(&'static str, &'static Site); 2] {
        [("live/", &LIVE), ("shop/", &SHOP)]
    }

    /// What stands in quotation marks behind `before`.
    fn quoted<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
        text.split(&format!("{before}\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn pages_find_all_their_files_and_have_no_others() {
        for (folder, site) in sites() {
            let of_page = [quoted(site.page, "src="), quoted(site.page, "href=")].concat();
            let mut wanted: Vec<&str> = of_page.iter().filter_map(|address| address.strip_prefix(folder)).collect();
            for address in &of_page {
                assert!(!address.contains(':') && !address.starts_with('/'), "{folder}: {address} is elsewhere");
            }
            for file in site.files {
                for import in quoted(file.text, " from ") {
                    wanted.push(import.strip_prefix("./").expect("modules lie side by side"));
                }
            }
            for name in &wanted {
                assert!(site.file(name).is_ok(), "{folder}: {name} is missing");
            }
            for file in site.files {
                assert!(wanted.contains(&file.name), "{folder}: nobody wants {}", file.name);
            }
            assert!(site.file("nothing.js").is_err() && site.file("").is_err());
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_data_never_becomes_markup() {
        for (folder, site) in sites() {
            let page = ("the page", site.page);
            for (name, text) in site.files.iter().map(|file| (file.name, file.text)).chain([page]) {
                let text = text.replace("http://www.w3.org/2000/svg", "");
                for bad in ["http://", "https://", "//cdn", "@import", "url(", "innerHTML", "outerHTML", "eval("] {
                    assert!(!text.contains(bad), "{folder}{name} has {bad}");
                }
                for bad in ["insertAdjacentHTML", "document.write", "setAttribute(\"style\"", "new Function"] {
                    assert!(!text.contains(bad), "{folder}{name} has {bad}");
                }
            }
            // The policy would drop both.
            assert!(!site.page.contains(" style=") && !site.page.contains("<style"), "{folder}");
            assert_eq!(site.page.matches("<script").count(), site.page.matches("<script type=\"module\" src=").count());
            assert!(!site.page.contains(" onclick=") && !site.page.contains(" onsubmit="), "{folder}");
        }
    }

    #[test]
    fn every_text_is_there_in_both_languages() {
        for (folder, site) in sites() {
            let messages = site.files.iter().find(|file| file.name == "messages.js").expect("the texts").text;
            let (english, korean) = messages.split_once("\n  ko: {").expect("English first, then Korean");
            let keys = |text: &str| -> Vec<String> {
                let lines = text.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\":"));
                lines.map(|(key, _)| key.to_owned()).collect()
            };
            assert_eq!(keys(english), keys(korean), "{folder}: the same keys in the same order");
            let known = keys(english);
            for before in ["data-i18n=", "data-i18n-label=", "data-i18n-placeholder="] {
                for key in quoted(site.page, before) {
                    assert!(known.iter().any(|known| known == key), "{folder}: {key} has no text");
                }
            }
        }
    }

    #[test]
    fn headers_keep_browsers_strict() {
        let file = LIVE.file("live.js").expect("a file");
        for (response, content_type) in [(LIVE.page(), HTML), (SHOP.page(), HTML), (file, SCRIPT)] {
            let headers = response.headers();
            assert_eq!(headers[CONTENT_TYPE], content_type);
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[CACHE_CONTROL], "no-cache");
            let policy = headers[CONTENT_SECURITY_POLICY].to_str().expect("ASCII");
            assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
            assert!(!policy.contains("unsafe") && !policy.contains("  "), "{policy}");
        }
    }
}
