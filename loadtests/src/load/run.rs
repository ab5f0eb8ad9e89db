//! What the users of a run share.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper::header::HeaderValue;
use tokio::time::Instant;

use super::goods::Goods;
use super::shop::Shop;
use super::tally::{Expected, Tally};

/// One load.
pub struct Run {
    /// Differs from run to run: names of users and idempotency keys begin with it.
    pub id: String,
    /// `Bearer` and a token for each user.
    authorizations: Vec<HeaderValue>,
    /// What there is to be had.
    pub goods: Goods,
    /// When the users begin, all at once.
    pub begins: Instant,
    /// What they were answered.
    pub tally: Tally,
}

/// Users of a run, before there is anything to do for them.
pub struct Users {
    id: String,
    /// A token each.
    pub tokens: Vec<String>,
}

impl Users {
    /// Mints their tokens.
    pub fn mint(shop: &Shop, count: u32) -> Result<Self> {
        let id = format!("load-{:08x}", rand::random::<u32>());
        let tokens = (1..=count).map(|number| shop.token(&format!("{id}-{number}"))).collect::<Result<_>>()?;
        Ok(Self { id, tokens })
    }

    /// The first `count` of them are about to begin.
    pub fn begin(&self, count: usize, goods: Goods, begins: Instant, expected: Expected) -> Result<Arc<Run>> {
        let bearer = |token: &String| HeaderValue::try_from(format!("Bearer {token}")).context("a token is plain text");
        let authorizations = self.tokens.iter().take(count).map(bearer).collect::<Result<_>>()?;
        // Keys of two loads of the same users must differ too.
        let id = format!("{}-{:08x}", self.id, rand::random::<u32>());
        Ok(Arc::new(Run { id, authorizations, goods, begins, tally: Tally::new(expected) }))
    }
}

impl Run {
    /// The header of the user with this number.
    pub fn authorization(&self, number: usize) -> HeaderValue {
        self.authorizations[number % self.authorizations.len()].clone()
    }
}
