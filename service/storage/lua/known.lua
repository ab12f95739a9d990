-- Which articles are stored as they were when they were appended the last time, so that to append
-- the same entry again would say `unchanged` (append.lua).
--
-- KEYS articles  ARGV 1 name of the document that they come from  2 of each article the record of
-- its entry (sources/known_entries.py), of which STATE_AT to STATE_AT + 16 are its detail and the
-- first 8 digits of its content hash and of its hash of everything
-- Returns a string with a digit for each: 1 or 0.

local RECORD_BYTES, STATE_AT = 54, 25
local answer = {}
for i, key in ipairs(KEYS) do
  local at = RECORD_BYTES * (i - 1) + STATE_AT
  local state = string.sub(ARGV[2], at, at + 16)
  local head = redis.pcall('HGET', key, 'head')
  local form = '"' .. string.sub(state, 1, 1) .. ':' .. ARGV[1] .. '":"'
  -- The head is JSON that `cjson` wrote: the name of a form occurs in it as a field or not at all.
  local _, last = nil, nil
  if type(head) == 'string' then _, last = string.find(head, form, 1, true) end
  local is_known = last
    and string.sub(head, last + 1, last + 8) == string.sub(state, 2, 9)
    and string.sub(head, last + 34, last + 41) == string.sub(state, 10, 17)
    and not string.find(head, '"owed":true', 1, true)
    and not string.find(head, '"erased":true', 1, true)
  answer[i] = is_known and '1' or '0'
end
return table.concat(answer)
