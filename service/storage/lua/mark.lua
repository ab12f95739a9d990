-- Mark an article as a duplicate or as an original; after a change it is indexed again. Safe to send
-- twice.
--
-- KEYS  1 dirty  2 article
-- ARGV  1 article id  2 id of the original ('' for none)
--       3 JSON list of the categories that show the original instead
-- Returns 1 if that changed anything, else 0.

local head = read_head(KEYS[2])
if not head then return 0 end
local hidden_in = cjson.decode(ARGV[3])
local is_same = table.concat(head.hidden_in or {}, ' ') == table.concat(hidden_in, ' ')
if (head.duplicate_of or '') == ARGV[2] and is_same then return 0 end
redis.call('ZCARD', KEYS[1])
head.marks = (head.marks or 0) + 1
head.duplicate_of = ARGV[2] ~= '' and ARGV[2] or nil
head.hidden_in = next(hidden_in) and hidden_in or nil
redis.call('HSET', KEYS[2], 'head', cjson.encode(head))
-- The oldest possible score: the next sweep indexes it.
redis.call('ZADD', KEYS[1], 1, ARGV[1])
return 1
