--[[
op: cancel_order
purpose: a buyer gives an order up: an unpaid one is cancelled, a paid one refunded within the window; everything is given back, once
args: order, paid? {user, created, expires?, total, discount, final, method, day, paid_at, payment, address?, coupons?, items} (an order that was paid at once, as it was confirmed)
columns: accounts, catalog, stock, bought, wallets, restock, open, due, idem, sales
refusals:
  ORDER_NOT_FOUND {}
  INVALID_ORDER_STATE {orderStatus}
  INVALID_INPUT {reason}
event: order_changed 1 {seq, at, order, status, user, created, expires?, total, discount, final, method?, day?, paid_at?, payment?, refund?, address?, coupons?, cart?, balance, used, restocked?, items [{product, name, price, quantity, discount, counted?}]}
]]
ops.cancel_order = {
  want = ops.pay_order.want,

  decide = function(ctx, call)
    local user, args = call.user, call.args
    local order = open_order(ctx, user, args.order)
    if order then
      if order.status ~= 'PENDING_PAYMENT' then
        return refuse('INVALID_ORDER_STATE', { orderStatus = order.status })
      elseif ctx.now_ms >= order.expires then
        return refuse('INVALID_ORDER_STATE', { orderStatus = 'EXPIRED' })
      end
      return release_order(ctx, call, order, 'CANCELLED')
    end
    -- An order that was paid at once is in no column: the caller brings it. What this cell knows of it counts more, and a refund
    -- is known for 24 hours at least, by a clock that never goes back, which is longer than the window.
    local known = known_order(ctx, args.order)
    order = known or (args.paid and copy_of(args.paid))
    if not order or order.user ~= user then
      return refuse('ORDER_NOT_FOUND', {})
    elseif known and known.status ~= 'CONFIRMED' then
      return refuse('INVALID_ORDER_STATE', { orderStatus = known.status })
    elseif ctx.now_ms >= order.paid_at + ctx.rules.cancel_window_ms or not ctx.sales_keys[order.day] then
      return refuse('INVALID_ORDER_STATE', { orderStatus = 'CONFIRMED' })
    end
    local account = account_of(ctx, user)
    if order.method == 'BALANCE' and account.balance + (account.pending or 0) + order.final > NUMBER_MAX then
      return refuse('INVALID_INPUT', { reason = 'the balance would be too large' })
    end

    order.order, order.status = args.order, 'REFUNDED'
    give_back(ctx, order)
    for _, line in ipairs(order.items) do
      local unsold = ctx.unsold[order.day] or {}
      unsold[line[1]] = (unsold[line[1]] or 0) + line[4]
      ctx.unsold[order.day] = unsold
    end
    if order.method == 'BALANCE' then
      account.balance = account.balance + order.final
      account.used = account.used - order.final
      set(ctx.accounts, user, account)
    end
    if order.method == 'BALANCE' or order.final == 0 then
      order.refund = 'DONE'
      return emit_order(ctx, call, order, account)
    end
    -- The card's money goes back over the gateway, which may take a while.
    order.refund = 'PENDING'
    local event = emit_order(ctx, call, order, account)
    set(ctx.open, order.order, event)
    set_due(ctx, order.order, ctx.now_ms + ctx.rules.recovery_ms)
    return event
  end,
}
