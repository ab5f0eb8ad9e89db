-- The load of the bench: POST /api/orders, one unit of one hot product per order, another user and a fresh
-- Idempotency-Key every time. Everything but the key is built once, so a request costs one concatenation.
--
-- wrk ... -s orders.lua URL -- TOKENS_FILE NONCE PRODUCT_IDS
--   TOKENS_FILE  one JWT per line, each of another user
--   NONCE        differs from run to run: keys must be fresh across runs too
--   PRODUCT_IDS  comma separated; every order takes one of them at random, all equally likely
--
-- There is no `response` function on purpose: with one, wrk calls into Lua for every answer as well, and it would
-- measure itself. Answers of 400 and above are counted by wrk without it.

local thread_count = 0

-- Runs once per thread, in the main state.
function setup(thread)
  thread:set("thread_id", thread_count)
  thread_count = thread_count + 1
end

local heads, tails = {}, {}
local key_prefix, first_user, sent = "", 0, 0
local random = math.random

local function head_of(host, token)
  return "POST /api/orders HTTP/1.1\r\nHost: " .. host .. "\r\nAuthorization: Bearer " .. token
    .. "\r\nContent-Type: application/json\r\nIdempotency-Key: "
end

local function tail_of(product_id)
  local body = '{"items":[{"productId":' .. product_id .. ',"quantity":1}]}'
  return "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

-- Runs once per thread, in the thread's own state.
function init(args)
  local tokens_file, nonce, product_ids = args[1], args[2], args[3]
  for token in io.lines(tokens_file) do
    heads[#heads + 1] = head_of(wrk.host .. ":" .. wrk.port, token)
  end
  for product_id in string.gmatch(product_ids, "%d+") do
    tails[#tails + 1] = tail_of(product_id)
  end
  assert(#heads > 0 and #tails > 0, "no tokens or no products")
  key_prefix = nonce .. "-" .. thread_id .. "-"
  math.randomseed(tonumber(thread_id) + 1)
  -- The second thread starts halfway, so that two threads do not order for the same user at the same time.
  first_user = math.floor(#heads / 2) * tonumber(thread_id)
end

function request()
  sent = sent + 1
  return heads[(first_user + sent) % #heads + 1] .. key_prefix .. sent .. tails[random(#tails)]
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
