//! Traces as OpenTelemetry's collector gets them.

use serde_json::Value;

use super::collector::Collector;
use super::{TRACE, traced, traceparent};
use crate::support::shop::{Backends, Shop, free_port, one_item};

fn attribute(span: &Value, key: &str) -> Value {
    let attributes = span["attributes"].as_array().expect("attributes");
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    let value = found.map(|attribute| attribute["value"].as_object().expect("a value"));
    value.and_then(|value| value.values().next()).cloned().unwrap_or(Value::Null)
}

/// From when to when, in ns.
fn time(span: &Value) -> (u64, u64) {
    let ns =
        |name: &str| span[name].as_str().and_then(|ns| ns.parse().ok()).unwrap_or_else(|| panic!("{name}: {span}"));
    (ns("startTimeUnixNano"), ns("endTimeUnixNano"))
}

#[tokio::test]
async fn a_sampled_order_is_a_span_with_its_steps() {
    let collector = Collector::start().await;
    // So late that what arrives was sent at the end.
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
    ];
    let mut shop = Shop::spawn_logging(Backends::shared("otel").await, &[], &environment, None);
    shop.client.wait_ready().await;
    let product = shop.client.product("Hot", 500, 10).await;
    shop.client.charge("buyer", 10_000).await;
    let body = one_item(product, 1);
    let order = traced(&shop, "/api/orders", "buyer", "sampled", &body, &traceparent("01")).await.expect(201);
    let unseen = traced(&shop, "/api/orders", "buyer", "not-sampled", &body, &traceparent("00")).await.expect(201);
    assert_eq!(unseen.header("x-request-id"), TRACE, "who does not record hands on all the same");
    assert!(shop.terminate().await.success());

    let spans = collector.spans();
    let of_trace: Vec<_> = spans.iter().filter(|span| span["traceId"] == TRACE).collect();
    let requests: Vec<_> = of_trace.iter().filter(|span| span["parentSpanId"] == "00f067aa0ba902b7").collect();
    let [request] = requests[..] else { panic!("one of both is sampled: {of_trace:?}") };
    assert_eq!((&request["name"], &request["kind"]), (&"POST /api/orders".into(), &2.into()), "{request}");
    assert_eq!(attribute(request, "http.request.method"), "POST");
    assert_eq!(attribute(request, "http.route"), "/api/orders");
    assert_eq!(attribute(request, "http.response.status_code").to_string().trim_matches('"'), "201");
    assert_eq!(attribute(request, "flashsale.order_id"), order.text("orderId"));
    assert_eq!(attribute(request, "enduser.pseudo.id").as_str().map(str::len), Some(16));
    assert!(request["resource"].to_string().contains(r#""stringValue":"flashsale""#), "{request}");

    let (began, ended) = time(request);
    for name in ["read", "queue", "redis", "encode"] {
        let steps: Vec<_> = of_trace.iter().filter(|span| span["name"] == name).collect();
        let [step] = steps[..] else { panic!("{name}: {of_trace:?}") };
        assert_eq!(step["parentSpanId"], request["spanId"], "{name}");
        let (from, to) = time(step);
        assert!(began <= from && from < to && to <= ended, "{name}: {from} to {to} in {began} to {ended}");
    }
    // Requests that nobody traced before begin traces of their own.
    let charge = spans.iter().find(|span| span["name"] == "POST /api/users/me/balance/charge").expect("the charge");
    assert!(charge["traceId"] != TRACE && charge["parentSpanId"].as_str().is_none_or(str::is_empty), "{charge}");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_order() {
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
    let mut shop = Shop::spawn_logging(Backends::shared("otel-away").await, &[], &environment, None);
    shop.client.wait_ready().await;
    let product = shop.client.product("Hot", 500, 100).await;
    shop.client.charge("buyer", 100_000).await;
    for number in 0..20 {
        shop.client.order("buyer", &format!("order-{number}"), product, 1).await.expect(201);
    }
    assert!(shop.terminate().await.success());
}
