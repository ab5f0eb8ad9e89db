-- Products: packed {name, price, limit?, starts?, ends?, status, version} in `catalog`; the stock stands in a column of
-- its own because it changes with every order. Absent optional members are absent keys.

-- The largest stock that operators can bring: so far below 2^53 that what open orders give back never passes that.
local STOCK_MAX = 1000000000000000

-- The product if it can be sold at all (status NORMAL), else nil.
local function sellable(ctx, product_id)
  local product = get(ctx.catalog, product_id)
  if product and product.status == 'NORMAL' then
    return product
  end
  return nil
end

-- Refuses when the sale window of `product` is not open now, else nil.
local function window_refusal(ctx, product_id, product)
  if product.starts and ctx.now_ms < product.starts then
    return refuse('SALE_NOT_OPEN', { productId = product_id, opensAt = product.starts })
  elseif product.ends and ctx.now_ms >= product.ends then
    return refuse('SALE_CLOSED', { productId = product_id, closedAt = product.ends })
  end
  return nil
end

-- Field of the columns `bought` and `restock`. A user id holds no space, so the field is unambiguous.
local function user_product(user, product_id)
  return user .. ' ' .. product_id
end

-- Refuses when `user` would have more of `product` over all his orders than one may have, else nil. `quantity`: of this order.
local function limit_refusal(ctx, user, product_id, product, quantity)
  if product.limit then
    local already = get(ctx.bought, user_product(user, product_id)) or 0
    if already + quantity > product.limit then
      return refuse('EXCEEDED_LIMITED_QUANTITY',
        { productId = product_id, limitPerUser = product.limit, alreadyBought = already })
    end
  end
  return nil
end

-- Adds units to a stock. Returns whether the product is back: for sale, from 0 to at least `restock_threshold`, and somebody
-- waits for it. The column `restock` has for each product that was ever waited for packed {round, waiting, rising?}: everybody who asked
-- in this round is told once when it ends, without a list of them here. `rising`: the stock came from 0 but has not reached the threshold.
local function add_stock(ctx, product_id, quantity)
  local before = get(ctx.stock, product_id) or 0
  local after = before + quantity
  set(ctx.stock, product_id, after)
  local restock = get(ctx.restock, product_id)
  if not restock or restock.waiting == 0 or not (before == 0 or restock.rising) or after == 0
    or not sellable(ctx, product_id) then
    return false
  end
  local is_back = after >= ctx.rules.restock_threshold
  if is_back then
    restock.round, restock.waiting, restock.rising = restock.round + 1, 0, nil
  else
    restock.rising = true
  end
  set(ctx.restock, product_id, restock)
  return is_back
end
