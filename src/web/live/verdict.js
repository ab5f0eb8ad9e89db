// What is wrong, the worst first: the rules that the headline follows. No document in here, so they can be tested alone.

/** Seconds behind which PostgreSQL, or a sink, is worth a look, and needs somebody. */
const WRITER_LAG_S = { warn: 10, bad: 120 };
const SINK_LAG_S = 60;
const SLOW_MS = 1_000;
const QUEUE_OPS = 1_000;
const STALE_STOCK_MS = 5_000;

/**
 * What a person should know of a snapshot: `{level, key, values}`, `bad` before `warn`. `sinkName` names a sink in the
 * reader's language.
 */
export function findings(snapshot, sinkName) {
  const found = [];
  const add = (level, key, values = {}) => found.push({ level, key, values });

  const reasons = snapshot.notReady;
  if (reasons.includes("stopping")) add("warn", "stopping");
  else if (reasons.length > 0) add("bad", "notReady", { reasons: reasons.join("; ") });

  const { lane, log, verify, orders, latency, stock } = snapshot;
  if (lane.scriptErrors > 0) add("bad", "scriptErrors", { n: lane.scriptErrors });
  if (log.isStopped) add("bad", "writerStopped");
  if (verify.differences > 0) add("bad", "differences", { n: verify.differences });
  if (orders.failedPerS > 0) add("bad", "failing", { rate: orders.failedPerS });
  if (log.lagSeconds >= WRITER_LAG_S.warn) {
    add(log.lagSeconds >= WRITER_LAG_S.bad ? "bad" : "warn", "writerLag", { seconds: log.lagSeconds });
  }
  if (log.parked > 0) add("bad", "parked", { n: log.parked });
  if (latency.orders.p99Ms >= SLOW_MS) add("warn", "slow", { duration: latency.orders.p99Ms });
  if (lane.queue >= QUEUE_OPS) add("warn", "queue", { n: lane.queue });
  if (stock && snapshot.at - stock.asOf >= STALE_STOCK_MS && reasons.length === 0) {
    add("warn", "stockStale", { seconds: (snapshot.at - stock.asOf) / 1_000 });
  }
  if (snapshot.heldTooLong > 0) add("warn", "held", { n: snapshot.heldTooLong });
  if (verify.failures > 0) add("warn", "verifyFailures", { n: verify.failures });
  for (const sink of snapshot.sinks) {
    const name = sinkName(sink.sink);
    if (sink.isStopped) add("bad", "sinkStopped", { sink: name });
    if (sink.breaker > 0) add("warn", "breaker", { sink: name });
    if (sink.deadLetters > 0) add("warn", "deadLetters", { sink: name, n: sink.deadLetters });
    if (sink.lagSeconds >= SINK_LAG_S) add("warn", "sinkLag", { sink: name, seconds: sink.lagSeconds });
  }
  // A stable sort: within a level they stay in this order.
  return found.sort((a, b) => (a.level === b.level ? 0 : a.level === "bad" ? -1 : 1));
}

/** The headline's level. */
export function level(found) {
  if (found.some((finding) => finding.level === "bad")) return "bad";
  return found.length > 0 ? "warn" : "good";
}
