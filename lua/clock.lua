-- The one clock of a cell: windows, deadlines and the DAY of a key are all decided by Redis' own time, so that two
-- servers whose clocks differ cannot disagree. A file of its own, so that tests can load the library with another clock.

-- Milliseconds since 1970, UTC.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
