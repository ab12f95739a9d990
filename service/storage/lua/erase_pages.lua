-- Delete the rendered pages that show one of these articles: each entry of a feed has its id.
--
-- KEYS  rendered pages  ARGV  article ids
-- Returns the number of pages deleted.
--
-- The ids in a page are looked up among those to be erased, and not these in the page: with a
-- thousand of them, that would stop Redis for seconds.

local ID = '%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x'
local erased = {}
for _, id in ipairs(ARGV) do erased[id] = true end

local function shows_one(body)
  for id in string.gmatch(body, ID) do
    if erased[id] then return true end
  end
  return false
end

local deleted = 0
for _, key in ipairs(KEYS) do
  if shows_one(redis.call('HGET', key, 'body') or '') then
    deleted = deleted + redis.call('UNLINK', key)
  end
end
return deleted
