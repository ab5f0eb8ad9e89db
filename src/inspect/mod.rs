//! `flashsale inspect`: what Redis, the log and PostgreSQL know about one user, order or product, side by side.
//!
//! It only reads, and with plain commands: not even the library of Lua functions is loaded, and a cell that is closed can be
//! looked at too (the sheet says so). First PostgreSQL in one snapshot, then Redis, last the log behind that snapshot: when no
//! event in there is about the thing, it has not changed in between, and what differs does differ.

mod events;
mod look;
mod order;
mod product;
mod redis_cell;
mod sheet;
mod snapshot;
mod table;
mod user;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::Pool;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::print_line;
use crate::config::{Config, Source};
use crate::engine::ids::{CellId, EntityId};
use crate::engine::op::ProductId;
use crate::engine::user::{Pseudonym, UserId};
use crate::redis::client::RedisClient;
use crate::redis::keys::{CellKeys, SalesDay};
use crate::redis::library::Library;
use crate::verify::command::opened_cells;
use look::{Asked, Place, look};
use order::Order;
use product::Product;
use redis_cell::RedisCell;
use sheet::{Sheet, Verdict};
use user::User;

/// How often both are asked while PostgreSQL is on its way to what Redis says.
const ROUNDS: usize = 10;

/// Pause between two of these: longer than the writer needs for a commit when it is at work.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

/// Business days whose sales of a product are shown, counted back from today.
const SALES_DAYS: [i64; 3] = [-2, -1, 0];

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A user: money, limits, coupons, cart, what is open.
    User,
    /// An order: its events, rows and deliveries.
    Order,
    /// A product: terms, stock, sales, who waits for it.
    Product,
}

impl Kind {
    /// As people and programs read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Order => "order",
            Self::Product => "product",
        }
    }
}

/// Options of `flashsale inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectOptions {
    /// What to look at.
    kind: Kind,
    /// Its id: the `sub` of a user's token, or the digits of an order or a product.
    id: String,
    /// TOML file with settings.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what is known. A difference is no error here: the last line says whether there is one, in JSON `verdict` does.
///
/// # Errors
/// An id that nobody knows or that cannot be one, settings that cannot be read, or neither Redis nor PostgreSQL answers.
pub async fn run(options: &InspectOptions) -> anyhow::Result<()> {
    let config = Config::load(&Source::from_process(options.config.as_deref()))?;
    let subject = Subject::parse(options.kind, &options.id, &config)?;
    let inspector = Inspector::start(&config).await?;
    let sheets = inspector.sheets(&subject).await;
    let thing = format!("{} {}", options.kind.as_str(), options.id);
    let known: Vec<&Sheet> = sheets.iter().filter(|sheet| sheet.is_known()).collect();
    if known.is_empty() {
        anyhow::bail!(why_unknown(&thing, &sheets));
    }
    if options.json {
        let cells: Vec<Value> = known.iter().map(|sheet| sheet.to_json()).collect();
        let mut whole = json!({"kind": options.kind.as_str(), "id": options.id, "cells": cells});
        if let Some(pseudonym) = subject.pseudonym() {
            whole["pseudonym"] = pseudonym.to_string().into();
        }
        print_line(&serde_json::to_string_pretty(&whole)?);
    } else {
        let title = subject.pseudonym().map_or(thing.clone(), |pseudonym| format!("{thing}, {pseudonym} in logs"));
        let texts: Vec<String> = known.iter().map(|sheet| sheet.to_text(&title)).collect();
        print_line(&texts.join("\n\n"));
    }
    Ok(())
}

/// Why there is nothing to show. Whether an id exists is only said when both could be asked.
fn why_unknown(thing: &str, sheets: &[Sheet]) -> String {
    let redis = sheets.iter().find_map(|sheet| sheet.frame.redis.as_ref().err());
    let postgres = sheets.iter().find_map(|sheet| sheet.frame.postgres.as_ref().err());
    match (redis, postgres) {
        (Some(redis), Some(postgres)) => {
            format!("neither Redis ({redis}) nor PostgreSQL ({postgres}) could be asked about {thing}")
        }
        (Some(why), None) => {
            format!(
                "PostgreSQL has no {thing}, and Redis could not be asked ({why}): nobody can tell whether it exists"
            )
        }
        (None, Some(why)) => {
            format!(
                "Redis has no {thing}, and PostgreSQL could not be asked ({why}): nobody can tell whether it exists"
            )
        }
        (None, None) => match sheets.iter().find_map(|sheet| sheet.frame.closed()) {
            Some(why) => format!("PostgreSQL has no {thing}, nor has this Redis, whose cell is closed: {why}"),
            None => format!("there is no {thing}: neither Redis nor PostgreSQL knows it"),
        },
    }
}

