//! Header, body and Rust of every op say the same. An op's header is what people read and what the model was written
//! from, so it must not drift; and since events are packed by position, so must not the order of their fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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

/// Fields that the body spells otherwise than the header does: (last word of the Lua expression, field).
const ALIASES: [(&str, &str); 4] = [("id", "product"), ("business_day", "day"), ("lines", "items"), ("0", "discount")];

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
        ("place_order", "emit(ctx, call, 'order_confirmed', 1", "emit(ctx, call, 'order_placed', 1"),
        ("place_order", "method, args.address,", "method,"),
        ("place_order", "array_head(#lines) .. table.concat(lines),", "nil,"),
        ("place_order", "discount, final, method, args", "final, discount, method, args"),
        ("place_order", "total, discount, final, method, address", "discount, total, final, method, address"),
        ("place_order", "quantity, 0)", "0, quantity)"),
        ("place_order", "= array_head(5)", "= array_head(4)"),
        ("place_order", "price, quantity, discount}", "price, discount, quantity}"),
        ("place_order", "address?, balance, used, items", "address, balance, used, items"),
        ("charge_balance", "rules.charge_unit", "ctx.coupons"),
        ("adjust_stock", "columns: catalog, stock", "columns: catalog, stock, accounts"),
        ("put_product", "'ends', 'status' }", "'ends' }"),
        ("put_product", "limit?, starts?, ends?, status, version", "starts?, ends?, status, version"),
        ("put_product", "product.name, product.price,", "product.price, product.name,"),
    ];
    for (op, from, to) in changes {
        let index = Op::NAMES.iter().position(|name| *name == op).expect("an op");
        let drifted = OPS[index].1.replacen(from, to, 1);
        assert_ne!(drifted, OPS[index].1, "{op}: {from:?} is not there any more; change this test");
        assert!(!drifts(op, &drifted, &examples[index]).is_empty(), "{op}: {from:?} became {to:?} unnoticed");
    }
}

#[test]
fn emit_adds_what_every_header_promises() {
    assert!(OUTCOME_LUA.contains("pack(seq, ctx.now_ms, ...)"), "lua/outcome.lua packs seq and at first");
    for (file, text) in OPS {
        let header = Header::parse(text);
        let first: Vec<&str> = header.fields.0.iter().take(2).map(|field| field.name.as_str()).collect();
        assert_eq!(first, ["seq", "at"], "lua/ops/{file}.lua: the first fields of the event");
    }
}

/// An op and its event with every optional member set, and with none. Fields of one type have values of their own, so
/// that a wrong order shows.
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
    let line = OrderLine { product: 21, name: text(), price: 22, quantity: 23, discount: 24 };
    let confirmed = OrderConfirmed {
        seq: 1,
        at: 2,
        user: somebody(),
        day: "2100-01-01".to_owned(),
        total: 11,
        discount: 12,
        final_amount: 13,
        method: "BALANCE".to_owned(),
        address: Some(address.clone()),
        balance: 14,
        used: 15,
        items: vec![line],
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
        amount: 11,
        previous: 12,
        balance: 13,
        used: 14,
    });
    Example { op_least: op.clone(), op, event_least: event.clone(), event }
}

