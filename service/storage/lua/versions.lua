-- Shared by index.lua and remove.lua: gives periods of a category's pages a new version.

local function renew(versions, periods, stamp)
  for period in string.gmatch(periods, '%S+') do
    local before = tonumber(redis.call('HGET', versions, period) or '0') or 0
    redis.call('HSET', versions, period, string.format('%.0f', math.max(before + 1, stamp)))
  end
end

