//! The closed list of codes: the one place that maps errors to HTTP. The sentences are fixed, so nothing internal can show.

use hyper::StatusCode;

/// What the table says about one [`Code`].
#[derive(Debug)]
pub struct CodeInfo {
    /// The member `code`: the upper-case name.
    pub name: &'static str,
    /// The member `number`: the short name, where the design documents have one.
    pub number: Option<&'static str>,
    /// HTTP status.
    pub status: StatusCode,
    /// The member `title`: the same for every occurrence, always English.
    pub title: &'static str,
    /// The member `detail`, for people who read English.
    pub detail_en: &'static str,
    /// The member `detail`, for people who read Korean.
    pub detail_ko: &'static str,
}

/// Declares the codes; the English sentence is the variant's documentation too.
macro_rules! codes {
    ($($variant:ident = $name:literal, $number:expr, $status:ident, $title:literal, $en:literal, $ko:literal;)+) => {
        /// Every way to say no. A closed list: clients may switch over it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $en] $variant,)+ }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// One row per variant, in the order of the variants: a code is its index.
            const TABLE: &'static [CodeInfo] = &[$(CodeInfo {
                name: $name,
                number: $number,
                status: StatusCode::$status,
                title: $title,
                detail_en: $en,
                detail_ko: $ko,
            },)+];

            /// The code with this upper-case name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    InvalidInput = "INVALID_INPUT", None, BAD_REQUEST, "Invalid input",
        "The request is not valid.", "요청 내용이 올바르지 않습니다.";
    Unauthorized = "UNAUTHORIZED", None, UNAUTHORIZED, "Unauthorized",
        "A valid access token is required.", "유효한 인증 정보가 필요합니다. 다시 로그인해 주세요.";
    Forbidden = "FORBIDDEN", None, FORBIDDEN, "Forbidden",
        "You are not allowed to do this.", "이 작업을 수행할 권한이 없습니다.";
    NotFound = "NOT_FOUND", None, NOT_FOUND, "Not found",
        "There is nothing at this address.", "요청하신 주소를 찾을 수 없습니다.";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", None, METHOD_NOT_ALLOWED, "Method not allowed",
        "This address does not support the method.", "이 주소에서 지원하지 않는 메서드입니다.";
    RequestTimeout = "REQUEST_TIMEOUT", None, REQUEST_TIMEOUT, "Request timeout",
        "The request did not arrive in time.", "요청이 제한 시간 안에 도착하지 않았습니다.";
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", None, PAYLOAD_TOO_LARGE, "Payload too large",
        "The request's body is too large.", "요청 본문이 너무 큽니다.";
    TooManyRequests = "TOO_MANY_REQUESTS", None, TOO_MANY_REQUESTS, "Too many requests",
        "Too many requests in a short time; please slow down.", "요청이 너무 많습니다. 잠시 후 다시 시도해 주세요.";
    InternalError = "INTERNAL_ERROR", None, INTERNAL_SERVER_ERROR, "Internal error",
        "Something went wrong on our side.", "서버에 오류가 발생했습니다.";
    Unavailable = "SERVICE_UNAVAILABLE", None, SERVICE_UNAVAILABLE, "Service unavailable",
        "Nothing was done; please try again shortly.", "요청이 처리되지 않았습니다. 잠시 후 다시 시도해 주세요.";
    OutcomeUnknown = "OUTCOME_UNKNOWN", None, GATEWAY_TIMEOUT, "Outcome unknown",
        "No answer came in time; repeat the request with the same idempotency key to learn the outcome.",
        "제한 시간 안에 처리 결과를 확인하지 못했습니다. 같은 멱등성 키로 다시 요청하여 결과를 확인해 주세요.";
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", None, UNPROCESSABLE_ENTITY, "Idempotency key reused",
        "The idempotency key was already used for another request.", "이미 다른 요청에 사용된 멱등성 키입니다.";
    RequestInProgress = "REQUEST_IN_PROGRESS", None, CONFLICT, "Request in progress",
        "The first request under this idempotency key is still in progress.", "같은 멱등성 키의 요청을 처리하고 있습니다.";
    ProductNotFound = "PRODUCT_NOT_FOUND", None, NOT_FOUND, "Product not found",
        "There is no such product.", "상품을 찾을 수 없습니다.";
    OrderNotFound = "ORDER_NOT_FOUND", None, NOT_FOUND, "Order not found",
        "There is no such order.", "주문을 찾을 수 없습니다.";
    CouponNotFound = "COUPON_NOT_FOUND", None, NOT_FOUND, "Coupon not found",
        "There is no such coupon.", "쿠폰을 찾을 수 없습니다.";
    DeadLetterNotFound = "DEAD_LETTER_NOT_FOUND", None, NOT_FOUND, "Dead letter not found",
        "There is no such dead letter.", "전송에 실패한 메시지를 찾을 수 없습니다.";
    InsufficientStock = "INSUFFICIENT_STOCK", Some("P002"), BAD_REQUEST, "Insufficient stock",
        "There is not enough stock.", "재고가 부족합니다.";
    ExceededLimitedQuantity = "EXCEEDED_LIMITED_QUANTITY", None, BAD_REQUEST, "Limit per user exceeded",
        "This is more than one user may buy.", "1인당 구매 가능 수량을 초과했습니다.";
    CartEmpty = "CART_EMPTY", None, BAD_REQUEST, "Cart empty",
        "The cart is empty.", "장바구니가 비어 있습니다.";
    InvalidCoupon = "INVALID_COUPON", None, BAD_REQUEST, "Invalid coupon",
        "A coupon cannot be used for this order.", "이 주문에 사용할 수 없는 쿠폰입니다.";
    InsufficientBalance = "INSUFFICIENT_BALANCE", Some("PAY001"), BAD_REQUEST, "Insufficient balance",
        "The balance is too low.", "잔액이 부족합니다.";
    SaleNotOpen = "SALE_NOT_OPEN", None, BAD_REQUEST, "Sale not open",
        "The sale has not started yet.", "아직 판매가 시작되지 않았습니다.";
    SaleClosed = "SALE_CLOSED", None, BAD_REQUEST, "Sale closed",
        "The sale is over.", "판매가 종료되었습니다.";
    AmountMismatch = "AMOUNT_MISMATCH", None, BAD_REQUEST, "Amount mismatch",
        "The amount differs from the one to pay.", "결제할 금액이 일치하지 않습니다.";
    TooManyOpenOrders = "TOO_MANY_OPEN_ORDERS", None, BAD_REQUEST, "Too many open orders",
        "Please pay or cancel an open order first.", "결제 대기 중인 주문이 너무 많습니다. 먼저 결제하거나 취소해 주세요.";
    InvalidOrderState = "INVALID_ORDER_STATE", None, BAD_REQUEST, "Invalid order state",
        "The order's state does not allow this.", "현재 주문 상태에서는 처리할 수 없습니다.";
    InvalidAmount = "INVALID_AMOUNT", None, BAD_REQUEST, "Invalid amount",
        "This amount cannot be charged.", "충전할 수 없는 금액입니다.";
    PaymentDeclined = "PAYMENT_DECLINED", None, PAYMENT_REQUIRED, "Payment declined",
        "The payment was declined.", "결제가 거절되었습니다.";
    CouponSoldOut = "COUPON_SOLD_OUT", Some("C001"), CONFLICT, "Coupon sold out",
        "All of these coupons have been issued.", "쿠폰이 모두 소진되었습니다.";
    AlreadyIssued = "ALREADY_ISSUED", Some("C004"), CONFLICT, "Already issued",
        "You already have this coupon.", "이미 발급받은 쿠폰입니다.";
    CouponNotOpen = "COUPON_NOT_OPEN", None, BAD_REQUEST, "Coupon not open",
        "This coupon cannot be issued now.", "지금은 발급받을 수 없는 쿠폰입니다.";
}

