//! Remembers tokens that were verified. During a sale the same few tokens come again and again, and a signature that was
//! good stays good until the token expires; only its expiry is looked at each time. Refused tokens are not remembered.

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::HeaderValue;
use metrics::{Counter, counter};
use quick_cache::sync::Cache;

use super::auth::{AuthError, Identity, Verifier};
use crate::metrics as names;

/// Bytes that an entry takes beside the token itself, roughly.
const ENTRY_BYTES: u64 = 128;

/// Tokens expected in a full cache have about this many bytes.
const TOKEN_BYTES_USUAL: u64 = 256;

/// A verified token.
#[derive(Clone)]
struct Verified {
    identity: Identity,
    /// Last second at which the token counts, leeway included, since 1970.
    last_s: f64,
}

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Box<[u8]>, Verified> for Weight {
    fn weight(&self, token: &Box<[u8]>, _: &Verified) -> u64 {
        ENTRY_BYTES + token.len() as u64
    }
}

/// A verifier with a memory.
pub struct TokenCache {
    verifier: Verifier,
    verified: Cache<Box<[u8]>, Verified, Weight>,
    hits: Counter,
    misses: Counter,
}

impl TokenCache {
    /// Remembers tokens of at most `bytes_max` bytes together.
    pub fn new(verifier: Verifier, bytes_max: u64) -> Self {
        let entries = usize::try_from(bytes_max / (ENTRY_BYTES + TOKEN_BYTES_USUAL)).unwrap_or(usize::MAX).max(1);
        Self {
            verifier,
            verified: Cache::with_weighter(entries, bytes_max, Weight),
            hits: counter!(names::CACHE_HITS, "cache" => "tokens"),
            misses: counter!(names::CACHE_MISSES, "cache" => "tokens"),
        }
    }

    /// As [`Verifier::verify`].
    pub fn verify(&self, authorization: Option<&HeaderValue>) -> Result<Identity, AuthError> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        self.verify_at(authorization, now_s)
    }

    fn verify_at(&self, authorization: Option<&HeaderValue>, now_s: f64) -> Result<Identity, AuthError> {
        let header = authorization.ok_or(AuthError::Missing)?.as_bytes();
        if let Some(known) = self.verified.get(header)
            && now_s <= known.last_s
        {
            self.hits.increment(1);
            return Ok(known.identity);
        }
        self.misses.increment(1);
        let (identity, last_s) = self.verifier.verify(authorization)?;
        self.verified.insert(header.into(), Verified { identity: identity.clone(), last_s });
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Source};
    use crate::http::auth::Minter;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn cache() -> TokenCache {
        let mut source = Source::default();
        for (name, value) in [("redis_url", "redis://x"), ("database_url", "postgres://x"), ("jwt_secret", SECRET)] {
            source.set(name, value);
        }
        let config = Config::load(&source).expect("valid settings");
        TokenCache::new(Verifier::new(&config).expect("a verifier"), 4096)
    }

    fn bearer(user: &str) -> HeaderValue {
        let minter = Minter::new(&SECRET.to_owned().into(), "flashsale", "flashsale").expect("a long secret");
        let token = minter.mint(user, false, 60).expect("a token");
        HeaderValue::from_str(&format!("Bearer {token}")).expect("a field value")
    }

    #[test]
    fn a_remembered_token_stops_counting_when_it_expires() {
        let (cache, header) = (cache(), bearer("ann"));
        let first = cache.verify(Some(&header)).expect("a good token");
        let last_s = cache.verified.get(header.as_bytes()).expect("it is remembered").last_s;
        assert_eq!(cache.verify_at(Some(&header), last_s - 1.0), Ok(first));
        // Past its end the memory does not count; the verifier, whose clock has not moved, is asked again.
        cache.verified.insert(header.as_bytes().into(), Verified { identity: identity("eve"), last_s });
        assert_eq!(cache.verify_at(Some(&header), last_s + 1.0), Ok(identity("ann")));
    }

    #[test]
    fn refused_tokens_are_not_remembered_and_the_memory_is_bounded() {
        let cache = cache();
        let bad = HeaderValue::from_static("Bearer a.b.c");
        assert_eq!(cache.verify(Some(&bad)), Err(AuthError::Refused));
        assert!(cache.verified.get(bad.as_bytes()).is_none());
        for user in 0..1_000 {
            cache.verify(Some(&bearer(&format!("user-{user}")))).expect("a good token");
        }
        assert!(cache.verified.weight() <= 4096, "{}", cache.verified.weight());
    }

    fn identity(user: &str) -> Identity {
        Identity::new(crate::engine::user::UserId::parse(user).expect("a user id"), false)
    }
}
