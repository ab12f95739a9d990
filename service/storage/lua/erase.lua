-- Withdraw one article, live or withdrawn, and replace its document by one without text; append the
-- event to the stream. Safe to send twice.
--
-- KEYS  1 stream  2 dirty  3 article
-- ARGV  1 now (RFC 3339)  2 now (ms)  3 article id  4 `head` as the caller read it
--       5 the document without text
-- Returns {status, revision, event id}, status: erased | unchanged; nil if the article has changed
-- since: read again.
--
-- The hashes of its text leave `head`, too: an erased article is never compared again.

local head, indexed, stored = read_head(KEYS[3])
if stored.head ~= ARGV[4] then return false end
-- A hand made it unreadable: its text goes all the same.
head = head or {
  revision = indexed, published = ARGV[1], first_seen = ARGV[1], updated = ARGV[1], event = '',
}
if head.erased then return {'unchanged', head.revision, head.event} end
redis.call('XLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
head.revision, head.status, head.updated, head.call = head.revision + 1, 'withdrawn', ARGV[1], ''
head.erased, head.hash, head.forms = true, '', {}
head.full, head.said, head.quiet, head.quiet_ms, head.owed = nil, nil, nil, nil, nil
emit(KEYS[1], 'withdrawn', ARGV[3], ARGV[5], head, ARGV[1])
save_article(KEYS[3], ARGV[5], pack_head(head, KEYS[3]), stored.idx)
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[3])
return {'erased', head.revision, head.event}
