--[[
op: issue_coupon
purpose: give a user one coupon, first come, first served: never more than there are, one per user, ever
args: coupon
columns: accounts, coupons, wallets
refusals:
  COUPON_NOT_FOUND {couponId}
  ALREADY_ISSUED {couponId}
  COUPON_NOT_OPEN {couponId, opensAt?, closedAt?}
  COUPON_SOLD_OUT {couponId}
event: coupon_issued 1 {seq, at, user, coupon, expires, remaining}
]]
ops.issue_coupon = {
  want = function(ctx, call)
    want(ctx.accounts, call.user)
    want(ctx.coupons, call.args.coupon)
    want(ctx.wallets, call.user)
  end,

  decide = function(ctx, call)
    local user, id, now = call.user, call.args.coupon, ctx.now_ms
    local coupon = get(ctx.coupons, id)
    if not coupon or coupon.status ~= 'NORMAL' then
      return refuse('COUPON_NOT_FOUND', { couponId = id })
    end
    local wallet = wallet_of(ctx, user)
    if wallet[tostring(id)] then
      return refuse('ALREADY_ISSUED', { couponId = id })
    elseif coupon.starts and now < coupon.starts then
      return refuse('COUPON_NOT_OPEN', { couponId = id, opensAt = coupon.starts })
    elseif coupon.ends and now >= coupon.ends then
      return refuse('COUPON_NOT_OPEN', { couponId = id, closedAt = coupon.ends })
    elseif coupon.remaining < 1 then
      return refuse('COUPON_SOLD_OUT', { couponId = id })
    end

    local expires, remaining = now + coupon.valid_days * DAY_MS, coupon.remaining - 1
    coupon.remaining = remaining
    set(ctx.coupons, id, coupon)
    wallet[tostring(id)] = { id = ctx.seq + 1, issued = now, expires = expires }
    set(ctx.wallets, user, wallet)
    if not get(ctx.accounts, user) then
      set(ctx.accounts, user, account_of(ctx, user))
    end
    return emit(ctx, call, 'coupon_issued', 1, '', 0, user, id, expires, remaining)
  end,
}
