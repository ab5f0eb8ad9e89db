//! The yardstick for what Redis costs: one plain HSET, pipelined, on the same server with the same `appendfsync`.

use anyhow::Result;
use fred::interfaces::KeysInterface as _;

use super::Bench;
use super::servers::Servers;
use crate::shared::accounting::cpu;
use crate::shared::child;

const KEY: &str = "bench:hset";

/// About the size of a packed account or a short idempotency record.
const VALUE_BYTES: usize = 100;

/// Different fields, as many as a busy column has.
const FIELDS: u32 = 100_000;

/// Commands per round trip: about as many as the lane puts into a batch.
const PIPELINE: u32 = 64;

/// CPU of Redis per command, in microseconds. One connection, because the lane has one: more of them would share one
/// fsync and cost less.
pub async fn measure(bench: &Bench, servers: &Servers) -> Result<f64> {
    let commands = bench.plan.hset_commands;
    let mut command = child::command(&bench.tools.redis_benchmark);
    command
        .args(["-u", &servers.redis.url(), "-c", "1", "-P", &PIPELINE.to_string(), "-q"])
        .args(["-n", &commands.to_string(), "-r", &FIELDS.to_string()])
        .args(["HSET", KEY, "__rand_int__", &"v".repeat(VALUE_BYTES)]);
    let before = cpu(servers.redis.pid())?;
    child::run("redis-benchmark", &mut command).await?;
    let after = cpu(servers.redis.pid())?;
    let _: u64 = servers.redis().await?.unlink(KEY).await?;
    Ok((after.own_s - before.own_s) * 1e6 / f64::from(commands))
}
