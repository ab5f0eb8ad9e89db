-- Orders: what placing and reserving share, and orders that change after they were placed.

-- Fields of the event order_changed, by position. Such an event carries the whole order, so the last one is the order.
local ORDER_FIELDS = { 'seq', 'at', 'order', 'status', 'user', 'created', 'expires', 'total', 'discount', 'final', 'method',
  'day', 'paid_at', 'payment', 'refund', 'address', 'coupons', 'cart', 'balance', 'used', 'restocked', 'items' }

-- A packed event order_changed as a table by name.
local function order_of(event)
  local fields, order = cmsgpack.unpack(event)[5], {}
  for i, name in ipairs(ORDER_FIELDS) do
    order[name] = fields[i]
  end
  return order
end

-- Field of the internal record of an order: no space in it, so no user's key can be the same.
local function order_record(order_id)
  return 'order/' .. decimal(order_id)
end

local function want_order(ctx, order_id)
  local record = order_record(order_id)
  want(ctx.open, order_id)
  want(ctx.idem_today, record)
  want(ctx.idem_yesterday, record)
end

-- The open order of that id (of this user), or nil.
local function open_order(ctx, user, order_id)
  local event = get(ctx.open, order_id)
  local order = event and cmsgpack.unpack(event)[3] == 'order_changed' and order_of(event)
  return order and order.user == user and order or nil
end

-- The recorded last transition of an order (of this user) that was changed in the last 24 hours, packed, or nil.
local function recorded_order(ctx, user, order_id)
  local record = order_record(order_id)
  local event = get(ctx.idem_today, record) or get(ctx.idem_yesterday, record)
  return event and order_of(event).user == user and event or nil
end

-- The order of that id as this cell knows it, whoever's it is: open or changed in the last 24 hours; or nil.
local function known_order(ctx, order_id)
  local event, record = get(ctx.open, order_id), order_record(order_id)
  if not event or cmsgpack.unpack(event)[3] ~= 'order_changed' then
    event = get(ctx.idem_today, record) or get(ctx.idem_yesterday, record)
  end
  return event and order_of(event) or nil
end

-- Refuses a change of an order that is not open any more or, as far as this cell knows, never was.
local function refuse_closed(ctx, user, order_id)
  local event = recorded_order(ctx, user, order_id)
  if event then
    return refuse('INVALID_ORDER_STATE', { orderStatus = order_of(event).status })
  end
  return refuse('ORDER_NOT_FOUND', {})
end

-- Emits order_changed for an order in its new state; `account` is its user's, after. `items`: packed already, or nil.
local function emit_order(ctx, call, order, account, items)
  local event = emit(ctx, call, 'order_changed', 1, items or cmsgpack.pack(order.items), 1, order.order, order.status,
    order.user, order.created, order.expires, order.total, order.discount, order.final, order.method, order.day, order.paid_at,
    order.payment, order.refund, order.address, order.coupons, order.cart, account.balance, account.used, order.restocked)
  set(ctx.idem_today, order_record(order.order), event)
  return event
end

-- Checks everything about an order but who pays how: items (or the cart), windows, limits, stock, coupons, the amount that the buyer
-- saw. Returns items, total, discount and the discounts by line (nil: none), or nil and a refusal. Changes nothing.
local function draft_order(ctx, user, args)
  local items, coupons = args.items, args.coupons
  if not items then
    items = get(ctx.carts, user) or {}
    if #items == 0 then
      return refuse('CART_EMPTY', {})
    end
  elseif #items == 0 then
    return refuse('INVALID_INPUT', { reason = 'an order needs items' })
  end
  local seen, amounts, short, total = {}, coupons and {}, nil, 0
  local products, stock = ctx.catalog.value, ctx.stock.value
  for i = 1, #items do
    local item = items[i]
    local id, quantity = item.product, item.quantity
    if seen[id] then
      -- Each line is checked against the whole stock, so a product must not come twice.
      return refuse('INVALID_INPUT', { reason = 'a product appears twice' })
    end
    seen[id] = true
    if quantity < 1 then
      return refuse('INVALID_INPUT', { reason = 'a quantity is below 1' })
    end
    local product = products[id]
    if product == nil then
      product = get(ctx.catalog, id)
    end
    if not product or product.status ~= 'NORMAL' then
      return refuse('PRODUCT_NOT_FOUND', { productId = id })
    end
    local _, refusal
    if product.starts or product.ends then
      _, refusal = window_refusal(ctx, id, product)
    end
    if not refusal and product.limit then
      _, refusal = limit_refusal(ctx, user, id, product, quantity)
    end
    if refusal then
      return nil, refusal
    end
    local available = stock[id]
    if available == nil then
      available = get(ctx.stock, id)
    end
    available = available or 0
    if available < quantity then
      short = short or {}
      short[#short + 1] = { productId = id, productName = product.name, requestedQuantity = quantity,
        availableStock = available }
    end
    local amount = product.price * quantity
    total = total + amount
    if amounts then
      amounts[i] = amount
    end
  end
  if short then
    return refuse('INSUFFICIENT_STOCK', { insufficientItems = short })
  elseif total > NUMBER_MAX then
    return refuse('INVALID_INPUT', { reason = 'the amount is too large' })
  end

  local discount, by_line = 0, nil
  if coupons then
    discount, by_line = discounts_of(ctx, user, coupons, items, amounts, total)
    if not discount then
      return nil, by_line
    end
  end
  if args.final and args.final ~= total - discount then
    return refuse('AMOUNT_MISMATCH', { finalAmount = total - discount })
  end
  return items, total, discount, by_line
