-- Decide whether a worker reads new events of a shard now.
--
-- KEYS  1 stream  2 reader, the worker that reads alone
-- ARGV  1 group for which it reads  2 worker  3 ms after which a reader that does not ask again is
--       replaced  4 unread events up to which one worker reads alone
-- Returns 2 if the worker is the reader, 1 if it helps the reader, 0 if it waits.

-- SET replaces what is of another type.
local reader = redis.pcall('GET', KEYS[2])
if not reader or type(reader) == 'table' or reader == ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  return 2
end

local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then return 0 end
local alone = tonumber(ARGV[4])
for _, fields in ipairs(groups) do
  local group = {}
  for i = 1, #fields, 2 do group[fields[i]] = fields[i + 1] end
  if group['name'] == ARGV[1] then
    -- Redis 6.2 does not count what is unread, nor does any version after some deletions.
    local unread = group['lag'] or #redis.call(
      'XRANGE', KEYS[1], '(' .. group['last-delivered-id'], '+', 'COUNT', alone + 1)
    return unread > alone and 1 or 0
  end
end
return 0
