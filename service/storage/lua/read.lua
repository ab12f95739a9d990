-- Fields of many articles in one command: one command each would cost the client more than Redis.
--
-- KEYS articles  ARGV fields
-- Returns the fields of all articles in their order, in one list; false for a missing field.

local answer = {}
for i = 1, #KEYS do
  local values = redis.call('HMGET', KEYS[i], unpack(ARGV))
  for j = 1, #ARGV do answer[#answer + 1] = values[j] end
end
return answer
