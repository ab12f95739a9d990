-- Store articles and append their events to the stream, all or nothing. A call that is sent again
-- changes nothing (clients resend after a lost reply).
--
-- KEYS  1 stream  2 dirty  3 categories  4 dictionaries  5… for each article of the call 2: article,
--       bucket of its mark if it was removed
-- ARGV  1 now (RFC 3339)  2 now (ms)  3 call id  4 '1' to bring withdrawn articles back
--       5 '1' to take removed articles in again
--       6 id of the dictionary that the stored docs need, '' if they need none
--       7 number of category titles t, then t pairs: path, title
--       then for each article 12: id, form, content hash, the same as old versions computed it
--       (`dated_hash`), hash of everything ('' if nothing but the words may count), doc, doc as it
--       is stored (compressed), published, updated ('' if unknown), what stands for an unknown
--       `published`, history: JSON of revision, first_seen and status that another archive gave it
--       ('' if none did), for an article that is not known here, field of its mark
-- Returns for each article {status, revision, event id}; status: created | updated | corrected |
-- unchanged, or why it was not taken: erased | removed (by retention; its revision is 0, its event id
-- empty) | plainly (it can only be judged by a doc that is compressed without a dictionary: send it
-- again with one); nil, with nothing written, if the shard does not have the dictionary.
--
-- All reads come before the first write: a wrong type fails the call with nothing written.
--
-- `head` of an article (head.lua): revision, hash, full: the hash of everything that is stored, published,
-- updated, first_seen, status, event, call, said: the latest date of its source, quiet: changes since
-- without a later one, quiet_ms: when the last of them made an event, owed: whether a later one has
-- made none, corrections: changes that made no revision, and forms: form → the hashes last seen with
-- it, `content.full`. A form is a detail and, if it was polled, the document: an article is compared
-- with the last one of the same form, so that a site's list, its feeds and its page do not overwrite
-- each other in turn.

local now, now_ms, call = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local revive, readmit = ARGV[4] == '1', ARGV[5] == '1'
local dictionary = ARGV[6]
local FIRST, FIELDS = 7 + 2 * tonumber(ARGV[7]), 12
-- What `Removals` stores as the mark of an article that was erased after it was removed.
local ERASED = 'erased'
local RECORD = '2'
local MAX_FORMS = 8

local function earlier(a, b) if a < b then return a end return b end
local function later(a, b) if a > b then return a end return b end

-- Article number i of the call, from 1.
local function article_at(i)
  local at = FIRST + (i - 1) * FIELDS
  return {
    id = ARGV[at + 1], form = ARGV[at + 2], detail = string.sub(ARGV[at + 2], 1, 1),
    hash = ARGV[at + 3], dated = ARGV[at + 4], full = ARGV[at + 5], doc = ARGV[at + 6],
    stored = ARGV[at + 7], published = ARGV[at + 8], updated = ARGV[at + 9],
    undated = ARGV[at + 10], history = ARGV[at + 11], mark = ARGV[at + 12],
    key = KEYS[3 + 2 * i], marks = KEYS[4 + 2 * i],
  }
end

local function detail_of(form) return tonumber(string.match(form, '^%d') or '-1') end

-- The content hash and the hash of everything that were seen last with this form; nil where unknown.
local function seen_with(head, article)
  local seen = head.forms[article.form] or head.forms[article.detail]
  if type(seen) ~= 'string' then return nil, nil end
  return string.match(seen, '^[^.]*'), string.match(seen, '%.(.+)$')
end

local function note(head, article)
  local count = 0
  for form, _ in pairs(head.forms) do
    count = count + 1
    if form == article.form then count = -MAX_FORMS end
  end
  if count >= MAX_FORMS then head.forms = {} end
  local full = article.full ~= '' and article.full or head.full or ''
  head.forms[article.form] = article.hash .. '.' .. full
end

-- Whether another form of the article has more of it. A record counts whatever else is known: its
-- publisher sent it.
local function is_poorer(head, article)
  if article.detail == RECORD then return false end
  for form, _ in pairs(head.forms) do
    if detail_of(form) > tonumber(article.detail) then return true end
  end
  return false
end

-- Pages with a clock, a counter or an advertisement in the text change at each poll: after so many
-- changes without a later date of the source, there is one event in so long a time at most.
local MAX_QUIET, QUIET_MS = 24, 600000

local function latest_date(head) return later(head.said or '', head.published) end

local function is_quiet(head, article)
  return article.detail ~= RECORD
    and later(article.published, article.updated) <= latest_date(head)
end

local function is_too_soon(head)
  return (head.quiet or 0) >= MAX_QUIET and now_ms - (head.quiet_ms or 0) < QUIET_MS
end

-- A date alone is no edit of a feed: some state the time of the request. An earlier one can only be
-- better; and what a record says counts.
local function has_better_date(head, article)
  local published = article.published ~= '' and earlier(article.published, head.first_seen)
  if article.detail == RECORD then
    local updated = later(head.updated, head.said or '')
    return published and published ~= head.published or article.updated > updated
  end
  return published and published < head.published
end

local function is_stored_as(article) return article.present.doc == article.stored end

-- What is new in an article whose words are those that are shown, or that its form had last.
local function judge_rest(head, article, seen_full)
  if is_poorer(head, article) then return seen_full and 'unchanged' or 'noted' end
  local before = seen_full or head.full
  local is_same = article.full == '' or before == article.full
  -- Stored by a version before November 2026, which had no hash of everything.
  if not before then
    if dictionary ~= '' then return 'plainly' end
    is_same = is_stored_as(article)
  end
  if not is_same or has_better_date(head, article) then return 'corrected' end
  return seen_full and 'unchanged' or 'noted'
end

