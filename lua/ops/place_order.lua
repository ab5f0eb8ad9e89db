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

-- The two last fields of most orders: no coupons, not from the cart (MessagePack nil, nil).
local NEITHER = '\192\192'

ops.place_order = {
  want = function(ctx, call)
    local user, args = call.user, call.args
    want(ctx.accounts, user)
    if args.items then
      for _, item in ipairs(args.items) do
        want(ctx.catalog, item.product)
        want(ctx.stock, item.product)
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
    return emit(ctx, call, 'order_confirmed', 1, lines, 3, user, ctx.business_day, total, discount, final, method,
      args.address, account.balance, account.used)
  end,
}
