-- Fields of many articles in one command: as many commands would cost the client more than Redis.
--
-- KEYS articles  ARGV fields
-- Gives the fields of each article in turn, in one list; false for what is not there.

local found = {}
for i = 1, #KEYS do
  local values = redis.call('HMGET', KEYS[i], unpack(ARGV))
  for j = 1, #ARGV do found[#found + 1] = values[j] end
end
return found
