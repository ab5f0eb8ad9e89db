//! The demo catalogue: one hot sale among ordinary products, one that opens later, and a coupon.

use jiff::{Timestamp, ToSpan};

use crate::engine::EngineError;
use crate::engine::call::{Call, Fingerprint};
use crate::engine::op::{Change, CouponType, DiscountType, Op, PutCoupon, PutProduct};
use crate::engine::user::UserId;
use crate::http::app::App;

/// Name, price, stock, limit per user, hours from now until the sale opens and until it closes.
type Line = (&'static str, u64, u64, Option<u64>, Option<(i64, i64)>);

const LINES: [Line; 6] = [
    ("Limited sneaker", 59_000, 100, Some(2), Some((0, 24))),
    ("Noise-cancelling headphones", 189_000, 50, Some(1), None),
    ("Mechanical keyboard", 99_000, 500, None, None),
    ("Steel water bottle", 12_000, 10_000, None, None),
    ("Cotton socks, five pairs", 9_900, 100_000, None, None),
    ("Signed poster", 30_000, 30, Some(1), Some((1, 3))),
];

/// Puts the catalogue into an empty shop. The keys are fixed, so a second start after a kill adds nothing twice.
pub async fn put_if_empty(app: &App) -> anyhow::Result<()> {
    app.products.refresh().await;
    app.coupons.refresh().await;
    if app.products.snapshot().await?.on_sale().count() < LINES.len() {
        put_products(app).await?;
    }
    if app.coupons.snapshot().await?.offered().next().is_none() {
        put_coupon(app).await?;
    }
    app.products.refresh().await;
    app.coupons.refresh().await;
    Ok(())
}

async fn put_products(app: &App) -> anyhow::Result<()> {
    let now = Timestamp::now();
    for (i, (name, price, stock, limit, window)) in LINES.into_iter().enumerate() {
        let hours = |h: i64| Change::Set((now + h.hours()).as_millisecond());
        let op = PutProduct {
            name: Some(name.to_owned()),
            price: Some(price),
            stock: Some(stock),
            limit: limit.map(Change::Set),
            starts: window.map(|(opens, _)| hours(opens)),
            ends: window.map(|(_, closes)| hours(closes)),
            ..PutProduct::default()
        };
        put(app, format!("demo-{i}"), op).await?;
    }
    Ok(())
}

async fn put_coupon(app: &App) -> anyhow::Result<()> {
    let coupon = PutCoupon {
        name: Some("Ten percent off".to_owned()),
        kind: Some(CouponType::Cart),
        discount: Some(DiscountType::Percent),
        value: Some(10),
        total: Some(100),
        valid_days: Some(30),
        ..PutCoupon::default()
    };
    put(app, "demo-coupon".to_owned(), coupon).await
}

async fn put(app: &App, key: String, op: impl Into<Op>) -> anyhow::Result<()> {
    let user = UserId::parse("demo-catalogue").expect("a valid user id");
    let call = Call { user, fingerprint: Fingerprint::new("demo catalogue", &key, &()), key, op: op.into() };
    match app.engine.submit_product(&call).await {
        Ok(_) => Ok(()),
        Err(EngineError::Refused(refusal)) => anyhow::bail!("the demo catalogue was refused: {refusal:?}"),
        Err(error) => Err(error.into()),
    }
}
