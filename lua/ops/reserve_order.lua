--[[
op: reserve_order
purpose: reserve items (or the cart) to be paid for later: stock, limit and coupons are taken, all or none, until it expires
args: items? [{product, quantity}], coupons?, final?, address? (without items: the cart, which is emptied)
columns: accounts, catalog, stock, bought, coupons, wallets, carts, open, due, idem
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
  TOO_MANY_OPEN_ORDERS {openOrders, maximum}
event: order_changed 1 {seq, at, order, status, user, created, expires?, total, discount, final, method?, day?, paid_at?, payment?, refund?, address?, coupons?, cart?, balance, used, restocked?, items [{product, name, price, quantity, discount, counted?}]}
]]
ops.reserve_order = {
  want = ops.place_order.want,
  want_after_catalog = ops.place_order.want_after_catalog,

  decide = function(ctx, call)
    local user, args, rules = call.user, call.args, ctx.rules
    local account = account_of(ctx, user)
    if (account.open or 0) >= rules.open_orders_max then
      return refuse('TOO_MANY_OPEN_ORDERS', { openOrders = account.open or 0, maximum = rules.open_orders_max })
    end
    local items, total, discount, by_line = draft_order(ctx, user, args)
    if not items then
      return nil, total
    end

    local id = ctx.seq + 1
    local lines = take_goods(ctx, user, args, items, by_line, id, '')
    add_to(account, 'open', 1)
    set(ctx.accounts, user, account)
    local order = { order = id, status = 'PENDING_PAYMENT', user = user, created = ctx.now_ms,
      expires = ctx.now_ms + rules.reservation_ttl_ms, total = total, discount = discount, final = total - discount,
      address = args.address, coupons = args.coupons, cart = not args.items or nil }
    local event = emit_order(ctx, call, order, account, lines)
    set(ctx.open, id, event)
    set_due(ctx, id, order.expires)
    return event
  end,
}
