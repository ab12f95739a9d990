-- Withdraw one article and put the event on the stream. Once, however often it is sent.
--
-- KEYS  1 stream  2 dirty  3 article
-- ARGV  1 now (RFC 3339)  2 now (ms)  3 article id
-- Gives {status, revision, event id}, status: withdrawn | unchanged; nil if there is no such article.

local stored = redis.call('HMGET', KEYS[3], 'head', 'doc')
if not stored[1] then return false end
local head = cjson.decode(stored[1])
if head.status == 'withdrawn' then return {'unchanged', head.revision, head.event} end
redis.call('XLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
head.revision, head.status, head.updated, head.call = head.revision + 1, 'withdrawn', ARGV[1], ''
emit(KEYS[1], 'withdrawn', ARGV[3], stored[2], head, ARGV[1])
redis.call('HSET', KEYS[3], 'head', cjson.encode(head))
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return {'withdrawn', head.revision, head.event}
