//! What operators look into and change.

pub mod coupons;
pub mod dead_letters;
pub mod orders;
pub mod products;
pub mod verify;

use serde::{Deserialize, Deserializer};

use super::problem::{Code, Problem};
use crate::engine::op::Change;

/// Largest amount: what a double holds exactly.
pub(super) const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Largest stock of a product and number of coupons.
pub(super) const QUANTITY_MAX: u64 = 1_000_000_000_000_000;

/// The last ms of the year 9999.
const TIME_MAX_MS: i64 = 253_402_300_799_999;

/// Characters of the longest name.
pub(super) const NAME_CHARS_MAX: usize = 200;

/// Given or not, and when given possibly null: the two must stay apart.
type Given<T> = Option<Option<T>>;

/// Tells "given as null" from "not given".
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Given<T>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

fn change<T, U>(member: Given<T>, convert: impl FnOnce(T) -> U) -> Option<Change<U>> {
    member.map(|value| value.map_or(Change::Clear, |value| Change::Set(convert(value))))
}

fn check_number(name: &str, value: u64, (least, most): (u64, u64)) -> Result<(), Problem> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Problem::new(Code::InvalidInput).because(format!("{name} must be from {least} to {most}")))
}

/// Times of a window: what PostgreSQL and everybody's calendar can hold.
fn check_time(name: &str, time: Option<jiff::Timestamp>) -> Result<(), Problem> {
    match time {
        Some(time) if !(0..=TIME_MAX_MS).contains(&time.as_millisecond()) => {
            Err(Problem::new(Code::InvalidInput).because(format!("{name} must be in the years 1970 to 9999")))
        }
        _ => Ok(()),
    }
}
