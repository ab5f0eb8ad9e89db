//! What a comparison found: JSON for programs, text for people.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

/// Differences that a report lists; more are only counted. Whoever has a thousand reads no further.
pub const DIFFERENCES_MAX: usize = 1_000;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal;)+) => {
        /// What can differ. Those of the first half are Redis against PostgreSQL, the others one of them in itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[doc = $doc])+ $variant,)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As reports spell it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

kinds! {
    /// Terms of a product: name, price, limit, window, status.
    Product = "PRODUCT";
    /// Available units of a product.
    Stock = "STOCK";
    /// A user's balance.
    Balance = "BALANCE";
    /// What a user has spent.
    UsedTotal = "USED_TOTAL";
    /// A user's charges that the gateway has not answered: their number and sum.
    PendingCharges = "PENDING_CHARGES";
    /// Number of a user's unpaid orders.
    OpenOrders = "OPEN_ORDERS";
    /// Units that count towards a product's limit per user.
    Limit = "LIMIT";
    /// Terms of a coupon.
    Coupon = "COUPON";
    /// How many of a coupon can still be issued.
    CouponRemaining = "COUPON_REMAINING";
    /// A coupon in a user's hands.
    Wallet = "WALLET";
    /// A user's cart.
    Cart = "CART";
    /// An open order or charge.
    Open = "OPEN";
    /// Who waits for a product to be back.
    Restock = "RESTOCK";
    /// Units of a product in the ranking of a business day.
    Sales = "SALES";
    /// An open order or charge without a deadline, or a deadline of nothing.
    Due = "DUE";
    /// A value in Redis that cannot be read.
    Unreadable = "UNREADABLE";
    /// The table `stock` against movements and orders.
    StockCounts = "STOCK_COUNTS";
    /// The table `coupon_stock` against the coupons that users have.
    CouponCounts = "COUPON_COUNTS";
    /// The table `product_sales` against orders.
    SalesCounts = "SALES_COUNTS";
    /// The amounts of an order against each other and against its lines.
    Order = "ORDER";
    /// The payment of an order and its place in the ledger.
    Payment = "PAYMENT";
    /// A balance or used total in the ledger that the transactions up to there do not add up to.
    Ledger = "LEDGER";
    /// Events that PostgreSQL could not take: their rows are missing.
    ParkedEvents = "PARKED_EVENTS";
    /// PostgreSQL did not get as far as Redis in time: the rest was not compared.
    WriterBehind = "WRITER_BEHIND";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One thing that differs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Difference {
    /// The cell that has it.
    pub cell: i16,
    /// What differs.
    #[schema(value_type = String, example = "STOCK")]
    pub kind: Kind,
    /// Of which product, user, order and so on.
    pub id: String,
    /// What Redis says; `None`: nothing, or it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Value>,
    /// What PostgreSQL says; `None`: nothing, or it is not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Value>,
    /// For people: what exactly, and as of which event.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.kind, self.id)?;
        if let Some(redis) = &self.redis {
            write!(f, "Redis {redis}, ")?;
        }
        if let Some(postgres) = &self.postgres {
            write!(f, "PostgreSQL {postgres}, ")?;
        }
        write!(f, "{} (cell {})", self.detail, self.cell)
    }
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// How much was compared.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
        pub struct Checked { $($(#[doc = $doc])+ pub $name: u64,)+ }

        impl Checked {
            fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            /// Every count with its name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }
    };
}

counts! {
    /// Products with their terms.
    products;
    /// Products with their stock.
    stock;
    /// Accounts of users.
    accounts;
    /// Users and products with a limit.
    limits;
    /// Coupons.
    coupons;
    /// Users with coupons.
    wallets;
    /// Users with a cart.
    carts;
    /// Open orders and charges.
    open;
    /// Products that are or were waited for, and users who did.
    restock;
    /// Deadlines, and open things that need one.
    due;
    /// Business days and products in the rankings.
    sales;
    /// Orders, in PostgreSQL.
    orders;
    /// Payments, in PostgreSQL.
    payments;
}

/// Which events of a cell the comparison is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The cell.
    pub cell: i16,
    /// Last event of the first chunk that was compared.
    pub seq_from: u64,
    /// Last event of the last one.
    pub seq_to: u64,
}

/// What a comparison found.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    /// One per cell: sequence numbers are a cell's own.
    pub cells: Vec<Range>,
    /// How much was compared.
    pub checked: Checked,
    /// Fields that changed too fast to be compared.
    pub busy: u64,
    /// All differences, listed or not.
    pub differences_total: u64,
    /// At most [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether nothing differs.
    pub fn is_clean(&self) -> bool {
        self.differences_total == 0
    }

    /// Adds the report of another cell.
    pub fn merge(&mut self, other: Self) {
        self.started_at = self.started_at.min(other.started_at);
        self.finished_at = self.finished_at.max(other.finished_at);
        self.cells.extend(other.cells);
        self.checked.add(&other.checked);
        self.busy += other.busy;
        self.differences_total += other.differences_total;
        self.differences.extend(other.differences);
        self.differences.truncate(DIFFERENCES_MAX);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took_ms = self.finished_at.as_millisecond() - self.started_at.as_millisecond();
        for Range { cell, seq_from, seq_to } in &self.cells {
            writeln!(f, "cell {cell}: Redis and PostgreSQL compared as of events {seq_from} to {seq_to}")?;
        }
        let checked: Vec<String> = self.checked.all().iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(f, "compared in {took_ms} ms: {}", checked.join(", "))?;
        if self.busy > 0 {
            writeln!(f, "{} field(s) changed too fast to be compared", self.busy)?;
        }
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        let unlisted = self.differences_total.saturating_sub(self.differences.len() as u64);
        if unlisted > 0 {
            writeln!(f, "and {unlisted} more")?;
        }
        match self.differences_total {
            0 => write!(f, "no differences"),
            1 => write!(f, "1 difference"),
            many => write!(f, "{many} differences"),
        }
    }
}
