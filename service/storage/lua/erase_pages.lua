-- Delete the rendered pages that show one of these articles: each entry of a feed has its id.
--
-- KEYS  rendered pages  ARGV  article ids
-- Returns the number of pages deleted.

local deleted = 0
for _, key in ipairs(KEYS) do
  local body = redis.call('HGET', key, 'body') or ''
  for _, id in ipairs(ARGV) do
    if string.find(body, id, 1, true) then
      deleted = deleted + redis.call('UNLINK', key)
      break
    end
  end
end
return deleted
