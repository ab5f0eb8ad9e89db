//! Carts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Moment, Parameter, Rows, Unfit};
use crate::engine::event::{CartLine, CartPut};

columns! {
    /// `carts`.
    Carts of CartRow<'a> {
        user_id: &'a str, items: Value, seq: i64, at: Timestamp,
    }
}

impl<'a> Rows<'a> {
    pub(super) fn add_cart(&mut self, cart: &'a CartPut) -> Result<(), Unfit> {
        let moment = Moment::new(cart.seq, cart.at)?;

        let item = |line: &CartLine| json!({"productId": line.product, "quantity": line.quantity});
        self.put_cart(cart.user.as_str(), cart.items.iter().map(item).collect(), moment);
        Ok(())
    }

    /// An order took everything that was in the cart.
    pub(super) fn empty_cart(&mut self, user_id: &'a str, moment: Moment) {
        self.put_cart(user_id, json!([]), moment);
    }

    fn put_cart(&mut self, user_id: &'a str, items: Value, Moment { seq, at }: Moment) {
        self.carts.insert(user_id, CartRow { user_id, items, seq, at });
    }

    /// The columns of `carts`.
    pub(in crate::writer) fn carts(&self) -> Carts<'a> {
        self.carts.values().cloned().collect()
    }
}
