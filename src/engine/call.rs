//! A call: an op of a user under an idempotency key, encoded once when it arrives and sent as often as needed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::op::Op;
use super::user::UserId;

/// Identifies a request under its idempotency key: same route, same path, same decoded body. 22 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// `route` is the pattern's method and path, `path` the concrete path; the body counts as decoded, so that white
    /// space and the order of members do not matter.
    pub fn new(route: &str, path: &str, body: &impl Serialize) -> Self {
        let mut hash = Sha256::new();
        hash.update(route.as_bytes());
        hash.update([0]);
        hash.update(path.as_bytes());
        hash.update([0]);
        // With names: absent members are left out (by the bodies' own attributes, so that a new optional member changes
        // no fingerprint), and values alone would not tell which of two is there.
        hash.update(rmp_serde::to_vec_named(body).expect("request bodies are plain data"));
        let half: [u8; 16] = hash.finalize()[..16].try_into().expect("SHA-256 has 32 bytes");
        Self(URL_SAFE_NO_PAD.encode(half))
    }
}

/// One op on its way to a lane.
#[derive(Debug)]
pub struct Call {
    /// Whose state it changes; keys are scoped to him.
    pub user: UserId,
    /// The client's idempotency key, or a fresh one.
    pub key: String,
    /// What the key stands for.
    pub fingerprint: Fingerprint,
    /// What to do.
    pub op: Op,
}

impl Call {
    /// MessagePack map {op, user, key, fingerprint, args}, as `lua/apply.lua` reads it.
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Encoded<'a> {
            op: &'static str,
            user: &'a str,
            key: &'a str,
            fingerprint: &'a str,
            args: &'a Op,
        }
        let encoded = Encoded {
            op: self.op.name(),
            user: self.user.as_str(),
            key: &self.key,
            fingerprint: &self.fingerprint.0,
            args: &self.op,
        };
        rmp_serde::to_vec_named(&encoded).expect("an op is plain data")
    }
}
