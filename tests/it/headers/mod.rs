//! Header, body and Rust of every op say the same. An op's header is what people read and what the model was written
//! from, so it must not drift; and since events are packed by position, so must not the order of their fields.
//!
//! An op's body is its text and that of every function of `lua/` that it uses. The order in which a body passes the
//! fields to `emit` is not read here: the model test decodes every event that a real Redis packed, and compares it.

mod examples;
mod header;
mod source;
mod text;

use std::fmt::Debug;

use flashsale::engine::event::Event;
use flashsale::engine::op::Op;
use flashsale::engine::refusal::Refused;
use flashsale::redis::library::{OPS, SHARED};
use serde::Serialize;
use serde_json::Value;

use examples::{Example, examples};
use header::{Header, Members};
use source::Source;
use text::{Names, after_each, members_of, one, word};

use crate::support::engine::RULES;

const OUTCOME_LUA: &str = include_str!("../../../lua/outcome.lua");
const ORDER_LUA: &str = include_str!("../../../lua/order.lua");
const CHARGE_LUA: &str = include_str!("../../../lua/charge.lua");
const CONTROL_LUA: &str = include_str!("../../../lua/control.lua");
const APPLY_LUA: &str = include_str!("../../../lua/apply.lua");

/// Members of the Lua context, and the column that each belongs to.
const COLUMNS: [(&str, &str); 15] = [
    ("accounts", "accounts"),
    ("bought", "bought"),
    ("stock", "stock"),
    ("catalog", "catalog"),
    ("coupons", "coupons"),
    ("wallets", "wallets"),
    ("carts", "carts"),
    ("open", "open"),
    ("due", "due"),
    ("restock", "restock"),
    ("idem_today", "idem"),
    ("idem_yesterday", "idem"),
    ("sold", "sales"),
    ("unsold", "sales"),
    ("sales_keys", "sales"),
];

/// Everything else that an op may touch there.
const NO_COLUMNS: [&str; 10] =
    ["seq", "meta", "rules", "now_ms", "now_packed", "business_day", "events", "event_count", "lines", "sums"];

/// Objects that go through the engine as they are: their members are nobody's business there.
const OPAQUE: [&str; 1] = ["address"];

#[test]
fn header_body_and_rust_of_every_op_agree() {
    let (examples, source) = (examples(), Source::new(SHARED.into_iter(), OPS.into_iter()));
    let files: Vec<&str> = OPS.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, Op::NAMES, "library::OPS against Op::NAMES: same ops, same order");
    let variants: Vec<&str> = examples.iter().map(|example| example.ops[0].name()).collect();
    assert_eq!(variants, Op::NAMES, "the examples of this test against Op::NAMES: one per op, same order");
    for ((file, text), example) in OPS.iter().zip(&examples) {
        let drifts = drifts(file, text, &source, example);
        assert!(drifts.is_empty(), "lua/ops/{file}.lua:\n  {}", drifts.join("\n  "));
    }
}

