-- Coupons: packed {name, type, product?, discount, value, max_discount?, min_order?, total, remaining, starts?, ends?, valid_days, status,
-- version} in `coupons`; what users hold in `wallets`: user → packed map of coupon (as text) → {id, issued, expires,
-- order?}, where `order` is there while an order uses the coupon. An entry is never removed: one per user and coupon, ever.

local function wallet_of(ctx, user)
  return get(ctx.wallets, user) or {}
end

-- amount × percent / 100, rounded down, without an intermediate result beyond 2^53.
local function percent_of(amount, percent)
  local rest = amount % 100
  return (amount - rest) / 100 * percent + math.floor(rest * percent / 100)
end

-- What a coupon takes off `base`: never more than that.
local function discount_of(coupon, base)
  local discount = coupon.value
  if coupon.discount == 'PERCENT' then
    discount = percent_of(base, coupon.value)
  end
  if coupon.max_discount then
    discount = math.min(discount, coupon.max_discount)
  end
  return math.min(discount, base)
end

-- Why a held coupon cannot be used for an order of `total` (before any discount), or nil.
local function coupon_reason(ctx, coupon, held, total)
  if not coupon or not held then
    return 'NOT_OWNED'
  elseif held.order then
    return 'ALREADY_USED'
  elseif ctx.now_ms >= held.expires then
    return 'EXPIRED'
  elseif coupon.min_order and total < coupon.min_order then
    return 'BELOW_MINIMUM_ORDER'
  end
  return nil
end

-- Longest validity of an issued coupon: a hundred years.
local COUPON_DAYS_MAX = 36500

-- Coupons of type CART in one order.
local CART_COUPONS_MAX = 2

-- The discount of an order of `total` whose lines are `items` with `amounts`: returns the whole discount and that of each line
-- (by position; nil: none), or nil and a refusal. First every CART_ITEM coupon on the amount of its product's line; then the CART coupons in
-- the order in which they are named, each on what is left of the total. Each is rounded down and never takes more than
-- what it is applied to, so nothing falls below 0.
local function discounts_of(ctx, user, coupon_ids, items, amounts, total)
  local wallet, line_of = wallet_of(ctx, user), {}
  for i, item in ipairs(items) do
    line_of[item.product] = i
  end
  local seen, carts, by_line, sum = {}, {}, {}, 0
  for _, id in ipairs(coupon_ids) do
    if seen[id] then
      return refuse('INVALID_INPUT', { reason = 'a coupon appears twice' })
    end
    seen[id] = true
    local coupon = get(ctx.coupons, id)
    local reason = coupon_reason(ctx, coupon, wallet[tostring(id)], total)
    if not reason and coupon.type == 'CART' then
      carts[#carts + 1] = coupon
      if #carts > CART_COUPONS_MAX then
        reason = 'TOO_MANY_CART_COUPONS'
      end
    elseif not reason then
      local line = line_of[coupon.product]
      if not line then
        reason = 'PRODUCT_NOT_IN_ORDER'
      elseif by_line[line] then
        reason = 'TOO_MANY_ITEM_COUPONS'
      else
        by_line[line] = discount_of(coupon, amounts[line])
        sum = sum + by_line[line]
      end
    end
    if reason then
      return refuse('INVALID_COUPON', { couponId = id, reason = reason })
    end
  end
  for _, coupon in ipairs(carts) do
    sum = sum + discount_of(coupon, total - sum)
  end
  return sum, by_line
end

-- Marks coupons as used by an order, or (with nil) gives back those that it used.
local function mark_coupons(ctx, user, coupon_ids, order)
  local wallet = wallet_of(ctx, user)
  for _, id in ipairs(coupon_ids) do
    wallet[tostring(id)].order = order
  end
  set(ctx.wallets, user, wallet)
end
