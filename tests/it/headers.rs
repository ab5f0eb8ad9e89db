//! Header, body and Rust of every op say the same. An op's header is what people read and what the model was written
//! from, so it must not drift.

use std::collections::{BTreeMap, BTreeSet};

use flashsale::engine::event::{BalanceCharged, Event, OrderConfirmed, OrderLine, ProductPut, StockAdjusted};
use flashsale::engine::op::{
    AdjustStock, Change, ChargeBalance, Op, OrderItem, PlaceOrder, ProductStatus, PutProduct, ShippingAddress,
};
use flashsale::engine::refusal::Refused;
use flashsale::engine::user::UserId;
use flashsale::redis::library::OPS;
use serde::Serialize;
use serde_json::Value;

const PRODUCT_LUA: &str = include_str!("../../lua/product.lua");
const OUTCOME_LUA: &str = include_str!("../../lua/outcome.lua");

/// Members of the Lua context that are columns; everything else an op may touch there is listed below.
const COLUMNS: [&str; 4] = ["accounts", "bought", "stock", "catalog"];
const NO_COLUMNS: [&str; 5] = ["seq", "meta", "rules", "now_ms", "business_day"];

/// Functions of the shared Lua files that read a column on the op's behalf.
const COLUMN_READERS: [(&str, &str); 2] = [("account_of(", "accounts"), ("sellable(", "catalog")];

type Names = BTreeSet<String>;

/// Member → the members of its items, when it is a list of objects.
type Shape = BTreeMap<String, Names>;

#[test]
fn header_body_and_rust_of_every_op_agree() {
    let examples = examples();
    let files: Vec<&str> = OPS.iter().map(|(name, _)| *name).collect();
    assert_eq!(files, Op::NAMES, "library::OPS against Op::NAMES: same ops, same order");
    let variants: Vec<&str> = examples.iter().map(|example| example.op.name()).collect();
    assert_eq!(variants, Op::NAMES, "the examples of this test against Op::NAMES: one per op, same order");
    for ((file, text), example) in OPS.iter().zip(&examples) {
        let drifts = drifts(file, text, example);
        assert!(drifts.is_empty(), "lua/ops/{file}.lua:\n  {}", drifts.join("\n  "));
    }
}

#[test]
fn every_kind_of_drift_is_found() {
    let examples = examples();
    let changes = [
        ("place_order", "op: place_order", "op: buy"),
        ("place_order", "args: items", "args: lines"),
        ("place_order", "final?, address?", "final, address?"),
        ("place_order", "[{product, quantity}]", "[{product, count}]"),
        ("place_order", "args.address", "args.parcel"),
        ("place_order", "item.quantity", "item.count"),
        ("place_order", "stock, bought, sales\n", "stock, bought\n"),
        ("place_order", "  SALE_CLOSED {productId, closedAt}\n", ""),
        ("place_order", "  AMOUNT_MISMATCH {", "  WRONG_AMOUNT {"),
        ("place_order", "refuse('INSUFFICIENT_BALANCE'", "refuse('INVALID_AMOUNT'"),
        ("place_order", "order_confirmed 1 {", "order_confirmed 2 {"),
        ("place_order", "emit(ctx, 'order_confirmed', 1", "emit(ctx, 'order_placed', 1"),
        ("place_order", "method = 'BALANCE',", ""),
        ("place_order", "discount = 0 }", "rebate = 0 }"),
        ("place_order", "address?, balance, used}", "address, balance, used}"),
        ("charge_balance", "rules.charge_unit", "ctx.coupons"),
        ("adjust_stock", "columns: catalog, stock", "columns: catalog, stock, accounts"),
        ("put_product", "'ends', 'status' }", "'ends' }"),
        ("put_product", "limit?, starts?, ends?, status, version", "starts?, ends?, status, version"),
    ];
    for (op, from, to) in changes {
        let index = Op::NAMES.iter().position(|name| *name == op).expect("an op");
        let changed = OPS[index].1.replacen(from, to, 1);
        assert_ne!(changed, OPS[index].1, "{op}: {from:?} is not there any more; change this test");
        assert!(!drifts(op, &changed, &examples[index]).is_empty(), "{op}: {from:?} became {to:?} unnoticed");
    }
}

