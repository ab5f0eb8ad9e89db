//! The types of settings and how each reads its text. An error says what was expected, never what was given: it might
//! be a secret in the wrong place.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::logs::LogFormat;

/// Reads a setting's text.
pub trait Parse: Sized {
    /// The error names what was expected.
    fn parse(text: &str) -> Result<Self, &'static str>;
}

macro_rules! parse_with_from_str {
    ($($type:ty: $expected:literal),+) => {
        $(impl Parse for $type {
            fn parse(text: &str) -> Result<Self, &'static str> {
                text.parse().map_err(|_| $expected)
            }
        })+
    };
}

parse_with_from_str! {
    u32: "a whole number",
    u64: "a whole number",
    usize: "a whole number",
    bool: "true or false",
    SocketAddr: "an address such as 127.0.0.1:8080",
    PathBuf: "a path",
    String: "a text",
    JwtAlgorithm: "HS256 or EdDSA",
    Roles: "a list of api, writer, forwarder, sweeper",
    LogFormat: "text or json",
    Durations: "whole numbers, comma separated"
}

/// Durations are whole milliseconds: a setting of this type has a name that ends in `_ms`.
impl Parse for Duration {
    fn parse(text: &str) -> Result<Self, &'static str> {
        text.parse().map(Duration::from_millis).map_err(|_| "a whole number")
    }
}

/// A list of durations in whole milliseconds; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations(pub Vec<Duration>);

impl FromStr for Durations {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let ms = text.split(',').map(|ms| ms.trim().parse().map(Duration::from_millis).map_err(|_| ()));
        ms.collect::<Result<_, ()>>().map(Self)
    }
}

/// A value that is never printed: its `Debug` hides it.
#[derive(Clone, Default)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Parse for Secret {
    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(Self(text.to_owned()))
    }
}

/// The one algorithm that tokens may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// Ed25519 with a public key.
    EdDsa,
}

impl FromStr for JwtAlgorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "HS256" => Ok(Self::Hs256),
            "EdDSA" => Ok(Self::EdDsa),
            _ => Err(()),
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// A part of the service that a process can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// HTTP, the lanes and the caches.
    Api,
    /// Brings the log to PostgreSQL.
    Writer,
    /// Tells the data platform, and sends notices and alerts.
    Forwarder,
    /// Finishes what is due: reservations that expire, payments and refunds that the gateway has not answered.
    Sweeper,
}

/// The roles of a process.
#[derive(Clone, Debug)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Whether `role` is among them.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }
}

impl FromStr for Roles {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let roles: Vec<Role> = text
            .split(',')
            .map(|name| match name.trim() {
                "api" => Ok(Role::Api),
                "writer" => Ok(Role::Writer),
                "forwarder" => Ok(Role::Forwarder),
                "sweeper" => Ok(Role::Sweeper),
                _ => Err(()),
            })
            .collect::<Result<_, ()>>()?;
        if roles.is_empty() { Err(()) } else { Ok(Self(roles)) }
    }
}
