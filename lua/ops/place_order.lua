--[[
op: place_order
purpose: buy items and pay for them from the balance: stock, limit, balance and ranking, all or none
args: items [{product, quantity}], final?, address?
columns: accounts, catalog, stock, bought, sales
refusals:
  PRODUCT_NOT_FOUND {productId}
  SALE_NOT_OPEN {productId, opensAt}
  SALE_CLOSED {productId, closedAt}
  EXCEEDED_LIMITED_QUANTITY {productId, limitPerUser, alreadyBought}
  INSUFFICIENT_STOCK {insufficientItems [{productId, productName, requestedQuantity, availableStock}]}
  INVALID_INPUT {reason}
  AMOUNT_MISMATCH {finalAmount}
  INSUFFICIENT_BALANCE {requiredAmount, currentBalance, shortfall}
event: order_confirmed 1 {seq, at, user, day, total, discount, final, method, address?, balance, used, items [{product, name, price, quantity, discount}]}
]]
ops.place_order = {
  want = function(ctx, call)
    want(ctx.accounts, call.user)
    for _, item in ipairs(call.args.items) do
      want(ctx.catalog, item.product)
      want(ctx.stock, item.product)
    end
  end,

  want_after_catalog = function(ctx, call)
    for _, item in ipairs(call.args.items) do
      local product = get(ctx.catalog, item.product)
      if product and product.limit then
        want(ctx.bought, bought_field(call.user, item.product))
      end
    end
  end,

  decide = function(ctx, call)
    local user, args = call.user, call.args
    local items = args.items
    local lines, seen, short, total = {}, {}, nil, 0

    if #items == 0 then
      return refuse('INVALID_INPUT', { reason = 'an order needs items' })
    end
    for i, item in ipairs(items) do
      local id, quantity = item.product, item.quantity
      if seen[id] then
        -- Each line is checked against the whole stock, so a product must not come twice.
        return refuse('INVALID_INPUT', { reason = 'a product appears twice' })
      end
      seen[id] = true
      if quantity < 1 then
        return refuse('INVALID_INPUT', { reason = 'a quantity is below 1' })
      end
      local product = sellable(ctx, id)
      if not product then
        return refuse('PRODUCT_NOT_FOUND', { productId = id })
      end
      local code, details = window_refusal(ctx, id, product)
      if code then
        return refuse(code, details)
      end
      if product.limit then
        local already = get(ctx.bought, bought_field(user, id)) or 0
        if already + quantity > product.limit then
          return refuse('EXCEEDED_LIMITED_QUANTITY',
            { productId = id, limitPerUser = product.limit, alreadyBought = already })
        end
      end
      local available = get(ctx.stock, id) or 0
      if available < quantity then
        short = short or {}
        short[#short + 1] = { productId = id, productName = product.name, requestedQuantity = quantity,
          availableStock = available }
      end
      total = total + product.price * quantity
      lines[i] = array_head(5) .. cmsgpack.pack(id, product.name, product.price, quantity, 0)
    end

    if short then
      return refuse('INSUFFICIENT_STOCK', { insufficientItems = short })
    end
    local account = account_of(ctx, user)
    local final = total
    if account.used + final > NUMBER_MAX then
      return refuse('INVALID_INPUT', { reason = 'the amount is too large' })
    end
    if args.final and args.final ~= final then
      return refuse('AMOUNT_MISMATCH', { finalAmount = final })
    end
    if account.balance < final then
      return refuse('INSUFFICIENT_BALANCE', { requiredAmount = final, currentBalance = account.balance,
        shortfall = final - account.balance })
    end

    -- Everything is decided; from here on nothing refuses.
    for _, item in ipairs(items) do
      local id, quantity = item.product, item.quantity
      set(ctx.stock, id, get(ctx.stock, id) - quantity)
      if get(ctx.catalog, id).limit then
        local field = bought_field(user, id)
        set(ctx.bought, field, (get(ctx.bought, field) or 0) + quantity)
      end
      ctx.sold[id] = (ctx.sold[id] or 0) + quantity
    end
    account.balance = account.balance - final
    account.used = account.used + final
    set(ctx.accounts, user, account)
    local discount, method = 0, 'BALANCE'
    return emit(ctx, call, 'order_confirmed', 1, array_head(#lines) .. table.concat(lines),
      user, ctx.business_day, total, discount, final, method, args.address, account.balance, account.used)
  end,
}
