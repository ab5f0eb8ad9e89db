use super::*;
use crate::engine::event::{CouponIssued, OrderChanged, OrderConfirmed, OrderLine, OrderStatus, RefundStatus};
use crate::engine::event::{RestockRequested, StockAdjusted};
use crate::engine::op::PaymentMethod;
use crate::engine::user::UserId;

fn cell() -> CellId {
    CellId::new(0).expect("a cell")
}

fn ann() -> UserId {
    UserId::parse("ann").expect("a user id")
}

fn line() -> OrderLine {
    OrderLine { product: 7, name: "Hot".to_owned(), price: 100, quantity: 2, discount: 50, counted: Some(true) }
}

fn confirmed(seq: u64, coupons: Option<Vec<u32>>) -> Event {
    Event::OrderConfirmed(OrderConfirmed {
        seq,
        at: 1_000,
        user: ann(),
        day: "2026-01-02".to_owned(),
        total: 200,
        discount: 50,
        final_amount: 150,
        method: PaymentMethod::Balance,
        address: None,
        balance: 0,
        used: 150,
        items: vec![line()],
        coupons,
        cart: None,
    })
}

/// Order 1 of Ann, with coupon 5, in a new state.
fn changed(seq: u64, status: OrderStatus, method: Option<PaymentMethod>, refund: Option<RefundStatus>) -> Event {
    let paid = matches!(status, OrderStatus::Confirmed | OrderStatus::Refunded);
    Event::OrderChanged(OrderChanged {
        seq,
        at: 1_000 * i64::try_from(seq).expect("a small number"),
        order: 1,
        status,
        user: ann(),
        created: 1_000,
        expires: Some(600_000),
        total: 200,
        discount: 50,
        final_amount: 150,
        method,
        day: paid.then(|| "2026-01-02".to_owned()),
        paid_at: paid.then_some(3_000),
        payment: method.map(|_| 2),
        refund,
        address: None,
        coupons: Some(vec![5]),
        cart: None,
        balance: 850,
        used: 150,
        restocked: None,
        items: vec![line()],
    })
}

fn rows(events: &[Event]) -> Rows<'_> {
    let mut rows = Rows::default();
    for event in events {
        rows.add(cell(), event).expect("an event that fits");
    }
    rows
}

/// Available, reserved and sold of product 7, and what the day sold.
fn counts(rows: &Rows<'_>) -> (i64, i64, i64, i64) {
    let stock = &rows.stock[&7];
    (stock.available, stock.reserved, stock.sold, rows.sales.values().map(|row| row.quantity).sum())
}

#[test]
fn a_card_gives_back_when_the_order_is_given_up_not_when_the_money_is_back() {
    let card = Some(PaymentMethod::Card);
    let events = [
        changed(1, OrderStatus::PendingPayment, None, None),
        changed(2, OrderStatus::Held, card, None),
        changed(3, OrderStatus::Confirmed, card, None),
        changed(4, OrderStatus::Refunded, card, Some(RefundStatus::Pending)),
        changed(5, OrderStatus::Refunded, card, Some(RefundStatus::Done)),
    ];
    let stock = |count: usize| counts(&rows(&events[..count]));
    assert_eq!([1, 2, 3, 4, 5].map(stock), [(-2, 2, 0, 0), (-2, 2, 0, 0), (-2, 0, 2, 2), (0, 0, 0, 0), (0, 0, 0, 0)]);
    let rows = rows(&events);
    assert_eq!(rows.changed.len(), 1);
    let Changed { order, payment, lines } = &rows.changed[&1];
    assert_eq!((order.status, order.refund, order.released_seq, order.seq), ("REFUNDED", Some("DONE"), Some(4), 5));
    assert_eq!((order.payment_id, lines.len(), lines[0].counted), (Some(2), 1, true));
    let payment = payment.as_ref().expect("a payment");
    assert_eq!((payment.payment_id, payment.status), (2, "REFUNDED"));
    assert_eq!(payment.created.as_millisecond(), 2_000, "when it was started");
    let coupon = &rows.user_coupons[&("ann", 5)];
    assert_eq!((coupon.status, coupon.order_id, coupon.seq), ("AVAILABLE", None, 4));
    assert!(rows.transactions.kind.is_empty(), "a card's money is none of the balance's");
    assert!(rows.orders.order_id.is_empty());
}