/// Op, and what is replaced: in its own file, or if it is not there, in one that ops share.
const PLANTED: &[(&str, &str, &str)] = &[
    ("place_order", "op: place_order", "op: buy"),
    ("place_order", "args: items?", "args: lines?"),
    ("place_order", "args: items?", "args: items"),
    ("place_order", "[{product, quantity}]", "[{product, count}]"),
    ("place_order", "args.address", "args.parcel"),
    ("place_order", "args.final ~=", "args.amount ~="),
    (
        "place_order",
        "id, quantity = item.product, item.quantity\n    if",
        "id, quantity = item.id, item.quantity\n    if",
    ),
    ("place_order", "wallets, carts, sales\n", "wallets, carts\n"),
    ("place_order", "bought, coupons, wallets", "bought, wallets"),
    ("place_order", "  SALE_CLOSED {productId, closedAt}\n", ""),
    ("place_order", "  AMOUNT_MISMATCH {", "  WRONG_AMOUNT {"),
    ("place_order", "refuse('INSUFFICIENT_BALANCE'", "refuse('INVALID_AMOUNT'"),
    ("place_order", "refuse('CART_EMPTY'", "refuse('COUPON_SOLD_OUT'"),
    ("place_order", "refuse('INVALID_COUPON'", "refuse('COUPON_SOLD_OUT'"),
    ("place_order", "order_confirmed 1 {", "order_confirmed 2 {"),
    ("place_order", "emit(ctx, call, 'order_confirmed', 1", "emit(ctx, call, 'order_placed', 1"),
    ("place_order", "emit(ctx, call, 'order_confirmed', 1", "emit(ctx, call, 'order_confirmed', 2"),
    ("place_order", "day, total, discount, final", "day, discount, total, final"),
    ("place_order", "price, quantity, discount, counted?", "price, discount, quantity, counted?"),
    ("place_order", "discount, counted?", "discount, counted"),
    ("place_order", "discount, counted?", "discount"),
    ("place_order", "address?, balance, used, items", "address, balance, used, items"),
    ("reserve_order", "= ops.place_order.want,", "= nil,"),
    ("reserve_order", "  TOO_MANY_OPEN_ORDERS {openOrders, maximum}\n", ""),
    ("reserve_order", "open, due, idem\n", "open, idem\n"),
    ("pay_order", "due, idem, sales\n", "due, idem\n"),
    ("pay_order", "emit(ctx, call, 'order_changed', 1", "emit(ctx, call, 'order_changed', 2"),
    ("settle_order", "open, due, idem, sales", "open, due, sales"),
    ("cancel_order", "restock, open", "open"),
    ("cancel_order", "refuse('ORDER_NOT_FOUND'", "refuse('PRODUCT_NOT_FOUND'"),
    ("cancel_order", "method, day, paid_at, payment, address?", "method, paid_at, payment, address?"),
    ("cancel_order", "paid? {user, created, expires?,", "paid? {created, expires,"),
    ("expire_order", "return release_order(ctx, call, order, 'EXPIRED')", "return nil"),
    ("charge_balance", "= ctx.rules, nil", "= ctx.coupons, nil"),
    ("settle_charge", "ctx.idem_yesterday", "ctx.idem_tomorrow"),
    ("adjust_stock", "columns: catalog, stock", "columns: catalog, stock, accounts"),
    ("put_coupon", "'max_discount', 'min_order', 'total', 'starts'", "'max_price', 'min_order', 'total', 'starts'"),
    ("put_cart", "quantity > rules.quantity_max", "args.count > rules.quantity_max"),
    ("put_product", "limit?, starts?, ends?, status, version", "starts?, ends?, status, version"),
];

#[test]
fn every_kind_of_drift_is_found() {
    let examples = examples();
    for &(op, from, to) in PLANTED {
        let index = Op::NAMES.iter().position(|name| *name == op).expect("an op");
        let (mut file, mut shared) = (OPS[index].1.to_owned(), SHARED.map(str::to_owned));
        let file_of_it =
            if file.contains(from) { Some(&mut file) } else { shared.iter_mut().find(|text| text.contains(from)) };
        let changed = file_of_it.unwrap_or_else(|| panic!("{op}: {from:?} is not there any more; change this test"));
        *changed = changed.replacen(from, to, 1);
        let source = Source::new(shared.iter().map(String::as_str), OPS.into_iter());
        assert!(!drifts(op, &file, &source, &examples[index]).is_empty(), "{op}: {from:?} became {to:?} unnoticed");
    }
}

#[test]
fn emit_adds_what_every_header_promises() {
    assert!(OUTCOME_LUA.contains("pack(ctx.seq + 1, ctx.now_ms, ...)"), "lua/outcome.lua packs seq and at first");
    for (file, text) in OPS {
        let fields = Header::parse(text).fields;
        assert_eq!(fields.in_order()[..2], ["seq", "at"], "lua/ops/{file}.lua: the first fields of the event");
    }
}

