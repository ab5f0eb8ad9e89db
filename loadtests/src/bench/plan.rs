//! How much load, for how long.

use std::time::Duration;

/// Connections of wrk: the orders that are open at the same time.
pub const CONNECTIONS: u32 = 128;

/// Threads of wrk.
pub const THREADS: u32 = 2;

/// Users, each with a token of its own. Few enough that the seed design's balances stay in memory, many enough that a
/// user's orders rarely meet.
pub const USERS: u32 = 2_000;

/// Price of the bench's products, in minor units: one charge lasts for all orders of a run.
pub const PRICE: u64 = 10;

/// What every user is charged before the load, in minor units: the default of `charge_max`.
pub const CHARGE: u64 = 1_000_000;

/// Stock of a hot product: more than any run sells, since running out would turn orders into (cheaper) refusals.
pub const STOCK: u64 = 50_000_000;

/// Users who want coupons. A user gets each coupon once: with many users each holds few, as in a shop, and the service
/// still remembers all their tokens (`jwt_cache_bytes_max`).
pub const COUPON_USERS: u32 = 50_000;

/// Coupons of the warm-up, other than those of the window. Both last for 200,000 issues per second.
pub const COUPONS_OF_WARM_UP: u32 = 8;

/// Coupons of the window.
pub const COUPONS_OF_WINDOW: u32 = 32;

/// Quantity of each of these coupons: enough for everybody.
pub const COUPON_QUANTITY: u64 = 1_000_000;

/// Clients of pgbench that the seed design is tried with; the better result counts.
pub const SEED_DESIGN_CLIENTS: [u32; 2] = [8, 32];

/// Durations of the phases. Every measured window comes after a warm-up that is not counted.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Before the floor.
    pub floor_warm_up: Duration,
    /// Bare HTTP.
    pub floor: Duration,
    /// Before the batched orders.
    pub batched_warm_up: Duration,
    /// Orders as the service is configured by default.
    pub batched: Duration,
    /// Refusals of a product with none left.
    pub sold_out: Duration,
    /// Before the coupons.
    pub coupons_warm_up: Duration,
    /// Coupons, first come, first served.
    pub coupons: Duration,
    /// Refusals of a coupon with none left.
    pub coupons_sold_out: Duration,
    /// Before the orders with the forwarder.
    pub forwarded_warm_up: Duration,
    /// Orders with the forwarder.
    pub forwarded: Duration,
    /// Before the orders with one op per call.
    pub single_warm_up: Duration,
    /// Orders with one op per call.
    pub single: Duration,
    /// The seed design, once per number of clients.
    pub seed_design: Duration,
    /// Plain HSET commands.
    pub hset_commands: u32,
}

impl Plan {
    /// What `make bench` runs.
    pub fn full() -> Self {
        let s = Duration::from_secs;
        Self {
            floor_warm_up: s(2),
            floor: s(10),
            batched_warm_up: s(5),
            batched: s(30),
            sold_out: s(10),
            coupons_warm_up: s(2),
            coupons: s(8),
            coupons_sold_out: s(4),
            forwarded_warm_up: s(3),
            forwarded: s(15),
            single_warm_up: s(3),
            single: s(15),
            seed_design: s(15),
            hset_commands: 1_000_000,
        }
    }

    /// Short windows: shows that everything works; its figures mean little.
    pub fn quick() -> Self {
        let s = Duration::from_secs;
        Self {
            floor_warm_up: s(1),
            floor: s(2),
            batched_warm_up: s(1),
            batched: s(3),
            sold_out: s(1),
            coupons_warm_up: s(1),
            coupons: s(2),
            coupons_sold_out: s(1),
            forwarded_warm_up: s(1),
            forwarded: s(3),
            single_warm_up: s(1),
            single: s(2),
            seed_design: s(2),
            hset_commands: 100_000,
        }
    }
}