#[test]
fn emit_adds_what_every_header_promises() {
    for added in ["fields.seq =", "fields.at ="] {
        assert!(OUTCOME_LUA.contains(added), "lua/outcome.lua no longer says {added:?}");
    }
}

/// An op and its event with every optional member set, and with none.
struct Example {
    op: Op,
    op_least: Op,
    event: Event,
    event_least: Event,
}

fn examples() -> Vec<Example> {
    vec![place_order(), charge_balance(), adjust_stock(), put_product()]
}

fn somebody() -> UserId {
    UserId::parse("u1").expect("a user id")
}

fn place_order() -> Example {
    let text = || "x".to_owned();
    let address = ShippingAddress {
        recipient: text(),
        phone: text(),
        line1: text(),
        line2: Some(text()),
        city: Some(text()),
        postal_code: text(),
        country: text(),
    };
    let items = vec![OrderItem { product: 1, quantity: 2 }];
    let line = OrderLine { product: 1, name: text(), price: 3, quantity: 2, discount: 0 };
    let confirmed = OrderConfirmed {
        seq: 1,
        at: 2,
        user: somebody(),
        day: text(),
        items: vec![line],
        total: 6,
        discount: 0,
        final_amount: 6,
        method: text(),
        address: Some(address.clone()),
        balance: 4,
        used: 6,
    };
    Example {
        op: Op::PlaceOrder(PlaceOrder { items: items.clone(), final_amount: Some(6), address: Some(address) }),
        op_least: Op::PlaceOrder(PlaceOrder { items, final_amount: None, address: None }),
        event: Event::OrderConfirmed(confirmed.clone()),
        event_least: Event::OrderConfirmed(OrderConfirmed { address: None, ..confirmed }),
    }
}

fn charge_balance() -> Example {
    let op = Op::ChargeBalance(ChargeBalance { amount: 100 });
    let event = Event::BalanceCharged(BalanceCharged {
        seq: 1,
        at: 2,
        user: somebody(),
        amount: 100,
        previous: 0,
        balance: 100,
        used: 0,
    });
    Example { op_least: op.clone(), op, event_least: event.clone(), event }
}

fn adjust_stock() -> Example {
    let op = Op::AdjustStock(AdjustStock { product: 1, delta: -1 });
    let event = Event::StockAdjusted(StockAdjusted { seq: 1, at: 2, product: 1, delta: -1, stock: 4, by: somebody() });
    Example { op_least: op.clone(), op, event_least: event.clone(), event }
}

fn put_product() -> Example {
    let put = PutProduct {
        product: Some(1),
        name: Some("x".to_owned()),
        price: Some(3),
        stock: Some(4),
        limit: Some(Change::Set(5)),
        starts: Some(Change::Set(6)),
        ends: Some(Change::Clear),
        status: Some(ProductStatus::Normal),
    };
    let event = ProductPut {
        seq: 1,
        at: 2,
        product: 1,
        name: "x".to_owned(),
        price: 3,
        limit: Some(5),
        starts: Some(6),
        ends: Some(7),
        status: ProductStatus::Deleted,
        version: 8,
        created: true,
        stock: 4,
        by: somebody(),
    };
    let least = ProductPut { limit: None, starts: None, ends: None, ..event.clone() };
    Example {
        op: Op::PutProduct(put),
        op_least: Op::PutProduct(PutProduct::default()),
        event: Event::ProductPut(event),
        event_least: Event::ProductPut(least),
    }
}

/// Everything that header, body and Rust disagree on.
fn drifts(file: &str, text: &str, example: &Example) -> Vec<String> {
    let (header, body) = text.split_once("\n]]\n").unwrap_or_else(|| panic!("{file}: no header that ends in ]]"));
    let header = Header::parse(header);
    let body = without_comments(body);
    let mut drifts = Drifts(Vec::new());
    drifts.differ("name", ("header", &one(&header.op)), ("file", &one(file)));
    if !body.contains(&format!("ops.{} = {{", header.op)) {
        drifts.0.push(format!("name: the body does not define ops.{}", header.op));
    }
    drifts_of_refusals(&mut drifts, file, &header, &body);
    drifts_of_args(&mut drifts, &header, &body, example);
    drifts_of_columns(&mut drifts, &header, &body);
    drifts_of_event(&mut drifts, &header, &body, example);
    drifts.0
}