/// The thing that is looked at.
#[derive(Debug)]
enum Subject {
    User(User),
    Order(Order),
    Product(Product),
}

impl Subject {
    /// What stands for it in logs, where it is not named itself.
    fn pseudonym(&self) -> Option<Pseudonym> {
        match self {
            Self::User(user) => Some(user.id.pseudonym()),
            Self::Order(_) | Self::Product(_) => None,
        }
    }

    fn parse(kind: Kind, text: &str, config: &Config) -> anyhow::Result<Self> {
        match kind {
            Kind::User => {
                let id = UserId::parse(text);
                let id =
                    id.with_context(|| format!("{text:?} is no user id: 1 to 64 characters of A-Za-z0-9_|:.@-"))?;
                Ok(Self::User(User { id }))
            }
            Kind::Order => {
                let id = EntityId::parse(text);
                let id = id.with_context(|| format!("{text:?} is no order id: digits, as the service shows it"))?;
                Ok(Self::Order(Order { id }))
            }
            Kind::Product => {
                let id = product_id(text).with_context(|| format!("{text:?} is no product id: a number from 1"))?;
                let zone = TimeZone::get(&config.business_timezone)?;
                let day = |shift: i64| SalesDay::of(Timestamp::now(), &zone, shift).day;
                Ok(Self::Product(Product { id, days: SALES_DAYS.map(day).into() }))
            }
        }
    }
}

/// A number that PostgreSQL can hold, spelled as it is printed.
fn product_id(text: &str) -> Option<ProductId> {
    let id: ProductId = text.parse().ok()?;
    (id > 0 && i32::try_from(id).is_ok() && id.to_string() == text).then_some(id)
}

/// Asks Redis and PostgreSQL.
struct Inspector {
    pool: Pool,
    redis: Asked<RedisClient>,
    namespace: String,
}

impl Inspector {
    /// # Errors
    /// URLs that cannot be read. Servers that do not answer are none: what the other one knows is worth showing.
    async fn start(config: &Config) -> anyhow::Result<Self> {
        let pool = crate::postgres::pool(config)?;
        let client = RedisClient::start(&config.redis_url, Arc::new(Library::new()), config.redis_timeout_ms)?;
        let redis = if client.wait_connected().await { Ok(client) } else { Err("it is unreachable".to_owned()) };
        Ok(Self { pool, redis, namespace: config.redis_namespace.clone() })
    }

    /// One sheet per cell that may know the thing.
    async fn sheets(&self, subject: &Subject) -> Vec<Sheet> {
        let mut sheets = Vec::new();
        for cell in self.cells(subject).await {
            sheets.push(self.sheet(cell, subject).await);
        }
        sheets
    }

    /// An id of an order names its cell. Of others, all that were ever opened; when PostgreSQL does not tell, the first one.
    async fn cells(&self, subject: &Subject) -> Vec<CellId> {
        if let Subject::Order(order) = subject {
            return vec![order.id.cell()];
        }
        let cells = opened_cells(&self.pool).await.unwrap_or_default();
        if cells.is_empty() { CellId::new(0).into_iter().collect() } else { cells }
    }

    /// Looks again while PostgreSQL is on its way to what Redis says.
    async fn sheet(&self, cell: CellId, subject: &Subject) -> Sheet {
        let redis = self.redis.clone().map(|redis| RedisCell::new(redis, CellKeys::new(&self.namespace, cell)));
        let place = Place { cell, redis, pool: self.pool.clone() };
        let mut sheet = look_at(&place, subject).await;
        for _ in 1..ROUNDS {
            if sheet.verdict() != Verdict::Behind {
                break;
            }
            tokio::time::sleep(ROUND_PAUSE).await;
            sheet = look_at(&place, subject).await;
        }
        sheet
    }
}

async fn look_at(place: &Place, subject: &Subject) -> Sheet {
    match subject {
        Subject::User(user) => Box::pin(look(place, user)).await,
        Subject::Order(order) => Box::pin(look(place, order)).await,
        Subject::Product(product) => Box::pin(look(place, product)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_ids_are_spelled_as_they_are_printed() {
        assert_eq!((product_id("1"), product_id("2147483647")), (Some(1), Some(2_147_483_647)));
        for text in ["", "0", "01", "+1", "-1", "1.0", "2147483648", "4294967296", "sneaker"] {
            assert_eq!(product_id(text), None, "{text}");
        }
    }
}
