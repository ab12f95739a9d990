-- Fields of many articles in one command: one command each would cost the client more than Redis.
--
-- KEYS articles  ARGV fields: doc, head, idx
-- Returns the fields of all articles in their order, in one list; false for a missing field.

local answer = {}
for i = 1, #KEYS do
  local article = {}
  article.doc, article.head, article.idx = load_article(KEYS[i])
  for j = 1, #ARGV do answer[#answer + 1] = article[ARGV[j]] or false end
end
return answer
