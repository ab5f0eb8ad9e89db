//! Ops and events of every kind.

use flashsale::engine::event::{
    BalanceCharged, CartLine, CartPut, ChargeOpened, ChargeSettled, ChargeStatus, CouponIssued, CouponPut, Event,
    OrderChanged, OrderConfirmed, OrderLine, OrderStatus, ProductPut, RefundStatus, RestockRequested, StockAdjusted,
};
use flashsale::engine::op::{
    AdjustStock, CancelOrder, Change, ChargeBalance, CouponType, DiscountType, ExpireOrder, IssueCoupon, ItemStatus,
    Op, OpenCharge, OrderItem, PaidLine, PaidOrder, PayOrder, PaymentMethod, PlaceOrder, PutCart, PutCoupon,
    PutProduct, RequestRestock, ReserveOrder, SettleCharge, SettleOrder, ShippingAddress, Verdict,
};
use flashsale::engine::user::UserId;

/// An op and its event. The first of each has every optional member set; what may be absent is absent in one of the
/// others. Fields of one type have values of their own, so that a wrong order shows.
pub struct Example {
    pub ops: Vec<Op>,
    pub events: Vec<Event>,
}

/// One per op, in the order of `Op::NAMES`.
pub fn examples() -> Vec<Example> {
    let [place, place_least] = place_order();
    vec![
        Example { ops: vec![place.clone().into(), place_least.clone().into()], events: order_confirmed() },
        changes_order([ReserveOrder(place), ReserveOrder(place_least)]),
        changes_order([PayOrder { order: 1, method: PaymentMethod::Card, amount: 2 }]),
        changes_order([SettleOrder { order: 1, verdict: Verdict::Declined }]),
        changes_order(cancel_order()),
        changes_order([ExpireOrder { order: 1 }]),
        charge_balance(),
        open_charge(),
        settle_charge(),
        put_coupon(),
        issue_coupon(),
        put_cart(),
        request_restock(),
        adjust_stock(),
        put_product(),
    ]
}

fn text() -> String {
    "x".to_owned()
}

fn somebody() -> UserId {
    UserId::parse("u1").expect("a user id")
}

fn address() -> ShippingAddress {
    ShippingAddress {
        recipient: text(),
        phone: text(),
        line1: text(),
        line2: Some(text()),
        city: Some(text()),
        postal_code: text(),
        country: text(),
    }
}

fn line(counted: Option<bool>) -> OrderLine {
    OrderLine { product: 21, name: text(), price: 22, quantity: 23, discount: 24, counted }
}

fn place_order() -> [PlaceOrder; 2] {
    let all = PlaceOrder {
        items: Some(vec![OrderItem { product: 1, quantity: 2 }]),
        coupons: vec![3, 4],
        final_amount: Some(5),
        address: Some(address()),
    };
    [all, PlaceOrder::default()]
}

fn order_confirmed() -> Vec<Event> {
    let all = OrderConfirmed {
        seq: 1,
        at: 2,
        user: somebody(),
        day: "2100-01-01".to_owned(),
        total: 11,
        discount: 12,
        final_amount: 13,
        method: PaymentMethod::Balance,
        address: Some(address()),
        balance: 14,
        used: 15,
        items: vec![line(Some(true))],
        coupons: Some(vec![16, 17]),
        cart: Some(true),
    };
    let least = OrderConfirmed { address: None, items: vec![line(None)], coupons: None, cart: None, ..all.clone() };
    vec![Event::OrderConfirmed(all), Event::OrderConfirmed(least)]
}

/// An op whose event is the whole order as it is afterwards.
fn changes_order<T: Into<Op>>(ops: impl IntoIterator<Item = T>) -> Example {
    let all = OrderChanged {
        seq: 1,
        at: 2,
        order: 3,
        status: OrderStatus::PaymentFailed,
        user: somebody(),
        created: 4,
        expires: Some(5),
        total: 6,
        discount: 7,
        final_amount: 8,
        method: Some(PaymentMethod::Card),
        day: Some("2100-01-01".to_owned()),
        paid_at: Some(9),
        payment: Some(10),
        refund: Some(RefundStatus::Pending),
        address: Some(address()),
        coupons: Some(vec![11, 12]),
        cart: Some(true),
        balance: 13,
        used: 14,
        restocked: Some(vec![15, 16]),
        items: vec![line(Some(true))],
    };
    let least = OrderChanged {
        expires: None,
        method: None,
        day: None,
        paid_at: None,
        payment: None,
        refund: None,
        address: None,
        coupons: None,
        cart: None,
        restocked: None,
        items: vec![line(None)],
        ..all.clone()
    };
    let events = vec![Event::OrderChanged(all), Event::OrderChanged(least)];
    Example { ops: ops.into_iter().map(Into::into).collect(), events }
}

