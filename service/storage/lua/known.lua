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
  -- Another type of key is an article that is not known.
  local is_loaded, _, stored = pcall(load_article, key)
  local is_readable, seen, is_owed, is_erased = false, nil, nil, nil
  if is_loaded and stored then
    is_readable, seen, is_owed, is_erased = pcall(seen_in, stored, string.sub(state, 1, 1) .. ':' .. ARGV[1])
  end
  local is_known = is_readable and type(seen) == 'string'
    and string.sub(seen, 1, 8) == string.sub(state, 2, 9)
    and string.sub(seen, 34, 41) == string.sub(state, 10, 17)
    and not is_owed
    and not is_erased
  answer[i] = is_known and '1' or '0'
end
return table.concat(answer)