end

-- A line of an order, packed: [product, name, price, quantity, discount] and behind them true where the limit counted it.
local function pack_line(id, product, quantity, discount)
  if product.limit then
    return array_head(6) .. cmsgpack.pack(id, product.name, product.price, quantity, discount, true)
  end
  return array_head(5) .. cmsgpack.pack(id, product.name, product.price, quantity, discount)
end

-- The same for a line without a discount. In a rush everybody wants the same: it is packed once for all of a batch.
local function pack_plain_line(ctx, id, product, quantity)
  local lines = ctx.lines[product]
  if not lines then
    lines = {}
    ctx.lines[product] = lines
  end
  local line = lines[quantity]
  if not line then
    line = pack_line(id, product, quantity, 0)
    lines[quantity] = line
  end
  return line
end

-- Takes what a draft names: stock, limits, coupons and, when it came from there, the cart. `order`: the id of the order to be.
-- Returns the lines, packed (see pack_line); `more` is put behind them as it is. `sold`: where to count the units of an order that is
-- paid at once, or nil.
local function take_goods(ctx, user, args, items, by_line, order, more, sold)
  local count, packed, products, stock = #items, '', ctx.catalog.value, ctx.stock
  local available, changed = stock.value, stock.changed
  for i = 1, count do
    local item = items[i]
    local id, quantity = item.product, item.quantity
    local product = products[id]
    available[id], changed[id] = available[id] - quantity, true
    if product.limit then
      local field = user_product(user, id)
      set(ctx.bought, field, (get(ctx.bought, field) or 0) + quantity)
    end
    if sold then
      sold[id] = (sold[id] or 0) + quantity
    end
    local discount = by_line and by_line[i] or 0
    local line = discount == 0 and pack_plain_line(ctx, id, product, quantity) or pack_line(id, product, quantity, discount)
    packed = count == 1 and line or packed .. line
  end
  if args.coupons then
    mark_coupons(ctx, user, args.coupons, order)
  end
  if not args.items then
    set(ctx.carts, user, false)
  end
  return array_head(count) .. packed .. more
end

-- A copy to change: what a caller brings stays as it is, since equal arguments of a batch are one table.
local function copy_of(order)
  local copy = {}
  for member, value in pairs(order) do
    copy[member] = value
  end
  return copy
end

-- Gives everything back that an order took: stock, limits and coupons. Notes in the order which products are back in stock.
local function give_back(ctx, order)
  local restocked = {}
  for _, line in ipairs(order.items) do
    local id, quantity, was_counted = line[1], line[4], line[6]
    if add_stock(ctx, id, quantity) then
      restocked[#restocked + 1] = id
    end
    if was_counted then
      local field = user_product(order.user, id)
      local left = (get(ctx.bought, field) or 0) - quantity
      set(ctx.bought, field, left > 0 and left)
    end
  end
  if order.coupons then
    mark_coupons(ctx, order.user, order.coupons, nil)
  end
  order.restocked = #restocked > 0 and restocked or nil
end

-- Counts the units of an order that is paid for in the ranking of today.
local function count_sale(ctx, order)
  for _, line in ipairs(order.items) do
    ctx.sold[line[1]] = (ctx.sold[line[1]] or 0) + line[4]
  end
  order.day, order.paid_at = ctx.business_day, ctx.now_ms
end

-- An order that was unpaid leaves the open ones.
local function close_order(ctx, order, account)
  set(ctx.open, order.order, false)
  set_due(ctx, order.order, false)
  add_to(account, 'open', -1)
end

-- An unpaid order ends in `status` and gives everything back.
local function release_order(ctx, call, order, status)
  local account = account_of(ctx, order.user)
  order.status, order.cart = status, nil
  give_back(ctx, order)
  close_order(ctx, order, account)
  set(ctx.accounts, order.user, account)
  return emit_order(ctx, call, order, account)
end
