//! Carts.

use serde_json::json;

use super::{Model, Moment, invalid, missing_units, product_not_found, refusal};
use crate::engine::event::{CartLine, CartPut, Event};
use crate::engine::op::{OrderItem, PutCart};
use crate::engine::refusal::{Refusal, Refused};
use crate::engine::user::UserId;

impl Model {
    pub(super) fn put_cart(&mut self, at: Moment<'_>, user: &UserId, put: &PutCart) -> Result<Event, Refusal> {
        let items = match put.product {
            Some(_) => self.cart_with(at, user, put)?,
            None => Vec::new(),
        };

        let line = |item: &OrderItem| {
            let product = &self.catalog[&item.product];
            CartLine {
                product: item.product,
                name: product.name.clone(),
                price: product.price,
                quantity: item.quantity,
            }
        };
        let lines = items.iter().map(line).collect();
        if items.is_empty() {
            self.carts.remove(user);
        } else {
            self.carts.insert(user.clone(), items);
        }
        Ok(Event::CartPut(CartPut { seq: self.seq + 1, at: at.now_ms, user: user.clone(), items: lines }))
    }

    /// The cart as it would be.
    fn cart_with(&self, at: Moment<'_>, user: &UserId, put: &PutCart) -> Result<Vec<OrderItem>, Refusal> {
        let id = put.product.expect("whoever changes a line names it");
        let mut items = self.carts.get(user).cloned().unwrap_or_default();
        let place = items.iter().position(|item| item.product == id);
        let there = place.map_or(0, |place| items[place].quantity);
        let asked = put.quantity.expect("whoever changes a line says how many");
        let quantity = if put.add { there.saturating_add(asked) } else { asked };
        if quantity == 0 {
            let place = place.ok_or_else(|| product_not_found(id))?;
            items.remove(place);
            return Ok(items);
        }

        let product = self.sellable(id)?;
        let (quantity_max, items_max) = (at.rules.quantity_max, at.rules.items_max);
        if quantity > quantity_max {
            return Err(invalid(&format!("quantity must be from 1 to {quantity_max}")));
        }
        if place.is_none() && items.len() >= items_max as usize {
            return Err(invalid(&format!("a cart has at most {items_max} products")));
        }
        self.check_limit(user, id, product, quantity)?;
        if self.stock_of(id) < u64::from(quantity) {
            let item = missing_units(id, product, quantity.into(), self.stock_of(id));
            return Err(refusal(Refused::InsufficientStock, json!({ "insufficientItems": [item] })));
        }
        match place {
            Some(place) => items[place].quantity = quantity,
            None => items.push(OrderItem { product: id, quantity }),
        }
        Ok(items)
    }
}
