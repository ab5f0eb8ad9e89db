//! Signatures as Standard Webhooks has them: who knows the secret can tell that a post is ours, whole, and not an old
//! one played again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// In front of a secret that is written as base64.
const ENCODED_PREFIX: &str = "whsec_";

/// The header `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`; the timestamp is
/// unix seconds.
pub fn sign(secret: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The bytes that sign: of `whsec_…` what its base64 stands for, of any other secret the text itself. A `whsec_…` that
/// is no base64, or stands for nothing, is such a text: no secret that was set may end up as no key.
pub fn key_of(secret: &Secret) -> Vec<u8> {
    let text = secret.expose();
    text.strip_prefix(ENCODED_PREFIX)
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .filter(|key| !key.is_empty())
        .unwrap_or_else(|| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` and `hashlib`; the first one is the published example of Standard Webhooks.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let key = key_of(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        assert_eq!(
            sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(sign(b"key", "17", 0, b""), "v1,2eU7CwYUblgjLwWPgjlz6an47bCBRHAdPuIw2qpqHS0=");
        assert_eq!(
            sign(&[b'k'; 200], "17592186044417", 1_700_000_000, b"\x00\xff.not.text"),
            "v1,OqtdAexaLZGdMulJiVUnUbDkQNlZrYuOiGrXs6H/GsI="
        );
    }

    #[test]
    fn a_secret_is_base64_behind_its_prefix_and_else_itself() {
        assert_eq!(key_of(&Secret::new("whsec_aHVudGVyMg==")), b"hunter2");
        for text in
            ["", "hunter2", "aHVudGVyMg==", "whsec_", "whsec_aHVudGVyMg", "whsec_not base64", "WHSEC_aHVudGVyMg=="]
        {
            assert_eq!(key_of(&Secret::new(text)), text.as_bytes(), "{text}");
        }
    }
}
