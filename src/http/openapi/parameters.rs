//! Parameters that operations have in common.

use serde_json::json;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Required};
use utoipa::{IntoParams, PartialSchema};

use super::values::SmallId;
use crate::engine::event::OrderStatus;
use crate::engine::ids::EntityId;
use crate::http::products::{DAYS_DEFAULT, DAYS_MAX, POPULAR_LIMIT_DEFAULT, POPULAR_LIMIT_MAX};
use crate::http::request::{IDEMPOTENCY_KEY_CHARS_MAX, LIMIT_DEFAULT, LIMIT_MAX};
use crate::postgres::dead_letters::{LetterId, Sink};

/// The header that names a request.
pub const KEY: &str = "Idempotency-Key";

/// Declares groups of parameters.
macro_rules! parameters {
    ($($(#[doc = $doc:literal])+ $name:ident = [$($parameter:expr),+];)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub struct $name;

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$($parameter),+]
            }
        }
    )+};
}

parameters! {
    /// A key, if the client has one; else the server makes one.
    OptionalKey = [key(Required::False)];
    /// A key, without which nothing is done.
    RequiredKey = [key(Required::True)];
    /// A page of a list.
    Page = [number("limit", "Items at most", LIMIT_DEFAULT, LIMIT_MAX), cursor("^[0-9]{1,16}$")];
    /// A page of dead letters, of one sink or of all.
    DeadLetterPage = [
        query("sink", "Only dead letters that were meant for it", words(&Sink::ALL.map(Sink::as_str))),
        number("limit", "Items at most", LIMIT_DEFAULT, LIMIT_MAX),
        cursor(LetterId::PATTERN)
    ];
    /// What sold best.
    PopularWindow = [
        number("days", "Business days, today included", DAYS_DEFAULT, DAYS_MAX),
        number("limit", "Products at most", POPULAR_LIMIT_DEFAULT, POPULAR_LIMIT_MAX)
    ];
    /// Orders of one status.
    OrderStatusFilter = [query(
        "status",
        "Only orders that are this",
        words(&OrderStatus::ALL.map(OrderStatus::as_str))
    )];
    /// A user's coupons of one status; its case does not matter.
    CouponStatusFilter = [query(
        "status",
        "Only coupons that are this",
        words(&["available", "used", "expired", "AVAILABLE", "USED", "EXPIRED"])
    )];
}

/// The ids in the path of a route, in their order.
pub fn of_path(pattern: &str) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    let mut before = "";
    for segment in pattern.split('/') {
        if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            parameters.push(id(name, before));
        }
        before = segment;
    }
    parameters
}

/// The language of the sentences for people.
pub fn language() -> Parameter {
    let schema = string().pattern(Some("^[A-Za-z0-9*;=,. -]{1,100}$"));
    let text = "The language of `detail` in a refusal: Korean where it prefers `ko`, else English";
    parameter("Accept-Language", ParameterIn::Header, text, schema).required(Required::False).build()
}

/// An id, by what stands before it in the path.
fn id(name: &str, before: &str) -> Parameter {
    let (schema, example) = match before {
        "products" | "items" | "coupons" => (SmallId::schema(), json!(1)),
        "dead-letters" => (LetterId::schema(), json!("platform-8")),
        _ => (EntityId::schema(), json!("8")),
    };
    let text = match before {
        "products" | "items" => "The product's number",
        "coupons" => "The coupon's number",
        "orders" => "The order's id",
        "dead-letters" => "The dead letter's id",
        _ => "The id",
    };
    parameter(name, ParameterIn::Path, text, schema).required(Required::True).example(Some(example)).build()
}

fn key(required: Required) -> Parameter {
    let schema = string().pattern(Some(format!("^[!-~]{{1,{IDEMPOTENCY_KEY_CHARS_MAX}}}$")));
    let text = "Names the request: the same key with the same request gets the first success again";
    parameter(KEY, ParameterIn::Header, text, schema).required(required).build()
}

fn number(name: &str, text: &str, default: u32, maximum: u32) -> Parameter {
    let format = Some(SchemaFormat::KnownFormat(KnownFormat::Int32));
    let schema = ObjectBuilder::new().schema_type(Type::Integer).format(format).minimum(Some(1)).maximum(Some(maximum));
    query(name, text, schema.default(Some(json!(default))))
}

fn cursor(pattern: &str) -> Parameter {
    query("cursor", "The `nextCursor` of the page before", string().pattern(Some(pattern)))
}

fn query(name: &str, text: &str, schema: ObjectBuilder) -> Parameter {
    parameter(name, ParameterIn::Query, text, schema).required(Required::False).build()
}

fn words(words: &[&str]) -> ObjectBuilder {
    string().enum_values(Some(words.iter().copied()))
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn parameter(name: &str, place: ParameterIn, text: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    ParameterBuilder::new().name(name).parameter_in(place).description(Some(text)).schema(Some(schema))
}
