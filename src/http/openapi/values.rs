//! Values that requests and answers have in common, with the bounds that the handlers check (the configurable ones with
//! their defaults). Types without values: they stand in `#[schema(value_type = …)]` only.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::http::admin::coupons::VALID_DAYS_MAX;
use crate::http::admin::{NAME_CHARS_MAX, NUMBER_MAX, QUANTITY_MAX};
use crate::http::balance::PAYMENT_METHOD_CHARS_MAX;
use crate::http::products::EMAIL_CHARS_MAX;

/// Default of `order_quantity_max`.
const ORDER_QUANTITY_MAX: u64 = 1_000;

/// Default of `charge_unit`.
const CHARGE_UNIT: u64 = 100;

/// Default of `charge_max`.
const CHARGE_MAX: u64 = 1_000_000;

/// Largest number of a product or coupon.
const SMALL_ID_MAX: u64 = (1 << 31) - 1;

/// Anything but control characters.
const TEXT: &str = "^[^\\x00-\\x1f\\x7f-\\x9f]*$";

/// Declares values: the doc comment is the description, the name that of the component.
macro_rules! values {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.description(Some(concat!($($doc),+).trim())).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )+};
}

values! {
    /// The number of a product or coupon, counted from 1.
    SmallId = integer(KnownFormat::Int32, 1, SMALL_ID_MAX);
    /// Minor units.
    Amount = integer(KnownFormat::Int64, 0, NUMBER_MAX);
    /// A number that every JSON reader keeps as it is.
    PositiveNumber = integer(KnownFormat::Int64, 1, NUMBER_MAX);
    /// Minor units; a multiple of the unit of charges.
    ChargeAmount = integer(KnownFormat::Int64, CHARGE_UNIT, CHARGE_MAX).multiple_of(Some(CHARGE_UNIT));
    /// Units of one product in one order, and in a cart.
    Quantity = integer(KnownFormat::Int32, 1, ORDER_QUANTITY_MAX);
    /// How many there are.
    Count = integer(KnownFormat::Int64, 0, QUANTITY_MAX);
    /// How many there are in all.
    PositiveCount = integer(KnownFormat::Int64, 1, QUANTITY_MAX);
    /// Units to add, or to take away; not 0.
    StockDelta = OneOfBuilder::new()
        .item(signed(1, QUANTITY_MAX.cast_signed()))
        .item(signed(-QUANTITY_MAX.cast_signed(), -1));
    /// Days from issue to expiry.
    ValidDays = integer(KnownFormat::Int32, 1, VALID_DAYS_MAX);
    /// A name that people see.
    Name = text(NAME_CHARS_MAX).pattern(Some(TEXT));
    /// What a user calls a card or account.
    Label = text(PAYMENT_METHOD_CHARS_MAX).pattern(Some(TEXT));
    /// An e-mail address.
    Email = text(EMAIL_CHARS_MAX).pattern(Some("^[^@\\s]+@[^@\\s]*\\.[^@\\s]*[^@.\\s]$"));
    /// RFC 3339, in answers in UTC; in the years 1970 to 9999.
    Time = string().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    /// A business day.
    Date = string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)));
    /// What changed a balance.
    TransactionType = one_of(&["CHARGE", "PAYMENT", "REFUND"]);
    /// What could not be told: what happened to an order or balance (unreadable: nobody can tell), or that a product is back.
    DeadLetterType = one_of(&["order-completed", "order-cancelled", "balance-changed", "unreadable", "restock"]);
    /// The gateway's answer is open.
    PendingStatus = one_of(&["PENDING"]);
    /// It is paid.
    CompletedStatus = one_of(&["COMPLETED"]);
}

fn integer(format: KnownFormat, minimum: u64, maximum: u64) -> ObjectBuilder {
    let format = Some(SchemaFormat::KnownFormat(format));
    ObjectBuilder::new().schema_type(Type::Integer).format(format).minimum(Some(minimum)).maximum(Some(maximum))
}

fn signed(minimum: i64, maximum: i64) -> ObjectBuilder {
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::Int64));
    ObjectBuilder::new().schema_type(Type::Integer).format(format).minimum(Some(minimum)).maximum(Some(maximum))
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn text(chars_max: usize) -> ObjectBuilder {
    string().min_length(Some(1)).max_length(Some(chars_max))
}

fn one_of(words: &[&str]) -> ObjectBuilder {
    string().enum_values(Some(words.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// What a document says of a component.
    fn json<T: PartialSchema>() -> serde_json::Value {
        serde_json::to_value(T::schema()).expect("plain data")
    }

    #[test]
    fn the_bounds_are_the_defaults_of_the_settings() {
        let default_of = |name: &str| -> u64 {
            let setting = Config::reference().into_iter().find(|setting| setting.name == name).expect(name);
            setting.default.and_then(|text| text.parse().ok()).expect("a number")
        };
        assert_eq!(default_of("order_quantity_max"), ORDER_QUANTITY_MAX);
        assert_eq!(default_of("charge_unit"), CHARGE_UNIT);
        assert_eq!(default_of("charge_max"), CHARGE_MAX);
        // In the attributes of the bodies of orders.
        assert_eq!(default_of("order_items_max"), 50);
    }

    #[test]
    fn values_say_what_they_are() {
        let expected = serde_json::json!({
            "type": "integer", "format": "int32", "minimum": 1, "maximum": 2_147_483_647,
            "description": "The number of a product or coupon, counted from 1.",
        });
        assert_eq!(json::<SmallId>(), expected);
        assert_eq!(json::<TransactionType>()["enum"], serde_json::json!(["CHARGE", "PAYMENT", "REFUND"]));
        assert_eq!(json::<StockDelta>()["oneOf"][1]["minimum"], -1_000_000_000_000_000_i64);
    }
}