fn adjust_stock() -> Example {
    let op = Op::AdjustStock(AdjustStock { product: 1, delta: -1 });
    let event = Event::StockAdjusted(StockAdjusted { seq: 1, at: 2, product: 3, delta: -4, stock: 5, by: somebody() });
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
        product: 11,
        name: "x".to_owned(),
        price: 12,
        limit: Some(13),
        starts: Some(14),
        ends: Some(15),
        status: ProductStatus::Deleted,
        version: 16,
        created: true,
        stock: 17,
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
    fn differ<T: PartialEq + fmt::Debug>(&mut self, what: &str, left: (&str, &T), right: (&str, &T)) {
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
    let (all, least) = (packed(&example.op), packed(&example.op_least));
    drifts.differ("args", ("header", &header.args.shape()), ("Rust", &shape(&all)));
    drifts.differ("args that are always there", ("header", &header.args.required()), ("Rust", &present(&least)));

    let mut read = members_of(body, "args.");
    if body.contains("args[") {
        // The members that a loop goes over stand in a list of strings.
        for rest in body.split("ipairs({").skip(1) {
            let list = rest.split_once('}').expect("its end").0;
            read.extend(after_each(list, "'").map(word).filter(|name| !name.is_empty()));
        }
    }
    let names: Names = header.args.0.iter().map(|member| member.name.clone()).collect();
    drifts.differ("args", ("header", &names), ("body", &read));
    let of_items: Names = header.args.0.iter().flat_map(|member| member.items.clone()).collect();
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
    let emitted: Vec<&str> = after_each(body, "emit(ctx, call, '").map(until_closed).collect();
    let [emitted] = emitted[..] else {
        drifts.0.push(format!("event: the body emits {} times", emitted.len()));
        return;
    };
    let arguments = top_level(emitted);
    let [name, version, tail, ref fields @ ..] = arguments[..] else {
        drifts.0.push(format!("event: emit takes a type, a version, a tail and the fields, not {emitted:?}"));
        return;
    };
    let version = version.to_owned();
    drifts.differ("event", ("header", &header.event), ("body", &(word(name), version)));
    drifts.differ("event", ("header", &one(&header.event.0)), ("Rust", &one(example.event.name())));
    let behind_seq_and_at = &header.fields.0[2..];
    let written = written_fields(drifts, body, tail, fields);
    if !same_order(behind_seq_and_at, &written) {
        drifts.0.push(format!("event fields: header has {behind_seq_and_at:?}, body has {written:?}"));
    }

    let (all, least) = (event_fields(&example.event), event_fields(&example.event_least));
    drifts.differ("event fields", ("header", &header.fields.shape()), ("Rust", &shape(&all)));
    let required = header.fields.required();
    drifts.differ("event fields that are always there", ("header", &required), ("Rust", &present(&least)));
    let version: u32 = header.event.1.parse().expect("a version is a number");
    let in_log = ("fingerprint of 22 chars", "key", &header.event.0, version, header.fields.in_order(&all));
    let bytes = rmp_serde::to_vec_named(&in_log).expect("plain data");
    match Event::decode(&bytes) {
        Ok(event) if event == example.event => {}
        other => drifts.0.push(format!("event: Rust reads the fields in the order of the header as {other:?}")),
    }
}

/// The fields that the body packs, as it spells them: the arguments of `emit`, and behind them its `tail`, a list that is
/// packed already (`array_head(#list) .. table.concat(list)`) or nil.
fn written_fields(drifts: &mut Drifts, body: &str, tail: &str, fields: &[&str]) -> Vec<Member> {
    let plain = |field: &&str| Member { name: last_word(field), optional: false, items: Vec::new() };
    let mut written: Vec<Member> = fields.iter().map(plain).collect();
    if let Some(list) = tail.strip_prefix("array_head(#").map(word) {
        let items = items_of(drifts, body, &list);
        written.push(Member { name: list, optional: false, items });
    } else if tail != "nil" {
        drifts.0.push(format!("event: this test does not understand the tail {tail:?}"));
    }
    written
}

/// The members of what the body puts into a list: `list[i] = array_head(2) .. cmsgpack.pack(a, b)`.
fn items_of(drifts: &mut Drifts, body: &str, list: &str) -> Vec<String> {
    let assigned = body.split_once(&format!("{list}[i] = array_head("));
    let Some((count, packed)) = assigned.and_then(|(_, rest)| rest.split_once(") .. cmsgpack.pack(")) else {
        drifts.0.push(format!("event: this test does not see what the body puts into {list}"));
        return Vec::new();
    };
    let items: Vec<String> = top_level(until_closed(packed)).into_iter().map(last_word).collect();
    drifts.differ(
        "event: number of members of an item",
        ("head", &count.to_owned()),
        ("body", &items.len().to_string()),
    );
    items
}

fn same_order(header: &[Member], written: &[Member]) -> bool {
    let same = |field: &str, spelled: &str| field == spelled || ALIASES.contains(&(spelled, field));
    header.len() == written.len()
        && header.iter().zip(written).all(|(field, member)| {
            same(&field.name, &member.name)
                && field.items.len() == member.items.len()
                && field.items.iter().zip(&member.items).all(|(field, spelled)| same(field, spelled))
        })
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

/// A list such as `items [{product, quantity}], final?` of a header, in its order.
struct Members(Vec<Member>);

struct Member {
    name: String,
    optional: bool,
    /// The members of its items, when it is a list of objects.
    items: Vec<String>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.items.is_empty() { Ok(()) } else { write!(f, " [{}]", self.items.join(", ")) }
    }
}

impl Members {
    fn parse(text: &str) -> Self {
        let member = |text: &str| {
            let name = word(text);
            let optional = text[name.len()..].starts_with('?');
            let items = text.split_once("[{").map_or("", |(_, items)| until_closed(items));
            Member { name, optional, items: top_level(items).into_iter().map(word).collect() }
        };
        Self(top_level(text).into_iter().map(member).collect())
    }

    fn shape(&self) -> Shape {
        self.0.iter().map(|member| (member.name.clone(), member.items.iter().cloned().collect())).collect()
    }

    fn required(&self) -> Names {
        self.0.iter().filter(|member| !member.optional).map(|member| member.name.clone()).collect()
    }

    /// The values of a map as the array that the log has; so are the items of a list of objects.
    fn in_order(&self, named: &Value) -> Vec<Value> {
        let item =
            |member: &Member, item: &Value| -> Value { member.items.iter().map(|name| item[name].clone()).collect() };
        let value = |member: &Member| -> Value {
            match &named[&member.name] {
                Value::Array(items) if !member.items.is_empty() => {
                    items.iter().map(|named| item(member, named)).collect()
                }
                value => value.clone(),
            }
        };
        self.0.iter().map(value).collect()
    }
}

fn one(name: &str) -> Names {
    Names::from([name.to_owned()])
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

/// The members that are not null.
fn present(value: &Value) -> Names {
    let members = value.as_object().expect("ops and events are maps");
    members.iter().filter(|(_, member)| !member.is_null()).map(|(name, _)| name.clone()).collect()
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

/// The identifier or number that `text` ends with.
fn last_word(text: &str) -> String {
    text.rsplit(|c: char| !is_word(c)).next().unwrap_or_default().to_owned()
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
