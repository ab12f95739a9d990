-- Move the indexes of a category to another path of the same shard; what that path has stays.
--
-- KEYS  1 articles  2 versions  3 withdrawn articles of the category  4-6 the same of the other path
-- ARGV  1 ms: the version that the moved pages get
-- Returns 1.

for i = 1, 3, 2 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('ZUNIONSTORE', KEYS[i + 3], 2, KEYS[i + 3], KEYS[i], 'AGGREGATE', 'MAX')
    redis.call('UNLINK', KEYS[i])
  end
end
for _, period in ipairs(redis.call('HKEYS', KEYS[2])) do
  renew(KEYS[5], period, tonumber(ARGV[1]))
end
redis.call('UNLINK', KEYS[2])
return 1
