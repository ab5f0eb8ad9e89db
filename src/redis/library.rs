//! The Lua library: all of `lua/` in a fixed order, under a name that carries the hash of the text.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The op files, by name; also what the header test reads.
pub const OPS: [(&str, &str); 15] = [
    ("place_order", include_str!("../../lua/ops/place_order.lua")),
    ("reserve_order", include_str!("../../lua/ops/reserve_order.lua")),
    ("pay_order", include_str!("../../lua/ops/pay_order.lua")),
    ("settle_order", include_str!("../../lua/ops/settle_order.lua")),
    ("cancel_order", include_str!("../../lua/ops/cancel_order.lua")),
    ("expire_order", include_str!("../../lua/ops/expire_order.lua")),
    ("charge_balance", include_str!("../../lua/ops/charge_balance.lua")),
    ("open_charge", include_str!("../../lua/ops/open_charge.lua")),
    ("settle_charge", include_str!("../../lua/ops/settle_charge.lua")),
    ("put_coupon", include_str!("../../lua/ops/put_coupon.lua")),
    ("issue_coupon", include_str!("../../lua/ops/issue_coupon.lua")),
    ("put_cart", include_str!("../../lua/ops/put_cart.lua")),
    ("request_restock", include_str!("../../lua/ops/request_restock.lua")),
    ("adjust_stock", include_str!("../../lua/ops/adjust_stock.lua")),
    ("put_product", include_str!("../../lua/ops/put_product.lua")),
];

const CLOCK: &str = include_str!("../../lua/clock.lua");

/// What ops share, in the order in which the files need each other.
pub const SHARED: [&str; 9] = [
    include_str!("../../lua/column.lua"),
    include_str!("../../lua/gate.lua"),
    include_str!("../../lua/outcome.lua"),
    include_str!("../../lua/due.lua"),
    include_str!("../../lua/account.lua"),
    include_str!("../../lua/product.lua"),
    include_str!("../../lua/coupon.lua"),
    include_str!("../../lua/order.lua"),
    include_str!("../../lua/charge.lua"),
];

const CALLABLE: [&str; 4] = [
    include_str!("../../lua/apply.lua"),
    include_str!("../../lua/reads.lua"),
    include_str!("../../lua/control.lua"),
    include_str!("../../lua/register.lua"),
];

/// The library and the names of its functions.
#[derive(Clone, Debug)]
pub struct Library {
    /// What FUNCTION LOAD takes.
    pub text: String,
    version: String,
}

impl Library {
    /// The library of this version of the service.
    pub fn new() -> Self {
        Self::with_clock(CLOCK)
    }

    /// For tests that move time: the same library with another `now_ms`.
    pub fn with_clock(clock: &str) -> Self {
        let mut body = String::new();
        for part in [clock].iter().chain(&SHARED) {
            body.push_str(part);
            body.push('\n');
        }
        body.push_str("local ops = {}\n");
        for part in OPS.iter().map(|(_, text)| text).chain(&CALLABLE) {
            body.push_str(part);
            body.push('\n');
        }
        let version = Sha256::digest(body.as_bytes()).iter().take(6).fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes every write");
            hex
        });
        Self { text: format!("#!lua name=flashsale_{version}\nlocal VERSION = '{version}'\n{body}"), version }
    }

    /// The full name of a function of the library.
    pub fn function(&self, name: &str) -> String {
        format!("{name}_{}", self.version)
    }
}

impl Default for Library {
    fn default() -> Self {
        Self::new()
    }
}
