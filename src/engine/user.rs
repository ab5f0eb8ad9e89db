//! Who acts: the `sub` of a token. It ends up in keys, in the log and in the database, so its alphabet is closed.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Characters of the longest user id.
pub const USER_ID_CHARS_MAX: usize = 64;

/// A user: 1 to 64 characters of `[A-Za-z0-9_|:.@-]`. Cheap to clone: every request does so a few times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// `None` for anything outside of the length or the alphabet.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_|:.@-".contains(&b);
        // Everything allowed is ASCII, so bytes are characters.
        let valid = (1..=USER_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into()))
    }

    /// As the token spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Stands for him in logs and traces.
    pub fn pseudonym(&self) -> Pseudonym {
        let hash: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        Pseudonym(u64::from_be_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes")))
    }
}

/// A user where people read along who need not know him: the first 8 bytes of the id's SHA-256, 16 hexadecimal digits. Whoever
/// has the id finds its lines (`flashsale inspect user ID` prints it). It keeps names out of sight; it is no secret, for who can guess an id can hash it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym(u64);

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UserIdVisitor;

        impl Visitor<'_> for UserIdVisitor {
            type Value = UserId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a user id of 1 to 64 characters [A-Za-z0-9_|:.@-]")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<UserId, E> {
                // The error does not repeat the text: it may come from a token.
                UserId::parse(text).ok_or_else(|| E::custom("not a user id"))
            }
        }

        deserializer.deserialize_str(UserIdVisitor)
    }
}

impl PartialSchema for UserId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[A-Za-z0-9_|:.@-]{1,64}$"))
            .description(Some("The `sub` of the token."))
            .into()
    }
}

impl ToSchema for UserId {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("UserId")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_closed_alphabet_and_length_make_a_user() {
        let longest = "x".repeat(64);
        for text in ["a", "alice", "auth0|5f7c", "kakao:123", "a.b@c-d_e", "0", &longest] {
            assert_eq!(UserId::parse(text).expect("a user id").as_str(), text);
        }
        let too_long = "x".repeat(65);
        let refused = " |a b|a/b|a{b}|a\n|a\0|a*|a%20|\"|홍길동|ａ|é";
        for text in refused.split('|').chain(["", &too_long]) {
            assert_eq!(UserId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_pseudonym_is_what_sha256sum_prints_first() {
        let alice = UserId::parse("alice").expect("a user id");
        assert_eq!(alice.pseudonym().to_string(), "2bd806c97f0e00af");
    }

    #[test]
    fn json_and_message_pack_hold_the_plain_text_and_refuse_nonsense() {
        let user = UserId::parse("auth0|7").expect("a user id");
        assert_eq!(user.to_string(), "auth0|7");
        let json = serde_json::to_string(&user).expect("a string");
        assert_eq!(json, "\"auth0|7\"");
        assert_eq!(serde_json::from_str::<UserId>(&json).expect("the same"), user);
        let packed = rmp_serde::to_vec(&user).expect("a string");
        assert_eq!(rmp_serde::from_slice::<UserId>(&packed).expect("the same"), user);
        for text in ["\"\"", "\"a b\"", "7", "null", "[\"a\"]"] {
            assert!(serde_json::from_str::<UserId>(text).is_err(), "{text}");
        }
    }
}
