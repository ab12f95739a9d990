-- Shared by index.lua, remove.lua and rename_category.lua: gives periods of a category's pages a new
-- version, and notes which pages have changed.

local function renew(versions, periods, stamp)
  for period in string.gmatch(periods, '%S+') do
    local before = tonumber(redis.call('HGET', versions, period) or '0') or 0
    redis.call('HSET', versions, period, string.format('%.0f', math.max(before + 1, stamp)))
  end
end

-- Notes that pages have changed, for servers that hold them. `pages`: category, its periods joined by
-- spaces, category, … Without notes servers confirm each page by itself, so a key that a hand has made
-- another type fails nothing.
local function note_changes(key, limit, pages)
  if #pages > 0 then redis.pcall('XADD', key, 'MAXLEN', '~', limit, '*', unpack(pages)) end
end
