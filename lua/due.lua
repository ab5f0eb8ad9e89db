-- What has a deadline: a sorted set, id of an open order or charge → ms since 1970. The sweeper works from it. It is no history:
-- what it says can be told from the column `open`.

-- `at` in ms since 1970; false removes.
local function set_due(ctx, id, at)
  ctx.due.changed[id] = at
end

local function store_due(due)
  for id, at in pairs(due.changed) do
    if at then
      redis.call('ZADD', due.key, at, id)
    else
      redis.call('ZREM', due.key, id)
    end
  end
end
