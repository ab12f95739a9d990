-- Withdraw one article and append the event to the stream. Safe to send twice.
--
-- KEYS  1 stream  2 dirty  3 article
-- ARGV  1 now (RFC 3339)  2 now (ms)  3 article id  4 `head` and 5 doc, plain, as the caller read them
-- Returns {status, revision, event id}, status: withdrawn | unchanged; nil if the article has changed
-- since: read again.

local head, indexed, stored = read_head(KEYS[3])
if stored.head ~= ARGV[4] then return false end
head = head or {
  revision = indexed, published = ARGV[1], updated = ARGV[1], first_seen = ARGV[1], hash = '',
  status = 'live', forms = {},
}
if head.status == 'withdrawn' then return {'unchanged', head.revision, head.event} end
redis.call('XLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
head.revision, head.status, head.updated, head.call = head.revision + 1, 'withdrawn', ARGV[1], ''
emit(KEYS[1], 'withdrawn', ARGV[3], ARGV[5], head, ARGV[1])
save_article(KEYS[3], stored.doc, pack_head(head, KEYS[3]), stored.idx)
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return {'withdrawn', head.revision, head.event}