-- created | updated | corrected | kept (a change that is shown and makes no event yet) | owed (the same
-- once more: still no event) | unchanged | noted (unchanged, but its hashes of this form are stored), or why it is not taken: erased | removed
local function judge(head, mark, article)
  if not head then
    if mark == ERASED then return 'erased' end
    if mark and not readmit then return 'removed' end
    return 'created'
  end
  if head.erased then return 'erased' end
  if head.status == 'withdrawn' then return revive and 'updated' or 'unchanged' end
  local seen, seen_full = seen_with(head, article)
  local is_shown = head.hash == article.hash or head.hash == article.dated
  if seen == article.hash or seen == article.dated then
    if head.owed and is_shown then return is_too_soon(head) and 'owed' or 'updated' end
    return judge_rest(head, article, seen_full)
  end
  if is_shown then return judge_rest(head, article, nil) end
  if is_poorer(head, article) and (not seen or article.detail == '0') then return 'noted' end
  if is_quiet(head, article) and is_too_soon(head) then return 'kept' end
  return 'updated'
end

-- The head of an article that is not known yet.
local function first_head(article, indexed)
  local published = article.published ~= '' and earlier(article.published, now) or article.undated
  local updated = article.updated ~= '' and earlier(article.updated, now) or published
  return {
    revision = indexed + 1, published = published, updated = updated, first_seen = now,
    said = later(article.published, article.updated), status = 'live', forms = {},
  }
end

-- The head of an article that another archive exported.
local function adopted_head(article)
  local head = cjson.decode(article.history)
  head.first_seen = earlier(head.first_seen, now)
  head.published = article.published ~= '' and earlier(article.published, head.first_seen)
    or head.first_seen
  head.updated = article.updated ~= '' and earlier(article.updated, now) or head.published
  head.said, head.forms = later(article.published, article.updated), {}
  return head
end

local function put_dates(head, article)
  head.said = later(later(article.published, article.updated), head.said or '')
  if article.published ~= '' then head.published = earlier(article.published, head.first_seen) end
  if article.updated > head.updated then head.updated = earlier(article.updated, now) end
end

local function revise(head, article)
  if head.owed and head.hash == article.hash then
    -- Counted when it was kept.
    head.quiet_ms = now_ms
  elseif is_quiet(head, article) then
    head.quiet, head.quiet_ms = (head.quiet or 0) + 1, now_ms
  else
    head.quiet, head.quiet_ms = nil, nil
  end
  local updated = head.updated
  put_dates(head, article)
  if head.updated == updated then head.updated = now end
  head.revision, head.status, head.owed = head.revision + 1, 'live', nil
end

local function correct(head, article)
  head.corrections = (head.corrections or 0) + 1
  if article.detail == RECORD or has_better_date(head, article) then
    put_dates(head, article)
  elseif article.updated > head.updated then
    head.said = later(article.updated, head.said or '')
    head.updated = earlier(article.updated, now)
  end
end

-- Change the head as judged, and append the event. Returns the kind of the event, nil for none.
local function decide(head, article, status, indexed)
  if status == 'created' then
    if article.history == '' then return first_head(article, indexed), 'published' end
    head = adopted_head(article)
    return head, head.status == 'withdrawn' and 'withdrawn' or 'published'
  end
  if status == 'updated' then
    revise(head, article)
    return head, 'updated'
  end
  correct(head, article)
  if status == 'kept' then
    head.owed = true
    return head, nil
  end
  return head, 'corrected'
end

local function store(head, article, status, indexed)
  local kind
  head, kind = decide(head, article, status, indexed)
  head.hash, head.full, head.call = article.hash, article.full ~= '' and article.full or head.full, call
  if status == 'corrected' or status == 'kept' then head.call = call .. '+' end
  note(head, article)
  if kind then emit(KEYS[1], kind, article.id, article.doc, head, now) end
  save_article(article.key, article.stored, pack_head(head, article.key), article.present.idx)
  -- Without an event, the oldest possible score: the next sweep indexes it.
  redis.call('ZADD', KEYS[2], kind and now_ms or 1, article.id)
  return head
end

-- What this call did to the article already; nil if nothing.
local function done_before(head)
  if not head then return nil end
  if head.call == call .. '+' then return 'corrected' end
  if head.call ~= call then return nil end
  return head.revision == 1 and 'created' or 'updated'
end

local count = (#KEYS - 4) / 2
local articles, heads, indexed, marks = {}, {}, {}, {}
if dictionary ~= '' and redis.call('HEXISTS', KEYS[4], dictionary) == 0 then return false end
redis.call('XLEN', KEYS[1])
redis.call('ZCARD', KEYS[2])
redis.call('HLEN', KEYS[3])
for i = 1, count do
  local article = article_at(i)
  articles[i] = article
  heads[i], indexed[i], article.present = read_head(article.key)
  marks[i] = not heads[i] and redis.call('HGET', article.marks, article.mark)
end

for i = 8, FIRST, 2 do redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) end

local answers = {}
for i = 1, count do
  local article, head = articles[i], heads[i]
  local status = done_before(head)
  if not status then
    status = judge(head, marks[i], article)
    if status == 'created' or status == 'updated' or status == 'corrected' or status == 'kept' then
      head = store(head, article, status, indexed[i])
      if marks[i] then redis.call('HDEL', article.marks, article.mark) end
    elseif status == 'noted' then
      note(head, article)
      save_article(article.key, article.present.doc, pack_head(head, article.key), article.present.idx)
      status = 'unchanged'
    end
    -- Whoever polls must come with it again.
    if status == 'kept' or status == 'owed' then status = 'corrected' end
  end
  answers[i] = {status, head and head.revision or 0, head and head.event or ''}
end
return answers
