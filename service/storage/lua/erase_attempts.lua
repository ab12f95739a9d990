-- Delete from logs of attempts what a receiver answered to a request that may have had one of these
-- articles in it: receivers repeat what they got. Of a batch or a pushed feed it is not known which
-- articles it had.
--
-- KEYS  logs of attempts  ARGV  1 ms before which none of the articles was there  2… article ids
-- Returns the number of attempts deleted.

local ids = {}
for i = 2, #ARGV do ids[ARGV[i]] = true end

local function may_repeat(attempt)
  if (attempt.answer or '') == '' and (attempt.error or '') == '' then return false end
  -- Tests and gaps carry no article; an event's id begins with the id of its article.
  if string.find(attempt.type or '', '^dateline%.webhook%.') then return false end
  local id, mark = string.match(attempt.message_id or '', '^(%x+%-%x+%-%x+%-%x+%-%x+)(_?)')
  return mark ~= '_' or ids[id] ~= nil
end

local deleted = 0
for _, key in ipairs(KEYS) do
  for _, entry in ipairs(redis.call('XRANGE', key, ARGV[1], '+')) do
    local attempt = {}
    for i = 1, #entry[2], 2 do attempt[entry[2][i]] = entry[2][i + 1] end
    if may_repeat(attempt) then deleted = deleted + redis.call('XDEL', key, entry[1]) end
  end
end
return deleted