/// Where Lua reads an event by position, the positions are those of the headers.
#[test]
fn lua_reads_events_as_the_headers_order_them() {
    let fields = |op: &str| {
        let (_, text) = OPS.iter().find(|(name, _)| *name == op).expect("an op");
        Header::parse(text).fields
    };
    assert_eq!(fields("pay_order").in_order(), listed_in(ORDER_LUA, "ORDER_FIELDS"), "lua/order.lua");

    assert!(CHARGE_LUA.contains("local CHARGE_USER, CHARGE_AMOUNT = 3, 4\n"), "lua/charge.lua");
    assert_eq!(fields("open_charge").in_order()[2..4], ["user", "amount"]);
    assert_eq!(fields("settle_charge").in_order()[2], "user");
    assert!(CONTROL_LUA.contains("fields[2]") && CONTROL_LUA.contains("fields[4] == 'PENDING_PAYMENT'"));
    assert_eq!((fields("pay_order").in_order()[1], fields("pay_order").in_order()[3]), ("at", "status"));
}

/// The rules travel by position too.
#[test]
fn lua_names_the_rules_in_the_order_of_the_struct() {
    let rules = packed(&RULES);
    let members: Vec<&String> = rules.as_object().expect("an object").keys().collect();
    assert_eq!(members, listed_in(APPLY_LUA, "RULES").iter().collect::<Vec<_>>(), "lua/apply.lua");
}

/// The names in a list of strings that a Lua file starts with `local NAME = {`.
fn listed_in(file: &str, name: &str) -> Vec<String> {
    let (_, list) = file.split_once(&format!("local {name} = {{")).unwrap_or_else(|| panic!("there is no {name}"));
    let (list, _) = list.split_once('}').expect("its end");
    quoted(list).collect()
}

/// The words in quotes.
fn quoted(list: &str) -> impl Iterator<Item = String> {
    after_each(list, "'").map(word).filter(|name| !name.is_empty())
}

/// Everything that header, body and Rust disagree on.
fn drifts(file: &str, text: &str, source: &Source, example: &Example) -> Vec<String> {
    let (header, own) = text.split_once("\n]]\n").unwrap_or_else(|| panic!("{file}: no header that ends in ]]"));
    let (header, body) = (Header::parse(header), source.expand(own));
    let mut drifts = Drifts(Vec::new());
    drifts.differ("name", ("header", &one(&header.op)), ("file", &one(file)));
    if !own.contains(&format!("ops.{} = {{", header.op)) {
        drifts.0.push(format!("name: the body does not define ops.{}", header.op));
    }
    for function in ["want", "decide"] {
        if !own.contains(&format!("  {function} = function(")) && !own.contains(&format!("  {function} = ops.")) {
            drifts.0.push(format!("the body has no function {function}"));
        }
    }
    drifts_of_refusals(&mut drifts, file, &header, &body);
    drifts_of_args(&mut drifts, &header, &body, example);
    drifts_of_columns(&mut drifts, &header, &body);
    drifts_of_event(&mut drifts, &header, &body, example);
    drifts.0
}

struct Drifts(Vec<String>);

impl Drifts {
    fn differ<T: PartialEq + Debug>(&mut self, what: &str, left: (&str, &T), right: (&str, &T)) {
        if left.1 != right.1 {
            self.0.push(format!("{what}: {} has {:?}, {} has {:?}", left.0, left.1, right.0, right.1));
        }
    }

    /// Compares the members that a header names with those that Rust packs. The first example has all of them; those
    /// that not every example has may be absent.
    fn differ_in_members(&mut self, what: &str, header: &Members, examples: &[&Value]) {
        let all = examples.first().map(|example| members(example)).unwrap_or_default();
        let always = examples.iter().map(|example| present(example)).reduce(|some, more| &some & &more);
        self.differ(what, ("header", &header.names()), ("Rust", &all));
        let what_is = format!("{what} that are always there");
        self.differ(&what_is, ("header", &header.required()), ("Rust", &always.unwrap_or_default()));
        for member in header.0.iter().filter(|member| !OPAQUE.contains(&member.name.as_str())) {
            let inner: Vec<&Value> = examples.iter().flat_map(|example| objects_in(&example[&member.name])).collect();
            if !inner.is_empty() || !member.inner.is_empty() {
                self.differ_in_members(&format!("{what}: {}", member.name), &member.inner, &inner);
            }
        }
    }
}

