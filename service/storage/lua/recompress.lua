-- Replace stored documents by other forms of the same, compressed with a dictionary.
--
-- KEYS  1 dictionaries  2… articles
-- ARGV  1 id of the dictionary  then for each article: `doc` as it was read, `doc` to store
-- Returns how many were replaced: those that are still as they were read; none without the dictionary.
--
-- An article without a hash of everything (append.lua) keeps the form in which it is compared.

if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local count = 0
for i = 2, #KEYS do
  local stored = redis.pcall('HMGET', KEYS[i], 'doc', 'head')
  local head = stored[2] and string.find(stored[2], '"full":"', 1, true)
  if head and stored[1] == ARGV[2 * i - 2] then
    redis.call('HSET', KEYS[i], 'doc', ARGV[2 * i - 1])
    count = count + 1
  end
end
return count
