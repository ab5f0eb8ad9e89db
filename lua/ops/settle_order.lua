--[[
op: settle_order
purpose: what the gateway said about a held order (APPROVED, DECLINED), that it is given up without a clear word (ABANDONED), or that a card's money is back (REFUNDED); what is settled stays so
args: order, verdict
columns: accounts, catalog, stock, bought, wallets, restock, open, due, idem, sales
refusals:
  ORDER_NOT_FOUND {}
  INVALID_ORDER_STATE {orderStatus}
event: order_changed 1 {seq, at, order, status, user, created, expires?, total, discount, final, method?, day?, paid_at?, payment?, refund?, address?, coupons?, cart?, balance, used, restocked?, items [{product, name, price, quantity, discount, counted?}]}
]]
ops.settle_order = {
  ends_what_is_open = true,

  want = ops.pay_order.want,

  decide = function(ctx, call)
    local user, args = call.user, call.args
    local order = open_order(ctx, user, args.order)
    if not order then
      local settled = recorded_order(ctx, user, args.order)
      if settled then
        return nil, nil, settled
      end
      return refuse('ORDER_NOT_FOUND', {})
    end
    if args.verdict == 'REFUNDED' and order.refund == 'PENDING' then
      order.refund, order.restocked = 'DONE', nil
      set(ctx.open, order.order, false)
      set_due(ctx, order.order, false)
      return emit_order(ctx, call, order, account_of(ctx, user))
    elseif args.verdict == 'REFUNDED' or order.status ~= 'HELD' then
      return refuse('INVALID_ORDER_STATE', { orderStatus = order.status })
    elseif args.verdict == 'DECLINED' then
      return release_order(ctx, call, order, 'PAYMENT_FAILED')
    elseif args.verdict == 'ABANDONED' then
      -- Nobody knows whether the card was charged: until the gateway has told, or given it back, this is not finished.
      order.refund = 'PENDING'
      local event = release_order(ctx, call, order, 'PAYMENT_FAILED')
      set(ctx.open, order.order, event)
      set_due(ctx, order.order, ctx.now_ms)
      return event
    end
    assert(args.verdict == 'APPROVED', 'unknown verdict')
    local account = account_of(ctx, user)
    order.status = 'CONFIRMED'
    count_sale(ctx, order)
    close_order(ctx, order, account)
    set(ctx.accounts, user, account)
    return emit_order(ctx, call, order, account)
  end,
}
