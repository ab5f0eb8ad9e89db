//! The API described (`OpenAPI` 3.1): one document per listener, made from the code, and Swagger UI to read it with.
//!
//! What is special about an operation stands at its handler (`#[utoipa::path]`): what it takes and what it answers when
//! all is well. Everything else follows from the route table and is added here: the ids in the path, the token, and
//! every refusal. `tests/it/openapi.rs` holds documents, route table and answers equal.

mod complete;
mod pages;
pub mod parameters;
mod problems;
pub mod values;

use utoipa::OpenApi;

use super::routes::Listener;
use super::{admin, balance, cart, coupons, find_order, operations, orders, payments, products};

pub use pages::{asset, operations_document, page, public_document};

/// What the public listener offers.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "flashsale",
        description = "A shop for flash sales. Amounts are whole numbers in the smallest unit of the currency, times RFC \
            3339 in UTC. Unknown members of a body are refused. Every refusal is a problem document (RFC 9457): switch \
            over its `code`. The same `Idempotency-Key` with the same request gets the first success again."
    ),
    tags(
        (name = "products", description = "What is sold, and what sells best"),
        (name = "cart", description = "What a user means to buy"),
        (name = "balance", description = "A user's prepaid money"),
        (name = "coupons", description = "Discounts in limited quantities"),
        (name = "orders", description = "Buying, paying and giving up")
    ),
    paths(
        products::list,
        products::popular,
        products::get,
        products::stock,
        products::request_restock,
        cart::get,
        cart::clear,
        cart::add,
        cart::set,
        cart::remove,
        balance::get,
        balance::charge,
        balance::transactions,
        coupons::list,
        coupons::validate,
        coupons::issue,
        coupons::mine,
        orders::place,
        find_order::list,
        find_order::get,
        orders::cancel,
        payments::pay
    )
)]
pub struct PublicApi;

/// What the operations listener offers.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "flashsale operations",
        description = "For operators and their tools; keep it off the internet. The admin routes want a token whose \
            `role` is `admin`."
    ),
    tags(
        (name = "process", description = "How this process is"),
        (name = "catalogue", description = "What is sold, and at which discounts"),
        (name = "orders", description = "What the gateway leaves open"),
        (name = "forwarding", description = "What nobody could be told"),
        (name = "books", description = "Whether Redis and PostgreSQL agree")
    ),
    paths(
        operations::metrics,
        operations::healthz,
        operations::readyz,
        admin::products::create_product,
        admin::products::change_product,
        admin::products::adjust_stock,
        admin::coupons::create,
        admin::coupons::update,
        admin::orders::settle,
        admin::dead_letters::list,
        admin::dead_letters::replay_all,
        admin::dead_letters::replay_one,
        admin::verify::report
    )
)]
pub struct OperationsApi;

/// The document of a listener.
pub fn document(listener: Listener) -> utoipa::openapi::OpenApi {
    let mut document = match listener {
        Listener::Public => PublicApi::openapi(),
        Listener::Operations => OperationsApi::openapi(),
    };
    complete::complete(&mut document, listener);
    document
}
