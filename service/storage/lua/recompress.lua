-- Replace stored documents by other forms of the same, compressed with a dictionary, and articles that
-- versions before December 2026 stored by the present form (article.lua).
--
-- KEYS  1 dictionaries  2… articles
-- ARGV  1 id of the dictionary  then for each article: `doc` as it was read, `doc` to store
-- Returns how many were replaced: those that are still as they were read; none without the dictionary.
--
-- An article without a hash of everything (append.lua) keeps the form in which it is compared.

if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local count = 0
for i = 2, #KEYS do
  local head, _, stored = read_head(KEYS[i])
  if head and stored.doc == ARGV[2 * i - 2] then
    local doc = head.full and ARGV[2 * i - 1] or stored.doc
    save_article(KEYS[i], doc, pack_head(head, KEYS[i]), stored.idx)
    count = count + 1
  end
end
return count
