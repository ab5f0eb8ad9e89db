-- A user's account: packed {balance, used, ...}. It starts to exist with its first charge or order.

local function account_of(ctx, user)
  return get(ctx.accounts, user) or { balance = 0, used = 0 }
end