struct Drifts(Vec<String>);

impl Drifts {
    fn differ<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, left: (&str, &T), right: (&str, &T)) {
        if left.1 != right.1 {
            self.0.push(format!("{what}: {} has {:?}, {} has {:?}", left.0, left.1, right.0, right.1));
        }
    }
}

fn drifts_of_refusals(drifts: &mut Drifts, file: &str, header: &Header, body: &str) {
    let mut refused: Names = after_each(body, "refuse('").map(word).collect();
    if body.contains("window_refusal(") {
        let function = PRODUCT_LUA.split_once("local function window_refusal(").expect("lua/product.lua has it").1;
        let function = function.split_once("\nend").expect("a function ends").0;
        refused.extend(after_each(function, "return '").map(word));
    }
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
    let (all, least) = (shape(&packed(&example.op)), shape(&packed(&example.op_least)));
    drifts.differ("args", ("header", &header.args.shape), ("Rust", &all));
    drifts.differ("args that are always there", ("header", &header.args.required()), ("Rust", &names(&least)));

    let mut read = members_of(body, "args.");
    if body.contains("args[") {
        // The members that a loop goes over stand in a list of strings.
        let list = body.split_once("ipairs({").expect("a list of members").1.split_once('}').expect("its end").0;
        read.extend(after_each(list, "'").map(word).filter(|name| !name.is_empty()));
    }
    drifts.differ("args", ("header", &names(&header.args.shape)), ("body", &read));
    let of_items: Names = header.args.shape.values().flatten().cloned().collect();
    drifts.differ("args of items", ("header", &of_items), ("body", &members_of(body, "item.")));
}

fn drifts_of_columns(drifts: &mut Drifts, header: &Header, body: &str) {
    let mut columns = Names::new();
    for member in members_of(body, "ctx.") {
        match member.as_str() {
            "sold" => columns.extend(one("sales")),
            member if COLUMNS.contains(&member) => columns.extend(one(member)),
            member if NO_COLUMNS.contains(&member) => {}
            member => drifts.0.push(format!("columns: the body uses ctx.{member}, which this test does not know")),
        }
    }
    columns.extend(COLUMN_READERS.iter().filter(|(call, _)| body.contains(call)).flat_map(|(_, name)| one(name)));
    drifts.differ("columns", ("header", &header.columns), ("body", &columns));
}

fn drifts_of_event(drifts: &mut Drifts, header: &Header, body: &str, example: &Example) {
    let emitted: Vec<&str> = after_each(body, "emit(ctx, '").collect();
    let [emitted] = emitted[..] else {
        drifts.0.push(format!("event: the body emits {} times", emitted.len()));
        return;
    };
    let (head, fields) = emitted.split_once('{').expect("an event has fields");
    let (name, version) = head.split_once("',").expect("an event has a version");
    let version = version.trim().trim_end_matches(',').to_owned();
    drifts.differ("event", ("header", &header.event), ("body", &(name.to_owned(), version)));
    drifts.differ("event", ("header", &one(&header.event.0)), ("Rust", &one(example.event.name())));

    let mut written = Shape::new();
    for field in top_level(until_closed(fields)) {
        let (field, value) = field.split_once('=').unwrap_or((field, ""));
        written.insert(field.trim().to_owned(), items_of(body, value.trim()));
    }
    for added in ["seq", "at"] {
        written.insert(added.to_owned(), Names::new());
    }
    drifts.differ("event fields", ("header", &header.fields.shape), ("body", &written));

    let (all, least) = (event_fields(&example.event), event_fields(&example.event_least));
    drifts.differ("event fields", ("header", &header.fields.shape), ("Rust", &shape(&all)));
    let required = header.fields.required();
    drifts.differ("event fields that are always there", ("header", &required), ("Rust", &names(&shape(&least))));
    let version: u32 = header.event.1.parse().expect("a version is a number");
    let bytes = rmp_serde::to_vec_named(&(&header.event.0, version, &all)).expect("plain data");
    match Event::decode(&bytes) {
        Ok(event) if event == example.event => {}
        other => drifts.0.push(format!("event: Rust reads name, version and fields of the header as {other:?}")),
    }
}

