//! The storefront of `flashsale dev`: a page to play a sale with, and who one is on it.
#![expect(clippy::unused_async, reason = "every handler has the same shape")]

use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::auth::Minter;
use super::problem::{Code, Problem};
use super::reply::{self, Answer};
use super::request::Request;
use crate::web::{SHOP, guard};

/// What every demo user's name starts with: nobody gets somebody else's token here.
const PREFIX: &str = "shopper-";

/// Characters of a name that is made up.
const NAME_CHARS: usize = 4;

/// Characters of the longest name behind the prefix.
const NAME_CHARS_MAX: usize = 32;

/// Lifetime of a demo user's token: a day.
const TOKEN_TTL_S: u32 = 86_400;

/// GET /
pub async fn page(app: Arc<App>, _: Request) -> Answer {
    guard::only_in_dev(&app.config)?;
    Ok(SHOP.page())
}

/// GET /shop/{file}
pub async fn file(app: Arc<App>, request: Request) -> Answer {
    guard::only_in_dev(&app.config)?;
    SHOP.file(request.params.first().map_or("", String::as_str))
}

/// Who one wants to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionBody {
    /// What stands behind `shopper-`; without it something new.
    #[serde(default)]
    name: Option<String>,
}

/// Who one is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    user_id: String,
    name: String,
    token: String,
    expires_at: String,
    /// Where the live page is, if the port was given.
    live_url: Option<String>,
}

/// POST /dev/session {name?}: a demo user's token.
pub async fn session(app: Arc<App>, mut request: Request) -> Answer {
    guard::only_in_dev(&app.config)?;
    guard::own_page_only(&request.headers)?;
    let body: SessionBody = request.json(&app).await?;
    let name = body.name.unwrap_or_else(new_name);
    if !is_name(&name) {
        let reason = format!("name must have 1 to {NAME_CHARS_MAX} characters of a-z, 0-9 and -");
        return Err(Problem::new(Code::InvalidInput).because(reason));
    }
    let user_id = format!("{PREFIX}{name}");
    let config = &app.config;
    let token = Minter::new(&config.jwt_secret, &config.jwt_issuer, &config.jwt_audience)
        .and_then(|minter| minter.mint(&user_id, false, TOKEN_TTL_S.into()))
        .map_err(|error| {
            tracing::error!(%error, "no demo user without HS256");
            Problem::new(Code::InternalError)
        })?;
    let expires_ms = Timestamp::now().as_millisecond() + i64::from(TOKEN_TTL_S) * 1_000;
    let live_url = (config.ops_listen.port() != 0).then(|| format!("http://{}/live", config.ops_listen));
    let view = SessionView { user_id, name, token, expires_at: reply::time(expires_ms), live_url };
    Ok(reply::json(StatusCode::CREATED, &view))
}

fn new_name() -> String {
    let chars = rand::rng().sample_iter(Alphanumeric).take(NAME_CHARS).map(char::from);
    chars.map(|c| c.to_ascii_lowercase()).collect()
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::user::UserId;

    #[test]
    fn names_are_plain_and_make_user_ids() {
        let longest = "a".repeat(NAME_CHARS_MAX);
        for name in ["a", "k3pq", "two-words", &longest, &new_name()] {
            assert!(is_name(name) && UserId::parse(&format!("{PREFIX}{name}")).is_some(), "{name}");
        }
        let too_long = "a".repeat(NAME_CHARS_MAX + 1);
        for name in ["", "Ann", "a b", "a|b", "../x", "홍길동", &too_long] {
            assert!(!is_name(name), "{name}");
        }
    }
}
