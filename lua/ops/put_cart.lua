--[[
op: put_cart
purpose: change a user's cart: add units of a product, set them (0 takes it out), or (without args.product) clear it
args: product?, quantity?, add? (add: quantity is added to what is there)
columns: catalog, stock, bought, carts
refusals:
  PRODUCT_NOT_FOUND {productId}
  EXCEEDED_LIMITED_QUANTITY {productId, limitPerUser, alreadyBought}
  INSUFFICIENT_STOCK {insufficientItems [{productId, productName, requestedQuantity, availableStock}]}
  INVALID_INPUT {reason}
event: cart_put 1 {seq, at, user, items [{product, name, price, quantity}]}
]]
ops.put_cart = {
  want = function(ctx, call)
    want(ctx.carts, call.user)
    if call.args.product then
      want(ctx.catalog, call.args.product)
      want(ctx.stock, call.args.product)
    end
  end,

  decide = function(ctx, call)
    local user, args, rules = call.user, call.args, ctx.rules
    local id, quantity, items, place = args.product, args.quantity, {}, nil
    if id then
      -- A copy of the list: a refusal must leave the cart as it is.
      for i, item in ipairs(get(ctx.carts, user) or {}) do
        items[i] = item
        if item.product == id then
          place = i
        end
      end
      if args.add then
        quantity = quantity + (place and items[place].quantity or 0)
      end
      if quantity == 0 then
        if not place then
          return refuse('PRODUCT_NOT_FOUND', { productId = id })
        end
        table.remove(items, place)
      else
        local product = sellable(ctx, id)
        if not product then
          return refuse('PRODUCT_NOT_FOUND', { productId = id })
        elseif quantity < 1 or quantity > rules.quantity_max then
          return refuse('INVALID_INPUT', { reason = 'quantity must be from 1 to ' .. rules.quantity_max })
        elseif not place and #items >= rules.items_max then
          return refuse('INVALID_INPUT', { reason = 'a cart has at most ' .. rules.items_max .. ' products' })
        end
        local _, refusal = limit_refusal(ctx, user, id, product, quantity)
        if refusal then
          return nil, refusal
        end
        local available = get(ctx.stock, id) or 0
        if available < quantity then
          return refuse('INSUFFICIENT_STOCK', { insufficientItems = { {
            productId = id, productName = product.name, requestedQuantity = quantity, availableStock = available } } })
        end
        items[place or #items + 1] = { product = id, quantity = quantity }
      end
    end

    local lines = {}
    for i, item in ipairs(items) do
      -- Also one that is no longer sold: its owner must see what stands in the way of his order.
      local product = get(ctx.catalog, item.product)
      lines[i] = array_head(4) .. cmsgpack.pack(item.product, product.name, product.price, item.quantity)
    end
    set(ctx.carts, user, #items > 0 and items)
    return emit(ctx, call, 'cart_put', 1, array_head(#lines) .. table.concat(lines), 1, user)
  end,
}
