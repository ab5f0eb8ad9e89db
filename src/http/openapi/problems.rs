//! Refusals in a document: one schema for all of them, and for each status of an operation the codes that it can have.

use std::borrow::Cow;

use hyper::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::header::Header;
use utoipa::openapi::schema::{AllOfBuilder, ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::values::{SmallId, Time};
use crate::engine::event::OrderStatus;
use crate::engine::ids::EntityId;
use crate::http::problem::Code;

/// Name of the component.
pub const PROBLEM: &str = "Problem";

const CONTENT_TYPE: &str = "application/problem+json";

/// Largest and smallest status of a problem.
const STATUSES: (u16, u16) = (400, 599);

/// The answer with this status, to be understood by its code.
pub fn response(status: StatusCode, codes: &[Code]) -> Response {
    let names: Vec<&str> = codes.iter().map(|code| code.info().name).collect();
    let sentences: Vec<String> = codes.iter().map(|code| sentence(*code)).collect();
    let members = ObjectBuilder::new()
        .property("status", integer().enum_values(Some([status.as_u16()])))
        .property("code", string().enum_values(Some(names)));
    let schema = AllOfBuilder::new().item(Ref::from_schema_name(PROBLEM)).item(members);
    let mut content = Content::new(Some(schema));
    content.example = codes.first().map(|code| example(*code));
    let mut response = ResponseBuilder::new()
        .description(sentences.join(" "))
        .content(CONTENT_TYPE, content)
        .header("Content-Language", header("The language of `detail`", string().enum_values(Some(["en", "ko"]))));
    match status {
        StatusCode::UNAUTHORIZED => {
            response = response.header("WWW-Authenticate", header("The challenge (RFC 6750)", string()));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            response = response.header("Retry-After", header("Seconds", integer().minimum(Some(1))));
        }
        _ => {}
    }
    response.build()
}

/// The schema that all problems have in common: RFC 9457, `code` and `number`, and the members that some codes bring.
pub fn schema() -> RefOr<Schema> {
    let names = Code::ALL.iter().map(|code| code.info().name);
    let numbers = Code::ALL.iter().filter_map(|code| code.info().number);
    let (least, most) = STATUSES;
    let mut object = ObjectBuilder::new()
        .description(Some("Why a request was refused (RFC 9457). Further members depend on the code."))
        .property("type", string().pattern(Some("^/problems/[a-z-]+$")))
        .property("title", string().description(Some("The same for every occurrence, in English.")))
        .property("status", integer().minimum(Some(least)).maximum(Some(most)))
        .property("detail", string().description(Some("A sentence for people. Never switch over it.")))
        .property("code", string().enum_values(Some(names)))
        .property(
            "number",
            string().enum_values(Some(numbers)).description(Some("The short name, where there is one.")),
        );
    for name in ["type", "title", "status", "detail", "code"] {
        object = object.required(name);
    }
    for (name, schema) in extensions() {
        object = object.property(name, schema);
    }
    object.into()
}

/// Members that some codes bring.
fn extensions() -> Vec<(&'static str, RefOr<Schema>)> {
    let number = |text: &str| -> RefOr<Schema> { integer().description(Some(text)).into() };
    vec![
        ("productId", number("As it was asked for.")),
        ("couponId", number("As it was asked for.")),
        ("orderId", EntityId::schema()),
        ("orderStatus", string().enum_values(Some(OrderStatus::ALL.map(OrderStatus::as_str))).into()),
        ("chargeId", EntityId::schema()),
        ("insufficientItems", ArrayBuilder::new().items(Ref::from_schema_name(InsufficientItem::name())).into()),
        ("limitPerUser", number("Units that one user may buy.")),
        ("alreadyBought", number("Units that he has bought.")),
        ("opensAt", Time::schema()),
        ("closedAt", Time::schema()),
        ("requiredAmount", number("What the order costs.")),
        ("currentBalance", number("What he has.")),
        ("shortfall", number("What is missing.")),
        ("finalAmount", number("What the order costs now.")),
        ("amount", number("What was to be charged.")),
        ("reason", string().description(Some("What exactly is wrong: a word to switch over.")).into()),
        ("openOrders", number("Unpaid orders that he has.")),
        ("maximum", number("Unpaid orders that he may have.")),
        ("maxBytes", number("Bytes that a body may have.")),
        ("idempotencyKey", string().description(Some("The key that finds out what became of it.")).into()),
    ]
}

/// A product of which there is too little.
#[derive(Debug)]
pub struct InsufficientItem;

impl PartialSchema for InsufficientItem {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new()
            .description(Some("A product of which there is too little."))
            .property("productId", SmallId::schema())
            .property("productName", string())
            .property("requestedQuantity", integer())
            .property("availableStock", integer());
        for name in ["productId", "productName", "requestedQuantity", "availableStock"] {
            object = object.required(name);
        }
        object.into()
    }
}

impl ToSchema for InsufficientItem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("InsufficientItem")
    }
}

fn sentence(code: Code) -> String {
    let info = code.info();
    format!("`{}`: {}", info.name, info.detail_en)
}

fn example(code: Code) -> Value {
    let info = code.info();
    let mut example = json!({
        "type": code.type_reference(), "title": info.title, "status": info.status.as_u16(), "detail": info.detail_en,
        "code": info.name,
    });
    if let Some(number) = info.number {
        example["number"] = json!(number);
    }
    example
}

fn header(text: &str, schema: ObjectBuilder) -> Header {
    HeaderBuilder::new().description(Some(text)).schema(schema).build()
}

fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer)
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
