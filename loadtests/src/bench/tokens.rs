//! Tokens of the bench's users.

use std::path::{Path, PathBuf};

use anyhow::Result;
use flashsale::config::Secret;
use flashsale::http::auth::Minter;

use super::plan::{COUPON_USERS, USERS};

/// `iss` of the tokens; the service under test is told to require it.
pub const ISSUER: &str = "flashsale-bench";

/// `aud` of the tokens, likewise.
pub const AUDIENCE: &str = "flashsale-bench";

/// Longer than any run.
const TTL_S: u64 = 3600;

/// What the service is told to verify with, and what it lets in.
pub struct Tokens {
    /// The secret of this run.
    pub secret: String,
    /// One token per user, in the order of `user_ids`.
    pub users: Vec<String>,
    /// For the operations listener.
    pub admin: String,
    /// The users' tokens, one per line, for wrk.
    pub file: PathBuf,
    /// Tokens of those who want coupons, likewise.
    pub coupon_file: PathBuf,
}

/// Every user who orders.
pub fn user_ids() -> impl Iterator<Item = String> {
    (1..=USERS).map(|number| format!("bench-user-{number}"))
}

impl Tokens {
    /// Mints them under a new secret.
    pub fn mint(data: &Path) -> Result<Self> {
        let secret = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let minter = Minter::new(&Secret::new(secret.as_str()), ISSUER, AUDIENCE)?;
        let mint = |user: String| minter.mint(&user, false, TTL_S);
        let users = user_ids().map(mint).collect::<Result<Vec<_>>>()?;
        let coupon_users = (1..=COUPON_USERS).map(|number| format!("coupon-user-{number}"));
        let coupon_users = coupon_users.map(mint).collect::<Result<Vec<_>>>()?;
        let admin = minter.mint("bench-admin", true, TTL_S)?;
        let (file, coupon_file) = (data.join("tokens"), data.join("coupon_tokens"));
        std::fs::write(&file, users.join("\n") + "\n")?;
        std::fs::write(&coupon_file, coupon_users.join("\n") + "\n")?;
        Ok(Self { secret, users, admin, file, coupon_file })
    }
}