/// A header, parsed.
struct Header {
    op: String,
    args: Members,
    columns: Names,
    refusals: Names,
    event: (String, String),
    fields: Members,
}

impl Header {
    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let lines = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            lines.unwrap_or_else(|| panic!("the header has no {key:?}:\n{text}")).trim()
        };
        let (event, fields) = value("event").split_once('{').expect("an event has fields");
        let (event, version) = event.trim().split_once(' ').expect("an event has a version");
        // Below `refusals:`, indented, one per line.
        let refusals = text.lines().skip_while(|line| *line != "refusals:").skip(1);
        let refusals = refusals.take_while(|line| line.starts_with("  "));
        assert!(!value("purpose").is_empty(), "a header says what the op is for");
        Self {
            op: value("op").to_owned(),
            args: Members::parse(value("args")),
            columns: value("columns").split(',').map(|name| name.trim().to_owned()).collect(),
            refusals: refusals.map(|line| word(line.trim())).collect(),
            event: (event.to_owned(), version.to_owned()),
            fields: Members::parse(until_closed(fields)),
        }
    }
}

/// A list such as `items [{product, quantity}], final?` of a header.
struct Members {
    shape: Shape,
    optional: Names,
}

impl Members {
    fn parse(text: &str) -> Self {
        let (mut shape, mut optional) = (Shape::new(), Names::new());
        for member in top_level(text) {
            let name = word(member);
            if member[name.len()..].starts_with('?') {
                optional.insert(name.clone());
            }
            let items = member.split_once("[{").map_or("", |(_, items)| until_closed(items));
            shape.insert(name, top_level(items).into_iter().map(word).collect());
        }
        Self { shape, optional }
    }

    fn required(&self) -> Names {
        self.shape.keys().filter(|name| !self.optional.contains(*name)).cloned().collect()
    }
}

fn one(name: &str) -> Names {
    Names::from([name.to_owned()])
}

fn names(shape: &Shape) -> Names {
    shape.keys().cloned().collect()
}

fn packed(value: &impl Serialize) -> Value {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(value).expect("plain data")).expect("plain data")
}

fn event_fields(event: &Event) -> Value {
    match event {
        Event::OrderConfirmed(event) => packed(event),
        Event::BalanceCharged(event) => packed(event),
        Event::StockAdjusted(event) => packed(event),
        Event::ProductPut(event) => packed(event),
    }
}

/// The members that a Rust value is packed with.
fn shape(value: &Value) -> Shape {
    let members = value.as_object().expect("ops and events are maps");
    let of_items = |member: &Value| -> Names {
        let first = member.as_array().and_then(|items| items.first()).and_then(Value::as_object);
        first.map_or_else(Names::new, |item| item.keys().cloned().collect())
    };
    members.iter().map(|(name, member)| (name.clone(), of_items(member))).collect()
}

fn without_comments(body: &str) -> String {
    body.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// What follows each `mark`.
fn after_each<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(mark).map(move |(at, _)| &text[at + mark.len()..])
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The identifier that `text` starts with.
fn word(text: &str) -> String {
    text.chars().take_while(|c| is_word(*c)).collect()
}

/// Every X of `object.X`, for `mark` = `object.`.
fn members_of(body: &str, mark: &str) -> Names {
    let starts = body.match_indices(mark).map(|(at, _)| at);
    let whole = starts.filter(|at| !body[..*at].chars().next_back().is_some_and(is_word));
    whole.map(|at| word(&body[at + mark.len()..])).collect()
}

/// The part before the bracket that closes what was open at the start of `text`.
fn until_closed(text: &str) -> &str {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' if depth == 0 => return &text[..at],
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
    }
    panic!("nothing closes {text:?}")
}

/// The parts between the commas that stand in no bracket.
fn top_level(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The members of the tables that the body puts into the list `variable`, as in `variable[i] = { member = …`.
fn items_of(body: &str, variable: &str) -> Names {
    if variable.is_empty() || !variable.chars().all(is_word) {
        return Names::new();
    }
    let assigned = after_each(body, variable).filter(|rest| rest.starts_with('['));
    let tables = assigned.filter_map(|rest| rest.split_once(']')?.1.trim_start().strip_prefix("= {"));
    let members = tables.flat_map(|table| top_level(until_closed(table)));
    members.map(word).collect()
}
