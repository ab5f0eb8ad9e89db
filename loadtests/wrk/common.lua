-- What the loads of the bench have in common. The bench puts this text in front of `orders.lua` and `coupons.lua`.
--
-- wrk ... -s SCRIPT URL -- TOKENS_FILE NONCE IDS THREADS
--   TOKENS_FILE  one JWT per line, each of another user
--   NONCE        differs from run to run: idempotency keys must be fresh across runs too
--   IDS          comma separated: the products or coupons that are wanted
--   THREADS      threads of wrk
--
-- There is no `response` function on purpose: with one, wrk calls into Lua for every answer as well, and it would
-- measure itself. Answers of 400 and above are counted by wrk without it.

local thread_count = 0

-- Runs once per thread, in the main state.
function setup(thread)
  thread:set("thread_id", thread_count)
  thread_count = thread_count + 1
end

-- One line for the bench to read. Latencies are in microseconds, the duration too.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'WRK {"requests":%d,"duration_us":%d,"non_2xx":%d,"socket_errors":%d,"timeouts":%d,'
      .. '"p50_us":%d,"p99_us":%d,"p999_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