#[test]
fn a_balance_is_debited_and_credited_once() {
    let balance = Some(PaymentMethod::Balance);
    let events = [
        changed(1, OrderStatus::PendingPayment, None, None),
        changed(2, OrderStatus::Confirmed, balance, None),
        changed(3, OrderStatus::Refunded, balance, Some(RefundStatus::Done)),
    ];
    let rows = rows(&events);
    assert_eq!(rows.transactions.kind, ["PAYMENT", "REFUND"]);
    assert_eq!(rows.transactions.transaction_id, [2, 3]);
    assert_eq!(rows.transactions.order_id, [Some(1), Some(1)]);
    assert_eq!(counts(&rows), (0, 0, 0, 0));
    assert_eq!(rows.changed[&1].order.released_seq, Some(3));
}

#[test]
fn what_was_only_reserved_is_given_back() {
    for end in [OrderStatus::Cancelled, OrderStatus::Expired] {
        let events = [changed(1, OrderStatus::PendingPayment, None, None), changed(2, end, None, None)];
        let rows = rows(&events);
        assert_eq!(counts(&rows), (0, 0, 0, 0));
        assert!(rows.changed[&1].payment.is_none() && rows.sales.is_empty());
        assert_eq!(rows.user_coupons[&("ann", 5)].status, "AVAILABLE");
    }
}

#[test]
fn an_order_that_is_paid_at_once_takes_the_short_way_unless_it_used_coupons_or_comes_late() {
    let (plain, with_coupon) = (confirmed(1, None), confirmed(1, Some(vec![5])));
    let short = rows(std::slice::from_ref(&plain));
    assert_eq!((short.orders.order_id.len(), short.items.line.len(), short.changed.len()), (1, 1, 0));
    let long = rows(std::slice::from_ref(&with_coupon));
    assert_eq!((long.orders.order_id.len(), long.items.line.len(), long.changed.len()), (0, 0, 1));
    assert_eq!(long.changed[&1].order.payment_id, None, "it is the order's id");
    assert_eq!((long.user_coupons[&("ann", 5)].status, long.user_coupons[&("ann", 5)].order_id), ("USED", Some(1)));
    let mut late = Rows::of_one(true);
    late.add(cell(), &plain).expect("an event that fits");
    assert_eq!((late.orders.order_id.len(), late.changed.len()), (0, 1));
    assert!([&short, &long, &late].iter().all(|rows| counts(rows) == (-2, 0, 2, 2)));
}

#[test]
fn an_issued_coupon_that_is_used_in_the_same_batch_is_one_row() {
    let issued = CouponIssued { seq: 1, at: 500, user: ann(), coupon: 5, expires: 9_000, remaining: 3 };
    let events = [Event::CouponIssued(issued), confirmed(2, Some(vec![5]))];
    let rows = rows(&events);
    let coupon = &rows.user_coupons[&("ann", 5)];
    assert_eq!((coupon.status, coupon.user_coupon_id, coupon.order_id, coupon.seq), ("USED", Some(1), Some(2), 2));
    assert!(coupon.expires.is_some() && coupon.created < coupon.at);
    assert_eq!(rows.coupon_stock[&5].issued, 1);
}

#[test]
fn each_request_is_due_by_the_first_restock_behind_it() {
    let back = |seq| {
        let change = StockAdjusted { seq, at: 0, product: 7, delta: 1, stock: 1, by: ann(), restocked: Some(true) };
        Event::StockAdjusted(change)
    };
    let request = |seq, round| {
        Event::RestockRequested(RestockRequested {
            seq,
            at: 0,
            user: ann(),
            product: 7,
            email: "a@b".to_owned(),
            round,
        })
    };
    let events = [request(1, 1), back(2), request(3, 2), request(4, 2), back(5)];
    let rows = rows(&events);
    assert_eq!(rows.restock_due.after, [0, 2]);
    assert_eq!(rows.restock_due.seq, [2, 5]);
    assert_eq!(rows.restock.values().map(|row| (row.round, row.seq)).collect::<Vec<_>>(), [(1, 1), (2, 4)]);
    assert_eq!(rows.stock[&7].restocked_seq, Some(5));
}

#[test]
fn a_misfit_leaves_no_half_of_itself_behind() {
    let Event::OrderChanged(mut order) = changed(1, OrderStatus::Confirmed, Some(PaymentMethod::Balance), None) else {
        unreachable!("it is one");
    };
    let fits = order.clone();
    let mut misfits = vec![order.clone(), order.clone(), order.clone()];
    misfits[0].items[0].name = "\0".to_owned();
    misfits[1].day = None;
    misfits[2].payment = None;
    order.order = SEQ_END;
    misfits.push(order);
    for misfit in misfits {
        let event = Event::OrderChanged(misfit);
        let mut rows = Rows::default();
        assert!(rows.add(cell(), &event).is_err());
        assert!(rows.stock.is_empty() && rows.changed.is_empty() && rows.transactions.kind.is_empty());
    }
    assert_eq!(rows(&[Event::OrderChanged(fits)]).transactions.kind, ["PAYMENT"]);
}