fn cancel_order() -> [CancelOrder; 3] {
    let paid = PaidOrder {
        user: somebody(),
        created: 1,
        expires: Some(2),
        total: 3,
        discount: 4,
        final_amount: 5,
        method: PaymentMethod::Card,
        day: "2100-01-01".to_owned(),
        paid_at: 6,
        payment: 7,
        address: Some(address()),
        coupons: Some(vec![8, 9]),
        items: vec![PaidLine(10, text(), 11, 12, 13, Some(true))],
    };
    let least = PaidOrder { expires: None, address: None, coupons: None, ..paid.clone() };
    [Some(paid), Some(least), None].map(|paid| CancelOrder { order: 1, paid })
}

fn charge_balance() -> Example {
    let charged = BalanceCharged { seq: 1, at: 2, user: somebody(), amount: 11, previous: 12, balance: 13, used: 14 };
    Example { ops: vec![ChargeBalance { amount: 100 }.into()], events: vec![Event::BalanceCharged(charged)] }
}

fn open_charge() -> Example {
    let op = |method| Op::from(OpenCharge { amount: 1, method });
    let event = |method| Event::ChargeOpened(ChargeOpened { seq: 1, at: 2, user: somebody(), amount: 3, method });
    Example { ops: vec![op(Some(text())), op(None)], events: vec![event(Some(text())), event(None)] }
}

fn settle_charge() -> Example {
    let settled = ChargeSettled {
        seq: 1,
        at: 2,
        user: somebody(),
        charge: 3,
        status: ChargeStatus::Failed,
        amount: 4,
        previous: 5,
        balance: 6,
        used: 7,
    };
    let op = SettleCharge { charge: 1, verdict: Verdict::Approved };
    Example { ops: vec![op.into()], events: vec![Event::ChargeSettled(settled)] }
}

fn put_coupon() -> Example {
    let put = PutCoupon {
        coupon: Some(1),
        name: Some(text()),
        kind: Some(CouponType::CartItem),
        product: Some(2),
        discount: Some(DiscountType::Percent),
        value: Some(3),
        max_discount: Some(4),
        min_order: Some(5),
        total: Some(6),
        starts: Some(Change::Set(7)),
        ends: Some(Change::Clear),
        valid_days: Some(8),
        status: Some(ItemStatus::Normal),
    };
    let all = CouponPut {
        seq: 1,
        at: 2,
        coupon: 3,
        name: text(),
        kind: CouponType::CartItem,
        product: Some(4),
        discount: DiscountType::Percent,
        value: 5,
        max_discount: Some(6),
        min_order: Some(7),
        total: 8,
        remaining: 9,
        starts: Some(10),
        ends: Some(11),
        valid_days: 12,
        status: ItemStatus::Deleted,
        version: 13,
        created: true,
        by: somebody(),
    };
    let least =
        CouponPut { product: None, max_discount: None, min_order: None, starts: None, ends: None, ..all.clone() };
    Example {
        ops: vec![put.into(), PutCoupon::default().into()],
        events: vec![Event::CouponPut(all), Event::CouponPut(least)],
    }
}

fn issue_coupon() -> Example {
    let issued = CouponIssued { seq: 1, at: 2, user: somebody(), coupon: 3, expires: 4, remaining: 5 };
    Example { ops: vec![IssueCoupon { coupon: 1 }.into()], events: vec![Event::CouponIssued(issued)] }
}

fn put_cart() -> Example {
    let put = PutCart { product: Some(1), quantity: Some(2), add: true };
    let line = CartLine { product: 3, name: text(), price: 4, quantity: 5 };
    let event = Event::CartPut(CartPut { seq: 1, at: 2, user: somebody(), items: vec![line] });
    Example { ops: vec![put.into(), PutCart::default().into()], events: vec![event] }
}

fn request_restock() -> Example {
    let requested = RestockRequested { seq: 1, at: 2, user: somebody(), product: 3, email: "e".to_owned(), round: 4 };
    let op = RequestRestock { product: 1, email: "e".to_owned() };
    Example { ops: vec![op.into()], events: vec![Event::RestockRequested(requested)] }
}

fn adjust_stock() -> Example {
    let event = |restocked| {
        let by = somebody();
        Event::StockAdjusted(StockAdjusted { seq: 1, at: 2, product: 3, delta: -4, stock: 5, by, restocked })
    };
    Example { ops: vec![AdjustStock { product: 1, delta: -1 }.into()], events: vec![event(Some(true)), event(None)] }
}

fn put_product() -> Example {
    let put = PutProduct {
        product: Some(1),
        name: Some(text()),
        price: Some(3),
        stock: Some(4),
        limit: Some(Change::Set(5)),
        starts: Some(Change::Set(6)),
        ends: Some(Change::Clear),
        status: Some(ItemStatus::Normal),
    };
    let all = ProductPut {
        seq: 1,
        at: 2,
        product: 11,
        name: text(),
        price: 12,
        limit: Some(13),
        starts: Some(14),
        ends: Some(15),
        status: ItemStatus::Deleted,
        version: 16,
        created: true,
        stock: 17,
        by: somebody(),
    };
    let least = ProductPut { limit: None, starts: None, ends: None, ..all.clone() };
    Example {
        ops: vec![put.into(), PutProduct::default().into()],
        events: vec![Event::ProductPut(all), Event::ProductPut(least)],
    }
}
