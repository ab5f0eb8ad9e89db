//! What the data platform is told: one message per event, as `CloudEvents` 1.0 in JSON.
//!
//! `{specversion, id, source, type, subject, time, sequence, partitionkey, datacontenttype, data {userId, order?, balance?}}`:
//! - `id` (with `source`, which names the shop) is the same however often the event is sent: deduplicate by it.
//! - `sequence` orders the events of one user; `partitionkey` is that user.
//! - `order` is the order as its buyer sees it; `balance` what the event did to the prepaid balance, as in its ledger.

use serde::Serialize;

use crate::engine::event::{ChargeStatus, Event, OrderStatus};
use crate::engine::ids::{CellId, EntityId};
use crate::engine::user::UserId;
use crate::http::order_view::OrderView;
use crate::http::reply;

/// What an event means to the data platform; in Kafka the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// An order was paid.
    OrderCompleted,
    /// An order was given up, paid or not.
    OrderCancelled,
    /// A balance changed, and nothing else.
    BalanceChanged,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::OrderCompleted, Self::OrderCancelled, Self::BalanceChanged];

    /// As the wire and PostgreSQL spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OrderCompleted => "order-completed",
            Self::OrderCancelled => "order-cancelled",
            Self::BalanceChanged => "balance-changed",
        }
    }
}

/// An event that the data platform is told of.
#[derive(Clone, Debug)]
pub struct Message {
    cell: CellId,
    topic: Topic,
    event: Event,
}

impl Message {
    /// `None`: the platform need not know. An order is told of when it is paid and when it is given up; what is reserved, held,
    /// expired or declined never was a sale, and that a card's money is back changes none.
    pub fn of_event(cell: CellId, event: Event) -> Option<Self> {
        let topic = match &event {
            Event::OrderConfirmed(_) => Topic::OrderCompleted,
            Event::OrderChanged(order) => match order.status {
                OrderStatus::Confirmed => Topic::OrderCompleted,
                OrderStatus::Cancelled | OrderStatus::Refunded if order.gives_back() => Topic::OrderCancelled,
                _ => return None,
            },
            Event::BalanceCharged(_) => Topic::BalanceChanged,
            Event::ChargeSettled(charge) if charge.status == ChargeStatus::Completed => Topic::BalanceChanged,
            _ => return None,
        };
        Some(Self { cell, topic, event })
    }

    /// The same however often it is sent.
    pub fn id(&self) -> EntityId {
        EntityId::new(self.cell, self.seq())
    }

    /// Sequence number of the event.
    pub fn seq(&self) -> u64 {
        self.event.seq()
    }

    /// What it means.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Whose it is: messages of one user are delivered in order.
    pub fn user(&self) -> &UserId {
        match &self.event {
            Event::OrderConfirmed(order) => &order.user,
            Event::OrderChanged(order) => &order.user,
            Event::BalanceCharged(charge) => &charge.user,
            Event::ChargeSettled(charge) => &charge.user,
            _ => unreachable!("of_event takes no other"),
        }
    }

    /// The order that it is about.
    pub fn order(&self) -> Option<EntityId> {
        match &self.event {
            Event::OrderConfirmed(order) => Some(EntityId::new(self.cell, order.seq)),
            Event::OrderChanged(order) => Some(EntityId::new(self.cell, order.order)),
            _ => None,
        }
    }

    /// Appends it as one JSON object. `source`: names the shop.
    pub fn write_json(&self, source: &str, out: &mut Vec<u8>) {
        let data = Data {
            user_id: self.user(),
            order: OrderView::of_event(self.cell, &self.event).map(OrderView::without_balance),
            balance: self.balance(),
        };
        let subject = self.order().unwrap_or(self.id());
        self.write(&self.id().to_string(), self.topic, subject, source, data, out);
    }

    /// What it did to the balance alone, for a topic of its own; `None` when it did nothing. Its id is another one than the whole
    /// message's: two things under one id would be one to whoever deduplicates.
    pub fn balance_json(&self, source: &str) -> Option<Vec<u8>> {
        let balance = self.balance()?;
        let (mut out, topic) = (Vec::new(), Topic::BalanceChanged);
        let id = if self.topic == topic { self.id().to_string() } else { format!("{}-balance", self.id()) };
        let data = Data { user_id: self.user(), order: None, balance: Some(balance) };
        self.write(&id, topic, self.id(), source, data, &mut out);
        Some(out)
    }

    fn write(&self, id: &str, topic: Topic, subject: EntityId, source: &str, data: Data<'_>, out: &mut Vec<u8>) {
        let event = CloudEvent {
            specversion: "1.0",
            id,
            source,
            kind: topic.as_str(),
            subject,
            time: reply::time(self.at()),
            sequence: format!("{:020}", self.seq()),
            partitionkey: self.user(),
            datacontenttype: "application/json",
            data,
        };
        serde_json::to_writer(out, &event).expect("plain data, and a vector takes everything");
    }

    fn at(&self) -> i64 {
        match &self.event {
            Event::OrderConfirmed(order) => order.at,
            Event::OrderChanged(order) => order.at,
            Event::BalanceCharged(charge) => charge.at,
            Event::ChargeSettled(charge) => charge.at,
            _ => unreachable!("of_event takes no other"),
        }
    }

    /// Its row in the ledger, if it has one.
    fn balance(&self) -> Option<BalanceChange> {
        let (kind, amount, balance_after, used_total) = match &self.event {
            Event::OrderConfirmed(order) => ("PAYMENT", order.final_amount, order.balance, order.used),
            Event::OrderChanged(order) => (order.transaction_kind()?, order.final_amount, order.balance, order.used),
            Event::BalanceCharged(charge) => ("CHARGE", charge.amount, charge.balance, charge.used),
            Event::ChargeSettled(charge) => ("CHARGE", charge.amount, charge.balance, charge.used),
            _ => return None,
        };
        let order_id = self.order();
        Some(BalanceChange { transaction_id: self.id(), kind, amount, balance_after, used_total, order_id })
    }
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: EntityId,
    time: String,
    sequence: String,
    partitionkey: &'a UserId,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    user_id: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<OrderView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<BalanceChange>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BalanceChange {
    transaction_id: EntityId,
    #[serde(rename = "type")]
    kind: &'static str,
    amount: u64,
    balance_after: u64,
    used_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<EntityId>,
}
