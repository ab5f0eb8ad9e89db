--[[
op: put_coupon
purpose: create a coupon (without args.coupon: the next id is minted) or change some members of one (with it); what it is worth stays as it was, because people hold it
args: coupon?, name?, type?, product?, discount?, value?, max_discount?, min_order?, total?, starts?, ends?, valid_days?, status? (false in starts and ends removes; type, product, discount, value, max_discount and min_order only when creating)
columns: coupons, catalog
refusals:
  COUPON_NOT_FOUND {couponId}
  PRODUCT_NOT_FOUND {productId}
  INVALID_INPUT {reason}
event: coupon_put 1 {seq, at, coupon, name, type, product?, discount, value, max_discount?, min_order?, total, remaining, starts?, ends?, valid_days, status, version, created, by}
]]
ops.put_coupon = {
  want = function(ctx, call)
    if call.args.coupon then
      want(ctx.coupons, call.args.coupon)
    end
    if call.args.product then
      want(ctx.catalog, call.args.product)
    end
  end,

  decide = function(ctx, call)
    local args, by = call.args, call.user
    local id, old = args.coupon, { status = 'NORMAL', version = 0, total = 0, remaining = 0 }
    if id then
      old = get(ctx.coupons, id)
      if not old then
        return refuse('COUPON_NOT_FOUND', { couponId = id })
      end
      for _, member in ipairs({ 'type', 'product', 'discount', 'value', 'max_discount', 'min_order' }) do
        if args[member] ~= nil then
          return refuse('INVALID_INPUT', { reason = member .. ' of a coupon cannot change' })
        end
      end
    else
      for _, member in ipairs({ 'name', 'type', 'discount', 'value', 'total', 'valid_days' }) do
        if args[member] == nil then
          return refuse('INVALID_INPUT', { reason = 'a new coupon needs ' .. member })
        end
      end
    end
    for _, member in ipairs({ 'value', 'max_discount', 'min_order', 'total', 'valid_days' }) do
      local number = args[member]
      local least = member == 'min_order' and 0 or 1
      local most = member == 'valid_days' and COUPON_DAYS_MAX or member == 'total' and STOCK_MAX or NUMBER_MAX
      if number and (number < least or number > most) then
        return refuse('INVALID_INPUT', { reason = member .. ' is out of range' })
      end
    end
    for _, member in ipairs({ 'starts', 'ends' }) do
      local time = args[member]
      if time and (time < 0 or time > TIME_MAX_MS) then
        return refuse('INVALID_INPUT', { reason = member .. ' is out of range' })
      end
    end
    if args.discount == 'PERCENT' and args.value > 100 then
      return refuse('INVALID_INPUT', { reason = 'a percentage is above 100' })
    elseif (args.type == 'CART_ITEM') ~= (args.product ~= nil) then
      return refuse('INVALID_INPUT', { reason = 'exactly the type CART_ITEM names a product' })
    elseif args.product and not sellable(ctx, args.product) then
      return refuse('PRODUCT_NOT_FOUND', { productId = args.product })
    end

    -- A copy, with whatever members a newer version of the service may have added.
    local coupon = {}
    for member, value in pairs(old) do
      coupon[member] = value
    end
    for _, member in ipairs({ 'name', 'type', 'product', 'discount', 'value', 'max_discount', 'min_order', 'total', 'starts',
      'ends', 'valid_days', 'status' }) do
      local new = args[member]
      if new == false then
        coupon[member] = nil
      elseif new ~= nil then
        coupon[member] = new
      end
    end
    if coupon.starts and coupon.ends and coupon.starts >= coupon.ends then
      return refuse('INVALID_INPUT', { reason = 'issueStartsAt must be before issueEndsAt' })
    end
    local issued = old.total - old.remaining
    if coupon.total < issued then
      return refuse('INVALID_INPUT', { reason = 'more coupons were issued already' })
    end

    if not id then
      ctx.meta.coupon_last = ctx.meta.coupon_last + 1
      id = ctx.meta.coupon_last
    end
    coupon.remaining = coupon.total - issued
    coupon.version = coupon.version + 1
    set(ctx.coupons, id, coupon)
    local created = args.coupon == nil
    return emit(ctx, call, 'coupon_put', 1, '', 0, id, coupon.name, coupon.type, coupon.product, coupon.discount,
      coupon.value, coupon.max_discount, coupon.min_order, coupon.total, coupon.remaining, coupon.starts, coupon.ends,
      coupon.valid_days, coupon.status, coupon.version, created, by)
  end,
}
