-- Delete the stream entries of erased articles, except those that announce that they were erased.
--
-- KEYS  1 stream  ARGV  1 entry id to begin after  2 number of entries to look at  3… article ids
-- Returns {id of the last entry that was looked at ('' if no entry follows), number deleted}.

local ids = {}
for i = 3, #ARGV do ids[ARGV[i]] = true end

local function field(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return ''
end

local last, deleted = '', 0
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])) do
  last = entry[1]
  local is_theirs = ids[field(entry[2], 'subject')]
  if is_theirs and not string.find(field(entry[2], 'data'), '"erased":true}', -14, true) then
    deleted = deleted + redis.call('XDEL', KEYS[1], last)
  end
end
return {last, deleted}
