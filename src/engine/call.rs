//! A call: an op of a user under an idempotency key, encoded once when it arrives and sent as often as needed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::op::Op;
use super::user::UserId;

/// Most calls are shorter.
const ENCODED_BYTES_USUAL: usize = 256;

/// Fingerprint, key, type, version, fields.
const EVENT_MEMBERS: u32 = 5;

const IN_MEMORY: &str = "a Vec takes every write";

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

    /// As events and records have it.
    pub fn as_str(&self) -> &str {
        &self.0
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
    /// As `lua/apply.lua` reads it, MessagePack values one after the other: op, user, the field of its idempotency record, how its
    /// event begins (head of the array, fingerprint, key), and the map of its arguments, both packed once more.
    pub fn encode(&self) -> Vec<u8> {
        let (user, key) = (self.user.as_str(), self.key.as_str());
        let mut out = Vec::with_capacity(ENCODED_BYTES_USUAL);
        write_str(&mut out, self.op.name());
        write_str(&mut out, user);
        write_string_of(&mut out, |out| out.extend([user.as_bytes(), b" ", key.as_bytes()].into_iter().flatten()));
        write_string_of(&mut out, |out| {
            rmp::encode::write_array_len(out, EVENT_MEMBERS).expect(IN_MEMORY);
            write_str(out, self.fingerprint.as_str());
            write_str(out, key);
        });
        write_string_of(&mut out, |out| {
            rmp_serde::encode::write_named(out, &self.op).expect("an op is plain data");
        });
        out
    }
}

fn write_str(out: &mut Vec<u8>, text: &str) {
    rmp::encode::write_str(out, text).expect(IN_MEMORY);
}

/// A string of any bytes (Lua's MessagePack knows no other kind) whose length shows when it is written.
fn write_string_of(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(rmp::Marker::Str32.to_u8());
    let length_at = out.len();
    out.extend([0; 4]);
    let first = out.len();
    write(out);
    let length = u32::try_from(out.len() - first).expect("a request is bounded");
    out[length_at..first].copy_from_slice(&length.to_be_bytes());
}
