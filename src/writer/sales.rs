//! What the shop sold, counted as it is written: each event once in the life of a process.

use metrics::{Counter, counter};

use super::log_reader::LoggedEvent;
use crate::engine::event::{Event, OrderStatus};
use crate::metrics as names;

/// Counters of orders and money.
pub(super) struct Sales {
    confirmed: Counter,
    refunded: Counter,
    cancelled: Counter,
    expired: Counter,
    payment_failed: Counter,
    revenue: Counter,
    given_back: Counter,
}

impl Sales {
    pub(super) fn new() -> Self {
        let of_status = |status: OrderStatus| counter!(names::ORDERS, "status" => status.as_str());
        Self {
            confirmed: of_status(OrderStatus::Confirmed),
            refunded: of_status(OrderStatus::Refunded),
            cancelled: of_status(OrderStatus::Cancelled),
            expired: of_status(OrderStatus::Expired),
            payment_failed: of_status(OrderStatus::PaymentFailed),
            revenue: counter!(names::REVENUE),
            given_back: counter!(names::REFUNDED),
        }
    }

    /// Counts what was written.
    pub(super) fn count(&self, events: &[LoggedEvent]) {
        for logged in events {
            match &logged.event {
                Ok(Event::OrderConfirmed(order)) => self.sold(order.final_amount),
                Ok(Event::OrderChanged(order)) => match order.status {
                    OrderStatus::Confirmed => self.sold(order.final_amount),
                    OrderStatus::Refunded if order.gives_back() => {
                        self.refunded.increment(1);
                        self.given_back.increment(order.final_amount);
                    }
                    OrderStatus::Cancelled => self.cancelled.increment(1),
                    OrderStatus::Expired => self.expired.increment(1),
                    OrderStatus::PaymentFailed if order.gives_back() => self.payment_failed.increment(1),
                    _ => {}
                },
                _ => {}
            }
        }
    }

    fn sold(&self, amount: u64) {
        self.confirmed.increment(1);
        self.revenue.increment(amount);
    }
}
