//! What follows from the route table: the ids in the path, the token, and every refusal.

use std::collections::BTreeMap;

use hyper::StatusCode;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{HeaderBuilder, OpenApi, RefOr, SecurityRequirement};
use utoipa::{PartialSchema, ToSchema};

use super::parameters::{self, KEY};
use super::problems::{self, InsufficientItem, PROBLEM};
use crate::http::problem::Code;
use crate::http::routes::{Access, Listener, ROUTES, Route};

/// Name of the security scheme.
const BEARER: &str = "bearer";

/// Adds to the operations of a listener what follows from the route table.
pub fn complete(document: &mut OpenApi, listener: Listener) {
    for route in ROUTES.iter().filter(|route| route.listener == listener) {
        let (method, pattern) = route.parts();
        let item = document.paths.paths.get_mut(pattern);
        if let Some(operation) = item.and_then(|item| operation_of(item, method)) {
            complete_operation(operation, route);
        }
    }
    let components = document.components.get_or_insert_default();
    components.schemas.insert(PROBLEM.to_owned(), problems::schema());
    components.schemas.insert(InsufficientItem::name().into_owned(), InsufficientItem::schema());
    let text = "HS256 or EdDSA. `sub` is the user; the admin routes want the `role` `admin`.";
    let scheme: Http =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(text)).build();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
}

fn operation_of<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

fn complete_operation(operation: &mut Operation, route: &Route) {
    let (_, pattern) = route.parts();
    let own = operation.parameters.take().unwrap_or_default();
    let has_input = !own.is_empty() || operation.request_body.is_some();
    let has_key = own.iter().any(|parameter| parameter.name == KEY);
    let mut all = parameters::of_path(pattern);
    all.extend(own);
    // What tells how the process is answers from memory, and refuses nothing.
    if route.listener != Listener::Operations || route.access != Access::Open {
        for (status, codes) in refusals(operation, route, has_input, has_key) {
            let response = RefOr::T(problems::response(status, &codes));
            operation.responses.responses.entry(status.as_str().to_owned()).or_insert(response);
        }
        all.push(parameters::language());
    }
    operation.parameters = Some(all).filter(|all| !all.is_empty());
    if route.access != Access::Open {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    }
    if has_key {
        name_key(operation);
    }
}

/// Every refusal that a route can give, by status. `REQUEST_IN_PROGRESS` is none of them: a repeat waits for the first.
fn refusals(operation: &Operation, route: &Route, has_input: bool, has_key: bool) -> BTreeMap<StatusCode, Vec<Code>> {
    let (method, pattern) = route.parts();
    let has_body = operation.request_body.is_some();
    let common = [
        (has_input, Code::InvalidInput),
        (route.access != Access::Open, Code::Unauthorized),
        (route.access == Access::Admin, Code::Forbidden),
        // An id that is empty or has a slash in it makes another address.
        (pattern.contains('{'), Code::NotFound),
        (has_body, Code::RequestTimeout),
        (has_body, Code::PayloadTooLarge),
        (has_key, Code::IdempotencyKeyReused),
        (route.access != Access::Open, Code::TooManyRequests),
        (true, Code::Unavailable),
        (method != "GET", Code::OutcomeUnknown),
    ];
    let common = common.into_iter().filter_map(|(applies, code)| applies.then_some(code));
    let mut by_status: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
    for code in route.refusals.iter().copied().chain(common) {
        by_status.entry(code.info().status).or_default().push(code);
    }
    by_status
}

/// Successes name the key, and say when they are an earlier answer again.
fn name_key(operation: &mut Operation) {
    let header =
        |text: &str, schema: ObjectBuilder| HeaderBuilder::new().description(Some(text)).schema(schema).build();
    for (status, response) in &mut operation.responses.responses {
        if let (true, RefOr::T(response)) = (status.starts_with('2'), response) {
            let key = header("The request's key, or the one that was made for it", string());
            let replayed = header("There when this is an earlier answer again", string().enum_values(Some(["true"])));
            response.headers.insert(KEY.to_owned(), key);
            response.headers.insert("Idempotent-Replayed".to_owned(), replayed);
        }
    }
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
