--[[
op: place_order
purpose: buy items (or the cart) and pay for them from the balance: stock, limit, coupons, balance and ranking, all or none
args: items? [{product, quantity}], coupons?, final?, address? (without items: the cart, which is emptied)
columns: accounts, catalog, stock, bought, coupons, wallets, carts, sales
refusals:
  CART_EMPTY {}
  PRODUCT_NOT_FOUND {productId}
  SALE_NOT_OPEN {productId, opensAt}
  SALE_CLOSED {productId, closedAt}
  EXCEEDED_LIMITED_QUANTITY {productId, limitPerUser, alreadyBought}
  INSUFFICIENT_STOCK {insufficientItems [{productId, productName, requestedQuantity, availableStock}]}
  INVALID_INPUT {reason}
  INVALID_COUPON {couponId, reason}
  AMOUNT_MISMATCH {finalAmount}
  INSUFFICIENT_BALANCE {requiredAmount, currentBalance, shortfall}
event: order_confirmed 1 {seq, at, user, day, total, discount, final, method, address?, balance, used, items [{product, name, price, quantity, discount, counted?}], coupons?, cart?}
]]

-- MessagePack nil, and the two last fields of most orders: no coupons, not from the cart.
local NIL, NEITHER = '\192', '\192\192'

-- What stands in the event between the head of the call and seq: type, version, the head of the 14 fields, and a uint64's.
local CONFIRMED = '\175order_confirmed\1\158\207'

-- Heads of a string of at most 255 bytes and of a uint32.
local STRING8, UINT32 = 217, 206

-- The fields from `day` to `method`, packed. In a rush they are the same for all of a batch.
local function pack_sums(ctx, total, discount, final, method)
  local sums = ctx.sums
  if sums.total ~= total or sums.discount ~= discount then
    sums = { total = total, discount = discount, packed = cmsgpack.pack(ctx.business_day, total, discount, final, method) }
    ctx.sums = sums
  end
  return sums.packed
end

-- As `emit` does it, in one go: cmsgpack makes a string of every value before it joins them. For amounts below 2^32.
local function append_confirmed(ctx, call, sums, address, account, lines)
  local user = call.user
  return append(ctx, struct.pack('>c0c0I8c0BBc0c0c0BI4BI4c0', call.head, CONFIRMED, ctx.seq + 1, ctx.now_packed,
    STRING8, #user, user, sums, address and cmsgpack.pack(address) or NIL, UINT32, account.balance, UINT32, account.used, lines))
end

ops.place_order = {
  want = function(ctx, call)
    local user, args = call.user, call.args
    local items = args.items
    want(ctx.accounts, user)
    if items then
      local catalog, stock = ctx.catalog, ctx.stock
      local products = catalog.value
      for i = 1, #items do
        local id = items[i].product
        if products[id] == nil then
          want(catalog, id)
          want(stock, id)
        end
      end
    else
      want(ctx.carts, user)
    end
    if args.coupons then
      want(ctx.wallets, user)
      for _, id in ipairs(args.coupons) do
        want(ctx.coupons, id)
      end
    end
  end,

  want_after_catalog = function(ctx, call)
    for _, item in ipairs(call.args.items or {}) do
      local product = get(ctx.catalog, item.product)
      if product and product.limit then
        want(ctx.bought, user_product(call.user, item.product))
      end
    end
  end,

  decide = function(ctx, call)
    local user, args = call.user, call.args
    local items, total, discount, by_line = draft_order(ctx, user, args)
    if not items then
      return nil, total
    end
    local account, final = account_of(ctx, user), total - discount
    if account.used + final > NUMBER_MAX then
      return refuse('INVALID_INPUT', { reason = 'the amount is too large' })
    elseif account.balance < final then
      return refuse('INSUFFICIENT_BALANCE', { requiredAmount = final, currentBalance = account.balance,
        shortfall = final - account.balance })
    end

    -- Everything is decided; from here on nothing refuses.
    local method, more = 'BALANCE', NEITHER
    if args.coupons or not args.items then
      more = cmsgpack.pack(args.coupons, not args.items or nil)
    end
    local lines = take_goods(ctx, user, args, items, by_line, ctx.seq + 1, more, ctx.sold)
    account.balance = account.balance - final
    account.used = account.used + final
    set(ctx.accounts, user, account)
    if account.balance < UINT32_END and account.used < UINT32_END then
      local sums = pack_sums(ctx, total, discount, final, method)
      return append_confirmed(ctx, call, sums, args.address, account, lines)
    end
    return emit(ctx, call, 'order_confirmed', 1, lines, 3, user, ctx.business_day, total, discount, final, method,
      args.address, account.balance, account.used)
  end,
}
