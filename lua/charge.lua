-- Charges over the gateway: open (the event charge_opened in the column `open`) until the gateway has answered.

-- Fields of the event charge_opened, by position.
local CHARGE_USER, CHARGE_AMOUNT = 3, 4

local function charge_record(charge_id)
  return 'charge/' .. decimal(charge_id)
end

-- The amount of the open charge of that id (of this user), or nil.
local function open_charge(ctx, user, charge_id)
  local event = get(ctx.open, charge_id)
  local parts = event and cmsgpack.unpack(event)
  if parts and parts[3] == 'charge_opened' and parts[5][CHARGE_USER] == user then
    return parts[5][CHARGE_AMOUNT]
  end
  return nil
end