impl Code {
    /// Its row of the table.
    pub fn info(self) -> &'static CodeInfo {
        &Self::TABLE[self as usize]
    }

    /// The member `type`: a stable URI reference such as `/problems/insufficient-stock`.
    pub fn type_reference(self) -> String {
        format!("/problems/{}", self.info().name.to_ascii_lowercase().replace('_', "-"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_of_the_table_is_unique_and_complete() {
        let mut seen = HashSet::new();
        for code in Code::ALL.iter().copied() {
            let info = code.info();
            assert!(info.name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{}", info.name);
            assert!(info.status.is_client_error() || info.status.is_server_error(), "{}", info.name);
            assert_eq!(Code::from_name(info.name), Some(code));
            assert!(!info.title.is_empty() && info.detail_en.is_ascii() && info.detail_en.ends_with('.'), "{info:?}");
            assert!(info.detail_ko.ends_with("다.") || info.detail_ko.ends_with("요."), "{info:?}");
            for unique in [Some(info.name), info.number, Some(info.detail_en), Some(info.detail_ko)] {
                assert!(unique.is_none_or(|text| seen.insert(text)), "{unique:?} stands twice");
            }
        }
        assert_eq!(Code::from_name("insufficient_stock"), None);
    }

    #[test]
    fn statuses_and_numbers_are_those_of_the_spec() {
        let other_than_400 = "401 UNAUTHORIZED, 402 PAYMENT_DECLINED, 403 FORBIDDEN, 404 NOT_FOUND, \
            404 PRODUCT_NOT_FOUND, 404 ORDER_NOT_FOUND, 404 COUPON_NOT_FOUND, 404 DEAD_LETTER_NOT_FOUND, \
            405 METHOD_NOT_ALLOWED, 408 REQUEST_TIMEOUT, 409 REQUEST_IN_PROGRESS, 409 COUPON_SOLD_OUT, \
            409 ALREADY_ISSUED, 413 PAYLOAD_TOO_LARGE, 422 IDEMPOTENCY_KEY_REUSED, 429 TOO_MANY_REQUESTS, \
            500 INTERNAL_ERROR, 503 SERVICE_UNAVAILABLE, 504 OUTCOME_UNKNOWN";
        let expected: HashSet<&str> = other_than_400.split(", ").collect();
        let lines: Vec<String> =
            Code::ALL.iter().map(|code| format!("{} {}", code.info().status.as_u16(), code.info().name)).collect();
        let actual: HashSet<&str> = lines.iter().map(String::as_str).filter(|line| !line.starts_with("400")).collect();
        assert_eq!(actual, expected);
        let numbers: Vec<_> = Code::ALL.iter().filter_map(|code| Some((code.info().number?, *code))).collect();
        let spec = [
            ("P002", Code::InsufficientStock),
            ("PAY001", Code::InsufficientBalance),
            ("C001", Code::CouponSoldOut),
            ("C004", Code::AlreadyIssued),
        ];
        assert_eq!(numbers, spec);
    }
}