fn drifts_of_refusals(drifts: &mut Drifts, file: &str, header: &Header, body: &str) {
    let refused: Names = after_each(body, "refuse('").map(word).collect();
    let rust: Names = Op::refusals(file).iter().map(|refused| refused.code().to_owned()).collect();
    drifts.differ("refusals", ("header", &header.refusals), ("body", &refused));
    drifts.differ("refusals", ("header", &header.refusals), ("Op::refusals", &rust));
    for code in header.refusals.iter().chain(&refused) {
        if Refused::from_code(code).is_none() {
            drifts.0.push(format!("refusals: {code} is not in Refused"));
        }
    }
}

fn drifts_of_args(drifts: &mut Drifts, header: &Header, body: &str, example: &Example) {
    let packed: Vec<Value> = example.ops.iter().map(packed).collect();
    drifts.differ_in_members("args", &header.args, &packed.iter().collect::<Vec<_>>());

    let mut read = members_of(body, "args.");
    if body.contains("args[") {
        // The members that a loop goes over stand in a list of strings.
        for rest in body.split("ipairs({").skip(1) {
            let list = rest.split_once('}').expect("its end").0;
            read.extend(quoted(list));
        }
    }
    drifts.differ("args", ("header", &header.args.names()), ("body", &read));
    let (of_items, read) = (header.args.of_items(), members_of(body, "item."));
    if !of_items.is_empty() {
        drifts.differ("args of items", ("header", &of_items), ("body", &read));
    } else if !read.is_subset(&header.fields.of_items()) {
        // Items of something stored, which the event then shows.
        drifts.0.push(format!("items: the body reads {read:?}, which the event's do not have"));
    }
}

fn drifts_of_columns(drifts: &mut Drifts, header: &Header, body: &str) {
    let mut columns = Names::new();
    for member in members_of(body, "ctx.") {
        match COLUMNS.iter().find(|(name, _)| *name == member) {
            Some((_, column)) => columns.extend(one(column)),
            None if NO_COLUMNS.contains(&member.as_str()) => {}
            None => drifts.0.push(format!("columns: the body uses ctx.{member}, which this test does not know")),
        }
    }
    drifts.differ("columns", ("header", &header.columns), ("body", &columns));
}

fn drifts_of_event(drifts: &mut Drifts, header: &Header, body: &str, example: &Example) {
    let emitted: Vec<(String, String)> = after_each(body, "emit(ctx, call, '")
        .map(|rest| {
            let (name, version) = rest.split_once("', ").expect("a type and a version");
            (name.to_owned(), word(version))
        })
        .collect();
    drifts.differ("event", ("header", &vec![header.event.clone()]), ("body", &emitted));
    drifts.differ("event", ("header", &one(&header.event.0)), ("Rust", &one(example.events[0].name())));

    let fields: Vec<Value> = example.events.iter().map(packed).collect();
    drifts.differ_in_members("event fields", &header.fields, &fields.iter().collect::<Vec<_>>());
    let version: u32 = header.event.1.parse().expect("a version is a number");
    for (event, fields) in example.events.iter().zip(&fields) {
        let in_log = ("fingerprint of 22 chars", "key", &header.event.0, version, header.fields.by_position(fields));
        match Event::decode(&rmp_serde::to_vec_named(&in_log).expect("plain data")) {
            Ok(decoded) if decoded == *event => {}
            other => drifts.0.push(format!("event: Rust reads the fields in the order of the header as {other:?}")),
        }
    }
}

/// As Rust packs it.
fn packed(value: &impl Serialize) -> Value {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(value).expect("plain data")).expect("plain data")
}

fn members(value: &Value) -> Names {
    value.as_object().expect("an object").keys().cloned().collect()
}

/// The members that are not null.
fn present(value: &Value) -> Names {
    let members = value.as_object().expect("an object");
    members.iter().filter(|(_, member)| !member.is_null()).map(|(name, _)| name.clone()).collect()
}

/// The object itself, or the objects of a list.
fn objects_in(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(_) => vec![value],
        Value::Array(items) => items.iter().filter(|item| item.is_object()).collect(),
        _ => Vec::new(),
    }
}
