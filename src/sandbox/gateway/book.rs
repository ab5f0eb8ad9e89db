//! What the played gateway remembers, and how it decides: every key once.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

/// Payments in the book. It is in memory and forgets nothing: about 300 bytes each beside key and user, so some
/// hundred megabytes when it is full.
const PAYMENTS_MAX: usize = 1_000_000;

/// Reason of a charge that a fault declined.
pub(super) const REASON_DECLINED: &str = "declined by the sandbox";

/// Reason of a charge that comes after the void of its key.
pub(super) const REASON_VOIDED: &str = "voided";

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    Approved,
    Declined,
    Refunded,
    Voided,
}

/// One key, as `GET /gateway/book` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payment {
    pub(super) key: String,
    /// Who pays; `None` when the key was voided before anybody was charged.
    pub(super) user: Option<String>,
    /// Minor units; 0 when the key was voided before anybody was charged.
    pub(super) amount: u64,
    pub(super) status: Status,
    /// The gateway's own name for it.
    pub(super) reference: String,
    /// How often the money was taken: 0 or 1.
    pub(super) charges: u32,
    /// How often the money was given back: 0 or 1.
    pub(super) refunds: u32,
    pub(super) created_at: Timestamp,
}

/// The answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision<'a> {
    /// The charge was approved, now or before.
    Approved(&'a Payment),
    /// The charge was declined, now or before.
    Declined {
        /// As it was asked for: a key that was voided first has none of its own.
        amount: u64,
        reason: &'static str,
    },
    /// What was asked for: the present state, after the refund or void if that was asked.
    State(&'a Payment),
    /// Not done because of the present state.
    Conflict(&'a Payment),
    /// Nobody has mentioned the key yet.
    NotFound,
    /// The key stands for another amount or user.
    OtherPayment,
    /// The book has no room for a new key. Nothing was done.
    Full,
}

/// All payments since the start, in order of arrival.
#[derive(Debug)]
pub(super) struct Book {
    payments: Vec<Payment>,
    by_key: HashMap<String, usize>,
    payments_max: usize,
}

impl Book {
    /// Empty.
    pub(super) fn new() -> Self {
        Self { payments: Vec::new(), by_key: HashMap::new(), payments_max: PAYMENTS_MAX }
    }

    /// Every payment, in order of arrival.
    pub(super) fn payments(&self) -> &[Payment] {
        &self.payments
    }

    /// Charges a key that is new, or declines it if `decline`; a known key gets the answer it got before.
    pub(super) fn charge(&mut self, key: &str, user: &str, amount: u64, decline: bool, now: Timestamp) -> Decision<'_> {
        let status = if decline { Status::Declined } else { Status::Approved };
        let Some(payment) = self.find_or_enter(key, Some(user), amount, status, now) else {
            return Decision::Full;
        };
        match payment.status {
            Status::Voided => Decision::Declined { amount, reason: REASON_VOIDED },
            _ if payment.amount != amount || payment.user.as_deref() != Some(user) => Decision::OtherPayment,
            Status::Declined => Decision::Declined { amount, reason: REASON_DECLINED },
            Status::Approved | Status::Refunded => Decision::Approved(payment),
        }
    }

    /// The present state of a key.
    pub(super) fn find(&self, key: &str) -> Decision<'_> {
        self.by_key.get(key).map_or(Decision::NotFound, |&index| Decision::State(&self.payments[index]))
    }

    /// Gives the whole payment back, unless that was done before.
    pub(super) fn refund(&mut self, key: &str, amount: u64) -> Decision<'_> {
        let Some(&index) = self.by_key.get(key) else { return Decision::NotFound };
        let payment = &mut self.payments[index];
        match payment.status {
            _ if payment.amount != amount => Decision::Conflict(payment),
            Status::Approved => {
                payment.status = Status::Refunded;
                payment.refunds += 1;
                Decision::State(payment)
            }
            Status::Refunded => Decision::State(payment),
            Status::Declined | Status::Voided => Decision::Conflict(payment),
        }
    }

    /// Closes a key that is new to every later charge; a known key stays as it is.
    pub(super) fn void(&mut self, key: &str, now: Timestamp) -> Decision<'_> {
        match self.find_or_enter(key, None, 0, Status::Voided, now) {
            None => Decision::Full,
            Some(payment) if payment.status == Status::Voided => Decision::State(payment),
            Some(payment) => Decision::Conflict(payment),
        }
    }

    /// The payment under `key`, made from the other arguments if there is none yet: the only place where keys begin and
    /// money is taken. `None`: the book is full.
    fn find_or_enter(
        &mut self,
        key: &str,
        user: Option<&str>,
        amount: u64,
        status: Status,
        now: Timestamp,
    ) -> Option<&Payment> {
        if let Some(&index) = self.by_key.get(key) {
            return Some(&self.payments[index]);
        }
        if self.payments.len() >= self.payments_max {
            return None;
        }
        self.by_key.insert(key.to_owned(), self.payments.len());
        self.payments.push(Payment {
            key: key.to_owned(),
            user: user.map(str::to_owned),
            amount,
            status,
            reference: format!("sandbox-{}", self.payments.len() + 1),
            charges: u32::from(status == Status::Approved),
            refunds: 0,
            created_at: now,
        });
        self.payments.last()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn totals(book: &Book) -> Vec<(Status, u32, u32)> {
        book.payments().iter().map(|p| (p.status, p.charges, p.refunds)).collect()
    }

    #[test]
    fn a_key_is_charged_once_and_answers_the_same_ever_after() {
        let mut book = Book::new();
        for decline in [false, true, false] {
            let Decision::Approved(payment) = book.charge("k", "u", 500, decline, NOW) else { panic!("approved") };
            assert_eq!((payment.amount, payment.reference.as_str()), (500, "sandbox-1"));
        }
        assert_eq!(book.charge("k", "u", 501, false, NOW), Decision::OtherPayment);
        assert_eq!(book.charge("k", "v", 500, false, NOW), Decision::OtherPayment);
        for decline in [true, false, true] {
            let expected = Decision::Declined { amount: 500, reason: REASON_DECLINED };
            assert_eq!(book.charge("l", "u", 500, decline, NOW), expected);
        }
        assert_eq!(totals(&book), [(Status::Approved, 1, 0), (Status::Declined, 0, 0)]);
    }

    #[test]
    fn a_refund_is_whole_and_happens_once() {
        let mut book = Book::new();
        assert_eq!(book.refund("k", 500), Decision::NotFound);
        book.charge("k", "u", 500, false, NOW);
        assert!(matches!(book.refund("k", 499), Decision::Conflict(p) if p.status == Status::Approved));
        for _ in 0..2 {
            assert!(matches!(book.refund("k", 500), Decision::State(p) if p.status == Status::Refunded));
        }
        assert!(matches!(book.refund("k", 499), Decision::Conflict(p) if p.status == Status::Refunded));
        // The charge still answers as it did, and takes nothing again.
        assert!(matches!(book.charge("k", "u", 500, false, NOW), Decision::Approved(_)));
        book.charge("l", "u", 500, true, NOW);
        assert!(matches!(book.refund("l", 500), Decision::Conflict(p) if p.status == Status::Declined));
        assert_eq!(totals(&book), [(Status::Refunded, 1, 1), (Status::Declined, 0, 0)]);
    }

    #[test]
    fn a_void_comes_before_the_charge_or_not_at_all() {
        let mut book = Book::new();
        for _ in 0..2 {
            assert!(matches!(book.void("k", NOW), Decision::State(p) if p.amount == 0 && p.user.is_none()));
        }
        let expected = Decision::Declined { amount: 500, reason: REASON_VOIDED };
        assert_eq!(book.charge("k", "u", 500, false, NOW), expected);
        assert!(matches!(book.find("k"), Decision::State(p) if p.status == Status::Voided));
        assert!(matches!(book.refund("k", 0), Decision::Conflict(p) if p.status == Status::Voided));
        book.charge("l", "u", 500, false, NOW);
        assert!(matches!(book.void("l", NOW), Decision::Conflict(p) if p.status == Status::Approved));
        assert_eq!(totals(&book), [(Status::Voided, 0, 0), (Status::Approved, 1, 0)]);
    }

    #[test]
    fn a_full_book_takes_no_new_key_but_still_knows_the_old_ones() {
        let mut book = Book { payments_max: 1, ..Book::new() };
        assert!(matches!(book.charge("k", "u", 500, false, NOW), Decision::Approved(_)));
        assert_eq!(book.charge("l", "u", 500, false, NOW), Decision::Full);
        assert_eq!(book.void("l", NOW), Decision::Full);
        assert_eq!(book.find("l"), Decision::NotFound);
        assert!(matches!(book.charge("k", "u", 500, false, NOW), Decision::Approved(_)));
        assert!(matches!(book.refund("k", 500), Decision::State(_)));
        assert_eq!(book.payments().len(), 1);
    }

    #[test]
    fn whatever_is_asked_in_whatever_order_money_moves_at_most_once() {
        let seed: u64 = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut book = Book::new();
        for _ in 0..20_000 {
            let key = format!("k{}", rng.random_range(0..500));
            let amount = rng.random_range(1..=2);
            match rng.random_range(0..4) {
                0 | 1 => book.charge(&key, "u", amount, rng.random(), NOW),
                2 => book.refund(&key, amount),
                _ => book.void(&key, NOW),
            };
        }
        for payment in book.payments() {
            let moved = (payment.charges, payment.refunds);
            let expected = match payment.status {
                Status::Approved => (1, 0),
                Status::Refunded => (1, 1),
                Status::Declined | Status::Voided => (0, 0),
            };
            assert_eq!(moved, expected, "seed {seed}: {payment:?}");
        }
    }
}
